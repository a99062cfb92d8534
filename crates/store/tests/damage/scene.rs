//! A store with something in every table, and what is true of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{BucketQuery, DeadLetterQuery, Entry, MessageQuery, Options, RangeQuery};
use tesaiot_store::{Appender, StoreError, Telemetry};

/// Before buckets, which are not stored: they say something else when a sample is missing.
const BUCKET: &str = "bucket ";

/// Everything a store serves, in words that tell any two apart, by what it is and how often it is there.
pub(crate) type Served = BTreeMap<String, usize>;

pub(crate) fn device(number: usize) -> DeviceId {
    DeviceId::new(format!("device-{number}")).unwrap()
}

pub(crate) fn at(second: u64) -> Timestamp {
    Timestamp::new(1_764_000_000 + second.cast_signed(), 0).unwrap()
}

pub(crate) fn sample(number: usize, seq: u64) -> Entry {
    let noise = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
    let metrics = vec![
        Metric { name: "seq".into(), value: Value::Integer(seq.cast_signed()), unit: None },
        Metric { name: "noise".into(), value: Value::Float(noise as f64 / 1e6), unit: Some("mV".into()) },
        Metric { name: "word".into(), value: Value::Text(format!("word {}", seq % 7).into()), unit: None },
    ];
    let id = Some(MessageId { boot: "boot".into(), seq });
    let sample = Sample { time: Some(at(seq)), id, metrics };
    Entry::Sample { device: device(number), kind: None, received_at: at(seq), sample }
}

pub(crate) fn message(number: usize, seq: u64) -> Entry {
    Entry::Message {
        device: device(number),
        topic: format!("device/device-{number}/events/{seq}").into(),
        received_at: at(seq),
        payload: format!("event {seq}").repeat(20).into(),
    }
}

pub(crate) fn letter(number: usize, seq: u64) -> Entry {
    Entry::DeadLetter {
        device: Some(device(number)),
        topic: format!("device/device-{number}/telemetry").into(),
        received_at: at(seq),
        payload: format!("not JSON {seq}").repeat(20).into(),
        code: "not_json".into(),
        reason: "it is not".into(),
    }
}

/// Three devices; sealed samples, samples in the tail, messages, dead letters, unused pages.
pub(crate) fn fill(telemetry: &Telemetry, appender: &mut Appender) {
    // Space that is not used any more: what these letters took.
    appender.append(&(0..200).map(|seq| letter(0, seq)).collect::<Vec<_>>()).unwrap();
    let numbers = telemetry.dead_letter_numbers(0, &DeadLetterQuery { limit: 1000, ..Default::default() }).unwrap();
    for letters in numbers.chunks(20).take(8) {
        let replays =
            letters.iter().map(|letter| tesaiot_store::telemetry::Replay { letter: *letter, entries: vec![] });
        appender.replay(&replays.collect::<Vec<_>>()).unwrap();
    }
    for part in 0..4 {
        for seq in part * 100..part * 100 + 100 {
            let entries: Vec<Entry> = (0..3).map(|number| sample(number, seq)).collect();
            appender.append(&entries).unwrap();
        }
        appender.append(&[message(1, part), message(2, part)]).unwrap();
        if part < 3 {
            appender.seal_all().unwrap();
        }
    }
    // Rollups are made here, of the days that are over.
    while appender.maintain().unwrap().more {}
}

/// What a store serves.
pub(crate) fn served(telemetry: &Telemetry) -> Result<Served, StoreError> {
    let mut served = Served::new();
    let mut add = |text: String| *served.entry(text).or_default() += 1;
    for id in telemetry.devices() {
        for point in telemetry.range(&id, &RangeQuery::default())?.iter() {
            add(format!("{id} {point:?}"));
        }
        let query = BucketQuery { metric: "seq".into(), ..BucketQuery::default() };
        for bucket in telemetry.buckets(&id, &query)? {
            add(format!("{BUCKET}{id} {bucket:?}"));
        }
    }
    // Numbers are places in a list and not what was sent: they have no checksum, and damage may change one.
    for mut message in telemetry.messages(&MessageQuery { limit: 10_000, ..Default::default() })? {
        message.number = 0;
        add(format!("{message:?}"));
    }
    for mut summary in telemetry.dead_letters(&DeadLetterQuery { limit: 10_000, ..Default::default() })? {
        let letter = telemetry.dead_letter(summary.number)?;
        summary.number = 0;
        add(format!("{summary:?}"));
        if let Some(mut letter) = letter {
            letter.number = 0;
            add(format!("{letter:?}"));
        }
    }
    Ok(served)
}

/// A filled store whose log is moved into the file, and what it serves.
pub(crate) fn closed(directory: &Path) -> (PathBuf, Served) {
    let path = directory.join("telemetry.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    fill(&telemetry, &mut appender);
    let truth = served(&telemetry).unwrap();
    appender.close().unwrap();
    drop(telemetry);
    (path, truth)
}

/// What became of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It does not open, and says why.
    Refused,
    /// It serves everything.
    Intact,
    /// Something is missing, there twice, or a query fails; `check` says so.
    Reported,
}

/// Opens a damaged copy and judges it. Panics when something is served that was never stored, when something is
/// missing that `check` does not know of, or when an error does not say what to do.
#[track_caller]
pub(crate) fn judge(path: &Path, truth: &Served, what: &str) -> Fate {
    let (telemetry, appender) = match Telemetry::open(path, Options::default()) {
        Ok(open) => open,
        Err(error) => {
            assert!(error.hint().is_some(), "{what}: {error:?}");
            return Fate::Refused;
        }
    };
    let is_sound = match telemetry.check() {
        Ok(report) => report.is_sound(),
        Err(error) => {
            assert!(error.hint().is_some(), "{what}: {error:?}");
            false
        }
    };
    let fate = match served(&telemetry) {
        Ok(served) => {
            let is_new = |key: &&String| !truth.contains_key(*key) && !key.starts_with(BUCKET);
            let invented: Vec<&String> = served.keys().filter(is_new).take(3).collect();
            if served == *truth {
                Fate::Intact
            } else {
                // Also when only a bucket differs.
                assert!(!is_sound, "{what}: {} of {} served, and nothing is said of it", served.len(), truth.len());
                assert!(invented.is_empty(), "{what}: served and never stored: {invented:#?}");
                Fate::Reported
            }
        }
        Err(error) => {
            assert!(error.hint().is_some(), "{what}: {error:?}");
            assert!(!is_sound, "{what}: {error:?}, and check finds nothing");
            Fate::Reported
        }
    };
    drop((telemetry, appender));
    fate
}

/// A copy of a database under another name, with its log when there is one, and nothing left of the last copy.
pub(crate) fn fresh_copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let _ = fs::remove_file(name(to));
        if suffix != "-shm" && name(from).exists() {
            fs::copy(name(from), name(to)).unwrap();
        }
    }
}
