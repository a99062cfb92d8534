//! `tesaiot telemetry dead-letters show`.

use std::fmt::Write;

use clap::Args;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::letters::Letter;
use crate::output;

/// Show one, with its payload.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Show {
    /// Its number, as `list` shows it
    #[arg(value_name = "N")]
    number: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Example:
  tesaiot telemetry dead-letters show 12

Exit codes: as those of `tesaiot telemetry`";

impl Show {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let letter = Client::new(self.connection.resolve()?).dead_letter(self.number)?;
        if self.json { output::json(&letter) } else { output::data(text(&letter)) }
    }
}

fn text(letter: &Letter) -> String {
    let number = letter.number.to_string();
    let reason = format!("{} ({})", letter.reason, letter.code);
    let size = format!("{} bytes", letter.payload_bytes);
    let topic = if letter.topic.is_empty() { "not read" } else { &letter.topic };
    let fields = [
        ("Number", number.as_str()),
        ("Device", letter.device_id.as_deref().unwrap_or("not known")),
        ("Topic", topic),
        ("Received", &letter.received_at),
        ("Reason", &reason),
        ("Payload", &size),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<8}  {}", output::plain(value));
    }
    for line in letter.payload.lines().lines() {
        let _ = writeln!(text, "  {}", output::plain(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::client::letters::read;

    #[test]
    fn what_it_was_and_why() {
        let letter: Letter = read(json!({
            "number": 12, "device_id": "pump-7", "topic": "device/pump-7/telemetry",
            "received_at": "2026-01-31T08:00:00Z", "code": "not_json", "reason": "the payload is not JSON",
            "payload_bytes": 26, "payload_text": "two lines\nand \u{1b}[2J a bell\u{7}",
        }));
        insta::assert_snapshot!(text(&letter), @r"
        Number    12
        Device    pump-7
        Topic     device/pump-7/telemetry
        Received  2026-01-31T08:00:00Z
        Reason    the payload is not JSON (not_json)
        Payload   26 bytes
          two lines
          and �[2J a bell�
        ");
    }
}
