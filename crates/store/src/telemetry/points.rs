//! Points as an answer holds them: side by side in a few large pieces of memory, not each with handles of its own.
//!
//! A day of a series at one sample a second is 86,400 points. What all of them share (metric, unit, type) stands
//! once, and a time is a number until it is looked at: to count a handle up and down for each point, and to make
//! calendar times that nobody reads, cost more than to decompress the values.

use std::sync::Arc;

use tesaiot_contract::telemetry::Value;

use super::query::{Point, Series};
use crate::time::from_nanoseconds;

/// Points in the order of the question.
#[derive(Debug, Clone, Default)]
pub struct Points {
    series: Vec<Series>,
    rows: Vec<Row>,
}

/// One point.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Nanoseconds.
    pub(super) time: i64,
    /// Nanoseconds.
    pub(super) received: i64,
    pub(super) value: Value,
    /// Its place in `series`.
    pub(super) series: u32,
    pub(super) device_time: bool,
}

/// The same points, however they are held.
impl PartialEq for Points {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Points {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The point at a place.
    pub fn get(&self, index: usize) -> Option<Point<'_>> {
        self.rows.get(index).map(|row| self.point(row))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Point<'_>> + ExactSizeIterator + Clone {
        self.rows.iter().map(|row| self.point(row))
    }

    /// Leaves the first `length`.
    pub fn truncate(&mut self, length: usize) {
        self.rows.truncate(length);
    }

    #[inline]
    fn point<'a>(&'a self, row: &'a Row) -> Point<'a> {
        Point {
            // A row is only ever made with the place of a series that is there.
            series: &self.series[row.series as usize],
            time: from_nanoseconds(row.time),
            device_time: row.device_time,
            received_at: from_nanoseconds(row.received),
            value: &row.value,
        }
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.rows.reserve(more);
    }

    /// The place of a series. Chunks that follow one another are of the same one, most often.
    pub(super) fn series(&mut self, metric: &str, unit: Option<&str>, kind: Option<&Arc<str>>) -> u32 {
        let is_same = |series: &Series| {
            *series.metric == *metric
                && series.unit.as_deref() == unit
                && series.kind.as_deref() == kind.map(|kind| &**kind)
        };
        if !self.series.last().is_some_and(is_same) {
            self.series.push(Series { metric: metric.into(), unit: unit.map(Arc::from), kind: kind.cloned() });
        }
        u32::try_from(self.series.len() - 1).expect("an answer with four thousand million points fits in no memory")
    }

    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(super) fn extend(&mut self, rows: impl Iterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// Moves all points of another answer behind these.
    pub(super) fn append(&mut self, other: &mut Self) {
        let before = self.series.len() as u32;
        self.series.append(&mut other.series);
        self.rows.extend(other.rows.drain(..).map(|row| Row { series: row.series + before, ..row }));
    }

    pub(super) fn reverse(&mut self) {
        self.rows.reverse();
    }

    /// Puts the points from a place on in the order of time; equal times stay as they are.
    pub(super) fn sort_from(&mut self, start: usize) {
        self.rows[start..].sort_by_key(|row| row.time);
    }

    /// Leaves the points up to a time.
    pub(super) fn retain_up_to(&mut self, time: i64) {
        self.rows.retain(|row| row.time <= time);
    }

    /// The times of the first and the last one.
    pub(super) fn ends(&self) -> Option<(i64, i64)> {
        Some((self.rows.first()?.time, self.rows.last()?.time))
    }
}
