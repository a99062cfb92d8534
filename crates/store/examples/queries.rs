//! How long questions take on a warm store: one series of a year at one sample a second, 100
//! devices of a day, and the newest values of 10,000 devices.
//!
//! `cargo run --release -p tesaiot-store --example queries [days of the long series, default 365] [directory]`
//!
//! With a directory the store stays there, and is asked again without being filled when it is there.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first error")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Metric, Sample, Value};
use tesaiot_store::telemetry::{Algorithm, BucketQuery, Entry, Options, Points, RangeQuery};
use tesaiot_store::{Appender, Telemetry};

/// As in the platform.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// 2025-11-24T16:00:00Z.
const START: i64 = 1_764_000_000;
const DAY: i64 = 86_400;
const FLEET: usize = 10_000;
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

fn main() {
    let days: i64 = std::env::args().nth(1).map_or(365, |days| days.parse().unwrap());
    let temporary = tempfile::tempdir_in(".").unwrap();
    let directory = std::env::args().nth(2).map_or(temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("telemetry.db");
    let is_filled = path.exists();
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    let device = |name: &str, index: usize| DeviceId::new(format!("{name}-{index:05}")).unwrap();
    let long = device("long", 0);
    let group: Vec<DeviceId> = (0..100).map(|index| device("group", index)).collect();
    if !is_filled {
        fill(&mut appender, std::slice::from_ref(&long), &METRICS[..1], days * DAY, 1);
        fill(&mut appender, &group, &METRICS, DAY, 5);
        let fleet: Vec<DeviceId> = (0..FLEET).map(|index| device("fleet", index)).collect();
        fill(&mut appender, &fleet, &METRICS, 30, 10);
        while appender.maintain().unwrap().more {}
    }
    let counts = telemetry.counts();
    println!("{} values, {} chunks, {} samples open", counts.values, counts.chunks, counts.open_samples);
    ask(&telemetry, &long, &group, days);
}

fn ask(telemetry: &Telemetry, long: &DeviceId, group: &[DeviceId], days: i64) {
    let at = |seconds: i64| Timestamp::from_second(START + seconds).unwrap();
    let metric: Box<str> = "temperature".into();
    let day = (at((days / 2) * DAY), at((days / 2 + 1) * DAY));
    let raw = RangeQuery { metric: Some(metric.clone()), from: day.0, to: day.1, ..RangeQuery::default() };
    let minutes = BucketQuery { metric, from: day.0, to: day.1, ..BucketQuery::default() };
    let year = BucketQuery { from: at(0), to: at(days * DAY), ..minutes.clone() };
    let exact = Duration::from_secs((days * DAY / 500).unsigned_abs());
    let whole = |query: &BucketQuery| BucketQuery { width: Duration::MAX, origin: query.from, ..query.clone() };
    let fleet_day = BucketQuery { from: at(0), to: at(DAY), ..minutes.clone() };
    time("24 h at 1 Hz, raw", 3, || telemetry.range(long, &raw).unwrap());
    time("24 h at 1 Hz, exported", 3, || telemetry.export(long, &raw).map(Result::unwrap).collect::<Vec<_>>());
    time("24 h at 1 Hz in minutes", 1, || telemetry.buckets(long, &minutes).unwrap());
    time("24 h at 1 Hz in 500 points (LTTB)", 0, || telemetry.downsample(long, &raw, 500, Algorithm::Lttb).unwrap());
    time("the long series in 500 equal parts", 10, || {
        telemetry.buckets(long, &BucketQuery { width: exact, origin: year.from, ..year.clone() }).unwrap()
    });
    time("the long series in parts of whole hours", 10, || {
        let hours = exact.as_secs().div_ceil(3600) * 3600;
        telemetry.buckets(long, &BucketQuery { width: Duration::from_secs(hours), ..year.clone() }).unwrap()
    });
    time("the long series in days", 10, || {
        telemetry.buckets(long, &BucketQuery { width: Duration::from_secs(86_400), ..year.clone() }).unwrap()
    });
    time("100 devices, 24 h at 5 s: one average", 50, || telemetry.aggregate(Some(group), &whole(&fleet_day)).unwrap());
    time("100 devices, 24 h at 5 s: hourly averages", 50, || {
        let hours = BucketQuery { width: Duration::from_secs(3600), ..fleet_day.clone() };
        telemetry.aggregate(Some(group), &hours).unwrap()
    });
    time("newest values of 10,000 devices", 20, || telemetry.latest_all(None, FLEET, None));
    time("one newest value of 10,000 devices", 0, || telemetry.latest_all(None, FLEET, Some("temperature")));
}

/// An answer of many parts.
trait Answer {
    fn count(&self) -> usize;
}

impl<T> Answer for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
}

impl Answer for Points {
    fn count(&self) -> usize {
        self.len()
    }
}

/// The median of several runs after a first one.
fn time<A: Answer>(name: &str, goal: u32, question: impl Fn() -> A) {
    if let Some(only) = std::env::args().nth(3) {
        if name.contains(&only) {
            for _ in 0..200 {
                std::hint::black_box(question());
            }
        } else {
            return;
        }
    }
    let answers = question().count();
    let mut runs: Vec<Duration> = (0..9)
        .map(|_| {
            let start = Instant::now();
            // To let go of an answer is a part of the work.
            drop(std::hint::black_box(question()));
            start.elapsed()
        })
        .collect();
    runs.sort();
    let goal = if goal == 0 { String::new() } else { format!(" (goal {goal} ms)") };
    println!("{name}: {:.2} ms{goal}, {answers} answers", runs[runs.len() / 2].as_secs_f64() * 1000.0);
}

/// Readings of all devices and metrics, as they would have come over time.
fn fill(appender: &mut Appender, devices: &[DeviceId], metrics: &[&str], seconds: i64, interval: i64) {
    let mut level = 2000_i64;
    let mut noise = 42_u64;
    let mut entries = Vec::new();
    for second in (0..seconds).step_by(usize::try_from(interval).unwrap()) {
        for device in devices {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            level = (level + i64::try_from((noise >> 33) % 5).unwrap() - 2).clamp(1000, 3000);
            let time = Timestamp::from_second(START + second).unwrap();
            let metrics = metrics.iter().zip(0..).map(|(name, offset)| Metric {
                name: (*name).into(),
                value: Value::Float((level + offset) as f64 / 100.0),
                unit: None,
            });
            entries.push(Entry::Sample {
                device: device.clone(),
                kind: None,
                received_at: time + Duration::from_millis(20 + noise % 40),
                sample: Sample { time: Some(time), id: None, metrics: metrics.collect() },
            });
        }
        // A head that is full is sealed before the next samples: no chunk is larger than in daily use.
        if entries.len() >= 720 * devices.len().min(10) {
            flush(appender, &mut entries);
        }
    }
    flush(appender, &mut entries);
}

fn flush(appender: &mut Appender, entries: &mut Vec<Entry>) {
    appender.append(entries).unwrap();
    entries.clear();
    while appender.maintain().unwrap().more {}
}
