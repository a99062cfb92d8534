//! Rollups: what each metric did in each minute, hour and day, kept apart from the points.
//!
//! # Days
//!
//! The unit of work is one UTC day of one device. A sealed chunk marks the days of its samples in
//! `rollup_due`, in the same transaction. Later, between appends and a few chunks at a time, a
//! marked day is computed anew from all of its chunks; the pages and the removal of the mark are
//! one transaction. So late, out-of-order and repeated points need no care of their own.
//!
//! # What always holds
//!
//! 1. A day that a page covers and that is not marked says exactly what the sound chunks of the
//!    device held for this day when it was computed; nothing but retention has changed them since.
//! 2. A day that is marked, or that no page covers, is answered from the chunks. A day is first
//!    computed when the device has samples of a later one, or is older than yesterday.
//! 3. Points that are still in the head are in no page: readers add them from the head.
//! 4. Retention drops chunks of days that are not marked only, and the days before `raw_from` of
//!    the device are never computed again: their rollups stay when their chunks are gone. A sample
//!    that comes later still for such a day is in no rollup.
//!
//! # A page
//!
//! ```text
//! envelope     version 2, CRC32C of the rest
//! days         count, then for each: the day minus the first day of the page
//! shapes       count, then for each: how many windows (1 to 4096), bytes of its section
//! metrics      count, then for each in the order of names:
//!   name       text
//!   shape      its place in `shapes`: metrics that come in the same samples share one
//!   length     bytes of its section
//! sections     the shapes, then the metrics; each column as its length and then its bytes as in `numbers`
//!   of a shape:
//!     windows    their numbers within the page, rising
//!     counts     points
//!     times      of the first points, from the start of the page, in nanoseconds; then of the last ones
//!   of a metric:
//!     numbers    how many of the points are numbers or bools
//!     minimum, maximum, floats      of these; `floats` is the sum of those that are floats
//!     integers   the sum of integers and bools: the low 64 bits, then the high ones
//!     first      types (0 float, 1 integer, 2 bool, 3 text); floats; integers and bools; texts:
//!     last       count, each different text, then their indexes. A column without values is empty
//! ```
//!
//! | resolution | window | a page spans |
//! |---|---|---|
//! | 0 | a minute | 1 day |
//! | 1 | an hour | 16 days |
//! | 2 | a day | 256 days |
//!
//! Version 1 is the same without numbers in equal steps. It is still read.
//!
//! A page that is corrupt is passed over: its days are answered from the chunks.

mod job;
mod page;
mod read;

pub(super) use job::Job;
pub(super) use page::Page;
pub(super) use read::{Decoded, Piece, due, pieces};

/// Nanoseconds of a UTC day.
pub(super) const DAY: i64 = 86_400 * 1_000_000_000;

/// The width of a rollup's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Resolution {
    Minute,
    Hour,
    Day,
}

impl Resolution {
    pub(super) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// As it stands in the table.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }

    /// The width of a window in nanoseconds.
    pub(super) fn width(self) -> i64 {
        match self {
            Self::Minute => 60 * 1_000_000_000,
            Self::Hour => 3600 * 1_000_000_000,
            Self::Day => DAY,
        }
    }

    /// The days that one page spans.
    pub(super) fn page_days(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 16,
            Self::Day => 256,
        }
    }

    /// The first day of the page that a day belongs to.
    pub(super) fn page_of(self, day: i64) -> i64 {
        day.div_euclid(self.page_days()) * self.page_days()
    }

    /// Windows in a day.
    pub(super) fn windows_of_day(self) -> i64 {
        DAY / self.width()
    }
}

/// The number of the UTC day of a time; 1970-01-01 is 0.
pub(super) fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// When a day begins, as far as it can be told in 64 bits.
pub(super) fn day_start(day: i64) -> i64 {
    day.saturating_mul(DAY)
}
