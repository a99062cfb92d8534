//! The telemetry store from outside: durability, damage, bounds.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{DeadLetterQuery, Entry, MessageQuery, Options, Outcome, RangeQuery};
use tesaiot_store::{Appender, StoreError, Telemetry};

fn device(number: usize) -> DeviceId {
    DeviceId::new(format!("device-{number:04}")).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second, 0).unwrap()
}

fn sample(number: usize, seq: u64) -> Entry {
    let second = i64::try_from(seq).unwrap();
    Entry::Sample {
        device: device(number),
        kind: Some("vital".into()),
        received_at: at(second) + Duration::from_millis(5),
        sample: Sample {
            time: Some(at(second)),
            id: Some(MessageId { boot: "boot-1".into(), seq }),
            metrics: vec![
                Metric { name: "count".into(), value: Value::Integer(second), unit: None },
                Metric { name: "temperature".into(), value: Value::Float(36.5), unit: Some("°C".into()) },
            ],
        },
    }
}

fn dead_letter(text: &str) -> Entry {
    Entry::DeadLetter {
        device: Some(device(1)),
        topic: "device/device-0001/telemetry".into(),
        received_at: at(0),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        code: "not_json".into(),
        reason: "the payload is not JSON".into(),
    }
}

fn open(path: &Path) -> (Telemetry, Appender) {
    Telemetry::open(path, Options::default()).unwrap()
}

/// The values of the metric `count` of a device: the sequence numbers that are stored.
fn stored(telemetry: &Telemetry, number: usize) -> Vec<u64> {
    let query = RangeQuery { metric: Some("count".into()), ..RangeQuery::default() };
    let points = telemetry.range(&device(number), &query).unwrap();
    points
        .iter()
        .map(|point| match point.value {
            Value::Integer(value) => value.unsigned_abs(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(name(from), name(to)).unwrap();
    }
}

#[test]
fn a_redelivered_sample_is_a_duplicate_now_and_after_sealing_and_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    let appended = appender.append(&[sample(1, 1), sample(1, 1), sample(2, 1)]).unwrap();
    assert_eq!(appended.outcomes, [Outcome::Stored, Outcome::Duplicate, Outcome::Stored]);
    assert_eq!(appended.values, 4);
    let duplicate = [Outcome::Duplicate];
    assert_eq!(appender.append(&[sample(1, 1)]).unwrap().outcomes, duplicate);
    appender.seal_all().unwrap();
    assert_eq!(appender.append(&[sample(1, 1)]).unwrap().outcomes, duplicate);
    drop((telemetry, appender));
    let (telemetry, mut appender) = open(&path);
    assert_eq!(appender.append(&[sample(1, 1)]).unwrap().outcomes, duplicate);
    assert_eq!(appender.append(&[sample(1, 3)]).unwrap().outcomes, [Outcome::Stored]);
    assert_eq!(stored(&telemetry, 1), [1, 3]);
    let gaps = telemetry.gaps(&device(1));
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].first, gaps[0].last), (1, 3));
    assert_eq!(gaps[0].missing, [(2, 2)]);
    assert_eq!(telemetry.counts().duplicates, 1);
}

