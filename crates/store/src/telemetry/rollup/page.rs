//! A page of rollups as bytes.

mod columns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tesaiot_contract::telemetry::Value;

pub(in crate::telemetry) use columns::Columns;

use super::super::bucket::{Accumulator, Place};
use super::super::codec::{Checksum, Malformed, Reader, Writer};
use super::super::numbers::{Plain, decode, encode};
use super::Resolution;

const VERSION: u8 = 2;
/// Without numbers in equal steps. Still read.
const VERSION_WITHOUT_STEPS: u8 = 1;
/// More windows than any page has.
const MAXIMUM_WINDOWS: usize = 4096;

const FLOAT: u32 = 0;
const INTEGER: u32 = 1;
const BOOL: u32 = 2;
const TEXT: u32 = 3;

/// The windows of one metric, by their number within the page.
pub(in crate::telemetry) type Windows = BTreeMap<u32, Accumulator>;

/// A page in memory.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Page {
    /// The days it covers, by their number within the page.
    pub(in crate::telemetry) days: BTreeSet<u32>,
    pub(in crate::telemetry) metrics: BTreeMap<Arc<str>, Windows>,
}

/// Where the windows of some metrics lie, and which samples are their first and last. Metrics that
/// come in the same samples have one shape together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    windows: Vec<u32>,
    counts: Vec<i64>,
    /// Times of the first and last points, from the start of the page.
    first: Vec<i64>,
    last: Vec<i64>,
}

/// A page whose checksum is right and whose header is read.
pub(in crate::telemetry) struct Header<'a> {
    pub(in crate::telemetry) days: Vec<u32>,
    /// Numbers of windows, and the bytes of each shape.
    shapes: Vec<(usize, &'a [u8])>,
    /// Names, places of their shape, and the bytes of each metric.
    metrics: Vec<(&'a str, usize, &'a [u8])>,
    /// When the page begins.
    start: i64,
}

impl Page {
    /// Takes out what it says of a day, counted within the page.
    pub(in crate::telemetry) fn forget_day(&mut self, day: u32, resolution: Resolution) {
        let per_day = resolution.windows_of_day() as u32;
        self.days.remove(&day);
        for windows in self.metrics.values_mut() {
            let mut later = windows.split_off(&(day * per_day));
            windows.append(&mut later.split_off(&((day + 1) * per_day)));
        }
        self.metrics.retain(|_, windows| !windows.is_empty());
    }

    /// The bytes of a page that begins at a time.
    pub(in crate::telemetry) fn encode(&self, start: i64, level: usize) -> Vec<u8> {
        let mut places: BTreeMap<Shape, usize> = BTreeMap::new();
        let (mut shapes, mut metrics) = (Vec::new(), Vec::new());
        for windows in self.metrics.values() {
            let shape = Shape::of(windows, start);
            let place = places.get(&shape).copied().unwrap_or_else(|| {
                shapes.push((shape.windows.len(), shape.encode(level)));
                places.insert(shape, shapes.len() - 1);
                shapes.len() - 1
            });
            metrics.push((place, metric_section(windows, level)));
        }
        let mut writer = Writer::new(VERSION);
        writer.length(self.days.len());
        for day in &self.days {
            writer.unsigned(u64::from(*day));
        }
        writer.length(shapes.len());
        for (windows, section) in &shapes {
            writer.length(*windows);
            writer.length(section.len());
        }
        writer.length(metrics.len());
        for (name, (shape, section)) in self.metrics.keys().zip(&metrics) {
            writer.text(name);
            writer.length(*shape);
            writer.length(section.len());
        }
        for section in shapes.iter().chain(&metrics).map(|(_, section)| section) {
            writer.raw(section);
        }
        writer.finish()
    }

    /// Everything that a page says which begins at a time.
    pub(in crate::telemetry) fn decode(blob: &[u8], start: i64) -> Result<Self, Malformed> {
        let header = Header::open(blob, start, Checksum::Compare)?;
        let mut metrics = BTreeMap::new();
        for place in 0..header.metrics.len() {
            metrics.insert(Arc::from(header.metrics[place].0), header.decode(place)?.all());
        }
        Ok(Self { days: header.days.into_iter().collect(), metrics })
    }
}

impl Shape {
    fn of(windows: &Windows, start: i64) -> Self {
        let time = |edge: &Option<(Place, Value)>| edge.as_ref().map_or(0, |(place, _)| place.time - start);
        Self {
            windows: windows.keys().copied().collect(),
            counts: windows.values().map(|window| window.count as i64).collect(),
            first: windows.values().map(|window| time(&window.first)).collect(),
            last: windows.values().map(|window| time(&window.last)).collect(),
        }
    }

    fn encode(&self, level: usize) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        column(&mut writer, self.windows.iter().copied(), level);
        for numbers in [&self.counts, &self.first, &self.last] {
            column(&mut writer, numbers.iter().copied(), level);
        }
        writer.body().to_vec()
    }

    fn decode(bytes: &[u8], count: usize) -> Result<Self, Malformed> {
        let reader = &mut Reader::body(bytes);
        let windows: Vec<u32> = read_column(reader, count)?;
        let shape = Self {
            windows,
            counts: read_column(reader, count)?,
            first: read_column(reader, count)?,
            last: read_column(reader, count)?,
        };
        if !reader.is_empty() || !shape.windows.is_sorted_by(|one, other| one < other) {
            return Err(Malformed("the windows of a page are not what they must be"));
        }
        Ok(shape)
    }
}

