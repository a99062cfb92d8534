//! The formats of the blobs, pinned by files: what a version wrote must be read for ever.
//!
//! `TESAIOT_WRITE_GOLDEN=1` writes files that are missing. A file that is there is never changed:
//! another layout is another version, with a reader for both.

use std::path::PathBuf;

use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};

use crate::telemetry::bucket::{Accumulator, Place};
use crate::telemetry::chunk::{Chunk, seal};
use crate::telemetry::cursor::Cursor;
use crate::telemetry::head::Head;
use crate::telemetry::latest::LatestValues;
use crate::telemetry::rollup::Page;
use crate::telemetry::shared::{decode_snapshot, encode_snapshot};
use crate::telemetry::tail::{self, Incoming, Replayed};
use crate::time::from_nanoseconds;

const START: i64 = 1_764_000_000_123_456_789;

fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var_os("TESAIOT_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, written).unwrap();
    }
    std::fs::read(&path).unwrap()
}

/// Samples with every type, every flag, a mask, a change of type and a late one.
fn samples() -> Vec<Replayed> {
    (0..40_i64)
        .map(|number| {
            let mut metrics = vec![
                Metric { name: "count".into(), value: Value::Integer(i64::MAX - number), unit: None },
                Metric {
                    name: "temperature".into(),
                    value: Value::Float(36.5 + (number % 7) as f64 / 10.0),
                    unit: Some("°C".into()),
                },
                Metric { name: "motion".into(), value: Value::Bool(number % 3 == 0), unit: None },
            ];
            if number % 5 == 0 {
                let text = if number == 20 { "" } else { "sinus" };
                metrics.push(Metric { name: "rhythm".into(), value: Value::Text(text.into()), unit: None });
                metrics.push(Metric { name: "zero".into(), value: Value::Float(-0.0), unit: None });
            }
            if number == 39 {
                metrics[0].value = Value::Float(0.5);
            }
            let late = if number == 30 { 10_000_000_000 } else { 0 };
            Replayed {
                device: DeviceId::new("golden-device").unwrap(),
                kind: (number % 2 == 0).then(|| "vital/signs".into()),
                received: START + number * 1_000_000_000 + 7_000_000,
                sample: Sample {
                    time: (number != 7).then(|| from_nanoseconds(START + number * 1_000_000_000 - late)),
                    id: (number != 8).then(|| MessageId { boot: "boot-1".into(), seq: number.unsigned_abs() }),
                    metrics,
                },
            }
        })
        .collect()
}

fn head() -> (Head, LatestValues, Cursor) {
    let (mut head, mut latest, mut cursor) = (Head::new(), LatestValues::default(), Cursor::default());
    for replayed in &samples() {
        head.push(1, replayed.kind.as_deref(), replayed.received, &replayed.sample, Some(&mut latest));
        if let Some(id) = &replayed.sample.id {
            cursor.insert(id);
        }
    }
    (head, latest, cursor)
}

#[test]
fn a_tail_batch_of_version_1() {
    let samples = samples();
    let incoming: Vec<Incoming<'_>> = samples
        .iter()
        .map(|replayed| Incoming {
            device: &replayed.device,
            kind: replayed.kind.as_deref(),
            received: replayed.received,
            sample: &replayed.sample,
        })
        .collect();
    let written = tail::encode(&incoming);
    let golden = golden("tail-1.bin", &written);
    assert_eq!(tail::decode(&golden).unwrap(), samples);
    assert_eq!(written, golden);
}

#[test]
fn a_chunk_of_version_1() {
    assert_eq!(a_golden_chunk("chunk-1.bin")[0], 1);
}

/// As version 1, and the column that has one value in forty rows has a list of its rows.
#[test]
fn a_chunk_of_version_2() {
    assert_eq!(a_golden_chunk("chunk-2.bin")[0], 2);
}

/// As version 2, and the counts, which fall by one each time, are numbers in equal steps.
#[test]
fn a_chunk_of_version_3() {
    assert_eq!(a_golden_chunk("chunk-3.bin")[0], 3);
}

fn a_golden_chunk(name: &str) -> Vec<u8> {
    let (head, ..) = head();
    let written = seal(&head, usize::MAX, 6);
    assert_eq!(written.len(), 1);
    // Another version of the compressor may choose other bytes, but it must read these.
    let golden = golden(name, &written[0].blob);
    let describe = |blob: &[u8]| {
        let chunk = Chunk::open(blob).unwrap();
        chunk.verify().unwrap();
        format!("{:?} {:?}", chunk.rows().unwrap(), chunk.columns(None).unwrap())
    };
    assert_eq!(describe(&golden), describe(&written[0].blob));
    // And they are what was put in: the late sample stands where its time belongs.
    let chunk = Chunk::open(&golden).unwrap();
    let rows = chunk.rows().unwrap();
    assert_eq!(rows.times.len(), 40);
    assert_eq!(rows.received[21], START + 30 * 1_000_000_000 + 7_000_000);
    let counts = chunk.columns(Some("count")).unwrap();
    assert_eq!(counts.len(), 2, "a metric of two types has two columns");
    assert_eq!(counts[0].values.get(0), Some(Value::Integer(i64::MAX)));
    assert_eq!((counts[1].rows.as_slice(), counts[1].values.get(0)), (&[39][..], Some(Value::Float(0.5))));
    let zeros = chunk.columns(Some("zero")).unwrap();
    assert_eq!(format!("{:?}", zeros[0].values.get(7)), "Some(Float(-0.0))");
    golden
}

#[test]
fn a_snapshot_of_version_1() {
    let (_, latest, cursor) = head();
    let written = encode_snapshot(&cursor, &latest);
    let golden = golden("snapshot-1.bin", &written);
    let (found, newest) = decode_snapshot(&golden).unwrap();
    assert_eq!(found, cursor);
    assert_eq!(format!("{:?}", newest.answer(None)), format!("{:?}", latest.answer(None)));
    assert_eq!(written, golden);
}

#[test]
fn a_page_of_rollups_of_version_1() {
    assert_eq!(a_golden_page("rollup-1.bin")[0], 1);
}

/// As version 1, and the numbers of windows and their times are in equal steps.
#[test]
fn a_page_of_rollups_of_version_2() {
    assert_eq!(a_golden_page("rollup-2.bin")[0], 2);
}

fn a_golden_page(name: &str) -> Vec<u8> {
    let mut page = Page::default();
    page.days.insert(0);
    let window = |number: u32, first: Value, last: Value| {
        let place =
            |second: i64| Place { time: START + (i64::from(number) * 60 + second) * 1_000_000_000, chunk: 0, row: 0 };
        Accumulator {
            count: 60,
            numbers: 59,
            minimum: -1.5,
            maximum: 36.9 + f64::from(number),
            floats: 2214.3,
            integers: -(1 << 70) + i128::from(number),
            first: Some((place(0), first)),
            last: Some((place(59), last)),
        }
    };
    let numbers = (0..20).map(|minute| (minute, window(minute, Value::Float(36.5), Value::Integer(i64::MIN))));
    page.metrics.insert("temperature".into(), numbers.collect());
    let texts = (5..9).map(|minute| (minute, window(minute, Value::Text("sinus".into()), Value::Bool(true))));
    page.metrics.insert("rhythm".into(), texts.collect());
    let written = page.encode(START, 6);
    let golden = golden(name, &written);
    assert_eq!(format!("{:?}", Page::decode(&golden, START).unwrap()), format!("{page:?}"));
    for length in 0..golden.len() {
        assert!(Page::decode(&golden[..length], START).is_err());
    }
    golden
}
