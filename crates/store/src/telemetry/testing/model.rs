//! The store against a naive model: whatever is appended, sealed, trimmed, crashed and reopened,
//! every answer is the same.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Sample, Value};

use super::questions::{self, any_question};
use super::{any_sample, any_time};
use crate::telemetry::rollup::{DAY, day_start};
use crate::telemetry::{
    Appender, BucketQuery, Entry, Maintained, MessageQuery, Options, Outcome, Point, Points, RangeQuery, Retention,
    Series, Telemetry,
};
use crate::time::from_nanoseconds;

/// The day on which a run begins: that of most samples.
const FIRST_DAY: i64 = 20_416;

#[derive(Debug, Clone)]
enum Operation {
    /// Samples of devices, each with a kind and a receive time, and messages between them.
    Append(Vec<(usize, Option<&'static str>, Timestamp, Sample)>, usize),
    Maintain,
    SealAll,
    /// Maintain until nothing is left to do: rollups and merged chunks too.
    Settle,
    /// Some days later: what is older than the limit goes, and is in no answer from then on.
    Later(i64),
    /// Drop everything and open again.
    Reopen,
    /// Copy the files as a crash would leave them, and go on with the copy.
    Crash,
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let sample =
        (0..3_usize, prop_oneof![Just(None), Just(Some("vital")), Just(Some("env"))], any_time(), any_sample());
    prop_oneof![
        6 => (proptest::collection::vec(sample, 0..6), 0..2_usize).prop_map(|(samples, messages)| Operation::Append(samples, messages)),
        3 => Just(Operation::Maintain),
        1 => Just(Operation::SealAll),
        2 => Just(Operation::Settle),
        1 => (0..3_i64).prop_map(Operation::Later),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
    ]
}

/// A point that nothing else holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) series: Series,
    pub(super) time: Timestamp,
    pub(super) device_time: bool,
    pub(super) received_at: Timestamp,
    pub(super) value: Value,
}

impl Held {
    fn point(&self) -> Point<'_> {
        let Self { series, time, device_time, received_at, value } = self;
        Point { series, time: *time, device_time: *device_time, received_at: *received_at, value }
    }
}

struct Model {
    /// By device; in the order of arrival.
    points: BTreeMap<DeviceId, Vec<Held>>,
    seen: HashSet<(DeviceId, MessageId)>,
    samples: u64,
    messages: Vec<Bytes>,
    /// Points before this time are served no more.
    limit: Timestamp,
}

impl Model {
    fn new() -> Self {
        Self { points: BTreeMap::new(), seen: HashSet::new(), samples: 0, messages: Vec::new(), limit: Timestamp::MIN }
    }

    fn append(&mut self, entries: &[Entry]) -> Vec<Outcome> {
        entries.iter().map(|entry| self.append_one(entry)).collect()
    }

    fn append_one(&mut self, entry: &Entry) -> Outcome {
        let (device, kind, received_at, sample) = match entry {
            Entry::Sample { device, kind, received_at, sample } => (device, kind, received_at, sample),
            Entry::Message { payload, .. } => {
                self.messages.push(payload.clone());
                return Outcome::Stored;
            }
            Entry::DeadLetter { .. } => return Outcome::Stored,
        };
        if let Some(id) = &sample.id
            && !self.seen.insert((device.clone(), id.clone()))
        {
            return Outcome::Duplicate;
        }
        self.samples += 1;
        let points = self.points.entry(device.clone()).or_default();
        points.extend(sample.metrics.iter().map(|metric| Held {
            series: Series {
                metric: (&*metric.name).into(),
                unit: metric.unit.as_deref().map(Into::into),
                kind: kind.as_deref().map(Into::into),
            },
            time: sample.time.unwrap_or(*received_at),
            device_time: sample.time.is_some(),
            received_at: *received_at,
            value: metric.value.clone(),
        }));
        Outcome::Stored
    }

    fn range(&self, device: &DeviceId, query: &RangeQuery) -> Vec<Held> {
        let mut points: Vec<Held> = self.points.get(device).cloned().unwrap_or_default();
        points.retain(|point| {
            query.metric.as_deref().is_none_or(|metric| metric == &*point.series.metric)
                && query.from.max(self.limit) <= point.time
                && point.time < query.to
        });
        points.sort_by_key(|point| point.time);
        if query.newest_first {
            points.reverse();
        }
        points.truncate(query.limit);
        points
    }
}

