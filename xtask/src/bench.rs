//! `bench`: the benchmarks, by name. Each prints its own figures and says what it compared.
//!
//! To add one: a program with `harness = false` (or a small binary), and a line in [`BENCHMARKS`].

use std::io::Write;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, step, target};
use crate::{databases, device, setup};

struct Benchmark {
    name: &'static str,
    /// What is measured, in one line.
    measures: &'static str,
    /// The words after `cargo`.
    cargo: &'static [&'static str],
    /// What makes it a benchmark rather than a test.
    environment: &'static [(&'static str, &'static str)],
    /// Installs what this one needs beyond the tests; returns more of the environment.
    prepare: fn() -> Result<Vec<(&'static str, String)>>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "spine",
        measures: "start, memory, one sample, 20,000 samples: against mosquitto in the same run",
        cargo: &["bench", "--package", "tesaiot", "--bench", "spine"],
        environment: &[],
        prepare: nothing,
    },
    Benchmark {
        name: "agent",
        measures: "the device's program: size, appends, first sample, idle, a million queued samples drained",
        cargo: &["bench", "--package", "tesaiot", "--bench", "agent"],
        environment: &[],
        prepare: device_program,
    },
    Benchmark {
        name: "publish",
        measures: "the publish command as a device has it: one sample, 20,000, memory, size; beside mosquitto_pub",
        cargo: &["bench", "--package", "tesaiot", "--bench", "publish"],
        environment: &[],
        prepare: device_program,
    },
    Benchmark {
        name: "kill9",
        measures: "200 rounds of kill -9 under load: what was acknowledged, lost, stored twice",
        cargo: &["test", "--package", "tesaiot", "--test", "it", "kill9", "--", "--nocapture"],
        environment: &[("TESAIOT_KILL_ROUNDS", "200")],
        prepare: nothing,
    },
    Benchmark {
        name: "churn",
        measures: "2,000 clients that come and go for ten minutes: memory before and after, what was acknowledged and lost",
        cargo: &["test", "--release", "--package", "tesaiot", "--test", "it", "churn", "--", "--nocapture"],
        environment: &[("TESAIOT_CHURN_SECONDS", "600"), ("TESAIOT_CHURN_CLIENTS", "2000")],
        prepare: nothing,
    },
    Benchmark {
        name: "whole-path",
        measures: "messages per second and time to acknowledgement: TLS clients, broker, store in one process",
        cargo: &["run", "--release", "--package", "tesaiot-platform", "--example", "whole_path"],
        environment: &[],
        prepare: nothing,
    },
    Benchmark {
        name: "broker",
        measures: "processor time, memory, latency and revocation of the broker: against mosquitto in the same run",
        cargo: &["bench", "--package", "tesaiot", "--bench", "broker"],
        environment: &[],
        prepare: open_broker,
    },
    Benchmark {
        name: "store",
        measures: "ingest, disk and questions of the telemetry store: against SQLite rows, PostgreSQL, TimescaleDB",
        cargo: &["bench", "--package", "tesaiot-store", "--bench", "store"],
        environment: &[],
        prepare: databases::ensure,
    },
];

/// The broker without a platform, as a program.
fn open_broker() -> Result<Vec<(&'static str, String)>> {
    let example = ["build", "--release", "--package", "tesaiot-broker", "--example", "open_broker"];
    step("the broker alone", &mut cargo(example))?;
    let program = target().join("release/examples/open_broker");
    Ok(vec![("TESAIOT_BENCH_OPEN_BROKER", program.display().to_string())])
}

fn nothing() -> Result<Vec<(&'static str, String)>> {
    Ok(Vec::new())
}

/// What is shipped to a device.
fn device_program() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![("TESAIOT_DEVICE_BINARY", device::build(&[])?.display().to_string())])
}

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
        let more = (benchmark.prepare)()?;
        let mut command = cargo(benchmark.cargo);
        if !rest.is_empty() {
            command.arg("--").args(rest);
        }
        command.envs(environment.clone()).envs(benchmark.environment.iter().copied()).envs(more);
        step(benchmark.name, &mut command)?;
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
