//! `tesaiot device bundle`: fresh credentials for a device that is registered already.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle;

use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::output;

/// Issue fresh credentials for a device and write them as a bundle.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Bundle {
    /// The device's id
    id: DeviceId,
    /// The directory to write to; created when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Issues a new certificate and key, or a new API key and MQTT password: nobody can read the former ones again, \
the platform included.

Example:
  tesaiot device bundle pump-7 --out certs_credentials

Exit codes: as those of `tesaiot device`";

impl Bundle {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let bundle = Client::new(self.connection.resolve()?).issue_bundle(&self.id)?;
        write(&bundle, &self.out)?;
        if self.json {
            return output::json(&json!({"device_id": self.id, "bundle_dir": self.out}));
        }
        output::say(format_args!("Wrote fresh credentials of {} to {}", self.id, self.out.display()));
        next_steps(&bundle, &self.out);
        output::line(self.out.display())
    }
}

/// Writes a bundle with the modes of the wire contract; never over the bundle of another device.
pub(crate) fn write(bundle: &bundle::Bundle, directory: &Path) -> anyhow::Result<()> {
    Ok(bundle.write(directory)?)
}

/// Says how the bundle is used.
pub(crate) fn next_steps(bundle: &bundle::Bundle, directory: &Path) {
    let directory = directory.display();
    output::say(match bundle.certificate {
        Some(_) => format!("Next: tesaiot publish --certs-dir {directory}"),
        None => format!("Next: tesaiot agent --certs-dir {directory} --sensor environment"),
    });
}
