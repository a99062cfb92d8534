//! The newest value of every metric of a device, kept up to date with every sample.
//!
//! The newest values of a whole fleet are asked for more often than anything else, and what they cost is waiting for
//! memory: so they lie side by side, in an order that is kept, and share one handle with what they are values of.

use std::sync::Arc;

use tesaiot_contract::telemetry::Value;

use super::codec::{Malformed, Reader, Writer};
use super::head::Column;
use super::query::{Latest, Series};
use crate::time::from_nanoseconds;

/// Metrics remembered when a device is sealed; beyond it the one that was silent longest is forgotten here (its
/// points are not).
const MAXIMUM_METRICS: usize = 1024;
/// No column and kind of a head.
const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

/// The newest values of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct LatestValues {
    newest: Vec<Newest>,
    /// Places in `newest`, in the order of metric names.
    by_name: Vec<u32>,
    /// Of each column of the head its place in `newest`: a metric with two types or units has two columns.
    of_columns: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Newest {
    series: Arc<Series>,
    value: Value,
    time: i64,
    received: i64,
    /// The column and the kind, as the head numbers them, that `series` is known to be right for.
    known: (u32, u32),
    device_time: bool,
}

/// What all values of a sample have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// Nanoseconds.
    pub(super) time: i64,
    /// Nanoseconds.
    pub(super) received: i64,
    pub(super) device_time: bool,
    /// As the head numbers it.
    pub(super) kind: u32,
    pub(super) kind_name: Option<&'a Arc<str>>,
}

impl LatestValues {
    /// Takes in a value that was added to a column of the head, unless a newer one is known: of equal times, the last
    /// to arrive counts.
    pub(super) fn take(&mut self, number: usize, column: &Column, value: &Value, arrival: Arrival<'_>) {
        // Columns are numbered as they come up, and each comes up with a value.
        let place = match self.of_columns.get(number) {
            Some(place) => *place,
            None => {
                let place = self.place_of(&column.name);
                self.of_columns.push(place);
                place
            }
        };
        let newest = &mut self.newest[place as usize];
        if arrival.time < newest.time {
            return;
        }
        let known = (number as u32, arrival.kind);
        if newest.known != known {
            newest.known = known;
            if newest.series.unit != column.unit || newest.series.kind.as_ref() != arrival.kind_name {
                let metric = Arc::clone(&newest.series.metric);
                let (unit, kind) = (column.unit.clone(), arrival.kind_name.cloned());
                newest.series = Arc::new(Series { metric, unit, kind });
            }
        }
        (newest.time, newest.received, newest.device_time) = (arrival.time, arrival.received, arrival.device_time);
        match (&newest.value, value) {
            // Most texts are the same each time.
            (Value::Text(known), Value::Text(text)) if known == text => {}
            _ => newest.value = value.clone(),
        }
    }

    /// The place of a metric in `newest`, made when there is none.
    fn place_of(&mut self, name: &Arc<str>) -> u32 {
        match self.search(name) {
            Ok(index) => self.by_name[index],
            Err(index) => {
                let place = u32::try_from(self.newest.len()).expect("a head has no more metrics than values");
                self.by_name.insert(index, place);
                self.newest.push(Newest {
                    series: Arc::new(Series { metric: Arc::clone(name), unit: None, kind: None }),
                    value: Value::Bool(false),
                    time: i64::MIN,
                    received: i64::MIN,
                    known: NOWHERE,
                    device_time: false,
                });
                place
            }
        }
    }

