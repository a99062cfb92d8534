//! `tesaiot up`: the platform.

pub(crate) mod settings;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use tesaiot_platform::{Addresses, App, Config, FirstStart, Network, RootKey};
use tracing_subscriber::filter::LevelFilter;

use super::limit::LimitArgs;
use super::retain::RetainArgs;
use super::signal::StopSignals;
use super::span::Span;
use super::{data_directory, logging};
use crate::{exit, output};

/// Run the platform: MQTT broker, certificate authority, REST interface and store in one process.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct UpArgs {
    /// Settings in TOML: the long names of these flags, which win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept; created on the first start
    /// [default: $XDG_DATA_HOME/tesaiot, else ~/.local/share/tesaiot]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A name or address by which devices reach this platform, for the server's certificate; the first one goes into
    /// bundles; give it once for each; remembered [default: this host; localhost, 127.0.0.1 and ::1 always work]
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The address to listen on [default: ::, which is every address]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// MQTT over TLS with a client certificate, or with a password; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtt_port: u16,
    /// MQTT over TLS with a password; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8884)]
    mqtt_tls_port: u16,
    /// MQTT with a password over WebSocket over TLS, path /mqtt; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8084)]
    wss_port: u16,
    /// REST and live feed; 0 is any free port
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,
    /// REST for devices with a certificate, and for nobody else; 0 is any free port
    /// [default: 9444; any free port with --https-port 0]
    #[arg(long, value_name = "PORT")]
    ingest_port: Option<u16>,
    /// How long a device's certificate lasts: 90d; a device that renews its own does so after two thirds of it
    #[arg(long, value_name = "SPAN", default_value = "365d")]
    device_certificates: Span,
    /// How long after the end of its certificate a device is given another one, for the same key and no other
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    grace: Span,
    /// Refuse clients without a certificate on the MQTT port
    #[arg(long)]
    require_client_certificate: bool,
    /// A load balancer, or a network of them, in front of the MQTT ports: its connections begin with a PROXY protocol
    /// version 2 header; give it once for each [default: none, and no such header is believed]
    #[arg(long = "proxy-protocol-from", value_name = "ADDRESS")]
    proxies: Vec<Network>,
    /// On the first start, write the root's private key to this file alone, to be taken off this machine
    #[arg(long, value_name = "PATH")]
    root_key_offline: Option<PathBuf>,
    /// Print addresses and first passwords as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    retain: RetainArgs,
    #[command(flatten)]
    limit: LimitArgs,
}

const HELP: &str = "\
The first start creates the certificate authority, the databases and one administrator, whose password is printed \
once. Ctrl-C or SIGTERM ends it in good order: it stops accepting, commits, acknowledges, closes. A second one ends \
it at once; what was not acknowledged is still with the devices.

Examples:
  tesaiot up
  tesaiot up --host iot.example.org --host 192.0.2.7 --data-dir /srv/tesaiot
  tesaiot up --retain 400d --retain-size 20GB
  tesaiot up --publish-rate 100/s,5000 --max-connections-per-address 200
  tesaiot up --config /etc/tesaiot.toml     which says, say: retain = '400d'
  tesaiot up --mqtt-port 0 --mqtt-tls-port 0 --wss-port 0 --https-port 0 --json     any free ports
  RUST_LOG=debug tesaiot up

Exit codes:
  0  ended as asked
  1  unexpected failure, or not everything ended in time
  2  wrong command line or configuration
  3  the data directory cannot be used
  4  a port cannot be bound";

