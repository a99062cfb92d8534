//! The open points of one device, column by column: durable in the tail, not sealed yet.
//!
//! A column is one metric of one type and one unit, so a metric that changes either goes on in
//! another column and every value is kept exactly. Columns are joined again when they are read.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Instant;

use tesaiot_contract::telemetry::{Metric, Sample, Value};

use super::latest::{Arrival, LatestValues};
use crate::time::to_nanoseconds;

/// Estimated memory of a column besides its values and name.
const COLUMN_BYTES: usize = 256;
/// Telemetry types that a new sample is compared with.
const FEW_KINDS: usize = 64;
/// Estimated memory of a new text besides its bytes.
const WORD_BYTES: usize = 80;

/// The open points of one device. Rows are samples, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) rows: Rows,
    pub(super) columns: Vec<Column>,
    /// The columns by a hash of name, unit and type: a metric may have another unit in every sample,
    /// and must not be looked for among all of them.
    by_hash: HashMap<u64, Vec<u32>>,
    /// The tail position of the oldest row.
    pub(super) oldest: i64,
    /// When the oldest row arrived. Not a time of day: clocks jump.
    pub(super) since: Instant,
    /// Metric values in all columns.
    pub(super) values: u64,
    /// Estimated memory.
    pub(super) bytes: usize,
}

/// What each sample has besides its metrics.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The device's time, or the receive time when it gave none; nanoseconds.
    pub(super) times: Vec<i64>,
    /// Nanoseconds.
    pub(super) received: Vec<i64>,
    pub(super) device_time: Vec<bool>,
    /// 0 for none, else the place in `kind_names` plus one.
    pub(super) kinds: Vec<u32>,
    pub(super) kind_names: Vec<Arc<str>>,
}

/// One metric of one type and unit.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    pub(super) unit: Option<Arc<str>>,
    /// The rows that have a value, rising.
    pub(super) rows: Vec<u32>,
    pub(super) values: Values,
}

/// The values of a column.
#[derive(Debug)]
pub(super) enum Values {
    Float(Vec<f64>),
    Integer(Vec<i64>),
    Bool(Vec<bool>),
    Text(Words),
}

/// Texts, each different one once.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) indexes: Vec<u32>,
    pub(super) words: Vec<Arc<str>>,
    by_word: HashMap<Arc<str>, u32>,
}

impl Head {
    pub(super) fn new() -> Self {
        Self {
            rows: Rows::default(),
            columns: Vec::new(),
            by_hash: HashMap::new(),
            oldest: 0,
            since: Instant::now(),
            values: 0,
            bytes: 0,
        }
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.rows.times.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.times.is_empty()
    }

    /// Adds a sample that was committed at a tail position, and tells the newest values of it.
    pub(super) fn push(
        &mut self,
        position: i64,
        kind: Option<&str>,
        received: i64,
        sample: &Sample,
        mut latest: Option<&mut LatestValues>,
    ) {
        if self.is_empty() {
            self.oldest = position;
            self.since = Instant::now();
        }
        let row = self.len();
        let number = u32::try_from(row).expect("a head is sealed long before four thousand million samples");
        self.bytes += self.rows.push(kind, received, sample);
        for (place, metric) in sample.metrics.iter().enumerate() {
            let index = self.column(place, number, metric);
            let column = &mut self.columns[index];
            column.rows.push(number);
            self.bytes += 4 + column.values.push(&metric.value);
            self.values += 1;
            if let Some(latest) = &mut latest {
                latest.take(index, column, &metric.value, self.rows.arrival(row));
            }
        }
    }

    /// The column for a metric that stands at `place` in its sample, made when there is none.
    /// A column has one value in a row: a name that comes twice in a sample gets a second one.
    fn column(&mut self, place: usize, row: u32, metric: &Metric) -> usize {
        // Devices send the same metrics in the same order: most often the place is the column.
        if self.columns.get(place).is_some_and(|column| column.takes(row, metric)) {
            return place;
        }
        let hash = self.by_hash.hasher().hash_one((&metric.name, &metric.unit, discriminant(&metric.value)));
        let known = self.by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        if let Some(&column) = known.iter().find(|column| self.columns[**column as usize].takes(row, metric)) {
            return column as usize;
        }
        let name: Arc<str> = Arc::from(&*metric.name);
        let column = self.columns.len();
        let number = u32::try_from(column).expect("a head has no more columns than values");
        self.by_hash.entry(hash).or_default().push(number);
        self.bytes += COLUMN_BYTES + name.len();
        self.columns.push(Column {
            name,
            unit: metric.unit.as_deref().map(Arc::from),
            rows: Vec::new(),
            values: Values::of_type(&metric.value),
        });
        column
    }
}

