//! A process that stores samples is killed at any moment, again and again: nothing that was
//! acknowledged is lost, and nothing is there twice.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Entry, Options, RangeQuery};

const ROUNDS: u64 = 20;
const DEVICES: u64 = 3;
/// Set for the child, to the database's path.
const DATABASE: &str = "TESAIOT_STORE_KILL_TEST_DATABASE";

/// Small bounds, so that sealing, trimming and moving the log happen all the time.
fn options() -> Options {
    Options { chunk_samples: 9, seals_per_call: 2, write_ahead_log_bytes: 100_000, ..Options::default() }
}

fn device(number: u64) -> DeviceId {
    DeviceId::new(format!("device-{number}")).unwrap()
}

fn entries(seq: u64) -> Vec<Entry> {
    let time = Timestamp::new(1_764_000_000 + i64::try_from(seq).unwrap(), 0).unwrap();
    (0..DEVICES)
        .map(|number| Entry::Sample {
            device: device(number),
            kind: None,
            received_at: time,
            sample: Sample {
                time: Some(time),
                id: Some(MessageId { boot: "boot".into(), seq }),
                metrics: vec![Metric {
                    name: "seq".into(),
                    value: Value::Integer(i64::try_from(seq).unwrap()),
                    unit: None,
                }],
            },
        })
        .collect()
}

fn stored(telemetry: &Telemetry, number: u64) -> Vec<u64> {
    let points = telemetry.range(&device(number), &RangeQuery::default()).unwrap();
    points
        .into_iter()
        .map(|point| match point.value {
            Value::Integer(value) => value.unsigned_abs(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Stores samples until it is killed, and says after each append what is stored.
#[test]
fn child() {
    let Some(path) = std::env::var_os(DATABASE).map(PathBuf::from) else {
        return;
    };
    let (telemetry, mut appender) = Telemetry::open(&path, options()).unwrap();
    let next = stored(&telemetry, 0).last().map_or(1, |last| last + 1);
    let mut output = std::io::stdout().lock();
    // What was sent just before the kill is sent again, as a device does.
    for seq in next.saturating_sub(5).max(1).. {
        appender.append(&entries(seq)).unwrap();
        // The parent reads it from the pipe even when this process is gone.
        writeln!(output, "acknowledged {seq}").unwrap();
        output.flush().unwrap();
        appender.maintain().unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        acknowledged = acknowledged.max(kill_after(&path, round * 37 % 101));
        let (telemetry, _appender) = Telemetry::open(&path, options()).unwrap();
        for number in 0..DEVICES {
            let kept = stored(&telemetry, number);
            let last = *kept.last().unwrap_or(&0);
            assert_eq!(kept, (1..=last).collect::<Vec<_>>(), "round {round}");
            assert!(last >= acknowledged, "round {round}: {last} of {acknowledged}");
        }
        let report = telemetry.check().unwrap();
        assert!(report.is_sound(), "round {round}: {report:?}");
    }
    assert!(acknowledged > ROUNDS);
}

/// Lets a child store, kills it some time after its first `lines` acknowledgements, and returns
/// the last number it acknowledged.
fn kill_after(path: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut last = 0;
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(seq) = line.unwrap().strip_prefix("acknowledged ") {
            last = seq.parse().unwrap();
            seen += 1;
        }
        // The child goes on storing while it is being killed: the moment is any.
        if seen == lines + 1 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen > lines, "the child ended by itself");
    last
}
