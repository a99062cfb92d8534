//! Dead letters: listed in pages, replayed after a fix, stored once.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{DeadLetterQuery, Entry, Options, Outcome, RangeQuery, Replay};
use tesaiot_store::{Appender, StoreError, Telemetry};

fn open(path: &Path) -> (Telemetry, Appender) {
    Telemetry::open(path, Options::default()).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn letter(name: &str, code: &str) -> Entry {
    Entry::DeadLetter {
        device: Some(device(name)),
        topic: format!("device/{name}/telemetry").into(),
        received_at: Timestamp::UNIX_EPOCH,
        payload: Bytes::from_static(b"{\"seq\":1}"),
        code: code.into(),
        reason: "a rule".into(),
    }
}

fn sample(name: &str, seq: u64) -> Entry {
    let metrics = vec![Metric { name: "seq".into(), value: Value::Integer(seq.cast_signed()), unit: None }];
    Entry::Sample {
        device: device(name),
        kind: None,
        received_at: Timestamp::UNIX_EPOCH,
        sample: Sample { time: None, id: Some(MessageId { boot: "boot".into(), seq }), metrics },
    }
}

fn stored(telemetry: &Telemetry, name: &str) -> usize {
    telemetry.range(&device(name), &RangeQuery::default()).unwrap().len()
}

fn numbers(telemetry: &Telemetry, query: &DeadLetterQuery) -> Vec<u64> {
    telemetry.dead_letters(query).unwrap().into_iter().map(|letter| letter.number).collect()
}

#[test]
fn dead_letters_are_listed_in_pages_by_device_and_by_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = open(&directory.path().join("telemetry.db"));
    let letters: Vec<Entry> = (0..10)
        .map(|number| letter(if number % 2 == 0 { "even" } else { "odd" }, if number < 5 { "early" } else { "late" }))
        .collect();
    appender.append(&letters).unwrap();
    let page = |before, limit| numbers(&telemetry, &DeadLetterQuery { before, limit, ..Default::default() });
    assert_eq!(page(None, 4), [10, 9, 8, 7]);
    assert_eq!(page(Some(7), 4), [6, 5, 4, 3]);
    assert_eq!(page(Some(1), 4), [0; 0]);
    let query = DeadLetterQuery { device: Some(device("odd")), code: Some("late".into()), ..Default::default() };
    assert_eq!(numbers(&telemetry, &query), [10, 8, 6]);
    assert_eq!(telemetry.dead_letter_numbers(6, &query).unwrap(), [8, 10]);
    assert!(telemetry.dead_letter(11).unwrap().is_none());
}

#[test]
fn a_replayed_letter_is_stored_once_and_gone_in_one_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    appender.append(&[letter("pump", "a"), letter("pump", "b"), letter("pump", "c")]).unwrap();
    let replay = |letter, entries| Replay { letter, entries };
    // The second of these says what the first said: it is the same sample. Letter 9 is not there.
    let replays = [
        replay(1, vec![sample("pump", 1)]),
        replay(3, vec![sample("pump", 1), sample("pump", 2)]),
        replay(9, vec![sample("pump", 3)]),
        replay(3, vec![sample("pump", 4)]),
    ];
    let answers = appender.replay(&replays).unwrap();
    let outcomes: Vec<Option<(Vec<Outcome>, u64)>> =
        answers.into_iter().map(|answer| answer.map(|appended| (appended.outcomes, appended.values))).collect();
    let expected = [Some((vec![Outcome::Stored], 1)), Some((vec![Outcome::Duplicate, Outcome::Stored], 1)), None, None];
    assert_eq!(outcomes, expected);
    assert_eq!((stored(&telemetry, "pump"), telemetry.counts().dead_letters), (2, 1));
    // A number that was used is not used again, even behind a restart.
    drop((telemetry, appender));
    let (telemetry, mut appender) = open(&path);
    assert_eq!((stored(&telemetry, "pump"), telemetry.counts().dead_letters), (2, 1));
    assert_eq!(numbers(&telemetry, &DeadLetterQuery::default()), [2]);
    appender.append(&[letter("pump", "d")]).unwrap();
    assert_eq!(numbers(&telemetry, &DeadLetterQuery::default()), [4, 2]);
    assert_eq!(appender.replay(&replays).unwrap(), [None, None, None, None]);
    assert_eq!(stored(&telemetry, "pump"), 2);
}

#[test]
fn a_replay_that_finds_no_space_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    appender.append(&[letter("pump", "a")]).unwrap();
    appender.limit_pages(Some(1)).unwrap();
    let mut large = sample("pump", 1);
    if let Entry::Sample { sample, .. } = &mut large {
        sample.metrics[0].value = Value::Text("long ".repeat(100_000).into());
    }
    let replay = [Replay { letter: 1, entries: vec![large] }];
    let error = appender.replay(&replay).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!((stored(&telemetry, "pump"), telemetry.counts().dead_letters), (0, 1));
    appender.limit_pages(None).unwrap();
    assert!(appender.replay(&replay).unwrap()[0].is_some());
    assert_eq!((stored(&telemetry, "pump"), telemetry.counts().dead_letters), (1, 0));
}

#[test]
fn a_message_of_which_a_bit_flipped_is_passed_over_counted_and_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    let message = |payload: &'static [u8]| Entry::Message {
        device: device("pump"),
        topic: "device/pump/events".into(),
        received_at: Timestamp::UNIX_EPOCH,
        payload: Bytes::from_static(payload),
    };
    appender.append(&[message(b"one"), message(b"two"), letter("pump", "a"), letter("pump", "b")]).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE message SET payload = x'6f6e66' WHERE number = 1", []).unwrap();
    other.execute("UPDATE dead_letter SET device = 'pumq' WHERE number = 2", []).unwrap();
    let messages = telemetry.messages(&Default::default()).unwrap();
    assert_eq!(messages.iter().map(|message| &message.payload[..]).collect::<Vec<_>>(), [b"two"]);
    assert_eq!(numbers(&telemetry, &DeadLetterQuery::default()), [1]);
    assert!(matches!(telemetry.dead_letter(2), Err(StoreError::Corrupt { .. })));
    assert_eq!(telemetry.counts().corrupt_message_reads, 3);
    let report = telemetry.check().unwrap();
    assert_eq!((report.messages, report.dead_letters), (2, 2));
    let found: Vec<&str> = report.corruptions.iter().map(|corruption| &*corruption.what).collect();
    assert_eq!(found, ["message 1", "dead letter 2"]);
}
