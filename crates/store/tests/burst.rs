//! One device that sends as much as it may at once: what it costs, and what it does to others.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};
use tesaiot_store::telemetry::{DeadLetterQuery, Entry, Options, RangeQuery};
use tesaiot_store::{Appender, Telemetry};

const BATCHES: usize = 16;
const SAMPLES: usize = 1000;
const METRICS: usize = 32;
/// What the process may grow by, in KiB: of 512,000 names and values it is 600 bytes each.
const MAXIMUM_GROWTH: u64 = 300 << 10;
/// Without optimization, on a small machine that does other things too. Columns times rows would take hours.
const MAXIMUM_TIME: Duration = Duration::from_secs(60);
/// Set for the child, to the database's path.
const DATABASE: &str = "TESAIOT_STORE_BURST_TEST_DATABASE";

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn at(sample: usize) -> Timestamp {
    Timestamp::new(1_764_000_000 + i64::try_from(sample).unwrap(), 0).unwrap()
}

fn name(sample: usize, place: usize) -> String {
    format!("metric_{}", sample * METRICS + place)
}

fn sample(device: &DeviceId, number: usize, metrics: Vec<Metric>) -> Entry {
    let sample = Sample { time: Some(at(number)), id: None, metrics };
    Entry::Sample { device: device.clone(), kind: None, received_at: at(number), sample }
}

/// Every sample has names that no other has; a neighbour sends one sample with each batch.
fn entries() -> Vec<Entry> {
    let (loud, neighbour) = (device("loud"), device("neighbour"));
    let mut entries = Vec::new();
    for number in 0..BATCHES * SAMPLES {
        let metric = |place| Metric {
            name: name(number, place).into(),
            value: Value::Float((number + place) as f64),
            unit: None,
        };
        entries.push(sample(&loud, number, (0..METRICS).map(metric).collect()));
        if number % SAMPLES == 0 {
            let value = Value::Integer(i64::try_from(number).unwrap());
            entries.push(sample(&neighbour, number, vec![Metric { name: "count".into(), value, unit: None }]));
        }
    }
    entries
}

fn compare(telemetry: &Telemetry) {
    for (number, place) in [(0, 0), (7 * SAMPLES + 3, 5), (BATCHES * SAMPLES - 1, METRICS - 1)] {
        let query = RangeQuery { metric: Some(name(number, place).into()), ..RangeQuery::default() };
        let points = telemetry.range(&device("loud"), &query).unwrap();
        assert_eq!(points.len(), 1);
        let point = points.get(0).unwrap();
        assert_eq!((point.time, point.value), (at(number), &Value::Float((number + place) as f64)));
    }
    let of_one_sample = RangeQuery { from: at(4321), to: at(4322), ..RangeQuery::default() };
    let points = telemetry.range(&device("loud"), &of_one_sample).unwrap();
    assert_eq!(points.len(), METRICS);
    let points = telemetry.range(&device("neighbour"), &RangeQuery::default()).unwrap();
    let values: Vec<Value> = points.iter().map(|point| point.value.clone()).collect();
    let sent: Vec<Value> = (0..BATCHES).map(|batch| Value::Integer(i64::try_from(batch * SAMPLES).unwrap())).collect();
    assert_eq!(values, sent);
    assert_eq!(telemetry.latest(&device("neighbour"))[0].value, sent[BATCHES - 1]);
}

/// A line of what the kernel says of this process, in KiB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn store_all(path: &Path) {
    let entries = entries();
    let (before, started) = (memory("VmRSS"), Instant::now());
    let growth = |after: &str| {
        let growth = memory("VmHWM") - before;
        assert!(growth < MAXIMUM_GROWTH, "{after}: {growth} KiB");
    };
    let open = || -> (Telemetry, Appender) { Telemetry::open(path, Options::default()).unwrap() };
    let (telemetry, mut appender) = open();
    appender.append(&entries).unwrap();
    growth("appending");
    compare(&telemetry);
    drop((telemetry, appender, entries));
    let (telemetry, mut appender) = open();
    growth("replaying");
    while appender.maintain().unwrap().more {}
    growth("sealing");
    let counts = telemetry.counts();
    assert_eq!(counts.values, (BATCHES * (SAMPLES * METRICS + 1)) as u64);
    assert_eq!(counts.open_samples, BATCHES as u64, "the neighbour has little to seal");
    compare(&telemetry);
    appender.seal_all().unwrap();
    assert_eq!(telemetry.latest(&device("loud")).len(), 1024, "of what is sealed, those heard of last");
    drop((telemetry, appender));
    let (telemetry, _appender) = open();
    compare(&telemetry);
    assert!(telemetry.check().unwrap().is_sound());
    growth("reading");
    assert!(started.elapsed() < MAXIMUM_TIME, "{:?}", started.elapsed());
}

/// Does the work in a process of its own: the memory of the other tests is not counted.
#[test]
fn child() {
    if let Some(path) = std::env::var_os(DATABASE).map(PathBuf::from) {
        store_all(&path);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn half_a_million_names_in_one_commit_cost_what_their_values_cost() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DATABASE, directory.path().join("telemetry.db"))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_unit_that_is_never_the_same_is_no_more_work_than_one_that_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    let started = Instant::now();
    let samples = BATCHES * SAMPLES / 2;
    let metrics = |number| {
        let metric = |place| Metric {
            name: format!("speed_{place}").into(),
            value: Value::Float(1.0),
            unit: Some(format!("unit {number}").into()),
        };
        (0..METRICS).map(metric).collect()
    };
    let entries: Vec<Entry> = (0..samples).map(|number| sample(&device("loud"), number, metrics(number))).collect();
    appender.append(&entries).unwrap();
    // To look for each among all units that its metric had takes a multiple of this.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    while appender.maintain().unwrap().more {}
    let query = RangeQuery { metric: Some("speed_7".into()), ..RangeQuery::default() };
    let points = telemetry.range(&device("loud"), &query).unwrap();
    assert_eq!(points.len(), samples);
    assert!(
        (0..)
            .zip(points.iter())
            .all(|(number, point)| point.series.unit.as_deref() == Some(&*format!("unit {number}")))
    );
}

#[test]
fn dead_letters_are_within_their_bound_of_bytes_after_a_burst() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { dead_letter_bytes: 1 << 20, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&directory.path().join("telemetry.db"), options).unwrap();
    let letters: Vec<Entry> = (0..1500)
        .map(|number| Entry::DeadLetter {
            device: None,
            topic: "device/loud/telemetry".into(),
            received_at: at(number),
            payload: Bytes::from(vec![b'x'; 10_000]),
            code: "not_json".into(),
            reason: "the payload is not JSON".into(),
        })
        .collect();
    appender.append(&letters).unwrap();
    appender.maintain().unwrap();
    let all = DeadLetterQuery { limit: 2000, ..DeadLetterQuery::default() };
    let kept = telemetry.dead_letters(&all).unwrap();
    // As many as fit, and the newest.
    assert_eq!((kept.len(), kept[0].number, kept[103].number), (104, 1500, 1397));
    let counts = telemetry.counts();
    assert_eq!((counts.dead_letters, counts.dead_letters_dropped), (104, 1396));
}
