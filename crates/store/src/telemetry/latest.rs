//! The newest sealed value of every metric of a device. What is newer still stands in the head.

use std::collections::BTreeMap;
use std::sync::Arc;

use tesaiot_contract::telemetry::Value;

use super::codec::{Malformed, Reader, Writer};
use super::head::{Column, Head, NewestPlace};
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
        let mut newer = newest_in(head, None);
        newer.retain(|candidate| {
            self.by_metric.get(candidate.name).is_none_or(|known| candidate.newest.time >= known.time)
        });
        if newer.len() > MAXIMUM_METRICS {
            // Of so many only these can stay; what the others replace is not the newest any more.
            newer.select_nth_unstable_by(MAXIMUM_METRICS, |one, other| {
                let heard = |candidate: &Candidate<'_>| head.rows.received.get(candidate.newest.row as usize).copied();
                (heard(other), other.name).cmp(&(heard(one), one.name))
            });
            for silent in newer.drain(MAXIMUM_METRICS..) {
                self.by_metric.remove(silent.name);
            }
        }
        for candidate in newer {
            if let Some(newest) = candidate.read(head) {
                self.by_metric.insert(Arc::clone(candidate.name), newest);
            }
        }
        self.forget_silent();
    }

    /// Leaves as many metrics as may be remembered, those heard of last.
    fn forget_silent(&mut self) {
        let Some(excess) = self.by_metric.len().checked_sub(MAXIMUM_METRICS).filter(|excess| *excess > 0) else {
            return;
        };
        let mut heard: Vec<(i64, Arc<str>)> =
            self.by_metric.iter().map(|(name, newest)| (newest.received, Arc::clone(name))).collect();
        heard.select_nth_unstable(excess - 1);
        for (_, name) in &heard[..excess] {
            self.by_metric.remove(name);
        }
    }

    /// The newest values, of one metric or of all, with what a head has newer taken in: in the
    /// order of metric names. Nothing is copied but the answer.
    pub(super) fn answer(&self, head: &Head, metric: Option<&str>) -> Vec<Latest> {
        let mut candidates = newest_in(head, metric).into_iter().peekable();
        let mut answer = Vec::with_capacity(if metric.is_some() { 1 } else { self.by_metric.len() });
        let from_head = |candidate: &Candidate<'_>| Some(candidate.read(head)?.shown(candidate.name));
        let sealed: &mut dyn Iterator<Item = (&Arc<str>, &Newest)> = match metric {
            Some(metric) => &mut self.by_metric.get_key_value(metric).into_iter(),
            None => &mut self.by_metric.iter(),
        };
        for (name, known) in sealed {
            while let Some(candidate) = candidates.next_if(|candidate| candidate.name < name) {
                answer.extend(from_head(&candidate));
            }
            let newer = candidates.next_if(|candidate| candidate.name == name);
            let newer = newer.filter(|candidate| candidate.newest.time >= known.time);
            answer.push(newer.and_then(|newer| from_head(&newer)).unwrap_or_else(|| known.clone().shown(name)));
        }
        answer.extend(candidates.filter_map(|candidate| from_head(&candidate)));
        answer
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

impl Newest {
    fn shown(self, metric: &Arc<str>) -> Latest {
        Latest {
            metric: Arc::clone(metric),
            value: self.value,
            unit: self.unit,
            time: from_nanoseconds(self.time),
            device_time: self.device_time,
            received_at: from_nanoseconds(self.received),
            kind: self.kind,
        }
    }
}

/// Where the newest value of a metric stands in a head.
struct Candidate<'a> {
    name: &'a Arc<str>,
    column: &'a Column,
    newest: NewestPlace,
}

impl Candidate<'_> {
    fn read(&self, head: &Head) -> Option<Newest> {
        let row = self.newest.row as usize;
        Some(Newest {
            time: self.newest.time,
            received: *head.rows.received.get(row)?,
            device_time: *head.rows.device_time.get(row)?,
            value: self.column.values.get(self.newest.place as usize)?,
            unit: self.column.unit.clone(),
            kind: head.rows.kind(row).cloned(),
        })
    }
}

/// The newest value of each metric of a head, or of one, in the order of names. A metric of two
/// types or units has two columns: the later row of them counts.
fn newest_in<'a>(head: &'a Head, metric: Option<&str>) -> Vec<Candidate<'a>> {
    let columns = head.columns.iter().zip(&head.newest);
    let mut candidates: Vec<Candidate<'_>> = columns
        .filter(|(column, _)| metric.is_none_or(|metric| *column.name == *metric))
        .map(|(column, newest)| Candidate { name: &column.name, column, newest: *newest })
        .collect();
    // Stable, and the later of equal ones last: a name that stands twice in a sample means the second.
    candidates.sort_by(|one, other| {
        one.name.cmp(other.name).then((one.newest.time, one.newest.row).cmp(&(other.newest.time, other.newest.row)))
    });
    candidates.reverse();
    candidates.dedup_by(|one, kept| one.name == kept.name);
    candidates.reverse();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tesaiot_contract::telemetry::{Metric, Sample};

    /// A head of one sample with the metrics from `first` on, received at a moment.
    fn head(first: usize, count: usize, received: i64) -> Head {
        let metric = |number| Metric { name: format!("{number:05}").into(), value: Value::Bool(true), unit: None };
        let mut head = Head::new();
        let metrics = (first..first + count).map(metric).collect();
        head.push(1, None, received, &Sample { time: None, id: None, metrics });
        head
    }

    proptest! {
        #[test]
        fn the_metrics_heard_of_last_are_remembered(
            heads in proptest::collection::vec((0..3000_usize, 1..3000_usize), 1..4),
        ) {
            let (mut latest, mut model) = (LatestValues::default(), BTreeMap::new());
            for (received, (first, count)) in (1..).zip(heads) {
                latest.merge(&head(first, count, received));
                model.extend((first..first + count).map(|number| (format!("{number:05}"), received)));
                let mut heard: Vec<(i64, String)> = model.into_iter().map(|(name, received)| (received, name)).collect();
                heard.sort();
                let kept = heard.split_off(heard.len().saturating_sub(MAXIMUM_METRICS));
                model = kept.into_iter().map(|(received, name)| (name, received)).collect();
            }
            let found: BTreeMap<String, i64> =
                latest.by_metric.iter().map(|(name, newest)| (name.to_string(), newest.received)).collect();
            prop_assert_eq!(found, model);
        }
    }
}
