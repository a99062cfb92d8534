//! Goals that have no counterpart in the other stores.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tesaiot_contract::DeviceId;
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::Options;

use super::data::{self, Kind, METRICS, Source};
use super::figures::{self, Figure, Times, Unit};
use super::ours;
use super::year;

/// The argument with which this program measures its own memory, in a process of its own.
pub(crate) const MEMORY: &str = "memory";

/// Messages in a commit.
const GROUP: usize = 100;
/// Devices that are sealed together.
const SEALED: usize = 1000;
/// Devices that are active together.
const ACTIVE: usize = 10_000;
/// Rounds until the heads of the active devices are at their bound.
const ACTIVE_ROUNDS: usize = 60;

/// Everything of this file.
pub(crate) fn run(directory: &Path) -> Result<()> {
    println!("\nours alone");
    figures::print_list(&sealing(directory)?);
    let program = std::env::current_exe()?;
    let status = Command::new(program).arg(MEMORY).status().context("a second process did not start")?;
    ensure!(status.success(), "the process with {ACTIVE} devices failed: {status}");
    year::run(directory)
}

/// Commits of 100 messages while the heads of 1,000 devices become full within a few seconds.
fn sealing(directory: &Path) -> Result<Vec<Figure>> {
    let path = directory.join("sealing.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default())?;
    let ids = ids(SEALED)?;
    let mut source = Source::new(Kind::Rounded, SEALED);
    let (mut commits, mut both) = (Times::default(), Times::default());
    let mut all = Duration::ZERO;
    let mut messages = Vec::new();
    // The rounds that fill the heads, and those in which the sealing goes on.
    let full = Options::default().chunk_samples;
    for round in 0..full + 40 {
        messages.clear();
        source.round(false, &mut messages);
        for group in messages.chunks(GROUP) {
            let entries: Vec<_> =
                group.iter().map(|message| ours::entry(&ids[message.device], Kind::Rounded, message)).collect();
            let started = Instant::now();
            appender.append(&entries)?;
            let committed = started.elapsed();
            appender.maintain()?;
            let took = started.elapsed();
            all += took;
            if round + 1 >= full {
                commits.push(committed);
                both.push(took);
            }
        }
    }
    let chunks = telemetry.counts().chunks;
    let rate = telemetry.counts().values as f64 / all.as_secs_f64();
    ensure!(chunks >= SEALED as u64, "{chunks} chunks were sealed, not those of {SEALED} devices");
    let milliseconds = |name, value| Figure::new(name, Unit::Milliseconds, value);
    Ok(vec![
        Figure::new("ingest of 1,000 devices, 1,300 values in a commit", Unit::PerSecond, rate).goal(1e6),
        milliseconds("commit while 1,000 devices are sealed: median", commits.at(0.5)),
        milliseconds("  p99", commits.at(0.99)).goal(25.0),
        milliseconds("  longest", commits.at(1.0)),
        milliseconds("  with the sealing between two commits: p99", both.at(0.99)).goal(25.0),
        milliseconds("  longest", both.at(1.0)),
    ])
}

/// What 10,000 active devices take, and how quickly all their newest values are read.
pub(crate) fn memory() -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = directory.path().join("active.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default())?;
    let ids = ids(ACTIVE)?;
    let mut source = Source::new(Kind::Rounded, ACTIVE);
    let mut messages = Vec::new();
    for _ in 0..ACTIVE_ROUNDS {
        messages.clear();
        source.round(false, &mut messages);
        for group in messages.chunks(GROUP) {
            let entries: Vec<_> =
                group.iter().map(|message| ours::entry(&ids[message.device], Kind::Rounded, message)).collect();
            appender.append(&entries)?;
            appender.maintain()?;
        }
    }
    let resident = resident_megabytes()?;
    let mut times = Times::default();
    for _ in 0..9 {
        let started = Instant::now();
        let newest = telemetry.latest_all(None, usize::MAX, None);
        times.push(started.elapsed());
        let values: usize = newest.iter().map(|(_, metrics)| metrics.len()).sum();
        ensure!(values == ACTIVE * METRICS, "{values} newest values");
    }
    let latest = Figure::new("latest: 13 metrics of 10,000 devices", Unit::Milliseconds, times.at(0.5));
    let verdict = if resident <= 200.0 { "met" } else { "MISSED" };
    println!("{:<54}{resident:>9.0} MB   ≤ 200 MB {verdict}", "memory with 10,000 devices (and this program)");
    figures::print_list(&[latest.goal(20.0)]);
    Ok(())
}

fn ids(count: usize) -> Result<Vec<DeviceId>> {
    Ok((0..count).map(|index| DeviceId::new(data::device_name(index))).collect::<Result<_, _>>()?)
}

fn resident_megabytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}
