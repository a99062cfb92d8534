//! From when until when a certificate is good.

use std::time::Duration;

use jiff::Timestamp;

/// A certificate is good from five minutes before it is issued: devices that start with a clock a
/// little behind ours must be able to use it, and to verify our server, at once.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);

const DAY: u64 = 24 * 60 * 60;

/// What a server certificate gets when nobody says otherwise: one year.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(365 * DAY);

/// What a device certificate gets when nobody says otherwise: one year.
pub const DEVICE_LIFETIME: Duration = Duration::from_secs(365 * DAY);

pub(crate) const ROOT_LIFETIME: Duration = Duration::from_secs(20 * 365 * DAY + 5 * DAY);
pub(crate) const INTERMEDIATE_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY + 2 * DAY);

/// When a certificate is issued, and how long from then it is good, in whole seconds.
///
/// It begins [`BACKDATED`] earlier. It never outlives its issuer: the authority cuts it short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub(crate) now: Timestamp,
    pub(crate) lifetime: Duration,
}

impl Validity {
    /// Good for `lifetime` from `now` on.
    pub fn new(now: Timestamp, lifetime: Duration) -> Self {
        Self { now, lifetime }
    }

    /// A server certificate's default, from `now` on.
    pub fn server(now: Timestamp) -> Self {
        Self::new(now, SERVER_LIFETIME)
    }

    /// A device certificate's default, from `now` on.
    pub fn device(now: Timestamp) -> Self {
        Self::new(now, DEVICE_LIFETIME)
    }

    /// First and last moment, the last no later than `limit`; none when nothing is left of it.
    pub(crate) fn period(self, limit: Timestamp) -> Option<Period> {
        let now = Timestamp::from_second(self.now.as_second()).ok()?;
        let not_before = now.checked_sub(BACKDATED).ok()?;
        let lifetime = Duration::from_secs(self.lifetime.as_secs());
        let not_after = now.checked_add(lifetime).unwrap_or(limit).min(limit);
        (now < not_after).then_some(Period { not_before, not_after })
    }
}

/// First and last moment of a certificate, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_begins_five_minutes_early_and_ends_after_the_lifetime() {
        let validity = Validity::new(at(1_000_000), Duration::from_secs(60));
        let period = validity.period(at(2_000_000)).unwrap();
        assert_eq!(period.not_before, at(1_000_000 - 300));
        assert_eq!(period.not_after, at(1_000_060));
    }

    #[test]
    fn it_never_outlives_its_issuer() {
        let validity = Validity::new(at(1_000_000), SERVER_LIFETIME);
        let period = validity.period(at(1_000_500)).unwrap();
        assert_eq!(period.not_after, at(1_000_500));
        assert_eq!(validity.period(at(1_000_000)), None);
        assert_eq!(Validity::new(at(0), Duration::ZERO).period(at(9)), None);
        let endless = Validity::new(at(0), Duration::MAX);
        assert_eq!(endless.period(at(9)).unwrap().not_after, at(9));
    }
}