    /// Where a metric stands in the order of names, or would stand.
    fn search(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|place| (*self.newest[*place as usize].series.metric).cmp(name))
    }

    /// After the head was sealed and a new one begun: its columns are numbered anew, and as many metrics stay as may
    /// be remembered.
    pub(super) fn after_sealing(&mut self) {
        self.of_columns = Vec::new();
        if let Some(is_kept) = self.remembered() {
            let newest = std::mem::take(&mut self.newest).into_iter().zip(is_kept);
            self.newest = newest.filter_map(|(newest, is_kept)| is_kept.then_some(newest)).collect();
            let names: &[Newest] = &self.newest;
            self.by_name = (0..names.len() as u32).collect();
            self.by_name
                .sort_by(|one, other| names[*one as usize].series.metric.cmp(&names[*other as usize].series.metric));
        }
        for newest in &mut self.newest {
            newest.known = NOWHERE;
        }
    }

    /// Of each metric whether it is among those heard of last; nothing when all of them may stay.
    fn remembered(&self) -> Option<Vec<bool>> {
        let excess = self.newest.len().checked_sub(MAXIMUM_METRICS).filter(|excess| *excess > 0)?;
        let mut heard: Vec<(i64, &str, usize)> = self
            .newest
            .iter()
            .enumerate()
            .map(|(place, newest)| (newest.received, &*newest.series.metric, place))
            .collect();
        heard.select_nth_unstable(excess - 1);
        let mut is_kept = vec![true; self.newest.len()];
        for (.., place) in &heard[..excess] {
            is_kept[*place] = false;
        }
        Some(is_kept)
    }

    /// The newest values, of one metric or of all, in the order of metric names.
    pub(super) fn answer(&self, metric: Option<&str>) -> Vec<Latest> {
        match metric {
            Some(metric) => self
                .search(metric)
                .map(|index| vec![self.newest[self.by_name[index] as usize].shown()])
                .unwrap_or_default(),
            None => {
                // Looked at once before the handles are counted up one after the other: the processor waits for all
                // of them together then, not for each.
                std::hint::black_box(self.newest.iter().map(|newest| Arc::strong_count(&newest.series)).sum::<usize>());
                self.by_name.iter().map(|place| self.newest[*place as usize].shown()).collect()
            }
        }
    }

    /// Those that are remembered.
    pub(super) fn encode(&self, writer: &mut Writer) {
        let is_kept = self.remembered();
        let places = || {
            let places = self.by_name.iter().map(|place| *place as usize);
            places.filter(|place| is_kept.as_ref().is_none_or(|is_kept| is_kept[*place]))
        };
        writer.length(places().count());
        for newest in places().map(|place| &self.newest[place]) {
            writer.text(&newest.series.metric);
            writer.signed(newest.time);
            writer.signed(newest.received.wrapping_sub(newest.time));
            writer.byte(u8::from(newest.device_time));
            writer.optional_text(newest.series.unit.as_deref());
            writer.optional_text(newest.series.kind.as_deref());
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
        let mut latest = Self::default();
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
            let place = latest.place_of(&metric) as usize;
            let series = Arc::new(Series { metric, unit, kind });
            latest.newest[place] = Newest { series, value, time, received, known: NOWHERE, device_time };
        }
        Ok(latest)
    }
}

impl Newest {
    fn shown(&self) -> Latest {
        Latest {
            series: Arc::clone(&self.series),
            value: self.value.clone(),
            time: from_nanoseconds(self.time),
            device_time: self.device_time,
            received_at: from_nanoseconds(self.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::Head;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use tesaiot_contract::telemetry::{Metric, Sample};

    /// Takes in a sample with the metrics from `first` on, received at a moment, and seals it.
    fn seal(latest: &mut LatestValues, first: usize, count: usize, received: i64) {
        let metric = |number| Metric { name: format!("{number:05}").into(), value: Value::Bool(true), unit: None };
        let metrics = (first..first + count).map(metric).collect();
        Head::new().push(1, None, received, &Sample { time: None, id: None, metrics }, Some(latest));
        latest.after_sealing();
    }

    proptest! {
        #[test]
        fn the_metrics_heard_of_last_are_remembered(
            heads in proptest::collection::vec((0..3000_usize, 1..3000_usize), 1..4),
        ) {
            let (mut latest, mut model) = (LatestValues::default(), BTreeMap::new());
            for (received, (first, count)) in (1..).zip(heads) {
                seal(&mut latest, first, count, received);
                model.extend((first..first + count).map(|number| (format!("{number:05}"), received)));
                let mut heard: Vec<(i64, String)> = model.into_iter().map(|(name, received)| (received, name)).collect();
                heard.sort();
                let kept = heard.split_off(heard.len().saturating_sub(MAXIMUM_METRICS));
                model = kept.into_iter().map(|(received, name)| (name, received)).collect();
            }
            let found: Vec<(String, i64)> = latest
                .answer(None)
                .iter()
                .map(|latest| (latest.series.metric.to_string(), crate::time::to_nanoseconds(latest.received_at)))
                .collect();
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }
}
