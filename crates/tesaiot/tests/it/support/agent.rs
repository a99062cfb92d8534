//! `tesaiot agent` as a process, and what the platform has of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::device::Device;
use super::platform_process::tesaiot;
use super::process::{Outcome, Running, run};
use super::rest::Rest;

/// How a test runs an agent: the same device and data directory each time.
#[derive(Clone)]
pub(crate) struct AgentPlan {
    pub(crate) bundle: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) more: Vec<&'static str>,
}

impl AgentPlan {
    /// A sample every 10 ms, over `port`, with its data beside the bundle.
    pub(crate) fn new(device: &Device, port: u16, more: &[&'static str]) -> Self {
        let bundle = device.file("").components().as_path().to_owned();
        let data = bundle.with_extension("agent");
        Self { bundle, data, port, more: more.to_vec() }
    }

    pub(crate) fn command(&self) -> Command {
        self.wrapped(Command::new(tesaiot()))
    }

    /// The same as the end of another command's line.
    pub(crate) fn wrapped(&self, mut command: Command) -> Command {
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["agent", "--certs-dir"]);
        command.arg(&self.bundle).arg("--data-dir").arg(&self.data);
        command.args(["--broker-host", "127.0.0.1", "--broker-port", &self.port.to_string()]);
        command.args(["--sensor", "environment"]);
        if !self.more.contains(&"--interval") {
            command.args(["--interval", "0.01"]);
        }
        command.args(&self.more);
        command
    }

    /// Delivers what an agent left when it was stopped between two samples.
    #[track_caller]
    pub(crate) fn drain(&self) {
        let mut more = self.more.clone();
        match more.iter().position(|word| *word == "--interval") {
            Some(place) => more[place + 1] = "60",
            None => more.extend(["--interval", "60"]),
        }
        let agent = Self { more, ..self.clone() }.start();
        // A receipt that came while no agent listened is repeated within a minute.
        agent.within(6 * PATIENCE, "an empty outbox", |status| {
            status["waiting"] == 0 && status["acknowledged"].as_u64() > Some(0)
        });
        agent.running.signal("TERM");
        agent.running.wait(PATIENCE);
    }

    #[track_caller]
    pub(crate) fn start(&self) -> AgentProcess {
        AgentProcess { running: Running::start(&mut self.command()), data: self.data.clone() }
    }
}

/// An agent at work; killed when dropped.
pub(crate) struct AgentProcess {
    pub(crate) running: Running,
    data: PathBuf,
}

impl AgentProcess {
    pub(crate) fn of(running: Running, data: &Path) -> Self {
        Self { running, data: data.to_owned() }
    }

    /// What `tesaiot agent status --json` says; none while it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut command = Command::new(tesaiot());
        let outcome = run(command.args(["agent", "status", "--json", "--data-dir"]).arg(&self.data), PATIENCE);
        (outcome.code == Some(0)).then(|| serde_json::from_str(&outcome.stdout).expect("JSON"))
    }

    /// Waits until its status is as asked for, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.within(3 * PATIENCE, what, is)
    }

    #[track_caller]
    fn within(&self, patience: std::time::Duration, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = std::time::Instant::now();
        let mut last = None;
        while started.elapsed() < patience {
            last = self.status();
            if let Some(status) = last.take_if(|status| is(status)) {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("waited in vain for {what}: {last:#?}\n{}", self.running.stderr.text());
    }

    /// So many more samples acknowledged than now.
    #[track_caller]
    pub(crate) fn deliver(&self, more: u64) {
        let count = |status: &Value| status["acknowledged"].as_u64().expect("a number");
        let before = count(&self.until("an answer", |_| true));
        self.until("deliveries", |status| count(status) >= before + more);
    }

    pub(crate) fn kill(self) {
        self.running.signal("KILL");
        self.running.wait(PATIENCE);
    }

    /// Asks it to end; it must have delivered or kept everything.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.running.signal("TERM");
        self.running.wait(PATIENCE).expect_success()
    }
}

/// What the platform has of a device, by the device's own numbers. A platform remembers the runs heard of last, so a
/// test with many of them asks now and then.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Run: the highest number, and what is missing below it.
    pub(crate) runs: BTreeMap<String, (u64, Vec<(u64, u64)>)>,
}

impl Received {
    #[track_caller]
    pub(crate) fn ask(&mut self, operator: &Rest, device: &Device) {
        let answer = operator.get(&format!("/devices/{}/gaps", device.id())).expect(200);
        for boot in answer["boots"].as_array().expect("runs") {
            let number = |value: &Value| value.as_u64().expect("a number");
            let range = |pair: &Value| (number(&pair[0]), number(&pair[1]));
            let mut missing: Vec<_> = boot["missing"].as_array().expect("ranges").iter().map(range).collect();
            if number(&boot["first"]) > 1 {
                missing.insert(0, (1, number(&boot["first"]) - 1));
            }
            let name = boot["boot"].as_str().expect("a name").to_owned();
            self.runs.insert(name, (number(&boot["last"]), missing));
        }
    }

    /// Messages the platform has of all runs.
    pub(crate) fn count(&self) -> u64 {
        let missing = |ranges: &[(u64, u64)]| ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>();
        self.runs.values().map(|(last, gaps)| last - missing(gaps)).sum()
    }

    /// Nothing is missing, and as many samples are stored as have numbers: none is there twice.
    #[track_caller]
    pub(crate) fn expect_complete(&self, operator: &Rest, device: &Device) {
        for (boot, (last, missing)) in &self.runs {
            assert!(missing.is_empty(), "of run {boot}, numbers 1 to {last}, {missing:?} are missing");
        }
        assert_eq!(stored(operator, device), self.count(), "each message is stored once: {:?}", self.runs);
    }
}

/// Samples that the platform has of an agent with the environment sensor, those about the agent itself included.
#[track_caller]
pub(crate) fn stored(operator: &Rest, device: &Device) -> u64 {
    let count = |metric: &str| points(operator, device, metric).len() as u64;
    count("temperature") + count("unclean_end") + count("lost")
}

/// All values of a metric, oldest first.
#[track_caller]
pub(crate) fn points(operator: &Rest, device: &Device, metric: &str) -> Vec<Value> {
    let path = format!("/devices/{}/telemetry?metric={metric}&limit=100000", device.id());
    let answer = operator.get(&path).expect(200);
    assert_ne!(answer["truncated"], true, "too many for one answer");
    answer["points"].as_array().expect("points").iter().map(|point| point["value"].clone()).collect()
}
