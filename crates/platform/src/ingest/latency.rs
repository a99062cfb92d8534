//! How long commits take, as a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: what a disk in memory, a good disk and a bad one take.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Durations, counted in buckets. The last bucket has no bound.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// A histogram at one moment.
pub(crate) struct Histogram {
    /// Upper bound of each bucket in seconds, and how many took as long or less.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// All of them.
    pub(crate) count: u64,
    /// What they took together, in seconds.
    pub(crate) sum: f64,
}

impl Latency {
    /// Counts one.
    pub(crate) fn record(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < microseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn histogram(&self) -> Histogram {
        let mut count = 0;
        let mut cumulative = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let seconds = |microseconds: u64| microseconds as f64 / 1e6;
        let buckets = BOUNDS.iter().zip(&mut cumulative).map(|(bound, count)| (seconds(*bound), count)).collect();
        // What is left is the bucket without a bound.
        let count = cumulative.last().unwrap_or_default();
        Histogram { buckets, count, sum: seconds(self.microseconds.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_buckets_add_up() {
        let latency = Latency::default();
        for microseconds in [0, 500, 501, 1_000_000, 99_000_000] {
            latency.record(Duration::from_micros(microseconds));
        }
        let histogram = latency.histogram();
        let counts: Vec<u64> = histogram.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4]);
        assert_eq!((histogram.count, histogram.sum), (5, 100.001001));
        assert_eq!(histogram.buckets[0].0, 0.0005);
    }
}
