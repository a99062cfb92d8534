//! A store looked at, checked and copied from outside, while it is being written.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::path::Path;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};
use tesaiot_store::telemetry::{Entry, Inspection, Options, RangeQuery};
use tesaiot_store::{StoreError, Telemetry, copy_database};

fn pump() -> DeviceId {
    DeviceId::new("pump").unwrap()
}

fn samples(seconds: std::ops::Range<i64>) -> Vec<Entry> {
    seconds
        .map(|second| {
            let time = Timestamp::new(1_764_000_000 + second, 0).unwrap();
            let metrics = vec![Metric { name: "second".into(), value: Value::Integer(second), unit: None }];
            let sample = Sample { time: Some(time), id: None, metrics };
            Entry::Sample { device: pump(), kind: None, received_at: time, sample }
        })
        .collect()
}

#[test]
fn a_store_in_use_is_checked_counted_and_copied() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copied) = (directory.path().join("telemetry.db"), directory.path().join("copy.db"));
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    appender.append(&samples(0..100)).unwrap();
    appender.seal_all().unwrap();
    appender.append(&samples(100..150)).unwrap();

    let inspection = Inspection::open(&path).unwrap();
    let mut told = Vec::new();
    assert!(inspection.check(&mut |progress| told.push(progress.what)).unwrap().is_sound());
    told.dedup();
    assert_eq!(told, ["pages and indexes", "chunk", "tail", "device", "rollup", "message", "dead_letter"]);
    let statistics = inspection.statistics().unwrap();
    assert_eq!((statistics.devices, statistics.sealed_samples, statistics.tail_batches), (1, 100, 1));
    assert_eq!(statistics.first_time, Some(Timestamp::new(1_764_000_000, 0).unwrap()));
    assert!(statistics.log_bytes > 0, "it looks at the log of a running platform too");

    // A commit while the copy is made is not in it, and is not waited for.
    let mut later = 150;
    copy_database(&path, &copied, &mut |_| {
        appender.append(&samples(later..later + 1)).unwrap();
        later += 1;
    })
    .unwrap();
    assert!(later > 150);
    let (copy, _appender) = Telemetry::open(&copied, Options::default()).unwrap();
    assert!(copy.check().unwrap().is_sound());
    assert_eq!(copy.range(&pump(), &RangeQuery::default()).unwrap().len(), 150);
    assert_eq!(telemetry.range(&pump(), &RangeQuery::default()).unwrap().len(), usize::try_from(later).unwrap());
}

#[test]
fn a_look_changes_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    appender.append(&samples(0..100)).unwrap();
    // As a crash leaves it: with a log, and nobody who has it open.
    let crashed = directory.path().join("crashed.db");
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(log(&path), log(&crashed)).unwrap();
    drop((telemetry, appender));
    let read = || (std::fs::read(&crashed).unwrap(), std::fs::read(log(&crashed)).unwrap());
    let before = read();
    let inspection = Inspection::open(&crashed).unwrap();
    assert!(inspection.check(&mut |_| {}).unwrap().is_sound());
    assert_eq!(inspection.statistics().unwrap().tail_batches, 1);
    drop(inspection);
    assert!(read() == before);
}

#[test]
fn what_cannot_be_looked_at_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(matches!(Inspection::open(&path("none")), Err(StoreError::Open { .. })));
    std::fs::write(path("text"), "not a database. ".repeat(1000)).unwrap();
    assert!(matches!(Inspection::open(&path("text")), Err(StoreError::Damaged { .. })));
    rusqlite::Connection::open(path("new")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(Inspection::open(&path("new")), Err(StoreError::Version { found: 99, .. })));
    rusqlite::Connection::open(path("old")).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    assert!(matches!(Inspection::open(&path("old")), Err(StoreError::Outdated { found: 1, .. })));
}

