//! Durable ingest: 100 devices of 13 metrics, group commits of 100 messages, every commit synced.
//!
//! `cargo run --release -p tesaiot-store --example ingest [seconds of device time, default 7200]`
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first error")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Entry, Options, RangeQuery};

const DEVICES: usize = 100;
const METRICS: usize = 13;
const START: i64 = 1_764_000_000;
/// Seconds between two samples of a device.
const INTERVAL: i64 = 5;

struct Random(u64);

impl Random {
    /// xorshift64*: good enough for noise.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Slowly wandering readings, rounded as sensors give them.
fn metrics(walk: &mut [i64; METRICS], random: &mut Random) -> Vec<Metric> {
    walk.iter_mut()
        .enumerate()
        .map(|(index, level)| {
            *level = (*level + random.below(5) as i64 - 2).clamp(0, 400);
            let (name, value) = match index {
                0 => ("motion", Value::Bool(*level % 50 == 0)),
                1 => ("rhythm", Value::Text(if *level > 395 { "afib" } else { "sinus" }.into())),
                2..=5 => {
                    (["spo2", "heart_rate", "signal_quality", "battery"][index - 2], Value::Integer(60 + *level / 10))
                }
                _ => (
                    [
                        "temperature",
                        "humidity",
                        "pressure",
                        "perfusion_index",
                        "rr_interval_ms",
                        "qt_interval_ms",
                        "voltage",
                    ][index - 6],
                    Value::Float((3600 + *level) as f64 / if index % 2 == 0 { 100.0 } else { 10.0 }),
                ),
            };
            Metric { name: name.into(), value, unit: (index == 6).then(|| "°C".into()) }
        })
        .collect()
}

fn main() {
    let seconds: i64 = std::env::args().nth(1).map_or(7200, |argument| argument.parse().unwrap());
    let directory = tempfile::tempdir_in(".").unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    let devices: Vec<DeviceId> =
        (0..DEVICES).map(|index| DeviceId::new(format!("device-{index:03}")).unwrap()).collect();
    let mut walks = vec![[200_i64; METRICS]; DEVICES];
    let mut random = Random(42);
    let (mut commits, mut calls) = (Vec::new(), Vec::new());
    let mut values = 0;
    for step in 0..seconds / INTERVAL {
        let entries: Vec<Entry> = devices
            .iter()
            .zip(&mut walks)
            .enumerate()
            .map(|(index, (device, walk))| {
                let time = Timestamp::new(START + step * INTERVAL, index as i32 * 1_000_000).unwrap();
                // The platform receives it some milliseconds later, and keeps milliseconds.
                let received_at = time + Duration::from_millis(3 + random.below(40));
                Entry::Sample {
                    device: device.clone(),
                    kind: Some("vital".into()),
                    received_at,
                    sample: Sample {
                        time: Some(time),
                        id: Some(MessageId { boot: "boot-1".into(), seq: step as u64 }),
                        metrics: metrics(walk, &mut random),
                    },
                }
            })
            .collect();
        let start = Instant::now();
        values += appender.append(&entries).unwrap().values;
        commits.push(start.elapsed());
        let start = Instant::now();
        appender.maintain().unwrap();
        calls.push(start.elapsed());
    }
    let start = Instant::now();
    let sealed = appender.seal_all().unwrap();
    let sealing = start.elapsed();
    report(&mut commits, &mut calls, values);
    println!("seal_all: {} chunks in {sealing:?}", sealed.chunks);
    let counts = telemetry.counts();
    println!(
        "{:.3} bytes/value in chunks, {:.1} KB per chunk",
        counts.chunk_bytes as f64 / values as f64,
        counts.chunk_bytes as f64 / counts.chunks as f64 / 1000.0
    );
    while appender.maintain().unwrap().more {}
    appender.close().unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    println!(
        "{:.3} bytes/value in the file of {:.1} MB (freed tail pages included)",
        size as f64 / values as f64,
        size as f64 / 1e6
    );
    read(&telemetry, &devices[7]);
    drop(telemetry);
    let start = Instant::now();
    let opened = Telemetry::open(&path, Options::default()).unwrap();
    println!("open: {:?}", start.elapsed());
    drop(opened);
}

fn report(commits: &mut [Duration], calls: &mut [Duration], values: u64) {
    let (append, maintain): (Duration, Duration) = (commits.iter().sum(), calls.iter().sum());
    println!("{values} values in {} commits", commits.len());
    println!("append   {append:?}: {:.0} values/s", values as f64 / append.as_secs_f64());
    println!("maintain {maintain:?}: {:.0} values/s with it", values as f64 / (append + maintain).as_secs_f64());
    for (name, times) in [("append", commits), ("maintain", calls)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{name}: median {:?}, p99 {:?}, most {:?}", at(0.5), at(0.99), at(1.0));
    }
}

fn read(telemetry: &Telemetry, device: &DeviceId) {
    let query = RangeQuery { metric: Some("temperature".into()), ..RangeQuery::default() };
    for run in ["cold", "warm"] {
        let start = Instant::now();
        let points = telemetry.range(device, &query).unwrap();
        println!("range of one series, {run}: {} points in {:?}", points.len(), start.elapsed());
    }
    let start = Instant::now();
    let latest = telemetry.latest(device);
    println!("latest: {} metrics in {:?}", latest.len(), start.elapsed());
}
