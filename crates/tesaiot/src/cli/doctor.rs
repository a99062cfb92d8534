//! `tesaiot doctor`: checks a bundle and a connection step by step, and says which level of security they meet.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tesaiot_device::Choice;
use tesaiot_device::doctor::{self, Blame, Order, Report};
use tokio::runtime;

use super::publish::arguments::{PlaceArgs, seconds};
use super::publish::environment;
use super::signal::StopSignals;
use crate::exit;
use crate::output;
use crate::output::failure::Advice;

/// Check a bundle and a connection step by step, and say which level of security they meet.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Examine as the agent with this configuration file: its way of logging in, its address, and its sensors, each read
    /// once
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the agent, when it is not the usual one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long one step may take, decimals allowed
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = step)]
    timeout: Duration,
    /// Do not publish the one event that shows whether publishing is allowed
    #[arg(long)]
    no_publish: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  tesaiot doctor --certs-dir ./pump-7
  tesaiot doctor --certs-dir ./pump-7 --no-publish
  tesaiot doctor --certs-dir ./pi-1 --config /etc/tesaiot/agent.toml
  tesaiot doctor --certs-dir ./pump-7 --json | jq .ncsa.level

It works with any MQTT broker; what only a platform has is skipped elsewhere.
It connects as the device, as one publish does: an agent that runs with the same
bundle loses its connection for a moment. It publishes one event, to
device/ID/events/doctor: no sample, no status, nothing retained. It tries two
things that must be refused, to connect without credentials and to read other
devices' telemetry; the platform's audit log shows both. No secret is printed.

Exit codes:
  0    every check passed, or was a warning, or had nothing to check
  1    unexpected failure
  2    wrong command line
  3    the bundle: a file is missing, unreadable or damaged, or certificate,
       key, device and date do not fit together; or the agent's configuration,
       a sensor or the outbox
  4    the server was not reached, or does not speak as it must
  5    the server's certificate is not trusted
  6    the server refused the certificate, the key or the login
  7    the server refused what a device must be allowed to do
  130  interrupted";

/// Checks failed; the report on stdout says which.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorFailure {
    /// The first of them decides what to do.
    #[error("{failed} of {count} checks failed, the first: {title}")]
    Failed {
        /// How many
        failed: usize,
        /// Of how many
        count: usize,
        /// The first
        title: &'static str,
        /// Whose fault that one is
        blame: Blame,
        /// What to do about it
        hint: Option<String>,
    },
    /// Stopped from outside.
    #[error("interrupted: the examination was not finished")]
    Interrupted,
}

impl DoctorFailure {
    /// The hint of the first failure, and its exit code.
    pub(crate) fn advice(&self) -> Advice {
        match self {
            Self::Failed { blame, hint, .. } => Advice { hint: hint.clone(), code: code(*blame) },
            Self::Interrupted => Advice { hint: None, code: exit::INTERRUPTED },
        }
    }
}

fn code(blame: Blame) -> u8 {
    match blame {
        Blame::Files => exit::FILE,
        Blame::Network => exit::NETWORK,
        Blame::ServerCertificate => exit::SERVER_CERTIFICATE,
        Blame::Client => exit::NOT_AUTHORISED,
        Blame::Refused => exit::REFUSED,
    }
}

#[cfg(unix)]
fn agents() -> Vec<PathBuf> {
    super::agent::place::known_directories()
}

/// There is no agent on other systems.
#[cfg(not(unix))]
fn agents() -> Vec<PathBuf> {
    Vec::new()
}

fn step(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|step| if step.is_zero() { Err("expected a number above 0".to_owned()) } else { Ok(step) })
}

impl DoctorArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let order = Order {
            flags: self.place.flags(),
            // The agent takes the key when there is one, the publish command the certificate.
            choice: if self.config.is_some() { Choice::PreferKey } else { Choice::PreferCertificate },
            config: self.config,
            data_directory: self.data_dir,
            step: self.timeout,
            agents: agents(),
            publish: !self.no_publish,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(async {
            let mut signals = StopSignals::catch()?;
            tokio::select! {
                report = doctor::examine(order, environment, |_, _| ()) => Ok::<_, anyhow::Error>(report),
                () = signals.next() => Err(DoctorFailure::Interrupted.into()),
            }
        });
        // A host name that is still being resolved must not hold up the exit.
        runtime.shutdown_background();
        let report = report?;
        if self.json {
            output::json(&report::to_json(&report))?;
        } else {
            output::data(report::Readable(&report))?;
        }
        verdict(&report)
    }
}

fn verdict(report: &Report) -> anyhow::Result<ExitCode> {
    let failed = report.count(|outcome| matches!(outcome, doctor::Outcome::Failed(_)));
    match report.first_failure() {
        Some((title, blame, finding)) => {
            let hint = finding.hint.clone();
            Err(DoctorFailure::Failed { failed, count: report.findings.len(), title, blame, hint }.into())
        }
        None => Ok(exit::code(exit::OK)),
    }
}
