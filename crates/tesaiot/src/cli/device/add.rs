//! `tesaiot device add`: a device that can connect, in one step.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use tesaiot_contract::DeviceId;

use super::bundle::{next_steps, write};
use super::enroll_token;
use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::output;

/// Register a device and write its credential bundle.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Add {
    /// The new device's id: 3 to 64 of A-Z a-z 0-9 _ -
    id: DeviceId,
    /// How it proves who it is
    #[arg(long, value_enum, default_value_t)]
    auth: Auth,
    /// A name for people, at most 200 characters [default: none]
    #[arg(long)]
    name: Option<String>,
    /// The directory for the bundle; created when it is not there [default: ./ID]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write no bundle: print a one-time token with which the device gets a certificate for a key of its own, within a
    /// day (`tesaiot agent enroll`)
    #[arg(long, conflicts_with_all = ["auth", "out"])]
    enroll: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Prints the bundle's directory. The private key or API key in it exists nowhere else.

Examples:
  tesaiot device add pump-7 --out certs_credentials
  tesaiot device add pi-kitchen --auth server-tls --name 'Pi in the kitchen'
  tesaiot publish --certs-dir \"$(tesaiot device add pump-8)\"
  tesaiot device add greenhouse-1 --enroll

Exit codes: as those of `tesaiot device`";

/// How long a new device's token is good.
const ENROLMENT: Duration = Duration::from_secs(24 * 3600);

/// How a device proves who it is (the wire contract, section 2).
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Auth {
    /// With a client certificate
    #[default]
    Mtls,
    /// With an API key, over TLS
    ServerTls,
}

impl Auth {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::ServerTls => "server-tls",
        }
    }
}

impl Add {
    /// Registers first: a directory that cannot be written leaves a device whose bundle can be fetched later.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let out = self.out.unwrap_or_else(|| PathBuf::from(".").join(self.id.as_str()));
        let device = client.create_device(&self.id, self.name.as_deref(), self.auth.as_str())?;
        if self.enroll {
            let made = client.create_enrolment_token(&self.id, ENROLMENT).with_context(|| {
                format!("the device is registered, and has no token; try `tesaiot device enroll-token {}`", self.id)
            })?;
            return enroll_token::show(&made, self.json);
        }
        let bundle = client
            .issue_bundle(&self.id)
            .map_err(anyhow::Error::from)
            .and_then(|bundle| write(&bundle, &out).map(|()| bundle))
            .with_context(|| {
                format!(
                    "the device is registered, its bundle is not written; try `tesaiot device bundle {} --out DIR`",
                    self.id
                )
            })?;
        if self.json {
            return output::json(&json!({"device": device, "bundle_dir": out}));
        }
        output::say(format_args!(
            "Registered {} ({}) and wrote its bundle to {}",
            self.id,
            self.auth.as_str(),
            out.display()
        ));
        next_steps(&bundle, &out);
        output::line(out.display())
    }
}
