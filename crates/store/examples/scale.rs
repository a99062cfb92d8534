//! What many devices cost: memory of their heads, how long an append takes while they are sealed,
//! how fast the store opens, and what rollups take beside the samples.
//!
//! `cargo run --release -p tesaiot-store --example scale [memory | stall | open | rollups]`
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first error")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Appender, Entry, Options};

const METRICS: usize = 13;
/// 2025-11-24T00:00:00Z.
const START: i64 = 1_763_942_400;

fn main() {
    let chosen = std::env::args().nth(1);
    for (name, measure) in
        [("memory", memory as fn()), ("stall", stall as fn()), ("open", open as fn()), ("rollups", rollups as fn())]
    {
        if chosen.as_deref().is_none_or(|chosen| chosen == name) {
            measure();
        }
    }
}

fn entry(device: usize, seq: i64, seconds: i64) -> Entry {
    let time = Timestamp::from_second(START + seconds).unwrap();
    let noise = (device as i64 * 7919 + seq * 104_729) % 13;
    let metrics = (0..METRICS).map(|metric| {
        let level = (seq / 60 + metric as i64 * 10 + noise) % 400;
        let value = match metric {
            0 => Value::Bool(level % 50 == 0),
            1..=4 => Value::Integer(60 + level / 10),
            _ => Value::Float((3600 + level) as f64 / 100.0),
        };
        Metric { name: format!("metric_{metric}").into(), value, unit: None }
    });
    Entry::Sample {
        device: DeviceId::new(format!("device-{device:05}")).unwrap(),
        kind: Some("vital".into()),
        received_at: time,
        sample: Sample {
            time: Some(time),
            id: Some(MessageId { boot: "boot".into(), seq: seq.unsigned_abs() }),
            metrics: metrics.collect(),
        },
    }
}

fn store(options: Options) -> (tempfile::TempDir, Telemetry, Appender) {
    let directory = tempfile::tempdir_in(".").unwrap();
    let (telemetry, appender) = Telemetry::open(&directory.path().join("telemetry.db"), options).unwrap();
    (directory, telemetry, appender)
}

fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// 10,000 devices of 13 metrics that all send, until the heads are as large as they may be.
fn memory() {
    let before = resident_megabytes();
    let (_directory, telemetry, mut appender) = store(Options::default());
    let mut most = 0;
    for round in 0..60 {
        for first in (0..10_000).step_by(500) {
            let entries: Vec<Entry> = (first..first + 500).map(|device| entry(device, round, round * 10)).collect();
            appender.append(&entries).unwrap();
            appender.maintain().unwrap();
        }
        most = most.max(resident_megabytes());
    }
    let counts = telemetry.counts();
    println!(
        "memory: 10,000 devices x {METRICS} metrics, 60 samples each: {most} MB resident at most ({before} MB before), \
         {} open samples of {} MB",
        counts.open_samples,
        counts.open_bytes >> 20
    );
}

/// Appends of 100 samples while 1,000 devices are sealed, two days' rollups are made and the log is moved.
fn stall() {
    let (_directory, telemetry, mut appender) = store(Options { chunk_samples: 120, ..Options::default() });
    let (mut commits, mut calls) = (Vec::new(), Vec::new());
    // Four minutes between samples: a day is over after 360 rounds.
    for round in 0..400 {
        for first in (0..1000).step_by(100) {
            let entries: Vec<Entry> = (first..first + 100).map(|device| entry(device, round, round * 240)).collect();
            let start = Instant::now();
            appender.append(&entries).unwrap();
            commits.push(start.elapsed());
            let start = Instant::now();
            appender.maintain().unwrap();
            calls.push(start.elapsed());
        }
    }
    // An append waits for the call of `maintain` that is under way.
    let both: Vec<Duration> = commits.iter().zip(&calls).map(|(commit, call)| *commit + *call).collect();
    println!("stall: 1,000 devices, {} chunks sealed", telemetry.counts().chunks);
    for (name, mut times) in [("append", commits), ("maintain", calls), ("append behind maintain", both)] {
        times.sort_unstable();
        println!(
            "  {name}: median {:?}, p99 {:?}, most {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            times[times.len() - 1]
        );
    }
}

/// A store of 10,000 devices, opened again.
fn open() {
    let (directory, _telemetry, mut appender) = store(Options { chunk_samples: 100, ..Options::default() });
    for first in (0..10_000).step_by(10) {
        let entries: Vec<Entry> =
            (0..1000).map(|row| entry(first + row % 10, (row / 10) as i64, (row / 10) as i64 * 10)).collect();
        appender.append(&entries).unwrap();
        while appender.maintain().unwrap().more {}
    }
    appender.seal_all().unwrap();
    let values = _telemetry.counts().values;
    appender.close().unwrap();
    drop(_telemetry);
    let start = Instant::now();
    let (telemetry, _appender) = Telemetry::open(&directory.path().join("telemetry.db"), Options::default()).unwrap();
    println!(
        "open: 10,000 devices, {} chunks, {values} values: {:?}, {} MB resident",
        telemetry.counts().chunks,
        start.elapsed(),
        resident_megabytes()
    );
}

/// Three days of two devices, one that sends every second and one that does every ten.
fn rollups() {
    for interval in [1, 10] {
        let (directory, telemetry, mut appender) = store(Options::default());
        for first in (0..3 * 86_400).step_by(720 * interval as usize) {
            let entries: Vec<Entry> =
                (0..720).map(|row| entry(1, first / interval + row, first + row * interval)).collect();
            appender.append(&entries).unwrap();
            appender.maintain().unwrap();
        }
        appender.seal_all().unwrap();
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        loop {
            let call = Instant::now();
            let more = appender.maintain().unwrap().more;
            longest = longest.max(call.elapsed());
            if !more {
                break;
            }
        }
        let elapsed = start.elapsed();
        let counts = telemetry.counts();
        appender.close().unwrap();
        let file = std::fs::metadata(directory.path().join("telemetry.db")).unwrap().len();
        println!(
            "rollups: a sample every {interval} s, 3 days: chunks {} KB ({:.2} bytes a value), file {} KB, \
             made in {elapsed:?}, longest call {longest:?}",
            counts.chunk_bytes >> 10,
            counts.chunk_bytes as f64 / counts.values as f64,
            file >> 10,
        );
    }
}
