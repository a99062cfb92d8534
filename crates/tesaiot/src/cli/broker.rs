//! `tesaiot broker`: who is connected, and which sessions wait for their clients.

use clap::{Args, Subcommand};

use super::client::Client;
use super::client::broker::Session;
use super::client::connection::ConnectionArgs;
use super::client::error::ClientError;
use crate::exit::OPERATOR_CODES;
use crate::output;
use crate::output::table::Table;

/// Asked for at once, and lined up with each other.
const PAGE: usize = 500;

/// See who is connected, and which sessions there are.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES, arg_required_else_help = true)]
pub(crate) struct BrokerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the clients that are connected
    #[command(after_help = CLIENTS)]
    Clients(List),
    /// List the sessions, those without a connection too: what they are subscribed to, and what waits for them
    #[command(after_help = SESSIONS)]
    Sessions(List),
}

const CLIENTS: &str = "\
Examples:
  tesaiot broker clients
  tesaiot broker clients --json | jq -r '.[].address'

Exit codes: as those of `tesaiot broker`";

const SESSIONS: &str = "\
Examples:
  tesaiot broker sessions
  tesaiot broker sessions --json | jq 'map(select(.queued > 0))'

Exit codes: as those of `tesaiot broker`";

#[derive(Args)]
struct List {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Clients,
    Sessions,
}

impl BrokerArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Clients(list) => list.run(Which::Clients),
            Verb::Sessions(list) => list.run(Which::Sessions),
        }
    }
}

impl List {
    /// Page by page: what a platform holds need not fit into this process.
    fn run(self, which: Which) -> anyhow::Result<()> {
        let target = self.connection.resolve()?;
        let url = target.url.clone();
        let client = Client::new(target);
        let (mut after, mut count) = (None, 0);
        loop {
            let page = match which {
                Which::Clients => client.broker_clients(after.as_deref(), PAGE)?,
                Which::Sessions => client.broker_sessions(after.as_deref(), PAGE)?,
            };
            if self.json {
                for session in &page.sessions {
                    let separator = if count == 0 { "[\n" } else { ",\n" };
                    count += 1;
                    output::data(format_args!("{separator}{}", serde_json::to_string(session)?))?;
                }
            } else if !page.sessions.is_empty() {
                count += page.sessions.len();
                match which {
                    Which::Clients => output::data(clients(&page.sessions))?,
                    Which::Sessions => output::data(sessions(&page.sessions))?,
                }
            }
            match page.next {
                Some(next) if after.as_ref().is_some_and(|after| *after >= next) => {
                    return Err(ClientError::NotAPlatform { url, what: "pages that go in circles".into() }.into());
                }
                None => break,
                next => after = next,
            }
        }
        match (self.json, count) {
            (true, 0) => output::line("[]"),
            (true, _) => output::line("\n]"),
            (false, 0) => {
                output::say(if which == Which::Clients { "Nobody is connected." } else { "No sessions." });
                Ok(())
            }
            (false, _) => Ok(()),
        }
    }
}

fn clients(sessions: &[Session]) -> Table<6> {
    let mut table = Table::new(["CLIENT", "SINCE", "ADDRESS", "LISTENER", "PROTOCOL", "SUBSCRIPTIONS"]);
    for session in sessions {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.row([
            session.client_id.clone(),
            text(&session.connected_at),
            text(&session.address),
            text(&session.listener),
            text(&session.protocol),
            session.subscriptions.to_string(),
        ]);
    }
    table
}

fn sessions(sessions: &[Session]) -> Table<6> {
    let mut table = Table::new(["CLIENT", "STATE", "ENDS", "SUBSCRIPTIONS", "QUEUED", "BYTES"]);
    for session in sessions {
        table.row([
            session.client_id.clone(),
            if session.connected { "connected" } else { "offline" }.to_owned(),
            session.expires_at.clone().unwrap_or_default(),
            session.subscriptions.to_string(),
            session.queued.to_string(),
            session.queued_bytes.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each() {
        let connected = Session {
            client_id: "pump-7".into(),
            connected: true,
            address: Some("192.0.2.7:40000".into()),
            listener: Some("mqtt".into()),
            protocol: Some("MQTT 5".into()),
            connected_at: Some("2026-01-31T08:00:00Z".into()),
            expires_at: None,
            subscriptions: 2,
            queued: 0,
            queued_bytes: 0,
        };
        let offline = Session {
            client_id: "pump-70".into(),
            connected: false,
            address: None,
            listener: None,
            protocol: None,
            connected_at: None,
            expires_at: Some("2026-01-31T09:00:00Z".into()),
            queued: 12,
            queued_bytes: 3400,
            ..connected
        };
        insta::assert_snapshot!(clients(std::slice::from_ref(&connected)), @r"
        CLIENT  SINCE                 ADDRESS          LISTENER  PROTOCOL  SUBSCRIPTIONS
        pump-7  2026-01-31T08:00:00Z  192.0.2.7:40000  mqtt      MQTT 5    2
        ");
        insta::assert_snapshot!(sessions(&[connected, offline]), @r"
        CLIENT   STATE      ENDS                  SUBSCRIPTIONS  QUEUED  BYTES
        pump-7   connected                        2              0       0
        pump-70  offline    2026-01-31T09:00:00Z  2              12      3400
        ");
    }
}