#[test]
fn a_log_cut_at_any_place_keeps_every_commit_before_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let options = Options { chunk_samples: 6, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    let log = directory.path().join("telemetry.db-wal");
    // Where the log ended when an append had returned, and how many samples there were.
    let mut ends = Vec::new();
    for seq in 1..=20 {
        appender.append(&[sample(1, seq), sample(2, seq)]).unwrap();
        ends.push((std::fs::metadata(&log).unwrap().len(), seq));
        appender.maintain().unwrap();
    }
    let length = std::fs::metadata(&log).unwrap().len();
    let copied = directory.path().join("copy.db");
    for cut in (0..=length).step_by(997).chain([length]) {
        copy(&path, &copied);
        let file = OpenOptions::new().write(true).open(directory.path().join("copy.db-wal")).unwrap();
        file.set_len(cut).unwrap();
        let (telemetry, appender) = open(&copied);
        let kept = stored(&telemetry, 1);
        let safe = ends.iter().rev().find(|(end, _)| *end <= cut).map_or(0, |(_, seq)| *seq);
        assert!(kept.len() as u64 >= safe, "cut at {cut}: {} of {safe}", kept.len());
        assert_eq!(kept, (1..=kept.len() as u64).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(stored(&telemetry, 2), kept, "a commit is whole or not there; cut at {cut}");
        assert!(telemetry.check().unwrap().is_sound());
        drop((telemetry, appender));
    }
    drop(telemetry);
}

#[test]
fn a_corrupt_chunk_is_passed_over_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    for part in [1..=10, 11..=20, 21..=30] {
        appender.append(&part.map(|seq| sample(1, seq)).collect::<Vec<_>>()).unwrap();
        appender.seal_all().unwrap();
    }
    appender.close().unwrap();
    drop(telemetry);
    edit_blob(&path, "SELECT blob FROM chunk WHERE number = 2", "UPDATE chunk SET blob = ?1 WHERE number = 2");
    let (telemetry, mut appender) = open(&path);
    assert_eq!(stored(&telemetry, 1), (1..=10).chain(21..=30).collect::<Vec<_>>());
    assert_eq!(telemetry.counts().corrupt_chunk_reads, 1);
    let report = telemetry.check().unwrap();
    assert_eq!(report.corruptions.len(), 1);
    assert_eq!(report.corruptions[0].what, "chunk 2");
    assert_eq!((report.chunks, report.sealed_samples), (3, 20));
    appender.append(&[sample(1, 31)]).unwrap();
    assert_eq!(stored(&telemetry, 1).last(), Some(&31));
}

#[test]
fn a_corrupt_batch_is_set_aside_at_open_and_stays_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    for seq in 1..=3 {
        appender.append(&[sample(1, seq)]).unwrap();
    }
    appender.close().unwrap();
    drop(telemetry);
    edit_blob(&path, "SELECT batch FROM tail WHERE position = 2", "UPDATE tail SET batch = ?1 WHERE position = 2");
    for _ in 0..2 {
        let (telemetry, _appender) = open(&path);
        assert_eq!(stored(&telemetry, 1), [1, 3]);
        assert_eq!(telemetry.counts().corrupt_batches, 1);
        assert_eq!(telemetry.check().unwrap().corruptions[0].what, "quarantined tail batch 2");
    }
    // What was lost is not a duplicate when the device sends it again.
    let (telemetry, mut appender) = open(&path);
    assert_eq!(appender.append(&[sample(1, 2)]).unwrap().outcomes, [Outcome::Stored]);
    assert_eq!(stored(&telemetry, 1), [1, 2, 3]);
}

#[test]
fn a_corrupt_snapshot_is_reported_and_refuses_no_sample() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    appender.append(&[sample(1, 1), sample(1, 2)]).unwrap();
    appender.seal_all().unwrap();
    appender.append(&[sample(1, 3)]).unwrap();
    appender.close().unwrap();
    drop(telemetry);
    edit_blob(&path, "SELECT snapshot FROM device", "UPDATE device SET snapshot = ?1");
    let (telemetry, mut appender) = open(&path);
    assert_eq!(stored(&telemetry, 1), [1, 2, 3]);
    assert_eq!(telemetry.check().unwrap().corruptions[0].what, "snapshot of device device-0001");
    // The head's part of the cursor is there, the sealed part is not.
    let outcomes = appender.append(&[sample(1, 3), sample(1, 2)]).unwrap().outcomes;
    assert_eq!(outcomes, [Outcome::Duplicate, Outcome::Stored]);
}

/// Flips one bit in the middle of a blob.
fn edit_blob(path: &Path, select: &str, update: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut blob: Vec<u8> = connection.query_row(select, [], |row| row.get(0)).unwrap();
    let middle = blob.len() / 2;
    blob[middle] ^= 0x10;
    assert_eq!(connection.execute(update, [blob]).unwrap(), 1);
}

