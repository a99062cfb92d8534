//! Runs of a process: how long, how much CPU, how much memory.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// Runs of one command.
pub(crate) struct Runs {
    name: &'static str,
    seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    peak_kilobytes: Vec<u64>,
}

/// What a goal came to.
pub(crate) fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}

impl Runs {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, seconds: Vec::new(), cpu_seconds: Vec::new(), peak_kilobytes: Vec::new() }
    }

    /// Runs a command that must succeed, for its time.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        let started = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().context("it could not start")?;
        let took = started.elapsed();
        ensure!(status.success(), "{command:?} failed");
        insert(&mut self.seconds, took.as_secs_f64());
        Ok(())
    }

    /// Runs it under the shell's `time`, for its CPU time: of all its threads, in milliseconds.
    pub(crate) fn run_for_cpu(&mut self, command: &Command, input: Stdio) -> Result<()> {
        let script = r#"TIMEFORMAT="%3U %3S"; time "$@" >/dev/null 2>&1"#;
        let output = under(Command::new("bash").args(["-c", script, "bash"]), command, input)?;
        let seconds: f64 = output.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).sum();
        insert(&mut self.cpu_seconds, seconds);
        Ok(())
    }

    /// Runs it under GNU time, for the most memory it had resident.
    pub(crate) fn run_for_memory(&mut self, command: &Command) -> Result<()> {
        let output = under(Command::new("/usr/bin/time").args(["-f", "%M"]), command, Stdio::null())?;
        let last = output.lines().next_back().unwrap_or_default();
        self.peak_kilobytes.push(last.trim().parse().with_context(|| format!("GNU time said {output:?}"))?);
        Ok(())
    }

    /// The middle one, in seconds.
    pub(crate) fn median(&self) -> f64 {
        median(&self.seconds)
    }

    pub(crate) fn median_cpu(&self) -> f64 {
        median(&self.cpu_seconds)
    }

    pub(crate) fn print(&self) {
        let (first, last) = (self.seconds.first().copied(), self.seconds.last().copied());
        let [min, median, max] = [first.unwrap_or_default(), self.median(), last.unwrap_or_default()].map(|s| s * 1e3);
        println!("{:<52} median {median:8.2} ms   min {min:8.2}   max {max:8.2}", self.name);
    }

    pub(crate) fn print_rate(&self, count: usize) {
        let (median, cpu) = (self.median(), self.median_cpu() * 1e3);
        println!(
            "{:<32} median {median:6.3} s   {:>7.0} samples/s   CPU {cpu:4.0} ms",
            self.name,
            count as f64 / median
        );
    }

    /// The largest of all.
    pub(crate) fn peak_megabytes(&self) -> f64 {
        self.peak_kilobytes.iter().max().map_or(0.0, |kilobytes| *kilobytes as f64 / 1024.0)
    }
}

/// What `wrapper` says on stderr about `command`, which must succeed.
fn under(wrapper: &mut Command, command: &Command, input: Stdio) -> Result<String> {
    let output = wrapper.arg(command.get_program()).args(command.get_args()).stdin(input).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(said)
}

fn insert(values: &mut Vec<f64>, value: f64) {
    values.push(value);
    values.sort_by(f64::total_cmp);
}

fn median(values: &[f64]) -> f64 {
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
