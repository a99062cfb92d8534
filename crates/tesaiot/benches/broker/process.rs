//! What the system says of a process.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

/// Ticks of the processor clock in a second: fixed on Linux, whatever the kernel's own.
const TICKS: f64 = 100.0;
/// Files a process here may need: ten thousand connections, and some.
pub(crate) const OPEN_FILES: u64 = 16_384;

/// Processor time of a process since its start, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, in brackets, may have spaces.
    let (_, rest) = stat.rsplit_once(')').context("no program in stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).context("no times in stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Resident memory of a process, in KB.
pub(crate) fn resident_kilobytes(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Lets this process, and those it starts, have as many sockets as the measurements need.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Failing to raise it fails later, where a socket cannot be opened.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A program that inherits the raised limit.
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}
