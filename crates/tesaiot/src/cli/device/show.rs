//! `tesaiot device show`.

use std::fmt::Write;

use clap::Args;
use tesaiot_contract::DeviceId;

use super::list::state;
use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::wire::Device;
use crate::exit::OPERATOR_CODES;
use crate::output;

/// Show one device.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES)]
pub(crate) struct Show {
    /// The device's id
    id: DeviceId,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Show {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let device = Client::new(self.connection.resolve()?).device(&self.id)?;
        if self.json { output::json(&device) } else { output::data(text(&device)) }
    }
}

fn text(device: &Device) -> String {
    let fields = [
        ("Device", Some(device.device_id.as_str())),
        ("Name", device.name.as_deref()),
        ("Authentication", Some(device.auth_mode.as_str())),
        ("State", Some(state(device))),
        ("Created", Some(device.created_at.as_str())),
        ("Last seen", Some(device.last_seen_at.as_deref().unwrap_or("never"))),
        ("Last address", device.last_address.as_deref()),
        (if device.online { "Online since" } else { "Offline since" }, device.presence_changed_at.as_deref()),
        ("Left", device.offline_cause.as_deref().filter(|_| !device.online)),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        if let Some(value) = value {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<14}  {}", output::plain(value));
        }
    }
    text
}
