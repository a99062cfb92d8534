//! Rollups, retention and merged chunks: what is kept, what goes, and what it costs.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};

use crate::telemetry::rollup::{DAY, Decoded, Piece, Resolution, day_of, due, pieces};
use crate::telemetry::span::Span;
use crate::telemetry::{
    Algorithm, Appender, Bucket, BucketQuery, Entry, MessageQuery, Options, RangeQuery, Retention, RetentionRule,
    Telemetry,
};
use crate::time::from_nanoseconds;

const MINUTE: i64 = 60_000_000_000;
/// 2025-11-24T00:00:00Z.
const START: i64 = 20_416 * DAY;

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

/// A temperature of a device every ten minutes, from one time to another.
fn samples(device: &DeviceId, from: i64, to: i64) -> Vec<Entry> {
    (from..to)
        .step_by(10 * MINUTE as usize)
        .map(|time| Entry::Sample {
            device: device.clone(),
            kind: None,
            received_at: from_nanoseconds(time),
            sample: Sample {
                time: Some(from_nanoseconds(time)),
                id: None,
                metrics: vec![Metric {
                    name: "temperature".into(),
                    value: Value::Float((time / MINUTE % 1000) as f64 / 10.0),
                    unit: None,
                }],
            },
        })
        .collect()
}

fn settle(appender: &mut Appender, now: i64) {
    for _ in 0..3 {
        appender.sweep.hurry();
        let ends = (0..10_000).any(|_| !appender.maintain_at(from_nanoseconds(now)).unwrap().more);
        assert!(ends, "maintaining comes to an end");
    }
}

/// Opens a store on a day of the past.
fn open_at(path: &Path, options: Options, now: i64) -> (Telemetry, Appender) {
    let (telemetry, appender) = Telemetry::open(path, options).unwrap();
    appender.shared.today.store(day_of(now), Ordering::Relaxed);
    (telemetry, appender)
}

fn hours(telemetry: &Telemetry, device: &DeviceId) -> Vec<Bucket> {
    let query =
        BucketQuery { metric: "temperature".into(), width: Duration::from_secs(3600), ..BucketQuery::default() };
    telemetry.buckets(device, &query).unwrap()
}

fn points(telemetry: &Telemetry, device: &DeviceId) -> usize {
    telemetry.range(device, &RangeQuery::default()).unwrap().len()
}

/// How many windows of the first device rollups have in a span, and what they leave open.
fn rolled(appender: &Appender, resolution: Resolution, span: Span) -> (usize, Vec<Span>) {
    let (mut windows, mut open) = (0, Vec::new());
    let asked = ("temperature", resolution, span);
    let failed = |error| panic!("{error}");
    let due = due(&appender.connection, 1, (i64::MIN, i64::MAX), usize::MAX).unwrap();
    pieces(&appender.connection, (1, &due), asked, &mut Decoded::default(), failed, &mut |piece| {
        match piece {
            Piece::Window(..) => windows += 1,
            Piece::Open(span) => open.push(span),
        }
        Ok(true)
    })
    .unwrap();
    (windows, open)
}

#[test]
fn a_day_that_is_over_is_answered_without_its_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = Telemetry::open(
        &directory.path().join("t.db"),
        Options { chunk_samples: 50, few_chunks: 0, ..Options::default() },
    )
    .unwrap();
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + 2 * DAY)).unwrap();
    appender.seal_all().unwrap();
    let expected = hours(&telemetry, &pump);
    assert_eq!(expected.len(), 48);
    settle(&mut appender, START + 5 * DAY);
    for (resolution, windows) in [(Resolution::Minute, 144), (Resolution::Hour, 24), (Resolution::Day, 1)] {
        let span = Span { from: START + DAY, to: START + 2 * DAY - 1 };
        let (found, open) = rolled(&appender, resolution, span);
        assert_eq!((found, open.len()), (windows, 0), "{resolution:?}");
    }
    // What does not fill a window is left to the chunks.
    let span = Span { from: START + 1, to: START + DAY / 2 };
    let (found, open) = rolled(&appender, Resolution::Hour, span);
    assert_eq!(found, 11);
    let hour = 60 * MINUTE;
    assert_eq!(
        open,
        [Span { from: START + 1, to: START + hour - 1 }, Span { from: START + 12 * hour, to: START + DAY / 2 }]
    );
    assert_eq!(hours(&telemetry, &pump), expected);
    appender.connection.execute("DELETE FROM chunk", []).unwrap();
    assert_eq!(hours(&telemetry, &pump), expected, "the rollups alone answer");
}

