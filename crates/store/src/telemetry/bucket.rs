//! Buckets: what a metric did in each stretch of time, without its points.
//!
//! A chunk that lies in one bucket answers from the statistics in its header: nothing of it is
//! decoded, except for the first and the last value of the bucket. Of other chunks only the times
//! and the one metric are decoded. Counts, extremes and sums do not care in which order chunks
//! come, and the first and last value carry their place in the order of arrival, so chunks that
//! overlap need no merging.

mod accumulator;
mod fill;
mod fold;
mod grid;

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Value;

pub(super) use accumulator::{Accumulator, Place};
pub(super) use fill::{answer, as_number};
pub(super) use fold::Buckets;
pub(super) use grid::Grid;

use super::Telemetry;
use super::span::Span;
use crate::error::StoreError;

/// One metric of one device in buckets of equal width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketQuery {
    /// The metric by its exact name.
    pub metric: Box<str>,
    /// The first time of the span, inclusive. Points before it are not counted, even when their bucket begins earlier.
    pub from: Timestamp,
    /// The end of the span, exclusive.
    pub to: Timestamp,
    /// The width of a bucket, more than zero.
    pub width: Duration,
    /// A time at which a bucket begins.
    pub origin: Timestamp,
    /// What stands in buckets without points.
    pub fill: Fill,
    /// The most buckets to answer with, the earliest ones.
    pub limit: usize,
}

impl Default for BucketQuery {
    fn default() -> Self {
        Self {
            metric: Box::from(""),
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            width: Duration::from_secs(60),
            origin: Timestamp::UNIX_EPOCH,
            fill: Fill::None,
            limit: usize::MAX,
        }
    }
}

/// What stands in a bucket without points. Such a bucket has the count 0.
///
/// Buckets are filled from the one of the query's `from` to the one of its `to`, or where these
/// are the ends of time, from the first to the last bucket with points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// There is no such bucket in the answer.
    #[default]
    None,
    /// A bucket without values.
    Null,
    /// The values of the bucket before it that has points.
    Previous,
    /// On a straight line between the buckets around it that have points; numbers only.
    Linear,
    /// Zero everywhere.
    Zero,
}

/// What a metric did in one stretch of time.
///
/// Bools count as 0 and 1. Integers are given as floats, exact up to 2⁵³. Values that are not a
/// number do not touch the minimum, the maximum and the sum. Texts are counted, and can be first
/// and last.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// When the bucket begins.
    pub start: Timestamp,
    /// The points in it.
    pub count: u64,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// The largest number.
    pub maximum: Option<f64>,
    /// The sum of the numbers.
    pub sum: Option<f64>,
    /// The sum divided by how many numbers there are.
    pub average: Option<f64>,
    /// The earliest value; of equal times the first to arrive.
    pub first: Option<Value>,
    /// The latest value; of equal times the last to arrive.
    pub last: Option<Value>,
}

impl Telemetry {
    /// One metric of a device in buckets, in the order of time. Exact, whatever order the points
    /// came in. A corrupt chunk is passed over, logged and counted.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a width of zero; otherwise when the database cannot be read.
    pub fn buckets(&self, device: &DeviceId, query: &BucketQuery) -> Result<Vec<Bucket>, StoreError> {
        let grid = Grid::new(query.origin, query.width)?;
        let Some(span) = Span::of(query.from, query.to).filter(|_| query.limit > 0) else {
            return Ok(Vec::new());
        };
        let mut buckets = Buckets::new(grid, span, query.limit);
        if let Some(device) = self.shared.device(device) {
            self.fold(&device, &query.metric, &mut buckets)?;
        }
        Ok(answer(buckets, query))
    }
}
