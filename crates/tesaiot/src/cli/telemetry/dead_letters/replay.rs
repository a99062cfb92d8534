//! `tesaiot telemetry dead-letters replay`.

use clap::Args;
use tesaiot_contract::DeviceId;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::letters::{Replayed, given};
use crate::output;

/// Letters read again at a time: bounds how long one request takes.
const TOGETHER: &str = "200";

/// Read one, or all, again by the rules of today.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Replay {
    /// Its number, as `list` shows it
    #[arg(value_name = "N", required_unless_present = "all")]
    number: Option<u64>,
    /// All of them, oldest first
    #[arg(long, conflicts_with = "number")]
    all: bool,
    /// Of all, those of this device
    #[arg(long, value_name = "ID", conflicts_with = "number")]
    device: Option<DeviceId>,
    /// Of all, those with this reason
    #[arg(long, conflicts_with = "number")]
    code: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
What is understood now is stored as if it had been understood when it came, once, and is no dead letter any more. \
What is not stays where it is.

Examples:
  tesaiot telemetry dead-letters replay 12
  tesaiot telemetry dead-letters replay --all --device pump-7

Exit codes: 7 when the one letter is still not understood; else as those of `tesaiot telemetry`";

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let done = match self.number {
            Some(number) => client.replay(number)?,
            None => all(&client, self.device.as_ref(), self.code.as_deref())?,
        };
        if self.json {
            return output::json(&done);
        }
        output::say(said(&done));
        Ok(())
    }
}

/// Page by page; each page is done for good.
fn all(client: &Client, device: Option<&DeviceId>, code: Option<&str>) -> anyhow::Result<Replayed> {
    let mut done = Replayed::default();
    let mut after = None;
    loop {
        let query = [
            ("device_id", device.map(ToString::to_string)),
            ("code", code.map(str::to_owned)),
            ("after", after.map(|number: u64| number.to_string())),
            ("limit", Some(TOGETHER.to_owned())),
        ];
        done = done.and(&client.replay_some(&given(&query))?);
        // A platform that sends us back would keep us for ever.
        match done.next {
            Some(next) if Some(next) > after => after = Some(next),
            _ => return Ok(done),
        }
    }
}

fn said(done: &Replayed) -> String {
    let Replayed { replayed, refused, damaged, entries, duplicates, values, .. } = done;
    let mut text = format!("Replayed: {replayed} (entries: {entries}, values: {values})");
    for (count, what) in
        [(duplicates, "stored already"), (refused, "still not understood"), (damaged, "damaged in the store")]
    {
        if *count > 0 {
            text.push_str(&format!("; {what}: {count}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_was_is_said() {
        let done = Replayed { replayed: 2, entries: 3, values: 26, ..Replayed::default() };
        assert_eq!(said(&done), "Replayed: 2 (entries: 3, values: 26)");
        let more = Replayed { refused: 4, duplicates: 1, ..Replayed::default() };
        let both = done.and(&more);
        assert_eq!(said(&both), "Replayed: 2 (entries: 3, values: 26); stored already: 1; still not understood: 4");
    }
}
