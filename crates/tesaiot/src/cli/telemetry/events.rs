//! `tesaiot telemetry events`: what a device sent to `events/#`.

use clap::Args;
use tesaiot_contract::DeviceId;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::letters::{Event, given};
use crate::output;
use crate::output::table::Table;

/// Events asked for at once.
const PAGE: usize = 1000;
/// Characters of a payload in a table.
const LONGEST: usize = 120;

/// Print the events of a device, newest first.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct EventsArgs {
    /// The device's id
    id: DeviceId,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print a JSON array, with whole payloads
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Examples:
  tesaiot telemetry events pump-7
  tesaiot telemetry events pump-7 --limit 10 --json | jq '.[].payload'

Exit codes: as those of `tesaiot telemetry`";

impl EventsArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let limit = self.limit as usize;
        let (mut events, mut before) = (Vec::new(), None);
        let has_more = loop {
            let asked = (limit - events.len()).min(PAGE);
            let query = [("before", before.map(|number: u64| number.to_string())), ("limit", Some(asked.to_string()))];
            let page = client.events(&self.id, &given(&query))?;
            events.extend(page.events);
            match page.next {
                // A platform that sends us back would keep us for ever.
                Some(next) if events.len() < limit && before.is_none_or(|before| next < before) => before = Some(next),
                next => break next.is_some(),
            }
        };
        if self.json {
            output::json(&events)?;
        } else if events.is_empty() {
            output::say(format_args!("No events of {} there.", self.id));
        } else {
            output::data(table(&events))?;
        }
        if has_more {
            let count = events.len();
            output::warn(format_args!("these are the newest {count}: ask for more with --limit"));
        }
        Ok(())
    }
}

fn table(events: &[Event]) -> Table<3> {
    let mut table = Table::new(["RECEIVED", "TOPIC", "PAYLOAD"]);
    for event in events {
        let payload = event.payload.line();
        let mut shown: String = payload.chars().take(LONGEST).collect();
        if shown.len() < payload.len() {
            shown.push('…');
        }
        table.row([event.received_at.clone(), event.topic.clone(), shown]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::client::letters::read;

    #[test]
    fn a_long_payload_is_cut_where_people_read() {
        let event = |payload: serde_json::Value| -> Event {
            let mut event = json!({"number": 1, "topic": "device/p/events/a", "received_at": "2026-01-31T08:00:00Z"});
            event.as_object_mut().expect("an object").extend(payload.as_object().cloned().unwrap_or_default());
            read(event)
        };
        let events = [
            event(json!({"payload": {"open": true}})),
            event(json!({"payload_text": "ก".repeat(LONGEST + 1)})),
            event(json!({"payload_hex": "ff01"})),
        ];
        let text = table(&events).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], r#"2026-01-31T08:00:00Z  device/p/events/a  {"open":true}"#);
        assert!(lines[2].ends_with("ก…") && lines[2].chars().filter(|c| *c == 'ก').count() == LONGEST, "{}", lines[2]);
        assert!(lines[3].ends_with("0xff01"), "{}", lines[3]);
    }
}