#[test]
fn a_page_behind_the_last_bucket_wanted_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { few_chunks: 0, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&directory.path().join("t.db"), options).unwrap();
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + 3 * DAY)).unwrap();
    appender.seal_all().unwrap();
    settle(&mut appender, START + 6 * DAY);
    let query = BucketQuery { metric: "temperature".into(), width: Duration::from_secs(60), ..BucketQuery::default() };
    let all = telemetry.buckets(&pump, &query).unwrap();
    let later = "UPDATE rollup SET page = CAST(page || x'00' AS BLOB) WHERE first_day > (SELECT min(first_day) FROM rollup WHERE resolution = 0)";
    assert_eq!(appender.connection.execute(later, []).unwrap(), 2);
    let first = telemetry.buckets(&pump, &BucketQuery { limit: 5, ..query.clone() }).unwrap();
    assert_eq!(first, all[..5]);
    assert_eq!(telemetry.counts().corrupt_chunk_reads, 0, "nothing of the later days was looked at");
    assert_eq!(telemetry.buckets(&pump, &query).unwrap(), all);
    assert_eq!(telemetry.counts().corrupt_chunk_reads, 2);
}

#[test]
fn late_samples_change_the_rollups_of_their_day_at_once_and_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) =
        Telemetry::open(&directory.path().join("t.db"), Options { few_chunks: 0, ..Options::default() }).unwrap();
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + 2 * DAY)).unwrap();
    appender.seal_all().unwrap();
    settle(&mut appender, START + 5 * DAY);
    let first_hour = |telemetry: &Telemetry| hours(telemetry, &pump)[0].clone();
    assert_eq!((first_hour(&telemetry).count, first_hour(&telemetry).maximum), (6, Some(9.0)));
    let mut late = samples(&pump, START + 5 * MINUTE, START + 6 * MINUTE);
    let Entry::Sample { sample, .. } = &mut late[0] else { panic!("a sample") };
    sample.metrics[0].value = Value::Float(500.0);
    appender.append(&late).unwrap();
    let expected = (7, Some(500.0));
    assert_eq!((first_hour(&telemetry).count, first_hour(&telemetry).maximum), expected, "in the head");
    appender.seal_all().unwrap();
    assert_eq!((first_hour(&telemetry).count, first_hour(&telemetry).maximum), expected, "in a chunk, and marked");
    settle(&mut appender, START + 5 * DAY);
    appender.connection.execute("DELETE FROM chunk", []).unwrap();
    assert_eq!((first_hour(&telemetry).count, first_hour(&telemetry).maximum), expected, "in the rollups");
}

#[test]
fn a_corrupt_page_is_passed_over_and_its_day_answered_from_the_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) =
        Telemetry::open(&directory.path().join("t.db"), Options { few_chunks: 0, ..Options::default() }).unwrap();
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + DAY)).unwrap();
    appender.seal_all().unwrap();
    settle(&mut appender, START + 5 * DAY);
    let expected = hours(&telemetry, &pump);
    appender.connection.execute("UPDATE rollup SET page = CAST(page || x'00' AS BLOB)", []).unwrap();
    assert_eq!(hours(&telemetry, &pump), expected);
    assert!(telemetry.counts().corrupt_chunk_reads > 0, "it is counted");
    appender
        .connection
        .execute(
            "UPDATE rollup SET first_day = first_day + 256, page = CAST(substr(page, 1, length(page) - 1) AS BLOB)",
            [],
        )
        .unwrap();
    assert_eq!(hours(&telemetry, &pump), expected, "a page of another day is not its own");
}

