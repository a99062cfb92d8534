//! A rate with a burst: a bucket that fills at the rate, and is taken from.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

/// A bucket. Without a rate it is never empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Option<Rate>,
    /// What is in it at `at`; below zero after something larger than its contents was taken.
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Option<Rate>, now: Instant) -> Self {
        Self { rate, level: rate.map_or(0.0, |rate| f64::from(rate.burst)), at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_second);
        self.level = (self.level + gained).min(f64::from(rate.burst));
        self.at = now;
    }

    /// Takes `amount` if there is as much. Returns whether there was.
    pub(crate) fn take(&mut self, amount: f64, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        self.fill(rate, now);
        let enough = self.level >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }

    /// Takes `amount` whether there is as much or not, and returns how long to wait until nothing is owed.
    pub(crate) fn owe(&mut self, amount: f64, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        self.fill(rate, now);
        self.level -= amount;
        if self.level >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.level / f64::from(rate.per_second.max(1))).unwrap_or(Duration::MAX)
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let mut filled = *self;
        filled.fill(rate, now);
        filled.level >= f64::from(rate.burst)
    }
}
