//! The newest sealed value of every metric of a device. What is newer still stands in the head.

use std::collections::BTreeMap;
use std::sync::Arc;

use tesaiot_contract::telemetry::Value;

use super::codec::{Malformed, Reader, Writer};
use super::head::{Column, Head, Rows};
use super::query::Latest;
use crate::time::from_nanoseconds;

/// Metrics remembered for a device; beyond it the one that was silent longest is forgotten here
/// (its points are not).
const MAXIMUM_METRICS: usize = 1024;

/// The newest values by metric name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct LatestValues {
    by_metric: BTreeMap<Arc<str>, Newest>,
}

#[derive(Debug, Clone, PartialEq)]
struct Newest {
    time: i64,
    received: i64,
    device_time: bool,
    value: Value,
    unit: Option<Arc<str>>,
    kind: Option<Arc<str>>,
}

impl LatestValues {
    /// Takes in what is newer in a head: of equal times, the last to arrive.
    pub(super) fn merge(&mut self, head: &Head) {
        let mut newest_row: BTreeMap<&Arc<str>, (i64, u32)> = BTreeMap::new();
        for column in &head.columns {
            let Some((row, newest)) = newest_of(column, &head.rows) else {
                continue;
            };
            // A metric of two types or units has two columns: the later row of them counts.
            let best = newest_row.get(&column.name).copied();
            let known = self.by_metric.get(&column.name);
            if best.is_none_or(|best| (newest.time, row) >= best)
                && known.is_none_or(|known| best.is_some() || newest.time >= known.time)
            {
                newest_row.insert(&column.name, (newest.time, row));
                self.by_metric.insert(Arc::clone(&column.name), newest);
            }
        }
        while self.by_metric.len() > MAXIMUM_METRICS {
            let silent = self.by_metric.iter().min_by_key(|(_, newest)| newest.received);
            let Some(name) = silent.map(|(name, _)| Arc::clone(name)) else {
                break;
            };
            self.by_metric.remove(&name);
        }
    }

    /// The values in the order of their metric names.
    pub(super) fn into_answer(self) -> Vec<Latest> {
        self.by_metric
            .into_iter()
            .map(|(metric, newest)| Latest {
                metric,
                value: newest.value,
                unit: newest.unit,
                time: from_nanoseconds(newest.time),
                device_time: newest.device_time,
                received_at: from_nanoseconds(newest.received),
                kind: newest.kind,
            })
            .collect()
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.length(self.by_metric.len());
        for (metric, newest) in &self.by_metric {
            writer.text(metric);
            writer.signed(newest.time);
            writer.signed(newest.received.wrapping_sub(newest.time));
            writer.byte(u8::from(newest.device_time));
            writer.optional_text(newest.unit.as_deref());
            writer.optional_text(newest.kind.as_deref());
            match &newest.value {
                Value::Float(value) => {
                    writer.byte(0);
                    writer.float(*value);
                }
                Value::Integer(value) => {
                    writer.byte(1);
                    writer.signed(*value);
                }
                Value::Bool(value) => writer.byte(2 + u8::from(*value)),
                Value::Text(value) => {
                    writer.byte(4);
                    writer.text(value);
                }
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut by_metric = BTreeMap::new();
        for _ in 0..reader.count()? {
            let metric = Arc::from(reader.text()?);
            let time = reader.signed()?;
            let received = reader.signed()?.wrapping_add(time);
            let device_time = reader.byte()? != 0;
            let unit = reader.optional_text()?.map(Arc::from);
            let kind = reader.optional_text()?.map(Arc::from);
            let value = match reader.byte()? {
                0 => Value::Float(reader.float()?),
                1 => Value::Integer(reader.signed()?),
                2 => Value::Bool(false),
                3 => Value::Bool(true),
                4 => Value::Text(reader.text()?.into()),
                _ => return Err(Malformed("a value has an unknown type")),
            };
            by_metric.insert(metric, Newest { time, received, device_time, value, unit, kind });
        }
        Ok(Self { by_metric })
    }
}

/// The row and the value of the column's latest time.
fn newest_of(column: &Column, rows: &Rows) -> Option<(u32, Newest)> {
    let (place, row) =
        column.rows.iter().enumerate().max_by_key(|(place, row)| (rows.times.get(**row as usize), *place))?;
    let index = *row as usize;
    let newest = Newest {
        time: *rows.times.get(index)?,
        received: *rows.received.get(index)?,
        device_time: *rows.device_time.get(index)?,
        value: column.values.get(place)?,
        unit: column.unit.clone(),
        kind: rows.kind(index).cloned(),
    };
    Some((*row, newest))
}
