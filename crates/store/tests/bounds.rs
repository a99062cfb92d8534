//! What one commit, one call of `maintain` and one batch of an export come to, whatever was sent.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::path::Path;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{Entry, Options, Outcome, RangeQuery};
use tesaiot_store::{Appender, Telemetry};

fn device(number: usize) -> DeviceId {
    DeviceId::new(format!("device-{number:04}")).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 0).unwrap()
}

fn open(path: &Path) -> (Telemetry, Appender) {
    Telemetry::open(path, Options::default()).unwrap()
}

/// One reading of a device each second, from one second to another.
fn samples(device: &DeviceId, seconds: std::ops::Range<i64>) -> Vec<Entry> {
    let entry = |second| Entry::Sample {
        device: device.clone(),
        kind: None,
        received_at: at(second),
        sample: Sample {
            time: Some(at(second)),
            id: None,
            metrics: vec![Metric { name: "level".into(), value: Value::Integer(second % 97), unit: None }],
        },
    };
    seconds.map(entry).collect()
}

#[test]
fn a_commit_seals_nothing_and_a_call_of_maintain_seals_a_few() {
    const DEVICES: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = open(&directory.path().join("telemetry.db"));
    let full = i64::try_from(Options::default().chunk_samples).unwrap();
    for number in 0..DEVICES {
        appender.append(&samples(&device(number), 0..full)).unwrap();
    }
    assert_eq!((telemetry.counts().chunks, telemetry.counts().tail_batches), (0, DEVICES as u64));
    let mut calls = 0;
    while telemetry.counts().open_samples > 0 {
        let done = appender.maintain().unwrap();
        assert!(done.chunks <= Options::default().seals_per_call, "{done:?}");
        calls += 1;
    }
    assert!(calls >= DEVICES / Options::default().seals_per_call);
}

#[test]
fn what_comes_in_bulk_is_sealed_in_chunks_of_the_usual_size_and_exported_a_few_at_a_time() {
    const CHUNKS: i64 = 50;
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = open(&directory.path().join("telemetry.db"));
    let full = i64::try_from(Options::default().chunk_samples).unwrap();
    // Not a multiple: what is left over is in the last chunk.
    appender.append(&samples(&device(1), 0..CHUNKS * full + 10)).unwrap();
    while appender.maintain().unwrap().more {}
    assert_eq!(telemetry.counts().chunks, CHUNKS.unsigned_abs());
    let query = RangeQuery { metric: Some("level".into()), ..RangeQuery::default() };
    let batches: Vec<usize> = telemetry.export(&device(1), &query).map(|batch| batch.unwrap().len()).collect();
    assert_eq!(batches.iter().sum::<usize>() as i64, CHUNKS * full + 10);
    assert!(batches.iter().all(|points| *points as i64 <= 17 * full), "{batches:?}");
    assert!(batches.len() >= 3);
}

#[test]
fn a_commit_of_many_megabytes_is_several_batches_and_still_one_commit() {
    const SAMPLES: u64 = 40;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let text: Box<str> = "x".repeat(1000).into();
    let entries: Vec<Entry> = (0..SAMPLES)
        .map(|seq| {
            let metric = |place| Metric {
                name: format!("text_{place}").into(),
                value: Value::Text(format!("{seq} {place} {text}").into()),
                unit: None,
            };
            let sample = Sample {
                time: Some(at(seq as i64)),
                id: Some(MessageId { boot: "first".into(), seq }),
                metrics: (0..300).map(metric).collect(),
            };
            Entry::Sample { device: device(1 + seq as usize % 2), kind: None, received_at: at(seq as i64), sample }
        })
        .collect();
    let (telemetry, mut appender) = open(&path);
    assert_eq!(appender.append(&entries).unwrap().values, SAMPLES * 300);
    let counts = telemetry.counts();
    assert_eq!((counts.samples, counts.tail_batches), (SAMPLES, 4), "of 12 MB");
    drop((telemetry, appender));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let largest: i64 = connection.query_row("SELECT max(length(batch)) FROM tail", [], |row| row.get(0)).unwrap();
    assert!(largest < 5 << 20, "{largest}");
    drop(connection);
    let (telemetry, mut appender) = open(&path);
    assert_eq!(telemetry.counts().samples, SAMPLES);
    let again = appender.append(&entries).unwrap();
    assert!(again.outcomes.iter().all(|outcome| *outcome == Outcome::Duplicate));
    while appender.maintain().unwrap().more {}
    appender.seal_all().unwrap();
    while appender.maintain().unwrap().more {}
    assert_eq!((telemetry.counts().tail_batches, telemetry.counts().open_samples), (0, 0));
    for number in [1, 2] {
        let found = telemetry.range(&device(number), &RangeQuery::default()).unwrap();
        assert_eq!(found.len() as u64, SAMPLES / 2 * 300);
    }
}