impl<'a> Header<'a> {
    /// A page that begins at a time.
    pub(in crate::telemetry) fn open(blob: &'a [u8], start: i64, checksum: Checksum) -> Result<Self, Malformed> {
        let (_, mut reader) = Reader::open_any(blob, &[VERSION, VERSION_WITHOUT_STEPS], checksum)?;
        let mut days = Vec::new();
        for _ in 0..reader.count()? {
            days.push(u32::try_from(reader.unsigned()?).map_err(|_| Malformed("a page has an impossible day"))?);
        }
        let mut shape_lengths = Vec::new();
        for _ in 0..reader.count()? {
            let (windows, length) = (reader.length()?, reader.length()?);
            if windows == 0 || windows > MAXIMUM_WINDOWS {
                return Err(Malformed("a page has an impossible number of windows"));
            }
            shape_lengths.push((windows, length));
        }
        let mut lengths = Vec::new();
        for _ in 0..reader.count()? {
            lengths.push((reader.text()?, reader.length()?, reader.length()?));
        }
        let mut shapes = Vec::with_capacity(shape_lengths.len());
        for (windows, length) in shape_lengths {
            shapes.push((windows, reader.raw(length)?));
        }
        let mut metrics = Vec::with_capacity(lengths.len());
        for (name, shape, length) in lengths {
            metrics.push((name, shape, reader.raw(length)?));
        }
        if !reader.is_empty() {
            return Err(Malformed("bytes follow the last section"));
        }
        Ok(Self { days, shapes, metrics, start })
    }

    /// The windows of one metric; none when the page has nothing of it.
    pub(in crate::telemetry) fn windows(&self, metric: &str) -> Result<Option<Columns>, Malformed> {
        let place = self.metrics.binary_search_by(|(name, ..)| (*name).cmp(metric));
        place.ok().map(|place| self.decode(place)).transpose()
    }

    fn decode(&self, metric: usize) -> Result<Columns, Malformed> {
        let (_, shape, bytes) = self.metrics.get(metric).ok_or(Malformed("a metric is missing"))?;
        let (count, shape) = self.shapes.get(*shape).ok_or(Malformed("a shape is missing"))?;
        Columns::decode(Shape::decode(shape, *count)?, bytes, self.start)
    }
}

fn metric_section(windows: &Windows, level: usize) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    let all = || windows.values();
    column(&mut writer, all().map(|window| window.numbers as i64), level);
    column(&mut writer, all().map(|window| window.minimum), level);
    column(&mut writer, all().map(|window| window.maximum), level);
    column(&mut writer, all().map(|window| window.floats), level);
    column(&mut writer, all().map(|window| window.integers as i64), level);
    column(&mut writer, all().map(|window| (window.integers >> 64) as i64), level);
    edge(&mut writer, all().map(|window| window.first.as_ref().map(|(_, value)| value)), level);
    edge(&mut writer, all().map(|window| window.last.as_ref().map(|(_, value)| value)), level);
    writer.body().to_vec()
}

fn column<T: Plain>(writer: &mut Writer, values: impl Iterator<Item = T>, level: usize) {
    let values: Vec<T> = values.collect();
    let bytes = if values.is_empty() { Vec::new() } else { encode(&values, level) };
    writer.length(bytes.len());
    writer.raw(&bytes);
}

/// The first or last values.
fn edge<'a>(writer: &mut Writer, values: impl Iterator<Item = Option<&'a Value>>, level: usize) {
    let (mut types, mut floats, mut integers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut words, mut indexes): (Vec<&str>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut by_word: BTreeMap<&str, u32> = BTreeMap::new();
    for value in values {
        match value {
            Some(Value::Float(value)) => {
                types.push(FLOAT);
                floats.push(*value);
            }
            Some(Value::Integer(value)) => {
                types.push(INTEGER);
                integers.push(*value);
            }
            Some(Value::Bool(value)) => {
                types.push(BOOL);
                integers.push(i64::from(*value));
            }
            Some(Value::Text(value)) => {
                types.push(TEXT);
                indexes.push(*by_word.entry(value).or_insert_with(|| {
                    words.push(value);
                    words.len() as u32 - 1
                }));
            }
            // A window has at least one point, so it has a first and a last one.
            None => {
                types.push(FLOAT);
                floats.push(f64::NAN);
            }
        }
    }
    column(writer, types.into_iter(), level);
    column(writer, floats.into_iter(), level);
    column(writer, integers.into_iter(), level);
    writer.length(words.len());
    for word in words {
        writer.text(word);
    }
    column(writer, indexes.into_iter(), level);
}

fn read_column<T: Plain>(reader: &mut Reader<'_>, count: usize) -> Result<Vec<T>, Malformed> {
    let length = reader.length()?;
    let bytes = reader.raw(length)?;
    if count == 0 { Ok(Vec::new()) } else { decode(bytes, count) }
}
