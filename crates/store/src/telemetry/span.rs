//! A stretch of time as the store counts it.

/// A span of nanoseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// The span of two times, the second not included, unless it is empty.
    pub(super) fn of(from: jiff::Timestamp, to: jiff::Timestamp) -> Option<Self> {
        if from >= to {
            return None;
        }
        let clamp =
            |nanoseconds: i128| i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX });
        Some(Self { from: clamp(from.as_nanosecond()), to: clamp(to.as_nanosecond() - 1) })
    }

    pub(super) fn contains(self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}
