//! A year of one series at 1 Hz: 31.5 million points, which no question may read one by one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{BucketQuery, Entry, Options};

use super::data::{self, ASKED, Kind, START, Source};
use super::figures::{self, Figure, Times, Unit};
use super::ours;

const SECONDS: i64 = 365 * 86_400;
/// Rounds of five seconds in a commit.
const ROUNDS: i64 = 720;
const BUCKETS: i64 = 500;

/// Stores the year, asks for it in buckets, and opens it again.
pub(crate) fn run(directory: &Path) -> Result<()> {
    let path = directory.join("year.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default())?;
    let device = DeviceId::new(data::device_name(0))?;
    // No usual devices: only the quick one is left.
    let mut source = Source::new(Kind::Rounded, 0);
    let mut messages = Vec::new();
    let started = Instant::now();
    for _ in 0..SECONDS / 5 / ROUNDS {
        messages.clear();
        (0..ROUNDS).for_each(|_| source.round(true, &mut messages));
        let entries: Vec<Entry> = messages
            .iter()
            .map(|message| {
                let mut entry = ours::entry(&device, Kind::Rounded, message);
                if let Entry::Sample { sample, .. } = &mut entry {
                    sample.metrics.swap(0, ASKED);
                    sample.metrics.truncate(1);
                }
                entry
            })
            .collect();
        appender.append(&entries)?;
        appender.maintain()?;
    }
    while appender.maintain()?.more {}
    eprintln!("    {SECONDS} values loaded in {:.1} s", started.elapsed().as_secs_f64());
    let query = BucketQuery {
        metric: data::metric(ASKED).0.into(),
        from: Timestamp::from_millisecond(START)?,
        to: Timestamp::from_millisecond(START + SECONDS * 1000)?,
        origin: Timestamp::from_millisecond(START)?,
        width: Duration::from_secs((SECONDS / BUCKETS).unsigned_abs()),
        ..BucketQuery::default()
    };
    let mut times = Times::default();
    for _ in 0..10 {
        let started = Instant::now();
        let buckets = telemetry.buckets(&device, &query)?;
        times.push(started.elapsed());
        let points: u64 = buckets.iter().map(|bucket| bucket.count).sum();
        ensure!(points == SECONDS.unsigned_abs(), "{points} points are in the buckets");
    }
    appender.close()?;
    drop(telemetry);
    let started = Instant::now();
    let _opened = Telemetry::open(&path, Options::default())?;
    let opening = started.elapsed().as_secs_f64() * 1e3;
    figures::print_list(&[
        Figure::new("a year of a series at 1 Hz in 500 buckets", Unit::Milliseconds, times.at(0.5)).goal(10.0),
        Figure::new("opening that store: 31.5 M values", Unit::Milliseconds, opening),
    ]);
    Ok(())
}
