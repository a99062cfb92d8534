//! Where buckets begin and end.

use std::time::Duration;

use jiff::Timestamp;

use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Buckets of one width over all of time, counted from an origin.
#[derive(Debug, Clone, Copy)]
pub(in crate::telemetry) struct Grid {
    origin: i64,
    /// Nanoseconds, more than zero.
    width: i128,
}

impl Grid {
    pub(in crate::telemetry) fn new(origin: Timestamp, width: Duration) -> Result<Self, StoreError> {
        // The longest duration has fewer than 2^94 nanoseconds.
        let width = i128::try_from(width.as_nanos()).unwrap_or(i128::MAX >> 32);
        if width == 0 {
            return Err(StoreError::Invalid { what: "the width of a bucket", reason: "must be more than zero" });
        }
        Ok(Self { origin: to_nanoseconds(origin), width })
    }

    /// Whether a bucket is at least so many nanoseconds wide.
    pub(in crate::telemetry) fn is_at_least(self, width: i64) -> bool {
        self.width >= width.into()
    }

    /// The number of the bucket that holds a time.
    pub(in crate::telemetry) fn number(self, time: i64) -> i128 {
        // Almost always in 64 bits, whose division is many times faster.
        match (time.checked_sub(self.origin), i64::try_from(self.width)) {
            (Some(since), Ok(width)) => since.div_euclid(width).into(),
            _ => (i128::from(time) - i128::from(self.origin)).div_euclid(self.width),
        }
    }

    /// The last nanosecond of a bucket.
    pub(in crate::telemetry) fn end(self, number: i128) -> i64 {
        clamp(i128::from(self.origin) + (number + 1) * self.width - 1)
    }

    /// When a bucket begins. The first bucket of time may begin before it.
    pub(in crate::telemetry) fn start(self, number: i128) -> Timestamp {
        from_nanoseconds(clamp(i128::from(self.origin) + number * self.width))
    }
}

fn clamp(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}
