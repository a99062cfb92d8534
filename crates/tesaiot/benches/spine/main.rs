//! What the spine must reach, measured from outside: whole processes, real TLS, side by side with mosquitto.
//!
//! `cargo xtask bench spine` builds what it needs and prints every figure. Machines are noisy: both sides of a
//! comparison take turns in one run, and the ratio of their medians is what counts.

#![expect(clippy::print_stdout, reason = "it prints figures")]

mod machine;
mod mosquitto;
mod platform;
mod statistics;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use platform::Platform;
use statistics::Samples;

/// Samples of the pipelined runs.
const MANY: usize = 20_000;
/// Rounds of the pipelined runs, and of the single samples.
const ROUNDS: (usize, usize) = (5, 40);

fn main() -> Result<()> {
    println!("{}", machine::line());
    let directory = tempfile::tempdir()?;
    startup(directory.path())?;
    let platform = Platform::start(&directory.path().join("data"))?;
    let bundle = directory.path().join("bench-device");
    platform.add_device("bench-device", &bundle)?;
    println!("\nidle: {} MB resident", platform.resident_megabytes()?);
    one_sample(&platform, &bundle)?;
    many_samples(&platform, &bundle, directory.path())?;
    println!("\nafter all of it: {} MB resident", platform.resident_megabytes()?);
    platform.stop()
}

/// From the start of the process to a finished TLS handshake on the MQTT port.
fn startup(directory: &Path) -> Result<()> {
    let (mut first, mut later) = (Samples::new("first start"), Samples::new("later start"));
    for round in 0..5 {
        let data = directory.join(format!("startup-{round}"));
        for samples in [&mut first, &mut later] {
            let platform = Platform::start(&data)?;
            samples.push(platform.started_in);
            platform.stop()?;
        }
    }
    println!("\n== start of `tesaiot up` to the first TLS handshake served ==");
    first.print();
    later.print();
    Ok(())
}

/// One sample over mutual TLS, from the start of a process to its end, against the same platform.
fn one_sample(platform: &Platform, bundle: &Path) -> Result<()> {
    let before = platform.messages_stored()?;
    let (mut ours, mut theirs) = (Samples::new("tesaiot publish --once"), Samples::new("mosquitto_pub"));
    let payload = fs::read_to_string(payloads(bundle, 1)?)?;
    for _ in 0..ROUNDS.1 {
        let mut publish = tesaiot();
        publish.args(["publish", "--once", "--certs-dir"]).arg(bundle);
        ours.push(timed(&mut publish)?);
        let mut publish = mosquitto::publisher(bundle, platform.mqtt_port);
        publish.args(["-m", payload.trim_end()]);
        theirs.push(timed(&mut publish)?);
    }
    let stored = platform.messages_stored()? - before;
    ensure!(stored == 2 * ROUNDS.1 as u64, "{stored} samples were stored, not {}", 2 * ROUNDS.1);
    println!("\n== one sample, mutual TLS, QoS 1, process start to exit, stored before its acknowledgement ==");
    ours.print();
    theirs.print();
    println!("ratio of medians: {:.2} × mosquitto_pub", ours.median() / theirs.median());
    Ok(())
}

/// Many samples through one connection: into the platform, which stores each before its acknowledgement, and into
/// mosquitto, which stores nothing.
fn many_samples(platform: &Platform, bundle: &Path, directory: &Path) -> Result<()> {
    let mosquitto = mosquitto::Broker::start(&directory.join("data"), directory)?;
    let lines = payloads(bundle, MANY)?;
    let before = platform.messages_stored()?;
    let mut ours = Samples::new("tesaiot publish → platform (stored)");
    let mut theirs = Samples::new("mosquitto_pub -l → mosquitto (not stored)");
    let mut crossed = Samples::new("mosquitto_pub -l → platform (stored)");
    for _ in 0..ROUNDS.0 {
        let mut publish = tesaiot();
        publish.args(["publish", "--interval", "0", "--count", &MANY.to_string(), "--certs-dir"]).arg(bundle);
        ours.push(timed(&mut publish)?);
        for (samples, port) in [(&mut theirs, mosquitto.port), (&mut crossed, platform.mqtt_port)] {
            let mut publish = mosquitto::publisher(bundle, port);
            publish.arg("-l").stdin(fs::File::open(&lines)?);
            samples.push(timed(&mut publish)?);
        }
    }
    let stored = platform.messages_stored()? - before;
    let expected = (2 * ROUNDS.0 * MANY) as u64;
    ensure!(stored == expected, "{stored} samples were stored, not {expected}");
    println!("\n== {MANY} samples, mutual TLS, QoS 1, one connection, process start to exit ==");
    for samples in [&ours, &theirs, &crossed] {
        samples.print_rate(MANY);
    }
    println!("ratio of rates: {:.2} × mosquitto_pub -l into mosquitto", theirs.median() / ours.median());
    Ok(())
}

fn tesaiot() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tesaiot"))
}

/// Runs a command that must succeed.
fn timed(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().context("a command could not start")?;
    let took = started.elapsed();
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

/// A file of generated payloads, one a line.
fn payloads(bundle: &Path, count: usize) -> Result<std::path::PathBuf> {
    let path = bundle.with_extension(format!("{count}.jsonl"));
    if !path.exists() {
        let mut dry_run = tesaiot();
        dry_run.args(["publish", "--dry-run", "--interval", "0", "--count", &count.to_string(), "--certs-dir"]);
        let output = dry_run.arg(bundle).output()?;
        ensure!(output.status.success(), "the dry run failed");
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        ensure!(lines == count, "the dry run printed {lines} lines, not {count}");
        fs::write(&path, output.stdout)?;
    }
    Ok(path)
}
