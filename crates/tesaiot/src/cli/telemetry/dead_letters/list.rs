//! `tesaiot telemetry dead-letters list`.

use clap::Args;
use tesaiot_contract::DeviceId;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::letters::{Letter, given};
use crate::output;
use crate::output::table::Table;

/// List them, newest first.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct List {
    /// Of this device alone
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// With this reason alone: not_json, wrong_device, …
    #[arg(long)]
    code: Option<String>,
    /// The newest so many, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Examples:
  tesaiot telemetry dead-letters list --code not_json --limit 10
  tesaiot telemetry dead-letters list --json | jq '.[].reason'

Exit codes: as those of `tesaiot telemetry`";

impl List {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let query = [
            ("device_id", self.device.map(|id| id.to_string())),
            ("code", self.code),
            ("limit", Some(self.limit.to_string())),
        ];
        let page = client.dead_letters(&given(&query))?;
        if self.json {
            output::json(&page.dead_letters)?;
        } else if page.dead_letters.is_empty() {
            output::say("No dead letters there.");
        } else {
            output::data(table(&page.dead_letters))?;
        }
        if page.next.is_some() {
            let (shown, total) = (page.dead_letters.len(), page.total);
            output::warn(format_args!("these are the newest {shown}, of {total} in all: ask for more with --limit"));
        }
        if page.dropped > 0 {
            output::warn(format_args!("{} older ones were dropped for newer ones", page.dropped));
        }
        Ok(())
    }
}

fn table(letters: &[Letter]) -> Table<6> {
    let mut table = Table::new(["NUMBER", "RECEIVED", "DEVICE", "REASON", "BYTES", "TOPIC"]);
    for letter in letters {
        table.row([
            letter.number.to_string(),
            letter.received_at.clone(),
            letter.device_id.clone().unwrap_or_default(),
            letter.code.clone(),
            letter.payload_bytes.to_string(),
            letter.topic.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::client::letters::read;

    #[test]
    fn one_line_for_each() {
        let letter = |number: u64, topic: &str, code: &str, bytes: u64| -> Letter {
            read(json!({
                "number": number, "device_id": "pump-7", "topic": topic, "received_at": "2026-01-31T08:00:00Z",
                "code": code, "reason": "a reason", "payload_bytes": bytes,
            }))
        };
        let letters = [letter(12, "device/pump-7/telemetry", "not_json", 7), letter(9, "", "too_large_to_keep", 0)];
        insta::assert_snapshot!(table(&letters), @r"
        NUMBER  RECEIVED              DEVICE  REASON             BYTES  TOPIC
        12      2026-01-31T08:00:00Z  pump-7  not_json           7      device/pump-7/telemetry
        9       2026-01-31T08:00:00Z  pump-7  too_large_to_keep  0
        ");
    }
}
