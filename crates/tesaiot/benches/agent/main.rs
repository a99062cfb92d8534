//! What the device's agent must reach, measured from outside on the program that is shipped to a device.
//!
//! `cargo xtask bench agent` builds what it needs and prints every figure with its goal; a word after it (`append`,
//! `start`, `idle`, `drain`) chooses one part. `TESAIOT_BENCH_QUEUED` is the number of queued samples, one million
//! unless set.

#![expect(clippy::print_stdout, reason = "it prints figures")]

#[path = "../spine/machine.rs"]
mod machine;
#[path = "../spine/platform.rs"]
mod platform;
mod process;
#[path = "../spine/statistics.rs"]
mod statistics;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use tesaiot_device::outbox::{Durability, NewMessage, Options, Outbox, WhenFull};

use platform::Platform;
use process::Agent;
use statistics::Samples;

/// The device of all parts.
const DEVICE: &str = "bench-agent";
/// What is idled through.
const IDLE: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wants = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    println!("{}", machine::line());
    let directory = tempfile::tempdir()?;
    let binary = process::binary();
    let size = fs::metadata(&binary).with_context(|| format!("no program {}", binary.display()))?.len();
    goal("program", size as f64 / 1e6, "MB", 4.0, Wanted::AtMost);
    if wants("append") {
        append(directory.path())?;
    }
    if chosen.is_empty() || chosen.iter().any(|word| word != "append") {
        let platform = Platform::start(&directory.path().join("data"))?;
        let bundle = directory.path().join(DEVICE);
        platform.add_device(DEVICE, &bundle)?;
        if wants("start") {
            start(&platform, &bundle, directory.path())?;
        }
        if wants("idle") {
            idle(&platform, &bundle, directory.path())?;
        }
        if wants("drain") {
            drain(&platform, &bundle, directory.path())?;
        }
        platform.stop()?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Wanted {
    AtMost,
    AtLeast,
}

fn goal(what: &str, figure: f64, unit: &str, goal: f64, wanted: Wanted) {
    let (is_reached, word) = match wanted {
        Wanted::AtMost => (figure <= goal, "at most"),
        Wanted::AtLeast => (figure >= goal, "at least"),
    };
    let verdict = if is_reached { "reached" } else { "MISSED" };
    println!("{what:<52} {figure:>12.2} {unit:<10} goal: {word} {goal} {unit}, {verdict}");
}

fn payload(seq: u64) -> String {
    format!(
        r#"{{"device_id":"{DEVICE}","timestamp":"2026-01-01T00:00:00.{:03}+00:00","boot":"bench","seq":{seq},"data":{{"temperature":{}.25,"temperature_unit":"°C","humidity":48.5,"humidity_unit":"%","pressure":1013.25,"pressure_unit":"hPa"}}}}"#,
        seq % 1000,
        20 + seq % 10
    )
}

fn fill(directory: &Path, count: u64, durability: Durability) -> Result<Duration> {
    let options = Options { durability, max_bytes: 4 << 30, when_full: WhenFull::DropNewest, ..Options::default() };
    let mut outbox = Outbox::open(directory, options, "bench", Instant::now())?;
    let topic = format!("device/{DEVICE}/telemetry/environment");
    let first = Timestamp::now().as_millisecond() - count as i64;
    let started = Instant::now();
    for seq in 1..=count {
        let payload = payload(seq);
        let time = Timestamp::from_millisecond(first + seq as i64)?;
        let message = NewMessage { seq, time, topic: &topic, payload: payload.as_bytes() };
        ensure!(outbox.append(Instant::now(), &message)?, "no room");
    }
    let took = started.elapsed();
    ensure!(outbox.close(Instant::now()), "not everything is on disk");
    Ok(took)
}

/// Appends to an outbox on the disk that the temporary directory is on.
fn append(directory: &Path) -> Result<()> {
    println!("\n== outbox: append, messages of {} bytes ==", payload(100_000).len());
    for (policy, count, wanted) in [("1s", 500_000, Some(50_000.0)), ("every", 1_000, None)] {
        let mut rates = Samples::new(policy);
        let before = process::written("self")?;
        for round in 0..3 {
            let place = directory.join(format!("append-{policy}-{round}"));
            rates.push(fill(&place, count, policy.parse().map_err(anyhow::Error::msg)?)?);
            fs::remove_dir_all(place)?;
        }
        rates.print_rate(count as usize);
        let written = (process::written("self")? - before) as f64 / (3 * count) as f64;
        let rate = count as f64 / rates.median();
        match wanted {
            Some(wanted) => goal("--durability 1s: samples a second", rate, "/s", wanted, Wanted::AtLeast),
            None => println!("--durability every: samples a second {rate:>32.0} /s"),
        }
        println!("--durability {policy}: bytes to the disk for each sample {written:>18.0}");
    }
    Ok(())
}

/// From the start of the process to the acknowledgement of its first sample, which is stored then.
fn start(platform: &Platform, bundle: &Path, directory: &Path) -> Result<()> {
    println!("\n== start to first acknowledged sample, mutual TLS ==");
    let mut samples = Samples::new("tesaiot agent");
    for round in 0..20 {
        let data = directory.join(format!("start-{}", round / 10));
        let started = Instant::now();
        let mut agent = Agent::start(platform, bundle, &data, &["--interval", "60"])?;
        agent.wait_for_first_acknowledgement()?;
        samples.push(started.elapsed());
        agent.stop()?;
    }
    samples.print();
    goal("median", samples.median() * 1e3, "ms", 150.0, Wanted::AtMost);
    Ok(())
}

/// One sample a second, delivered at once.
fn idle(platform: &Platform, bundle: &Path, directory: &Path) -> Result<()> {
    println!("\n== one sample a second for {IDLE:?}, --durability 1s ==");
    let mut agent = Agent::start(platform, bundle, &directory.join("idle"), &["--interval", "1"])?;
    agent.wait_for_first_acknowledgement()?;
    let (cpu, written) = (agent.cpu()?, process::written(&agent.id())?);
    std::thread::sleep(IDLE);
    let used = (agent.cpu()? - cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let written = (process::written(&agent.id())? - written) as f64 / IDLE.as_secs_f64();
    goal("CPU", used, "% of a core", 0.2, Wanted::AtMost);
    goal("memory", agent.memory("VmRSS")?, "MB", 8.0, Wanted::AtMost);
    println!("bytes to the disk for each sample {written:>31.0}");
    agent.stop()
}

/// A device that was offline for long comes back.
fn drain(platform: &Platform, bundle: &Path, directory: &Path) -> Result<()> {
    let count: u64 = match std::env::var("TESAIOT_BENCH_QUEUED") {
        Ok(text) => text.parse().context("TESAIOT_BENCH_QUEUED is a number")?,
        Err(_) => 1_000_000,
    };
    println!("\n== {count} queued samples, drained into the platform, mutual TLS ==");
    let data: PathBuf = directory.join("drain");
    fill(&data.join("outbox"), count, Durability::Interval(Duration::from_secs(1)))?;
    let before = platform.messages_stored()?;
    let started = Instant::now();
    let more = ["--interval", "1", "--outbox-size", "4G"];
    let mut agent = Agent::start(platform, bundle, &data, &more)?;
    agent.wait_for_first_acknowledgement()?;
    let (cpu, mut longest) = (agent.cpu()?, Duration::ZERO);
    loop {
        let asked = Instant::now();
        let waiting = agent.waiting()?;
        longest = longest.max(asked.elapsed());
        if waiting <= 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed();
    let stored = platform.messages_stored()? - before;
    ensure!(stored >= count, "{stored} of {count} are stored");
    goal("rate", count as f64 / took.as_secs_f64(), "/s", 20_000.0, Wanted::AtLeast);
    goal("memory at its highest", agent.memory("VmHWM")?, "MB", 16.0, Wanted::AtMost);
    println!("CPU for a million samples {:>39.1} s", (agent.cpu()? - cpu).as_secs_f64() / count as f64 * 1e6);
    println!("longest answer of `agent status` meanwhile {longest:>22.1?}");
    process::expect_complete(&directory.join("data"), DEVICE, "bench", count)?;
    println!("every sample is stored, none is missing; the platform: {} MB resident", platform.resident_megabytes()?);
    agent.stop()
}