#[test]
fn old_samples_go_by_the_rule_of_their_device_and_their_rollups_stay() {
    let directory = tempfile::tempdir().unwrap();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let options = Options {
        chunk_samples: 50,
        retention: Retention { raw: days(10), rollups: None },
        retention_rules: vec![
            RetentionRule { prefix: "lab-".into(), retention: Retention { raw: days(3), rollups: days(6) } },
            RetentionRule { prefix: "lab-archive".into(), retention: Retention::default() },
        ],
        ..Options::default()
    };
    let path = directory.path().join("t.db");
    let (telemetry, mut appender) = open_at(&path, options.clone(), START);
    let all @ [pump, lab, archive] = &["pump", "lab-1", "lab-archive-1"].map(device);
    for device in all {
        for piece in samples(device, START, START + 20 * DAY).chunks(50) {
            appender.append(piece).unwrap();
            appender.seal_all().unwrap();
        }
    }
    assert_eq!(points(&telemetry, lab), 20 * 144);
    settle(&mut appender, START + 20 * DAY);
    assert_eq!(points(&telemetry, archive), 20 * 144);
    assert_eq!((points(&telemetry, pump), points(&telemetry, lab)), (10 * 144, 3 * 144));
    // Chunks of 50 samples do not end at midnight: one that reaches into a day that stays, stays.
    let there: i64 = appender.connection.query_row("SELECT sum(samples) FROM chunk", [], |row| row.get(0)).unwrap();
    assert!(((20 + 10 + 3) * 144 + 1..(20 + 10 + 3) * 144 + 100).contains(&there), "{there}");
    let counted: u64 = hours(&telemetry, pump).iter().map(|bucket| bucket.count).sum();
    assert_eq!(counted, 20 * 144, "the rollups of what is gone");
    let counts = telemetry.counts();
    assert_eq!(counts.samples_dropped, (3 * 20 * 144 - there).unsigned_abs());
    assert!(counts.chunks_dropped > 0 && counts.rollups_dropped > 0);
    let minutes = |device: i64| -> i64 {
        let sql = "SELECT count(*) FROM rollup WHERE resolution = 0 AND device = ?1";
        appender.connection.query_row(sql, [device], |row| row.get(0)).unwrap()
    };
    // Of six days the last one, which is yesterday, may still grow and is not rolled up yet.
    assert_eq!([minutes(1), minutes(2), minutes(3)].iter().min(), Some(&5));
    drop((telemetry, appender));
    let (telemetry, _appender) = Telemetry::open(&path, options).unwrap();
    assert_eq!(telemetry.counts().samples_dropped, counts.samples_dropped);
    assert_eq!(telemetry.counts().chunks, counts.chunks);
    assert_eq!(telemetry.counts().chunk_bytes, counts.chunk_bytes);
}

/// Neither a chunk that reaches over the limit nor the open head is dropped yet.
#[test]
fn what_is_older_than_the_limit_is_in_no_answer_even_while_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { raw: Some(Duration::from_secs(2 * 86_400)), rollups: None };
    let options = Options { retention, ..Options::default() };
    let (telemetry, mut appender) = open_at(&directory.path().join("t.db"), options, START);
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + 3 * DAY)).unwrap();
    appender.seal_all().unwrap();
    appender.append(&samples(&pump, START + DAY + 5 * MINUTE, START + 3 * DAY + 5 * MINUTE)).unwrap();
    assert_eq!(points(&telemetry, &pump), 5 * 144);
    // In the middle of the fourth day the second one still counts.
    settle(&mut appender, START + 3 * DAY + DAY / 2);
    assert_eq!((telemetry.counts().samples, telemetry.counts().open_samples), (5 * 144, 2 * 144));
    assert_eq!(telemetry.counts().samples_dropped, 0);
    let query = RangeQuery { metric: Some("temperature".into()), ..RangeQuery::default() };
    let limit = from_nanoseconds(START + DAY);
    let served = telemetry.range(&pump, &query).unwrap();
    assert_eq!((served.len(), served.get(0).unwrap().time), (4 * 144, limit));
    let exported: usize = telemetry.export(&pump, &query).map(|batch| batch.unwrap().len()).sum();
    assert_eq!(exported, 4 * 144);
    for algorithm in [Algorithm::Lttb, Algorithm::MinMax] {
        let plot = telemetry.downsample(&pump, &query, 50, algorithm).unwrap();
        assert!(plot.iter().all(|point| point.time >= limit));
        assert_eq!(telemetry.downsample(&pump, &query, 1000, algorithm).unwrap().len(), 4 * 144);
    }
    // Half a day later the day has changed, and the answers with it.
    settle(&mut appender, START + 4 * DAY);
    assert_eq!(points(&telemetry, &pump), 2 * 144);
    assert_eq!(hours(&telemetry, &pump).iter().map(|bucket| bucket.count).sum::<u64>(), 5 * 144);
}

#[test]
fn what_comes_too_late_for_its_day_does_not_undo_its_rollup() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { raw: Some(Duration::from_secs(2 * 86_400)), rollups: None };
    let (telemetry, mut appender) =
        open_at(&directory.path().join("t.db"), Options { retention, ..Options::default() }, START);
    let pump = device("pump");
    appender.append(&samples(&pump, START, START + DAY)).unwrap();
    appender.seal_all().unwrap();
    settle(&mut appender, START + 5 * DAY);
    assert_eq!(points(&telemetry, &pump), 0);
    appender.append(&samples(&pump, START + 5 * MINUTE, START + 6 * MINUTE)).unwrap();
    appender.seal_all().unwrap();
    settle(&mut appender, START + 5 * DAY);
    assert_eq!(points(&telemetry, &pump), 0);
    assert_eq!(hours(&telemetry, &pump).iter().map(|bucket| bucket.count).sum::<u64>(), 144);
}