impl Rows {
    /// Adds a row and returns the memory it takes.
    fn push(&mut self, kind: Option<&str>, received: i64, sample: &Sample) -> usize {
        let mut bytes = 8 + 8 + 1 + 4;
        self.times.push(sample.time.map_or(received, to_nanoseconds));
        self.received.push(received);
        self.device_time.push(sample.time.is_some());
        let kind = match kind {
            None => 0,
            Some(kind) => {
                // A device has few kinds, and the last one is the most likely. Of one that has many, only the
                // last few are found again: a kind may stand in the list twice, and a sample costs the same.
                let recent = self.kind_names.len().saturating_sub(FEW_KINDS);
                let known = self.kind_names[recent..].iter().rposition(|known| **known == *kind);
                let place = known.map_or(self.kind_names.len(), |place| recent + place);
                if known.is_none() {
                    bytes += WORD_BYTES + kind.len();
                    self.kind_names.push(Arc::from(kind));
                }
                u32::try_from(place).expect("a head has no more kinds than samples") + 1
            }
        };
        self.kinds.push(kind);
        bytes
    }

    /// What the values of a row have in common.
    fn arrival(&self, row: usize) -> Arrival<'_> {
        Arrival {
            time: self.times[row],
            received: self.received[row],
            device_time: self.device_time[row],
            kind: self.kinds[row],
            kind_name: self.kind_name(self.kinds[row]),
        }
    }

    /// The telemetry type of a row.
    pub(super) fn kind(&self, row: usize) -> Option<&Arc<str>> {
        self.kind_name(*self.kinds.get(row)?)
    }

    /// A telemetry type as it stands in `kinds`.
    pub(super) fn kind_name(&self, kind: u32) -> Option<&Arc<str>> {
        self.kind_names.get((kind as usize).checked_sub(1)?)
    }
}

impl Column {
    fn takes(&self, row: u32, metric: &Metric) -> bool {
        *self.name == *metric.name
            && self.unit.as_deref() == metric.unit.as_deref()
            && self.values.is_type_of(&metric.value)
            && self.rows.last() != Some(&row)
    }
}

impl Values {
    fn of_type(value: &Value) -> Self {
        match value {
            Value::Float(_) => Self::Float(Vec::new()),
            Value::Integer(_) => Self::Integer(Vec::new()),
            Value::Bool(_) => Self::Bool(Vec::new()),
            Value::Text(_) => Self::Text(Words::default()),
        }
    }

    fn is_type_of(&self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Float(_), Value::Float(_))
                | (Self::Integer(_), Value::Integer(_))
                | (Self::Bool(_), Value::Bool(_))
                | (Self::Text(_), Value::Text(_))
        )
    }

    /// Adds a value of this type and returns the memory it takes.
    fn push(&mut self, value: &Value) -> usize {
        match (self, value) {
            (Self::Float(values), Value::Float(value)) => values.push(*value),
            (Self::Integer(values), Value::Integer(value)) => values.push(*value),
            (Self::Bool(values), Value::Bool(value)) => values.push(*value),
            (Self::Text(words), Value::Text(value)) => return words.push(value),
            _ => unreachable!("a column is found or made by the type of its value"),
        }
        8
    }

    /// The value at a place.
    pub(super) fn get(&self, place: usize) -> Option<Value> {
        Some(match self {
            Self::Float(values) => Value::Float(*values.get(place)?),
            Self::Integer(values) => Value::Integer(*values.get(place)?),
            Self::Bool(values) => Value::Bool(*values.get(place)?),
            Self::Text(words) => {
                let index = *words.indexes.get(place)? as usize;
                Value::Text((&**words.words.get(index)?).into())
            }
        })
    }
}

impl Words {
    fn push(&mut self, word: &str) -> usize {
        if let Some(&index) = self.by_word.get(word) {
            self.indexes.push(index);
            return 4;
        }
        let index = u32::try_from(self.words.len()).expect("a head has no more texts than values");
        let word: Arc<str> = Arc::from(word);
        self.indexes.push(index);
        self.words.push(Arc::clone(&word));
        let bytes = 4 + WORD_BYTES + word.len();
        self.by_word.insert(word, index);
        bytes
    }

    /// Words as they come out of a chunk.
    pub(super) fn from_parts(indexes: Vec<u32>, words: Vec<Arc<str>>) -> Self {
        Self { indexes, words, by_word: HashMap::new() }
    }
}
