//! One bucket while it is filled.

use std::ops::Range;

use tesaiot_contract::telemetry::Value;

use super::super::chunk::Statistics;
use super::super::head::Values;

/// A point's place in the order of time and arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::telemetry) struct Place {
    /// Nanoseconds.
    pub(in crate::telemetry) time: i64,
    /// The number of its chunk; the head comes after all chunks.
    pub(in crate::telemetry) chunk: i64,
    pub(in crate::telemetry) row: u32,
}

/// Everything a bucket tells of the points added so far.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct Accumulator {
    pub(in crate::telemetry) count: u64,
    /// How many of them are numbers or bools.
    pub(in crate::telemetry) numbers: u64,
    /// Above the maximum while there is no number.
    pub(in crate::telemetry) minimum: f64,
    pub(in crate::telemetry) maximum: f64,
    pub(in crate::telemetry) floats: f64,
    /// The sum of integers and bools, exact.
    pub(in crate::telemetry) integers: i128,
    pub(in crate::telemetry) first: Option<(Place, Value)>,
    pub(in crate::telemetry) last: Option<(Place, Value)>,
}

impl Default for Accumulator {
    fn default() -> Self {
        Self {
            count: 0,
            numbers: 0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            floats: 0.0,
            integers: 0,
            first: None,
            last: None,
        }
    }
}

impl Accumulator {
    /// Counts values; their first and last are offered apart.
    pub(in crate::telemetry) fn add(&mut self, values: &Values, range: Range<usize>) {
        let length = range.len() as u64;
        self.count += length;
        match values {
            Values::Float(values) => {
                self.numbers += length;
                self.floats(&values[range]);
            }
            Values::Integer(values) => {
                let values = &values[range];
                self.numbers += length;
                self.integers += values.iter().copied().map(i128::from).sum::<i128>();
                if let (Some(minimum), Some(maximum)) = (values.iter().min(), values.iter().max()) {
                    self.extremes(*minimum as f64, *maximum as f64);
                }
            }
            Values::Bool(values) => {
                let truths = values[range].iter().filter(|value| **value).count() as u64;
                self.bools(length, truths);
            }
            Values::Text(_) => {}
        }
    }

    /// Counts a whole column from what its chunk says of it.
    pub(in crate::telemetry) fn add_statistics(&mut self, count: u64, statistics: Statistics) {
        self.count += count;
        match statistics {
            Statistics::Float { minimum, maximum, sum } => {
                self.numbers += count;
                self.extremes(minimum, maximum);
                self.floats += sum;
            }
            Statistics::Integer { minimum, maximum, sum } => {
                self.numbers += count;
                self.extremes(minimum as f64, maximum as f64);
                self.integers += sum;
            }
            Statistics::Bool { truths } => self.bools(count, truths),
            Statistics::Text => {}
        }
    }

    fn floats(&mut self, values: &[f64]) {
        // Four at a time: a chain of additions waits for each of them.
        let mut minimum = [f64::INFINITY; 4];
        let mut maximum = [f64::NEG_INFINITY; 4];
        let mut sum = [0.0; 4];
        let (groups, rest) = values.as_chunks::<4>();
        let mut add = |lane: usize, value: f64| {
            // Neither comparison holds for what is not a number.
            minimum[lane] = if value < minimum[lane] { value } else { minimum[lane] };
            maximum[lane] = if value > maximum[lane] { value } else { maximum[lane] };
            sum[lane] += if value.is_nan() { 0.0 } else { value };
        };
        for group in groups {
            for (lane, value) in group.iter().enumerate() {
                add(lane, *value);
            }
        }
        for value in rest {
            add(0, *value);
        }
        for lane in 0..4 {
            self.extremes(minimum[lane], maximum[lane]);
        }
        self.floats += (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }

    fn bools(&mut self, count: u64, truths: u64) {
        self.numbers += count;
        self.integers += i128::from(truths);
        let as_number = |is_true: bool| if is_true { 1.0 } else { 0.0 };
        self.extremes(as_number(truths >= count), as_number(truths > 0));
    }

    fn extremes(&mut self, minimum: f64, maximum: f64) {
        self.minimum = self.minimum.min(minimum);
        self.maximum = self.maximum.max(maximum);
    }

    /// Takes values as the first or last when they are.
    pub(in crate::telemetry) fn offer(&mut self, values: &Values, first: (Place, usize), last: (Place, usize)) {
        if self.first.as_ref().is_none_or(|(place, _)| first.0 < *place) {
            self.first = values.get(first.1).map(|value| (first.0, value));
        }
        if self.last.as_ref().is_none_or(|(place, _)| last.0 >= *place) {
            self.last = values.get(last.1).map(|value| (last.0, value));
        }
    }

    /// Takes in other points of the same device.
    pub(in crate::telemetry) fn join(&mut self, mut other: Self) {
        if let Some((place, value)) = other.first.take()
            && self.first.as_ref().is_none_or(|(known, _)| place < *known)
        {
            self.first = Some((place, value));
        }
        if let Some((place, value)) = other.last.take()
            && self.last.as_ref().is_none_or(|(known, _)| place >= *known)
        {
            self.last = Some((place, value));
        }
        self.merge(other);
    }

    /// Takes in the bucket of another device. Of equal times, what was taken in last counts as later.
    pub(in crate::telemetry) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.numbers += other.numbers;
        self.extremes(other.minimum, other.maximum);
        self.floats += other.floats;
        self.integers += other.integers;
        if let Some((place, value)) = other.first
            && self.first.as_ref().is_none_or(|(known, _)| place.time < known.time)
        {
            self.first = Some((place, value));
        }
        if let Some((place, value)) = other.last
            && self.last.as_ref().is_none_or(|(known, _)| place.time >= known.time)
        {
            self.last = Some((place, value));
        }
    }

    /// The sum of all numbers, when there are any.
    pub(in crate::telemetry) fn sum(&self) -> Option<f64> {
        (self.minimum <= self.maximum).then_some(self.floats + self.integers as f64)
    }
}
