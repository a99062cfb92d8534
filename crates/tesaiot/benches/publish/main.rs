//! The publish command beside `mosquitto_pub` and the script it replaced: whole processes, real TLS, one mosquitto with
//! `TCP_NODELAY` for all of them.
//!
//! `cargo xtask bench publish` builds the program as it is shipped to a device and prints every figure with its goal.
//! All sides take turns in one run: the ratio of their medians is what counts.

#![expect(clippy::print_stdout, reason = "it prints figures")]

mod floor;
#[path = "../spine/machine.rs"]
mod machine;
mod measure;
#[path = "../spine/mosquitto.rs"]
mod mosquitto;
mod place;
#[path = "../spine/platform.rs"]
#[expect(dead_code, reason = "shared with the benchmark of the whole; here it only makes a bundle")]
mod platform;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use measure::{Runs, verdict};
use place::Place;

/// Rounds of single samples, of runs of many, and of the old script.
const ROUNDS: (usize, usize, usize) = (40, 5, 3);
/// Samples of the runs of many, and of the comparison with the old script.
const MANY: usize = 20_000;
const FEW: usize = 20;

fn main() -> Result<()> {
    if floor::ran()? {
        return Ok(());
    }
    println!("{}", machine::line());
    let device_build =
        std::env::var_os("TESAIOT_DEVICE_BINARY").context("`cargo xtask bench publish` names the build")?;
    let device_build = PathBuf::from(device_build);
    let full_build = Path::new(env!("CARGO_BIN_EXE_tesaiot"));
    let place = Place::new(full_build)?;
    size(&device_build)?;
    one_sample(&place, &device_build, full_build)?;
    many_samples(&place, &device_build, full_build)?;
    old_script(&place, &device_build)
}

fn size(device_build: &Path) -> Result<()> {
    let megabytes = device_build.metadata()?.len() as f64 / 1e6;
    println!("\n== binary, device build ==\n{megabytes:.2} MB   goal ≤ 4 MB: {}", verdict(megabytes <= 4.0));
    Ok(())
}

/// One sample over mutual TLS at QoS 1, from the start of a process to its end.
fn one_sample(place: &Place, device_build: &Path, full_build: &Path) -> Result<()> {
    let mut ours = Runs::new("tesaiot publish, device build, tlsv1.2 (its default)");
    let mut ours_13 = Runs::new("tesaiot publish, device build, tlsv1.3");
    let mut full = Runs::new("tesaiot publish, full build, tlsv1.2");
    let mut theirs = Runs::new("mosquitto_pub (tlsv1.3, its default)");
    let mut floor = Runs::new("the floor: rustls, the same bytes, nothing else, tlsv1.2");
    let mut theirs_12 = Runs::new("mosquitto_pub --tls-version tlsv1.2");
    let payload = place.lines(1)?.0;
    for _ in 0..ROUNDS.0 {
        ours.run(&mut place.publish(device_build, &["--once"]))?;
        theirs.run(place.mosquitto_pub().args(["-m", &payload]))?;
        theirs_12.run(place.mosquitto_pub().args(["--tls-version", "tlsv1.2", "-m", &payload]))?;
        floor.run(&mut floor::command(&place.bundle, place.port(), &payload)?)?;
        full.run(&mut place.publish(full_build, &["--once"]))?;
        ours_13.run(&mut place.publish(device_build, &["--once", "--tls-version", "tlsv1.3"]))?;
    }
    for _ in 0..5 {
        ours.run_for_memory(&place.publish(device_build, &["--once"]))?;
        full.run_for_memory(&place.publish(full_build, &["--once"]))?;
        theirs.run_for_memory(place.mosquitto_pub().args(["-m", &payload]))?;
    }
    println!("\n== one sample, mutual TLS, QoS 1, process start to exit ==");
    for runs in [&ours, &ours_13, &full, &floor, &theirs, &theirs_12] {
        runs.print();
    }
    let ratio = ours.median() / theirs.median();
    println!("ratio of medians: {ratio:.2} × mosquitto_pub   goal ≤ 0.35: {}", verdict(ratio <= 0.35));
    let least = floor.median() / theirs.median();
    println!("the floor: {least:.2} × mosquitto_pub: what the process, the cryptography and the broker take of it");
    println!("full build: {:.2} × mosquitto_pub", full.median() / theirs.median());
    let memory = ours.peak_megabytes();
    let (full, theirs) = (full.peak_megabytes(), theirs.peak_megabytes());
    println!(
        "peak memory: {memory:.1} MB   goal ≤ 5 MB: {}   (full build {full:.1}, mosquitto_pub {theirs:.1})",
        verdict(memory <= 5.0)
    );
    Ok(())
}

/// Many samples over one connection: ours are generated, theirs are ready-made lines.
fn many_samples(place: &Place, device_build: &Path, full_build: &Path) -> Result<()> {
    let (_, lines) = place.lines(MANY)?;
    let mut ours = Runs::new("tesaiot publish, device build");
    let mut full = Runs::new("tesaiot publish, full build");
    let mut theirs = Runs::new("mosquitto_pub -l");
    let count = MANY.to_string();
    for _ in 0..ROUNDS.1 {
        ours.run(&mut place.publish(device_build, &["--interval", "0", "--count", &count]))?;
        theirs.run(place.mosquitto_pub().arg("-l").stdin(std::fs::File::open(&lines)?))?;
        full.run(&mut place.publish(full_build, &["--interval", "0", "--count", &count]))?;
        let run = ["--interval", "0", "--count", &count];
        ours.run_for_cpu(&place.publish(device_build, &run), Stdio::null())?;
        full.run_for_cpu(&place.publish(full_build, &run), Stdio::null())?;
        theirs.run_for_cpu(place.mosquitto_pub().arg("-l"), std::fs::File::open(&lines)?.into())?;
    }
    println!("\n== {MANY} samples, mutual TLS, QoS 1, one connection, process start to exit ==");
    for runs in [&ours, &full, &theirs] {
        runs.print_rate(MANY);
    }
    let rate = theirs.median() / ours.median();
    println!("ratio of rates: {rate:.2} × mosquitto_pub -l   goal ≥ 3: {}", verdict(rate >= 3.0));
    let cpu = ours.median_cpu() / theirs.median_cpu();
    println!("ratio of CPU time: {cpu:.2} × mosquitto_pub -l   goal ≤ 0.5: {}", verdict(cpu <= 0.5));
    Ok(())
}

/// What the command replaced: three processes and a handshake for each sample.
fn old_script(place: &Place, device_build: &Path) -> Result<()> {
    let mut ours = Runs::new("tesaiot publish --count 20 --interval 0");
    let mut theirs = Runs::new("the old script, 20 samples");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/publish/old_script.sh");
    let count = FEW.to_string();
    for _ in 0..ROUNDS.2 {
        theirs.run(Command::new(&script).arg(&place.bundle).arg(&count))?;
        for _ in 0..5 {
            ours.run(&mut place.publish(device_build, &["--interval", "0", "--count", &count]))?;
        }
    }
    ensure!(theirs.median() > 0.0, "the script took no time");
    println!("\n== {FEW} samples against the script of Bash, Python and mosquitto_pub ==");
    ours.print();
    theirs.print();
    let times = theirs.median() / ours.median();
    println!("{times:.0} × faster   goal ≥ 150: {}", verdict(times >= 150.0));
    Ok(())
}
