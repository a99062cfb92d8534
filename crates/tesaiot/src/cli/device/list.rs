//! `tesaiot device list`.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::error::ClientError;
use crate::cli::client::wire::Device;
use crate::exit::OPERATOR_CODES;
use crate::output;
use crate::output::table::Table;

/// Devices asked for at once, and lined up with each other.
const PAGE: usize = 500;

/// List the devices.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES)]
pub(crate) struct List {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl List {
    /// Page by page: what a platform holds need not fit into this process.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let target = self.connection.resolve()?;
        let url = target.url.clone();
        let client = Client::new(target);
        let mut writer = if self.json { Writer::Json { first: true } } else { Writer::Text { devices: 0 } };
        let mut after: Option<String> = None;
        loop {
            let page = client.devices(after.as_deref(), PAGE)?;
            writer.page(&page.devices)?;
            match page.next {
                None => return writer.end(),
                Some(next) if after.as_ref().is_some_and(|after| *after >= next) => {
                    return Err(ClientError::NotAPlatform { url, what: "pages that go in circles".into() }.into());
                }
                next => after = next,
            }
        }
    }
}

enum Writer {
    Text { devices: usize },
    Json { first: bool },
}

impl Writer {
    fn page(&mut self, page: &[Device]) -> anyhow::Result<()> {
        match self {
            Self::Text { devices } => {
                *devices += page.len();
                if page.is_empty() { Ok(()) } else { output::data(table(page)) }
            }
            Self::Json { first } => page.iter().try_for_each(|device| {
                let separator = if std::mem::take(first) { "[\n" } else { ",\n" };
                output::data(format_args!("{separator}{}", serde_json::to_string(device)?))
            }),
        }
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Text { devices: 0 } => {
                output::say("No devices yet. Register one: tesaiot device add ID");
                Ok(())
            }
            Self::Text { .. } => Ok(()),
            Self::Json { first: true } => output::line("[]"),
            Self::Json { first: false } => output::line("\n]"),
        }
    }
}

fn table(devices: &[Device]) -> Table<6> {
    let mut table = Table::new(["ID", "NAME", "AUTH", "STATE", "LAST SEEN", "ADDRESS"]);
    for device in devices {
        table.row([
            device.device_id.clone(),
            device.name.clone().unwrap_or_default(),
            device.auth_mode.clone(),
            state(device).to_owned(),
            device.last_seen_at.clone().unwrap_or_else(|| "never".to_owned()),
            device.last_address.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// What a device is doing, in a word.
pub(super) fn state(device: &Device) -> &'static str {
    match device {
        Device { enabled: false, .. } => "disabled",
        Device { connected: true, .. } => "connected",
        Device { online: true, .. } => "online",
        _ => "offline",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disabled_device_is_not_shown_as_connected() {
        let device = |id: &str, enabled, connected| Device {
            device_id: id.into(),
            name: Some(format!("Device {id}")),
            auth_mode: "mtls".into(),
            enabled,
            connected,
            online: enabled,
            presence_changed_at: None,
            offline_cause: None,
            created_at: "2026-01-01T00:00:00Z".into(),
            last_seen_at: connected.then(|| "2026-01-02T00:00:00Z".into()),
            last_address: connected.then(|| "192.0.2.7:40000".into()),
        };
        let devices = [device("one", true, true), device("three", true, false), device("two", false, true)];
        insta::assert_snapshot!(table(&devices), @r"
        ID     NAME          AUTH  STATE      LAST SEEN             ADDRESS
        one    Device one    mtls  connected  2026-01-02T00:00:00Z  192.0.2.7:40000
        three  Device three  mtls  online     never
        two    Device two    mtls  disabled   2026-01-02T00:00:00Z  192.0.2.7:40000
        ");
    }
}