#[test]
fn a_store_over_its_size_drops_the_oldest_days_of_all_devices_and_the_file_shrinks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let options = Options { maximum_bytes: Some(1 << 20), ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    let [one, two] = ["one", "two"].map(device);
    let mut noise = 1_u64;
    for day in 0..30 {
        for device in [&one, &two] {
            let mut entries = samples(device, START + day * DAY, START + (day + 1) * DAY);
            for entry in &mut entries {
                let Entry::Sample { sample, .. } = entry else { panic!("a sample") };
                for number in 0..60 {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let value = Value::Integer(noise as i64);
                    sample.metrics.push(Metric { name: format!("noise_{number}").into(), value, unit: None });
                }
            }
            appender.append(&entries).unwrap();
            appender.seal_all().unwrap();
        }
    }
    let before = telemetry.counts();
    // Rollups of ten-minute samples are as large as these: without them the raw data counts alone.
    appender.connection.execute("DELETE FROM rollup_due", []).unwrap();
    settle(&mut appender, START + 30 * DAY);
    let after = telemetry.counts();
    assert!(after.chunk_bytes < 1 << 20 && after.chunk_bytes > 1 << 18, "{after:?}");
    assert_eq!(before.chunks, after.chunks + after.chunks_dropped);
    let oldest = |device| {
        telemetry.range(device, &RangeQuery { limit: 1, ..RangeQuery::default() }).unwrap().get(0).unwrap().time
    };
    assert_eq!(oldest(&one), oldest(&two), "the same days of both");
    assert!(oldest(&one) < from_nanoseconds(START + 29 * DAY), "the last two days stay");
    appender.close().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 12 << 20, "{size}");
}

#[test]
fn messages_go_by_number_and_by_age_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { messages: 100, message_age: Some(Duration::from_secs(86_400)), ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&directory.path().join("t.db"), options).unwrap();
    let message = |time: i64| Entry::Message {
        device: device("pump"),
        topic: "device/pump/events/door".into(),
        received_at: from_nanoseconds(time),
        payload: Bytes::from_static(b"open"),
    };
    let entries: Vec<Entry> = (0..150).map(|number| message(START + number * MINUTE)).collect();
    appender.append(&entries).unwrap();
    settle(&mut appender, START);
    let kept = || telemetry.messages(&MessageQuery { limit: 1000, ..MessageQuery::default() }).unwrap();
    assert_eq!((kept().len(), telemetry.counts().messages), (100, 100));
    assert_eq!(kept()[99].received_at, from_nanoseconds(START + 50 * MINUTE), "the newest ones stay");
    settle(&mut appender, START + DAY + 100 * MINUTE);
    assert_eq!((kept().len(), telemetry.counts().messages_dropped), (50, 100));
}

#[test]
fn chunks_that_lie_over_each_other_are_merged_and_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (telemetry, mut appender) = Telemetry::open(&directory.path().join("t.db"), Options::default()).unwrap();
    let pump = device("pump");
    // Each time the whole day again, a little later: and some of the same times, in their order.
    for round in 0..40 {
        appender.append(&samples(&pump, START + round % 20, START + DAY)).unwrap();
        appender.seal_all().unwrap();
    }
    let everything = |telemetry: &Telemetry| telemetry.range(&pump, &RangeQuery::default()).unwrap();
    let expected = everything(&telemetry);
    assert_eq!(telemetry.counts().chunks, 40);
    settle(&mut appender, START + 5 * DAY);
    let counts = telemetry.counts();
    assert!(counts.chunks < 40);
    assert_eq!(everything(&telemetry), expected);
    let sql = "SELECT max(depth) FROM (SELECT (SELECT count(*) FROM chunk AS other
               WHERE other.first_time <= chunk.first_time AND other.last_time >= chunk.first_time) AS depth FROM chunk)";
    let depth: i64 = appender.connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(depth <= 4, "{depth}");
    let (chunks, bytes): (i64, i64) = appender
        .connection
        .query_row("SELECT count(*), sum(length(blob)) FROM chunk", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((counts.chunks, counts.chunk_bytes), (chunks as u64, bytes as u64));
    assert!(telemetry.check().unwrap().is_sound());
}
