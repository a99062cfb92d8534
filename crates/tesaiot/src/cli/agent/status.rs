//! `tesaiot agent status`: how the agent of this machine is.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tesaiot_device::agent::{AgentStatus, StatusError, ask};

use super::failure::AgentFailure;
use super::place;
use crate::exit;
use crate::output;

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct StatusArgs {
    /// The data directory of the agent [default: that of the one agent that runs here]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  tesaiot agent status
  tesaiot agent status --data-dir /var/lib/tesaiot/agent/pi-1 --json

Exit codes:
  0    an agent answered
  1    unexpected failure
  2    wrong command line, or several agents run here
  4    no agent answers";

impl StatusArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let status = match self.data_dir {
            Some(directory) => ask(&directory)?,
            None => the_only_one()?,
        };
        if self.json {
            output::json(&status)?;
        } else {
            output::data(readable(&status))?;
        }
        Ok(exit::code(exit::OK))
    }
}

fn the_only_one() -> anyhow::Result<AgentStatus> {
    let (mut running, mut refusal) = (Vec::new(), None);
    for directory in place::known_directories() {
        match ask(&directory) {
            Ok(status) => running.push((directory, status)),
            Err(StatusError::NotRunning { .. }) => {}
            Err(error) => refusal = Some(error),
        }
    }
    if running.len() > 1 {
        let names: Vec<String> = running.iter().map(|(directory, _)| directory.display().to_string()).collect();
        return Err(AgentFailure::SeveralAgents(names.join(", ")).into());
    }
    match (running.pop(), refusal) {
        (Some((_, status)), _) => Ok(status),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(AgentFailure::NoAgent.into()),
    }
}

fn readable(status: &AgentStatus) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<14}{}", output::plain(&value));
    };
    line("device", status.device_id.clone());
    let connected = match (status.connected, &status.tls_version, status.connected_seconds) {
        (true, version, Some(seconds)) => {
            let version = version.as_ref().map(|version| format!(", {version}")).unwrap_or_default();
            format!("to {}{version}, for {}", status.endpoint, duration(seconds))
        }
        (true, ..) => format!("to {}", status.endpoint),
        (false, ..) => format!("no; it tries {}", status.endpoint),
    };
    line("connected", connected);
    if let Some(seconds) = status.acknowledged_seconds_ago {
        let name = if status.confirm == "receipts" { "last taken" } else { "last stored" };
        line(name, format!("{} ago", duration(seconds)));
    }
    if let Some(seconds) = status.receipt_seconds_ago {
        let waiting = match status.awaiting_receipt {
            0 => String::new(),
            count => format!(", {count} wait for one"),
        };
        line("receipts", format!("{} of this run stored, {} ago{waiting}", status.stored, duration(seconds)));
    }
    line(
        "this run",
        format!(
            "{} samples taken, {} acknowledged, {} refused, {} connections, {}",
            status.sampled,
            status.acknowledged,
            status.refused,
            status.connections,
            duration(status.uptime_seconds),
        ),
    );
    let memory = match status.waiting_in_memory {
        0 => String::new(),
        count => format!(", {count} of them in memory alone"),
    };
    let (used, limit) = (mebibytes(status.outbox_bytes), mebibytes(status.outbox_limit_bytes));
    line("waiting", format!("{} samples{memory}; {used} of {limit} MiB", status.waiting));
    line("delivered", format!("{} samples since the outbox was made", status.delivered_in_all));
    let lost: Vec<String> = status.lost.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    line("lost", if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") });
    if let Some(trouble) = &status.disk_trouble {
        line("disk", trouble.clone());
    }
    if let Some(error) = &status.last_error {
        let at = status.last_error_at.map(|at| format!("{at:.0}: ")).unwrap_or_default();
        line("last error", format!("{at}{error}"));
    }
    if let Some(days) = status.certificate_days {
        line("certificate", format!("expires in {days} days"));
    }
    if let Some(renewal) = &status.renewal {
        let trouble = match &renewal.trouble {
            Some(trouble) => format!("; {} attempts failed: {trouble}", renewal.failures),
            None => String::new(),
        };
        line("renewal", format!("due at {:.0}{trouble}", renewal.due_at));
    }
    line("clock", format!("{:.0}", status.clock));
    text
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