#[test]
fn a_store_of_format_1_is_brought_up_to_date_with_everything_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    // The tables of format 1, as released.
    old.execute_batch(
        "CREATE TABLE tail (position INTEGER NOT NULL PRIMARY KEY, batch BLOB NOT NULL) STRICT;
         CREATE TABLE device (number INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL UNIQUE,
             sealed_through INTEGER NOT NULL, snapshot BLOB NOT NULL) STRICT;
         CREATE TABLE chunk (number INTEGER NOT NULL PRIMARY KEY, device INTEGER NOT NULL REFERENCES device (number),
             first_time INTEGER NOT NULL, last_time INTEGER NOT NULL, samples INTEGER NOT NULL, blob BLOB NOT NULL)
             STRICT;
         CREATE INDEX chunk_by_time ON chunk (device, first_time, last_time);
         CREATE TABLE message (number INTEGER NOT NULL PRIMARY KEY, device TEXT NOT NULL, topic TEXT NOT NULL,
             received_at INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
         CREATE INDEX message_of_device ON message (device, number);
         CREATE TABLE dead_letter (number INTEGER NOT NULL PRIMARY KEY, device TEXT, topic TEXT NOT NULL,
             received_at INTEGER NOT NULL, payload BLOB NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
         CREATE TABLE quarantine (position INTEGER NOT NULL PRIMARY KEY, reason TEXT NOT NULL, batch BLOB NOT NULL)
             STRICT;
         CREATE TABLE total (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), trimmed_through INTEGER NOT NULL,
             sealed_samples INTEGER NOT NULL, sealed_values INTEGER NOT NULL, chunks INTEGER NOT NULL,
             chunk_bytes INTEGER NOT NULL, dead_letters_dropped INTEGER NOT NULL) STRICT;
         INSERT INTO total VALUES (1, 0, 0, 0, 0, 0, 0);
         INSERT INTO message VALUES (7, 'pump', 'device/pump/events', 5, x'6869');
         INSERT INTO dead_letter VALUES (41, 'pump', 'device/pump/telemetry', 6, x'7b', 'not_json', 'it is not');
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    let messages = telemetry.messages(&Default::default()).unwrap();
    assert_eq!((messages[0].number, &messages[0].payload[..]), (7, &b"hi"[..]));
    assert_eq!(telemetry.dead_letters(&Default::default()).unwrap()[0].number, 41);
    assert!(telemetry.check().unwrap().is_sound());
    appender.append(&samples(0..10)).unwrap();
    appender.seal_all().unwrap();
    assert!(Inspection::open(&path).unwrap().check(&mut |_| {}).unwrap().is_sound());
    assert_eq!(telemetry.range(&pump(), &RangeQuery::default()).unwrap().len(), 10);
}

#[test]
fn vacuum_gives_space_back_and_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let options = Options { dead_letters: 10, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    let letter = |number: u32| Entry::DeadLetter {
        device: None,
        topic: "device/pump/telemetry".into(),
        received_at: Timestamp::UNIX_EPOCH,
        payload: vec![b'x'; 100_000].into(),
        code: "not_json".into(),
        reason: format!("{number}").into(),
    };
    appender.append(&(0..60).map(letter).collect::<Vec<_>>()).unwrap();
    appender.append(&samples(0..100)).unwrap();
    appender.seal_all().unwrap();
    appender.maintain().unwrap();
    let before = Inspection::open(&path).unwrap().statistics().unwrap();
    assert!(before.free_bytes > 4_000_000, "{before:?}");
    appender.vacuum().unwrap();
    let after = Inspection::open(&path).unwrap().statistics().unwrap();
    assert!(after.file_bytes < 1_500_000 && after.free_bytes == 0, "{after:?}");
    assert_eq!((after.sealed_samples, after.dead_letters), (100, 10));
    assert_eq!(telemetry.range(&pump(), &RangeQuery::default()).unwrap().len(), 100);
    assert_eq!(telemetry.dead_letters(&Default::default()).unwrap()[0].number, 60);
    assert!(telemetry.check().unwrap().is_sound());
}
