//! `tesaiot device enroll-token`: a device gets its certificate for a key that it made and keeps.

use clap::Args;
use serde_json::json;
use tesaiot_contract::DeviceId;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::enrolment::{MadeToken, Token};
use crate::cli::span::Span;
use crate::output;
use crate::output::table::Table;

/// Make a one-time token with which a device gets its certificate for a key of its own.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct EnrollToken {
    /// The device's id
    id: DeviceId,
    /// How long it is good: 1h, 7d; at most 30d
    #[arg(long, value_name = "SPAN", default_value = "24h", conflicts_with_all = ["list", "revoke"])]
    valid: Span,
    /// List the tokens of the device instead, those that are over too
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Take back every token of the device that was not used, instead
    #[arg(long)]
    revoke: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Prints the token, this once. It is good for one certificate of this one device and for nothing else, and says which \
authority the device is to believe. On the device: tesaiot agent enroll

Examples:
  tesaiot device enroll-token pump-7
  tesaiot device enroll-token pump-7 --valid 7d > token
  tesaiot device enroll-token pump-7 --revoke

Exit codes: as those of `tesaiot device`";

impl EnrollToken {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        if self.list {
            let tokens = client.enrolment_tokens(&self.id)?;
            return if self.json { output::json(&tokens) } else { output::data(table(&tokens)) };
        }
        if self.revoke {
            let revoked = client.revoke_enrolment_tokens(&self.id)?;
            if self.json {
                return output::json(&json!({"device_id": self.id, "revoked": revoked}));
            }
            output::say(format_args!("{}: {revoked} enrolment tokens taken back", self.id));
            return Ok(());
        }
        let made = client.create_enrolment_token(&self.id, self.valid.duration())?;
        show(&made, self.json)
    }
}

/// Prints a new token, and what to do with it.
pub(super) fn show(made: &MadeToken, json: bool) -> anyhow::Result<()> {
    if json {
        let mut shown = serde_json::to_value(&made.about)?;
        shown["token"] = made.token.expose().into();
        shown["ca_fingerprint"] = made.ca_fingerprint.clone().into();
        shown["api_base_url"] = made.api_base_url.clone().into();
        return output::json(&shown);
    }
    output::line(made.token.expose())?;
    output::say(format_args!(
        "Good once, until {}; not shown again. On the device:\n\
         \x20 tesaiot agent enroll --url {} --token TOKEN --out ./{}",
        made.about.expires_at, made.api_base_url, made.about.device_id
    ));
    Ok(())
}

fn table(tokens: &[Token]) -> Table<5> {
    let mut table = Table::new(["NUMBER", "MADE", "UNTIL", "USED", "TAKEN BACK"]);
    for token in tokens {
        table.row([
            token.number.to_string(),
            token.created_at.clone(),
            token.expires_at.clone(),
            token.used_at.clone().unwrap_or_default(),
            token.revoked_at.clone().unwrap_or_default(),
        ]);
    }
    table
}