/// Debug tells NaN from NaN and -0.0 from 0.0, which equality does not.
fn text<'a>(points: impl Iterator<Item = Point<'a>>) -> Vec<String> {
    points.map(|point| format!("{point:?}")).collect()
}

fn text_of(points: &Points) -> Vec<String> {
    text(points.iter())
}

fn text_of_model(points: &[Held]) -> Vec<String> {
    text(points.iter().map(Held::point))
}

struct Store {
    directory: tempfile::TempDir,
    number: usize,
    open: Option<(Telemetry, Appender)>,
    options: Options,
    /// The day that retention goes by.
    today: i64,
}

impl Store {
    fn new(options: Options) -> Self {
        let mut store =
            Self { directory: tempfile::tempdir().unwrap(), number: 0, open: None, options, today: FIRST_DAY };
        store.reopen();
        store
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.db", self.number))
    }

    fn reopen(&mut self) {
        self.open = None;
        self.open = Some(Telemetry::open(&self.path(), self.options.clone()).unwrap());
        let today = self.today;
        self.appender().shared.today.store(today, Ordering::Relaxed);
    }

    fn crash(&mut self) {
        let from = self.path();
        self.number += 1;
        copy_as_crashed(&from, &self.path());
        self.reopen();
    }

    fn maintain(&mut self) -> Maintained {
        let now = from_nanoseconds(day_start(self.today) + DAY / 2);
        self.appender().maintain_at(now).unwrap()
    }

    fn settle(&mut self) {
        self.appender().sweep.hurry();
        let ends = (0..10_000).any(|_| !self.maintain().more);
        assert!(ends, "maintaining comes to an end");
    }

    /// When the first day begins whose points are kept.
    fn limit(&self) -> Timestamp {
        let age = self.options.retention.raw.map(|age| (age.as_nanos() as i64) / DAY);
        age.map_or(Timestamp::MIN, |days| from_nanoseconds(day_start(self.today - days)))
    }

    fn appender(&mut self) -> &mut Appender {
        &mut self.open.as_mut().unwrap().1
    }

    fn telemetry(&self) -> &Telemetry {
        &self.open.as_ref().unwrap().0
    }
}

fn copy_as_crashed(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        if Path::new(&name(from)).exists() {
            std::fs::copy(name(from), name(to)).unwrap();
        }
    }
}

fn devices() -> [DeviceId; 3] {
    ["device-a", "device-b", "device-c"].map(|id| DeviceId::new(id).unwrap())
}

fn run(operations: &[Operation], queries: &[RangeQuery], questions: &[BucketQuery], options: Options) {
    let mut store = Store::new(options);
    let mut model = Model::new();
    model.limit = store.limit();
    let devices = devices();
    for operation in operations {
        match operation {
            Operation::Append(samples, messages) => {
                let mut entries: Vec<Entry> = samples
                    .iter()
                    .map(|(device, kind, received_at, sample)| Entry::Sample {
                        device: devices[*device].clone(),
                        kind: kind.map(Into::into),
                        received_at: *received_at,
                        sample: sample.clone(),
                    })
                    .collect();
                for (message, device) in devices.iter().enumerate().take(*messages) {
                    entries.push(Entry::Message {
                        device: device.clone(),
                        topic: "device/x/events/door".into(),
                        received_at: Timestamp::UNIX_EPOCH,
                        payload: Bytes::from(format!("message {}", model.messages.len() + message)),
                    });
                }
                let expected = model.append(&entries);
                assert_eq!(store.appender().append(&entries).unwrap().outcomes, expected);
            }
            Operation::Maintain => {
                store.maintain();
            }
            Operation::Settle => store.settle(),
            Operation::Later(days) => {
                store.today += days;
                store.settle();
                // Rollups are made before their chunks go: what waited for them goes in a second visit.
                store.settle();
                model.limit = store.limit();
            }
            Operation::SealAll => {
                store.appender().seal_all().unwrap();
                assert_eq!(store.telemetry().counts().open_samples, 0);
            }
            Operation::Reopen => store.reopen(),
            Operation::Crash => store.crash(),
        }
        compare(store.telemetry(), &model, queries);
        for question in questions {
            // Of days whose points are gone there are rollups, which come too late for what comes later still.
            let question = &BucketQuery { from: question.from.max(model.limit), ..question.clone() };
            questions::compare(store.telemetry(), &model.points, question);
        }
    }
    assert!(store.telemetry().check().unwrap().is_sound());
}

