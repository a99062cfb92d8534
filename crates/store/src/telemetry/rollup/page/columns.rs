//! The windows of one metric as a page has them: column by column.
//!
//! A question at the edge of its buckets wants a few windows of the many that a page has, so a window is put together
//! when it is asked for.

use std::ops::{Range, RangeInclusive};

use tesaiot_contract::telemetry::Value;

use super::super::super::bucket::{Accumulator, Place};
use super::super::super::codec::{Malformed, Reader};
use super::{BOOL, FLOAT, INTEGER, Shape, TEXT, Windows, read_column};

/// The windows of one metric, decoded.
#[derive(Debug)]
pub(in crate::telemetry) struct Columns {
    shape: Shape,
    numbers: Vec<i64>,
    minima: Vec<f64>,
    maxima: Vec<f64>,
    floats: Vec<f64>,
    /// The sums of integers: the low 64 bits, and the high ones.
    low: Vec<i64>,
    high: Vec<i64>,
    first: Edge,
    last: Edge,
    /// When the page begins.
    start: i64,
}

/// The first or the last values.
#[derive(Debug)]
enum Edge {
    /// All of them are floats, as most often.
    Floats(Vec<f64>),
    Mixed(Vec<Value>),
}

impl Columns {
    pub(super) fn decode(shape: Shape, bytes: &[u8], start: i64) -> Result<Self, Malformed> {
        let count = shape.windows.len();
        let reader = &mut Reader::body(bytes);
        let columns = Self {
            numbers: read_column(reader, count)?,
            minima: read_column(reader, count)?,
            maxima: read_column(reader, count)?,
            floats: read_column(reader, count)?,
            low: read_column(reader, count)?,
            high: read_column(reader, count)?,
            first: Edge::decode(reader, count)?,
            last: Edge::decode(reader, count)?,
            shape,
            start,
        };
        if !reader.is_empty() {
            return Err(Malformed("bytes follow the last column"));
        }
        Ok(columns)
    }

    /// The places of windows by their numbers within the page.
    pub(in crate::telemetry) fn places(&self, numbers: RangeInclusive<u32>) -> Range<usize> {
        let windows = &self.shape.windows;
        let start = windows.partition_point(|number| number < numbers.start());
        let length = windows[start..].partition_point(|number| number <= numbers.end());
        start..start + length
    }

    /// A window, and its number within the page.
    pub(in crate::telemetry) fn window(&self, place: usize) -> Option<(u32, Accumulator)> {
        // Chunks are numbered from 1: what stands in a page came before what is still in the head.
        let at = |time: i64| Place { time: self.start.saturating_add(time), chunk: 0, row: 0 };
        let integers = (i128::from(*self.high.get(place)?) << 64) | i128::from(*self.low.get(place)? as u64);
        let window = Accumulator {
            count: self.shape.counts.get(place)?.unsigned_abs(),
            numbers: self.numbers.get(place)?.unsigned_abs(),
            minimum: *self.minima.get(place)?,
            maximum: *self.maxima.get(place)?,
            floats: *self.floats.get(place)?,
            integers,
            first: Some((at(*self.shape.first.get(place)?), self.first.get(place)?)),
            last: Some((at(*self.shape.last.get(place)?), self.last.get(place)?)),
        };
        Some((*self.shape.windows.get(place)?, window))
    }

    /// All windows.
    pub(super) fn all(&self) -> Windows {
        (0..self.shape.windows.len()).filter_map(|place| self.window(place)).collect()
    }
}

impl Edge {
    fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Self, Malformed> {
        let types: Vec<u32> = read_column(reader, count)?;
        let count_of = |wanted: fn(u32) -> bool| types.iter().filter(|found| wanted(**found)).count();
        let floats = read_column::<f64>(reader, count_of(|found| found == FLOAT))?;
        let integers = read_column::<i64>(reader, count_of(|found| found == INTEGER || found == BOOL))?;
        let mut words: Vec<&str> = Vec::new();
        for _ in 0..reader.count()? {
            words.push(reader.text()?);
        }
        let indexes = read_column::<u32>(reader, count_of(|found| found == TEXT))?;
        if floats.len() == count {
            return Ok(Self::Floats(floats));
        }
        let (mut floats, mut integers, mut indexes) = (floats.into_iter(), integers.into_iter(), indexes.into_iter());
        let missing = Malformed("a first or last value is missing");
        let value = |found: &u32| match *found {
            FLOAT => floats.next().map(Value::Float).ok_or(missing),
            INTEGER => integers.next().map(Value::Integer).ok_or(missing),
            BOOL => integers.next().map(|value| Value::Bool(value != 0)).ok_or(missing),
            TEXT => {
                let index = indexes.next().ok_or(missing)? as usize;
                words.get(index).map(|word| Value::Text((*word).into())).ok_or(missing)
            }
            _ => Err(Malformed("a value has an unknown type")),
        };
        types.iter().map(value).collect::<Result<_, _>>().map(Self::Mixed)
    }

    fn get(&self, place: usize) -> Option<Value> {
        match self {
            Self::Floats(values) => values.get(place).copied().map(Value::Float),
            Self::Mixed(values) => values.get(place).cloned(),
        }
    }
}