#[test]
fn damaged_pages_never_make_the_store_panic_or_invent_samples() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    for part in [1..=50, 51..=100] {
        appender.append(&part.map(|seq| sample(1, seq)).collect::<Vec<_>>()).unwrap();
        appender.seal_all().unwrap();
    }
    appender.append(&[sample(1, 101)]).unwrap();
    appender.close().unwrap();
    drop(telemetry);
    let length = std::fs::metadata(&path).unwrap().len();
    let copied = directory.path().join("copy.db");
    for place in (0..length).step_by(509) {
        std::fs::copy(&path, &copied).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(directory.path().join(format!("copy.db{suffix}")));
        }
        let file = OpenOptions::new().read(true).write(true).open(&copied).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], place).unwrap();
        let Ok((telemetry, _appender)) = Telemetry::open(&copied, Options::default()) else {
            continue;
        };
        let _ = telemetry.check();
        let query = RangeQuery { metric: Some("count".into()), ..RangeQuery::default() };
        for point in telemetry.range(&device(1), &query).unwrap_or_default().iter() {
            let Value::Integer(value) = point.value else { panic!("{point:?}") };
            assert!((1..=101).contains(value), "byte {place}: {value}");
            assert_eq!(point.time, at(*value), "byte {place}");
        }
    }
}

#[test]
fn a_second_open_is_refused_until_every_handle_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, appender) = open(&path);
    drop(appender);
    let error = Telemetry::open(&path, Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.hint().is_some());
    drop(telemetry);
    open(&path);
}

#[test]
fn a_full_disk_keeps_nothing_of_the_append_and_storing_goes_on_when_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    let mut long = sample(2, 1);
    if let Entry::Sample { sample, .. } = &mut long {
        sample.metrics[0].value = Value::Text("long ".repeat(4000).into());
    }
    appender.append(&[sample(1, 1), long]).unwrap();
    appender.limit_pages(Some(40)).unwrap();
    let large = |text: char| dead_letter(&text.to_string().repeat(300_000));
    let before = telemetry.counts();
    let error = appender.append(&[sample(1, 2), large('x')]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.is_retryable() && error.hint().is_some());
    assert_eq!(telemetry.counts(), before);
    assert_eq!(stored(&telemetry, 1), [1]);
    appender.limit_pages(Some(1)).unwrap();
    assert!(matches!(appender.seal_all(), Err(StoreError::Full { .. })));
    // The small head found room, the large one stays where it is; both are readable.
    let counts = telemetry.counts();
    assert_eq!((counts.samples, counts.open_samples), (2, 1));
    assert_eq!(stored(&telemetry, 1), [1]);
    assert_eq!(telemetry.range(&device(2), &RangeQuery::default()).unwrap().len(), 2);
    appender.limit_pages(None).unwrap();
    assert_eq!(appender.seal_all().unwrap().samples, 1);
    let appended = appender.append(&[sample(1, 2), large('x')]).unwrap();
    assert_eq!(appended.outcomes, [Outcome::Stored; 2]);
    drop((telemetry, appender));
    let (telemetry, _appender) = open(&path);
    assert_eq!(stored(&telemetry, 1), [1, 2]);
    assert_eq!(telemetry.counts().dead_letters, 1);
}

#[test]
fn messages_and_dead_letters_are_kept_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    let message = |number: usize, topic: &str, payload: &'static [u8]| Entry::Message {
        device: device(number),
        topic: topic.into(),
        received_at: at(7),
        payload: Bytes::from_static(payload),
    };
    appender
        .append(&[
            message(1, "device/device-0001/status", b"{}"),
            dead_letter("\u{0}not json"),
            message(2, "device/device-0002/events/door", b"\xff\x00\xfe"),
            message(1, "device/device-0001/events/door", b""),
        ])
        .unwrap();
    let list = |query: MessageQuery| -> Vec<(u64, Vec<u8>)> {
        let messages = telemetry.messages(&query).unwrap();
        messages.into_iter().map(|message| (message.number, message.payload.to_vec())).collect()
    };
    let all = MessageQuery::default();
    assert_eq!(list(all.clone()), [(3, vec![]), (2, vec![0xff, 0, 0xfe]), (1, b"{}".to_vec())]);
    assert_eq!(list(MessageQuery { before: Some(3), limit: 1, ..all.clone() }).len(), 1);
    let of_one = MessageQuery { device: Some(device(1)), ..all };
    assert_eq!(list(of_one.clone()).len(), 2);
    let events = MessageQuery { topic_prefix: Some("device/device-0001/events".into()), ..of_one };
    assert_eq!(list(events), [(3, vec![])]);
    let letters = telemetry.dead_letters(&DeadLetterQuery::default()).unwrap();
    assert_eq!((letters.len(), letters[0].payload_bytes), (1, 9));
    let letters = [telemetry.dead_letter(letters[0].number).unwrap().unwrap()];
    assert_eq!(letters[0].device, Some(device(1)));
    assert_eq!(&letters[0].payload[..], b"\0not json");
    assert_eq!((&*letters[0].code, letters[0].received_at), ("not_json", at(0)));
}

