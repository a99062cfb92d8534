//! `bench`: the benchmarks, by name. Each prints its own figures and says what it compared.
//!
//! To add one: a program with `harness = false` (or a small binary), and a line in [`BENCHMARKS`].

use std::io::Write;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, step};
use crate::setup;

struct Benchmark {
    name: &'static str,
    /// What is measured, in one line.
    measures: &'static str,
    /// The words after `cargo`.
    cargo: &'static [&'static str],
    /// What makes it a benchmark rather than a test.
    environment: &'static [(&'static str, &'static str)],
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "spine",
        measures: "start, memory, one sample, 20,000 samples: against mosquitto in the same run",
        cargo: &["bench", "--package", "tesaiot", "--bench", "spine"],
        environment: &[],
    },
    Benchmark {
        name: "kill9",
        measures: "200 rounds of kill -9 under load: what was acknowledged, lost, stored twice",
        cargo: &["test", "--package", "tesaiot", "--test", "it", "kill9", "--", "--nocapture"],
        environment: &[("TESAIOT_KILL_ROUNDS", "200")],
    },
    Benchmark {
        name: "whole-path",
        measures: "messages per second and time to acknowledgement: TLS clients, broker, store in one process",
        cargo: &["run", "--release", "--package", "tesaiot-platform", "--example", "whole_path"],
        environment: &[],
    },
];

/// Runs the benchmark named first in `arguments` (the rest goes to it), or all of them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (chosen, rest): (Vec<&Benchmark>, &[String]) = match arguments.split_first() {
        Some((word, _)) if word == "--list" => return list(),
        Some((name, rest)) => (vec![named(name)?], rest),
        None => (BENCHMARKS.iter().collect(), &[]),
    };
    if chosen.is_empty() {
        bail!("there is no benchmark yet");
    }
    let environment = setup::prepare()?;
    for benchmark in chosen {
        let mut command = cargo(benchmark.cargo);
        if !rest.is_empty() {
            command.arg("--").args(rest);
        }
        step(benchmark.name, command.envs(environment.clone()).envs(benchmark.environment.iter().copied()))?;
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Benchmark> {
    let found = BENCHMARKS.iter().find(|benchmark| benchmark.name == name);
    found.with_context(|| format!("no benchmark `{name}`; `cargo xtask bench --list` names them"))
}

fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for benchmark in BENCHMARKS {
        writeln!(out, "{:<12} {}", benchmark.name, benchmark.measures)?;
    }
    Ok(())
}
