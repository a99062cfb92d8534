//! `tesaiot command`: tell a device to do something, and hear what became of it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;
use tesaiot_contract::DeviceId;

use super::client::Client;
use super::client::commands::Command;
use super::client::connection::ConnectionArgs;
use super::span::Span;
use crate::exit::{self, OPERATOR_CODES};
use crate::output;
use crate::output::table::Table;

/// How often the platform is asked what became of a command.
const LOOK: Duration = Duration::from_millis(200);

/// Send commands to devices, and see what became of them.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES, arg_required_else_help = true)]
pub(crate) struct CommandArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send a command; it waits for a device that is away
    Send(Send),
    /// List the commands of a device, newest first
    List(List),
}

#[derive(Args)]
#[command(after_help = SEND)]
struct Send {
    /// The device's id
    id: DeviceId,
    /// The command: ping, read-now, set-interval, get-config, set-config, restart-agent, diagnostics, or one of the
    /// device's owner
    name: String,
    /// Its arguments: a JSON object
    #[arg(value_name = "JSON", value_parser = object)]
    arguments: Option<Value>,
    /// Wait for the last answer, and print it
    #[arg(long)]
    wait: bool,
    /// How long it may wait for the device: 30s, 15m, 24h, 7d. A command that comes later is not begun
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    expires: Span,
    /// With --wait: how long to wait here
    #[arg(long, value_name = "SPAN", default_value = "60s", requires = "wait")]
    timeout: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const SEND: &str = "\
States: queued (it waits, or was sent and not answered), received (the device is at work), done, failed, expired,
unknown (the device does not know it, or does not allow it).

Examples:
  tesaiot command send pi-kitchen ping --wait
  tesaiot command send pi-kitchen set-interval '{\"sensor\":\"environment\",\"seconds\":5}'
  tesaiot command send pi-kitchen diagnostics --wait --json | jq .result

Exit codes: as those of `tesaiot command`, and with --wait
  7    refused, or failed, expired or unknown on the device
  8    no last answer within --timeout; the command goes on";

#[derive(Args)]
#[command(after_help = LIST)]
struct List {
    /// The device's id
    id: DeviceId,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const LIST: &str = "\
Examples:
  tesaiot command list pi-kitchen
  tesaiot command list pi-kitchen --json | jq '.[] | select(.status == \"failed\")'

Exit codes: as those of `tesaiot command`";

/// A command that was taken and not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandFailure {
    /// The device said so, or its time was over.
    #[error("{name} is {status}{}", .reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NotDone {
        /// The command
        name: String,
        /// Where it is
        status: String,
        /// The device's reason
        reason: Option<String>,
    },
    /// Not yet.
    #[error("{name} is {status}: no last answer within {}", .after.as_str())]
    NoAnswer {
        /// The command
        name: String,
        /// Where it is
        status: String,
        /// How long it was waited
        after: Span,
    },
}

impl CommandFailure {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotDone { status, .. } if status == "unknown" => "see [commands] in the agent's configuration",
            Self::NotDone { status, .. } if status == "expired" => {
                "is the device there? give it more time with --expires"
            }
            Self::NotDone { .. } => "`tesaiot command send ID diagnostics --wait` says how the agent is",
            Self::NoAnswer { .. } => {
                "`tesaiot command list ID` shows it later; `tesaiot device show ID` says whether it is connected"
            }
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NotDone { .. } => exit::REFUSED,
            Self::NoAnswer { .. } => exit::NOT_ACKNOWLEDGED,
        }
    }
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        _ => Err("expected a JSON object, such as {\"seconds\":5}".to_owned()),
    }
}

impl CommandArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Send(send) => send.run(),
            Verb::List(list) => list.run(),
        }?;
        Ok(exit::code(exit::OK))
    }
}

impl Send {
    fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let arguments = self.arguments.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let seconds = self.expires.duration().as_secs();
        let mut command = client.send_command(&self.id, &self.name, &arguments, seconds)?;
        let began = Instant::now();
        while self.wait && !command.is_final && began.elapsed() < self.timeout.duration() {
            std::thread::sleep(LOOK);
            command = client.command(&self.id, &command.command_id)?;
        }
        if self.json {
            output::json(&command)?;
        } else if self.wait {
            let result = command.result.as_ref().map(Value::to_string);
            output::line(result.as_deref().map_or_else(|| output::plain(&command.status), output::plain))?;
        } else {
            output::line(&command.command_id)?;
            output::say(format_args!(
                "{} is {}; `tesaiot command list {}` says what becomes of it",
                command.name, command.status, self.id
            ));
        }
        let Command { name, status, error: reason, is_final, .. } = command;
        if self.wait && !is_final {
            bail!(CommandFailure::NoAnswer { name, status, after: self.timeout });
        }
        if self.wait && status != "done" {
            bail!(CommandFailure::NotDone { name, status, reason: reason.map(|reason| output::plain(&reason)) });
        }
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let commands = Client::new(self.connection.resolve()?).commands(&self.id, self.limit)?;
        if self.json {
            return output::json(&commands);
        }
        if commands.is_empty() {
            output::say(format_args!("{} was told nothing.", self.id));
            return Ok(());
        }
        output::data(table(&commands))
    }
}

fn table(commands: &[Command]) -> Table<6> {
    let mut table = Table::new(["COMMAND", "STATUS", "SENT", "ANSWERED", "BY", "WHY"]);
    for command in commands {
        table.row([
            command.name.clone(),
            command.status.clone(),
            command.created_at.clone(),
            command.answered_at.clone().unwrap_or_default(),
            command.created_by.clone(),
            command.error.clone().unwrap_or_default(),
        ]);
    }
    table
}
