//! `tesaiot device`: who may connect, and with what.

mod add;
mod bundle;
mod enroll_token;
mod list;
mod show;

use clap::{Args, Subcommand};
use serde_json::json;
use tesaiot_contract::DeviceId;

use super::client::Client;
use super::client::connection::ConnectionArgs;
use crate::exit::OPERATOR_CODES;
use crate::output;

/// Register devices, hand out their credentials, take them back.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES, arg_required_else_help = true)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Register a device and write its credential bundle
    Add(add::Add),
    /// List the devices
    List(list::List),
    /// Show one device
    Show(show::Show),
    /// Issue fresh credentials for a device and write them as a bundle
    Bundle(bundle::Bundle),
    /// Make a one-time token with which a device gets its certificate for a key of its own
    EnrollToken(enroll_token::EnrollToken),
    /// Let a device connect again
    #[command(after_help = OPERATOR_CODES)]
    Enable(One),
    /// Close a device's connections and let it connect no more
    #[command(after_help = OPERATOR_CODES)]
    Disable(One),
    /// Take a device's certificate back: it takes effect at once, and for good
    #[command(after_help = REVOKE_HELP)]
    Revoke(One),
    /// Replace a device's API key and print the new one
    #[command(after_help = ROTATE_HELP)]
    RotateKey(One),
    /// Remove a device and its credentials; what it sent stays, and belongs to whoever gets its id next
    #[command(after_help = OPERATOR_CODES)]
    Remove(One),
}

const REVOKE_HELP: &str = "\
Enrolment tokens that were not used are taken back with it.
To give the device a new certificate: tesaiot device bundle ID --out DIR, or tesaiot device enroll-token ID

Exit codes: as those of `tesaiot device`";

const ROTATE_HELP: &str = "\
Example:
  tesaiot device rotate-key pi-kitchen

The former key, the certificates of the device and its unused enrolment tokens are taken back:
whoever had the key could have asked for a certificate with it. The key is shown this once.
Exit codes: as those of `tesaiot device`";

/// A verb that needs nothing but the device.
#[derive(Args)]
struct One {
    /// The device's id
    id: DeviceId,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DeviceArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Add(add) => add.run(),
            Verb::List(list) => list.run(),
            Verb::Show(show) => show.run(),
            Verb::Bundle(bundle) => bundle.run(),
            Verb::EnrollToken(token) => token.run(),
            Verb::Enable(one) => one.act("enable", "enabled"),
            Verb::Disable(one) => one.act("disable", "disabled"),
            Verb::Revoke(one) => one.act("certificate/revoke", "revoked"),
            Verb::RotateKey(one) => one.rotate_key(),
            Verb::Remove(one) => one.remove(),
        }
    }
}

impl One {
    fn act(self, action: &str, done: &str) -> anyhow::Result<()> {
        Client::new(self.connection.resolve()?).act(&self.id, action)?;
        report(&self.id, done, self.json)
    }

    fn remove(self) -> anyhow::Result<()> {
        Client::new(self.connection.resolve()?).remove_device(&self.id)?;
        report(&self.id, "removed", self.json)
    }

    fn rotate_key(self) -> anyhow::Result<()> {
        let key = Client::new(self.connection.resolve()?).rotate_key(&self.id)?;
        if self.json {
            return output::json(&json!({"device_id": self.id, "api_key": key.expose()}));
        }
        output::line(key.expose())?;
        output::say(
            "The former key is no longer accepted, nor are the device's certificates and unused enrolment tokens. \
             This one is not shown again.",
        );
        Ok(())
    }
}

fn report(id: &DeviceId, done: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&json!({"device_id": id, "done": done}));
    }
    output::say(format_args!("{id}: {done}"));
    Ok(())
}