fn compare(telemetry: &Telemetry, model: &Model, queries: &[RangeQuery]) {
    for device in &devices() {
        for query in queries {
            let found = telemetry.range(device, query).unwrap();
            assert_eq!(text_of(&found), text_of_model(&model.range(device, query)), "{query:?}");
        }
        // All metrics at once: the same points, in the order of time; within one sample any order.
        let everything = RangeQuery::default();
        let found = telemetry.range(device, &everything).unwrap();
        assert!(found.iter().is_sorted_by_key(|point| point.time));
        let reversed = telemetry.range(device, &RangeQuery { newest_first: true, ..everything.clone() }).unwrap();
        assert_eq!(text_of(&found), text(reversed.iter().rev()));
        let (mut found, mut expected) = (text_of(&found), text_of_model(&model.range(device, &everything)));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        compare_latest(telemetry, model, device);
    }
    let counts = telemetry.counts();
    assert_eq!(counts.samples, model.samples);
    assert_eq!(counts.values, model.points.values().map(|points| points.len() as u64).sum::<u64>());
    assert_eq!(counts.messages, model.messages.len() as u64);
    let messages = telemetry.messages(&MessageQuery { limit: 1000, ..MessageQuery::default() }).unwrap();
    let payloads: Vec<Bytes> = messages.into_iter().rev().map(|message| message.payload).collect();
    assert_eq!(payloads, model.messages);
}

fn compare_latest(telemetry: &Telemetry, model: &Model, device: &DeviceId) {
    let mut expected: BTreeMap<String, &Held> = BTreeMap::new();
    for point in model.points.get(device).map_or(&[][..], Vec::as_slice) {
        let newest = expected.entry(point.series.metric.to_string()).or_insert(point);
        if point.time >= newest.time {
            *newest = point;
        }
    }
    let found = telemetry.latest(device);
    assert_eq!(found.len(), expected.len());
    for (latest, point) in found.into_iter().zip(expected.into_values()) {
        let found = Held {
            series: (*latest.series).clone(),
            time: latest.time,
            device_time: latest.device_time,
            received_at: latest.received_at,
            value: latest.value,
        };
        assert_eq!(text_of_model(&[found]), text_of_model(std::slice::from_ref(point)));
    }
}

fn any_query() -> impl Strategy<Value = RangeQuery> {
    // One metric: the order is then exact, because a metric comes once in a sample.
    ("[a-d]", any_time(), any_time(), prop_oneof![Just(usize::MAX), 0..10_usize], any::<bool>(), any::<bool>())
        .prop_map(|(metric, from, to, limit, newest_first, all)| RangeQuery {
            metric: Some(metric.into()),
            from: if all { Timestamp::MIN } else { from },
            to: if all { Timestamp::MAX } else { to },
            limit,
            newest_first,
        })
}

fn small_options() -> impl Strategy<Value = Options> {
    let bounds = (prop_oneof![Just(u64::MAX), Just(300)], prop_oneof![Just(usize::MAX), Just(1000)], any::<bool>());
    let raw = prop_oneof![Just(None), (1..5_u64).prop_map(|days| Some(Duration::from_secs(days * 86_400)))];
    (1..8_usize, prop_oneof![Just(0), Just(1), Just(12)], bounds, raw).prop_map(
        |(chunk_samples, few_chunks, (tail_bytes, head_bytes, old), raw)| Options {
            retention: Retention { raw, rollups: None },
            chunk_samples,
            few_chunks,
            tail_bytes,
            head_bytes,
            head_age: if old { Duration::ZERO } else { Duration::MAX },
            seals_per_call: 1,
            write_ahead_log_bytes: 30_000,
            ..Options::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_answer_is_the_models(
        operations in proptest::collection::vec(any_operation(), 1..25),
        queries in proptest::collection::vec(any_query(), 4),
        questions in proptest::collection::vec(any_question(), 3),
        options in small_options(),
    ) {
        run(&operations, &queries, &questions, options);
    }
}
