//! A store of 1,000,000,000 values: how long it takes to open, in good order and after a crash, and how large it is.
//!
//! `cargo run --release -p tesaiot-store --example billion [millions of values, default 1000] [directory]`
//!
//! With a directory the store stays there, and is opened again without being filled when it is there.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first error")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};
use tesaiot_store::telemetry::{BucketQuery, Entry, Options};
use tesaiot_store::{Appender, Telemetry};

/// As in the platform.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 2025-11-24T16:00:00Z.
const START: i64 = 1_764_000_000;
const DEVICES: u64 = 1000;
const METRICS: [&str; 13] = [
    "temperature",
    "humidity",
    "pressure",
    "voltage",
    "current",
    "power",
    "level",
    "flow",
    "speed",
    "torque",
    "noise",
    "light",
    "dust",
];
/// Seconds between two samples of a device.
const INTERVAL: u64 = 10;
/// Samples of a device in one commit, as many as make a chunk.
const CHUNK: u64 = 720;
/// Devices in one commit.
const GROUP: u64 = 10;

fn main() {
    let millions: u64 = std::env::args().nth(1).map_or(1000, |millions| millions.parse().unwrap());
    let temporary = tempfile::tempdir_in(".").unwrap();
    let directory = std::env::args().nth(2).map_or(temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("telemetry.db");
    if !path.exists() {
        fill(&path, millions);
    }
    let opened = open(&path, "in good order");
    let (telemetry, mut appender) = opened;
    ask(&telemetry);
    // What a crash leaves: every device has open samples, and the tail is to be replayed.
    let last = millions * 1_000_000 / METRICS.len() as u64 / DEVICES;
    for first in (0..DEVICES).step_by(100) {
        let entries: Vec<Entry> = (first..first + 100).flat_map(|device| samples(device, last, 100)).collect();
        appender.append(&entries).unwrap();
    }
    let open_samples = telemetry.counts().open_samples;
    drop((telemetry, appender));
    let (telemetry, _appender) = open(&path, &format!("after a crash with {open_samples} samples in the tail"));
    assert_eq!(telemetry.counts().open_samples, open_samples);
}

fn open(path: &Path, state: &str) -> (Telemetry, Appender) {
    let start = Instant::now();
    let opened = Telemetry::open(path, Options::default()).unwrap();
    let elapsed = start.elapsed();
    let counts = opened.0.counts();
    let file = std::fs::metadata(path).unwrap().len();
    println!(
        "opened {state}: {:.0} ms (goal 1000 ms), {} values, {} devices, {} chunks, {} MB on disk, {:.2} bytes a value",
        elapsed.as_secs_f64() * 1e3,
        counts.values,
        counts.devices,
        counts.chunks,
        file >> 20,
        file as f64 / counts.values as f64,
    );
    opened
}

fn ask(telemetry: &Telemetry) {
    let device = DeviceId::new("device-00500").unwrap();
    let start = Instant::now();
    let newest = telemetry.latest(&device);
    println!("the newest values of a device: {:.2} ms, {} metrics", start.elapsed().as_secs_f64() * 1e3, newest.len());
    let query = BucketQuery { metric: "pressure".into(), width: Duration::from_secs(3600), ..BucketQuery::default() };
    let start = Instant::now();
    let buckets = telemetry.buckets(&device, &query).unwrap();
    println!("all of a metric by the hour: {:.2} ms, {} buckets", start.elapsed().as_secs_f64() * 1e3, buckets.len());
}

fn fill(path: &Path, millions: u64) {
    let (telemetry, mut appender) = Telemetry::open(path, Options::default()).unwrap();
    let rounds = (millions * 1_000_000 / METRICS.len() as u64 / DEVICES).div_ceil(CHUNK);
    let start = Instant::now();
    for round in 0..rounds {
        for first in (0..DEVICES).step_by(GROUP as usize) {
            let entries: Vec<Entry> =
                (first..first + GROUP).flat_map(|device| samples(device, round * CHUNK, CHUNK)).collect();
            appender.append(&entries).unwrap();
            while appender.maintain().unwrap().more {}
        }
        let values = telemetry.counts().values;
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{} M values, {:.2} M/s", values / 1_000_000, values as f64 / seconds / 1e6);
    }
    appender.seal_all().unwrap();
    while appender.maintain().unwrap().more {}
    appender.close().unwrap();
}

/// Rounded readings that walk, as of real sensors.
fn samples(device: u64, first: u64, count: u64) -> impl Iterator<Item = Entry> {
    let id = DeviceId::new(format!("device-{device:05}")).unwrap();
    let mut noise = (device + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ first;
    let mut level = 2000_i64;
    (first..first + count).map(move |number| {
        let time = Timestamp::from_second(START + (number * INTERVAL) as i64).unwrap();
        let metrics = METRICS.iter().zip(0..).map(|(name, offset)| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            level = (level + i64::try_from((noise >> 33) % 7).unwrap() - 3).clamp(1000, 3000);
            Metric { name: (*name).into(), value: Value::Float((level + offset) as f64 / 100.0), unit: None }
        });
        let metrics = metrics.collect();
        let received_at = time + Duration::from_millis(20 + noise % 40);
        Entry::Sample {
            device: id.clone(),
            kind: None,
            received_at,
            sample: Sample { time: Some(time), id: None, metrics },
        }
    })
}
