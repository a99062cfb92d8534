//! `tesaiot agent renew`: the next certificate, now.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tesaiot_device::clock::{Clock, System};
use tesaiot_device::identity::renew;
use tesaiot_device::{Connector, Deadlines, Flags, Settings};
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config};
use tokio::runtime;

use crate::cli::publish::arguments::{PlaceArgs, ProxyArgs};
use crate::cli::publish::environment;
use crate::exit;
use crate::output;

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RenewArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Makes a new key, asks the platform for its certificate over HTTPS, connects with
it, and only then puts both in the place of the old ones, which are kept beside
and stay good. It asks with the certificate while that is good; else with the
bundle's API key; else, for a while after its end, with the expired
certificate's own key. An agent renews by itself, after two thirds of the
certificate's life, and takes over what this command renewed.

Examples:
  tesaiot agent renew --certs-dir ./pump-7

Exit codes:
  0    the new certificate is in use
  1    unexpected failure
  2    wrong command line
  3    a file of the bundle is missing, unreadable or cannot be written
  4    the platform was not reached
  5    the platform's certificate is not trusted
  6    the platform does not accept the device
  7    the platform refused the request";

impl RenewArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let flags = Flags { proxy: self.proxy.choice(), ..self.place.flags() };
        let settings = Settings::load(flags, environment)?;
        let clock = Clock::new(Box::new(System::new()), None);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // What it shows is chosen for each connection.
        let trust = TrustAnchors::from_pem(settings.bundle.require_trust_anchor()?)?;
        let nothing = client_config(ClientSettings::new(trust))?;
        let like = Connector::new("", 0, nothing, Deadlines::default()).through(settings.proxies().clone());
        let renewed = runtime.block_on(renew(&settings.bundle, clock.now(), clock.tls(), &like));
        runtime.shutdown_background();
        let until = renewed?.not_after;
        if self.json {
            output::json(&json!({"device_id": settings.bundle.device_id, "not_after": until.to_string()}))?;
        } else {
            output::say(format_args!("{} has a new certificate until {until:.0}", settings.bundle.device_id));
        }
        Ok(exit::code(exit::OK))
    }
}
