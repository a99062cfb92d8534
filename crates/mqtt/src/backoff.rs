//! How long to wait before the next attempt: exponential with full jitter, so that a fleet that lost its
//! platform does not come back in step.

use std::time::Duration;

/// Exponential back-off with full jitter. The caller brings the randomness, so the rule stays pure.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    attempt: u32,
}

impl Backoff {
    /// Waits between zero and `first`, then twice that, up to `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, attempt: 0 }
    }

    /// The next wait. `random` is uniform in 0..=u32::MAX.
    pub fn next_delay(&mut self, random: u32) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.attempt.min(20)).min(self.limit);
        self.attempt = self.attempt.saturating_add(1);
        // Never less than a tenth: full jitter alone may hammer a refusing peer.
        let fraction = 0.1 + 0.9 * f64::from(random) / f64::from(u32::MAX);
        ceiling.mul_f64(fraction)
    }

    /// Call after success: the next failure starts from the first wait again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_resets() {
        let (first, limit) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff::new(first, limit);
        let waits: Vec<_> = (0..40).map(|_| backoff.next_delay(u32::MAX).as_secs()).collect();
        assert_eq!(&waits[..7], &[1, 2, 4, 8, 16, 32, 60]);
        assert!(waits.iter().all(|&wait| wait <= 60));
        backoff.reset();
        assert_eq!(backoff.next_delay(0), Duration::from_millis(100));
    }
}