impl UpArgs {
    /// Serves until a signal comes.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        logging::start(LevelFilter::INFO);
        if let Some(file) = &self.config {
            let words: Vec<_> = std::env::args_os().collect();
            return settings::merged(file, &words)?.serve();
        }
        self.serve()
    }

    fn serve(self) -> anyhow::Result<ExitCode> {
        let json = self.json;
        let config = self.configuration()?;
        let data_dir = config.data_dir.clone();
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let mut signals = StopSignals::catch()?;
            let app = tokio::select! {
                app = App::build(config) => app?,
                () = signals.next() => return Ok(exit::code(exit::OK)),
            };
            let (addresses, first, host) = (app.addresses(), app.first_start(), app.host());
            Started { addresses, first, host, data_dir: &data_dir }.announce(json)?;
            app.announced()?;
            let mut impatience = StopSignals::catch()?;
            tokio::select! {
                ended = app.run(async { signals.next().await }) => Ok(ended.map(|()| exit::code(exit::OK))?),
                () = asked_again(&mut impatience) => {
                    output::warn("ended at once; what was not acknowledged is still with the devices");
                    Ok(exit::code(exit::FAILURE))
                }
            }
        })
    }

    fn configuration(self) -> anyhow::Result<Config> {
        let data_dir = self.data_dir.or_else(data_directory);
        let mut config = Config::new(
            data_dir.ok_or_else(|| anyhow!("this user has no data directory: choose one with --data-dir"))?,
        );
        config.host_names = self.hosts;
        config.bind = self.bind.unwrap_or(config.bind);
        config.mqtt_port = self.mqtt_port;
        config.mqtt_tls_port = self.mqtt_tls_port;
        config.wss_port = self.wss_port;
        config.https_port = self.https_port;
        config.ingest_port = self.ingest_port;
        config.device_certificate_lifetime = self.device_certificates.duration();
        config.renewal_grace = self.grace.duration();
        config.require_client_certificate = self.require_client_certificate;
        config.broker.proxies = self.proxies;
        self.retain.apply(&mut config.store);
        self.limit.apply(&mut config);
        if let Some(path) = self.root_key_offline {
            config.root_key = RootKey::Offline(path);
        }
        Ok(config)
    }
}

/// Resolves at a second signal. Those that follow the first within a second are the same wish: `timeout` and some
/// supervisors send theirs to the program and to its group.
async fn asked_again(signals: &mut StopSignals) {
    signals.next().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    match StopSignals::catch() {
        Ok(mut second) => second.next().await,
        // Nothing to wait for: the drain has its own deadline.
        Err(_) => std::future::pending().await,
    }
}

/// What a person, or the program that started this one, has to know.
struct Started<'a> {
    addresses: Addresses,
    first: Option<&'a FirstStart>,
    /// The name that bundles carry
    host: &'a str,
    data_dir: &'a Path,
}

impl Started<'_> {
    fn announce(&self, json: bool) -> anyhow::Result<()> {
        if json { output::line(self.json()) } else { output::data(self.text()) }
    }

    fn json(&self) -> serde_json::Value {
        let Addresses { mqtt, mqtt_tls, wss, https, ingest } = self.addresses;
        let first = self.first.map(|first| {
            json!({
                "admin_email": first.admin_email,
                "admin_password": first.admin_password.as_ref().map(|password| password.expose()),
                "root_passphrase": first.root_passphrase.as_ref().map(|passphrase| passphrase.expose()),
            })
        });
        json!({
            "data_dir": self.data_dir,
            "host": self.host,
            "addresses": {"mqtt": mqtt, "mqtt_tls": mqtt_tls, "mqtt_wss": wss, "https": https, "ingest": ingest},
            "first_start": first,
        })
    }

    fn text(&self) -> String {
        let Addresses { mqtt, mqtt_tls, wss, https, ingest } = self.addresses;
        let (host, data_dir) = (bracketed(self.host), self.data_dir.display());
        let mut text = format!(
            "tesaiot is up.\n\
             \x20 MQTT, certificate or password  {mqtt}\n\
             \x20 MQTT, password                 {mqtt_tls}\n\
             \x20 MQTT over WebSocket, password  wss://{host}:{}/mqtt\n\
             \x20 HTTPS                          https://{host}:{}\n\
             \x20 HTTPS, certificate             https://{host}:{}\n\
             \x20 Data directory                 {data_dir}\n",
            wss.port(),
            https.port(),
            ingest.port()
        );
        if let Some(first) = self.first {
            text += "\nFirst start. These are shown once and kept nowhere:\n";
            if let Some(password) = &first.admin_password {
                text += &format!(
                    "\x20 Administrator                  {}\n\
                     \x20 Password                       {}\n",
                    first.admin_email,
                    password.expose()
                );
            }
            if let Some(passphrase) = &first.root_passphrase {
                text += &format!("\x20 Passphrase of the root key     {}\n", passphrase.expose());
            }
        }
        let option = match data_directory() {
            Some(standard) if standard == self.data_dir => String::new(),
            _ => format!(" --data-dir {}", super::quoted(&self.data_dir.to_string_lossy())),
        };
        text + &format!(
            "\nNext, in another terminal:\n\
             \x20 tesaiot device add pump-7{option}\n\
             \x20 tesaiot publish --certs-dir ./pump-7\n\
             \x20 tesaiot telemetry get pump-7{option}\n\n\
             Ctrl-C ends it.\n"
        )
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