#[test]
fn dead_letters_stay_within_their_bounds_and_what_is_dropped_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let options = Options { dead_letters: 10, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    let letters: Vec<Entry> = (0..25).map(|number| dead_letter(&number.to_string())).collect();
    appender.append(&letters).unwrap();
    appender.maintain().unwrap();
    let kept = telemetry.dead_letters(&DeadLetterQuery::default()).unwrap();
    assert_eq!(kept.len(), 10);
    assert_eq!((kept[0].number, kept[9].number), (25, 16));
    let counts = telemetry.counts();
    assert_eq!((counts.dead_letters, counts.dead_letters_dropped), (10, 15));
    drop((telemetry, appender));
    assert_eq!(open(&path).0.counts().dead_letters_dropped, 15);
}

#[test]
fn the_tail_and_the_heads_stay_within_their_bounds_whatever_the_devices_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let options = Options { tail_bytes: 40_000, head_bytes: 200_000, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    // One device sends once and is silent; it would keep the whole tail.
    appender.append(&[sample(9999, 1)]).unwrap();
    for seq in 1..=300 {
        let entries: Vec<Entry> = (0..20).map(|number| sample(number, seq)).collect();
        appender.append(&entries).unwrap();
        appender.maintain().unwrap();
        let counts = telemetry.counts();
        assert!(counts.open_bytes < 300_000, "{counts:?}");
        assert!(counts.tail_bytes < 100_000, "{counts:?}");
    }
    while appender.maintain().unwrap().more {}
    assert_eq!(stored(&telemetry, 9999), [1]);
    assert_eq!(stored(&telemetry, 7), (1..=300).collect::<Vec<_>>());
    drop((telemetry, appender));
    let (telemetry, _appender) = open(&path);
    assert_eq!(stored(&telemetry, 7), (1..=300).collect::<Vec<_>>());
    assert_eq!(telemetry.counts().samples, 6001);
}

#[test]
fn readers_see_each_sample_once_while_it_is_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = open(&path);
    let reader = telemetry.clone();
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let thread = std::thread::spawn(move || {
        let mut reads = 0_u64;
        let mut most = 0;
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            let found = stored(&reader, 1);
            assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
            assert!(found.len() >= most, "samples vanished");
            most = found.len();
            reads += 1;
        }
        reads
    });
    for seq in 1..=200 {
        appender.append(&[sample(1, seq)]).unwrap();
        if seq % 3 == 0 {
            appender.seal_all().unwrap();
        }
    }
    drop(stop);
    assert!(thread.join().unwrap() > 0);
    assert_eq!(stored(&telemetry, 1).len(), 200);
}

#[test]
fn times_far_apart_are_found_by_narrow_queries() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = open(&directory.path().join("telemetry.db"));
    let days = [400, 0, 30, 6, 7, 13, 365];
    let entries: Vec<Entry> = days.iter().map(|day| sample(1, day * 86_400)).collect();
    appender.append(&entries).unwrap();
    appender.seal_all().unwrap();
    assert!(telemetry.counts().chunks > 1);
    for day in days {
        let second = i64::try_from(day * 86_400).unwrap();
        let query =
            RangeQuery { metric: Some("count".into()), from: at(second), to: at(second + 1), ..RangeQuery::default() };
        assert_eq!(telemetry.range(&device(1), &query).unwrap().len(), 1, "day {day}");
    }
}
