//! The flags of the publish command: names, defaults and rules of the wire contract, section 8.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tesaiot_contract::{DeviceId, DeviceTopic, Secret, TelemetryType};
use tesaiot_device::publisher::{Envelope, Plan};
use tesaiot_device::{Choice, Flags, Method, MqttVersion, QoS};
use tesaiot_tls::TlsVersion;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::failure::PublishError;
use super::payload::PayloadArgs;

/// Between two generated samples (the wire contract, section 8).
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest file of a key, in bytes.
const MAX_KEY: u64 = 64 * 1024;

/// The longest interval or period that is taken: a hundred years, in seconds.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

/// Publish telemetry over mutual TLS or, with an API key, server TLS.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Exactly this version of TLS: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", default_value = "tlsv1.2")]
    pub(super) tls_version: TlsVersion,
    /// Version of MQTT; with 5 the broker can say why it refuses a message [default: 3.1.1]
    #[arg(long, value_name = "VERSION", value_enum)]
    mqtt_version: Option<MqttArg>,
    #[command(flatten)]
    pub(super) payload: PayloadArgs,
    /// Topic [default: device/ID/telemetry]
    #[arg(long, value_name = "TOPIC", conflicts_with = "kind", value_parser = topic, help_heading = "Where to")]
    topic: Option<String>,
    /// Type of the telemetry: the topic is device/ID/telemetry/TYPE
    #[arg(long = "type", value_name = "TYPE", id = "kind", value_parser = telemetry_type, help_heading = "Where to")]
    kind: Option<TelemetryType>,
    /// Quality of service: 0 is written and not answered, 1 and 2 are acknowledged
    #[arg(long, value_name = "QOS", value_enum, default_value = "1", help_heading = "Where to")]
    pub(super) qos: QosArg,
    /// Let the broker keep the message for whoever subscribes later
    #[arg(long, help_heading = "Where to")]
    pub(super) retain: bool,
    /// How many messages [default: 1; from stdin: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds between two, decimals allowed; 0 is as fast as the broker acknowledges [default: 5; from stdin: 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    interval: Option<Duration>,
    /// Minutes to publish for; above 0 it decides the count: one message per interval, at least one
    #[arg(long, value_name = "MINUTES", default_value = "0", value_parser = minutes)]
    period: f64,
    /// The same as --count 1
    #[arg(long, conflicts_with_all = ["count", "period"])]
    once: bool,
    /// Seconds the whole command may take, whatever it waits for [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = deadline)]
    timeout: Option<Duration>,
    /// Succeed only when the broker says that acknowledged means stored, as the platform does (MQTT 5)
    #[arg(long)]
    pub(super) wait_stored: bool,
    /// Keep every message in this data directory of an agent until it is acknowledged, send what waits there too, and
    /// leave the rest to the next run [default: the agent's own]
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with_all = ["dry_run", "retain"])]
    pub(super) spool: Option<Option<PathBuf>>,
    /// Show how far a long run is, when stderr is a terminal
    #[arg(long)]
    pub(super) progress: bool,
    /// Print the payload and send nothing; needs no network and no key
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Make warnings about the bundle errors: a key that others may read, a certificate about to expire
    #[arg(long)]
    pub(super) strict: bool,
    /// Take the right to use the private key from everyone but its owner (chmod 600)
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) fix_permissions: bool,
    /// Print a summary as JSON on stdout, once the connection came about
    #[arg(long)]
    pub(super) json: bool,
}

/// Logging in with a key.
#[derive(Args)]
struct KeyArgs {
    /// Log in with this API key over server TLS; others on this machine can see it in the list of processes
    #[arg(long, value_name = "KEY", value_parser = api_key, hide_env_values = true)]
    api_key: Option<Secret>,
    /// Log in with the API key in this file; TESAIOT_API_KEY stands below both
    #[arg(long, value_name = "PATH", conflicts_with = "api_key")]
    api_key_file: Option<PathBuf>,
}

/// Where to connect and as whom; the agent has the same flags.
#[derive(Args)]
pub(crate) struct PlaceArgs {
    /// Directory of the credential bundle [default: ../certs_credentials, else ./certs_credentials]
    #[arg(long, value_name = "DIR")]
    certs_dir: Option<PathBuf>,
    /// Host of the broker [default: of the bundle's endpoints.json, else mqtt.tesaiot.com]
    #[arg(long, value_name = "HOST")]
    broker_host: Option<String>,
    /// Port of the broker [default: of the bundle's endpoints.json, else 8883, or 8884 without a certificate]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    broker_port: Option<u16>,
    /// Device id [default: of the bundle's device_id.txt]
    #[arg(long, value_name = "ID")]
    device_id: Option<DeviceId>,
}

/// The way there; the agent has the same flag.
#[derive(Args)]
pub(crate) struct ProxyArgs {
    /// Connect through this proxy: http://HOST:PORT (CONNECT), socks5://HOST:PORT or socks5h://HOST:PORT; TLS is spoken
    /// end to end. `none` for none [default: HTTPS_PROXY or ALL_PROXY, but for the hosts of NO_PROXY and this machine].
    /// A user and password, http://USER:PASSWORD@HOST:PORT, are better kept in the environment
    #[arg(long, value_name = "URL", value_parser = proxy, hide_env_values = true)]
    proxy: Option<Secret>,
}

impl ProxyArgs {
    /// What was given; it is read later, where a password in it is not repeated.
    pub(crate) fn choice(&self) -> Option<Secret> {
        self.proxy.clone()
    }
}

fn proxy(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

/// A version of MQTT on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum MqttArg {
    #[value(name = "3.1.1")]
    V3,
    #[value(name = "5")]
    V5,
}

/// A quality of service on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum QosArg {
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
}

const HELP: &str = "\
Examples:
  tesaiot publish --certs-dir ./pump-7
  tesaiot publish --certs-dir ./pump-7 --period 10 --interval 2
  tesaiot publish --certs-dir ./pump-7 --tls-version tlsv1.3 --json
  tesaiot publish --certs-dir ./pump-7 --profile environment --type air --count 100 --progress
  tesaiot publish --certs-dir ./pump-7 --type level --message '{\"level\":4.2}' --timeout 10
  tail -f readings.jsonl | tesaiot publish --certs-dir ./pump-7 --stdin-lines
  tesaiot publish --certs-dir ./pump-7 --spool ./waiting --timeout 20
  tesaiot publish --device-id pump-7 --dry-run

A bundle without a certificate logs in with its API key. TESAIOT_DEVICE_ID,
TESAIOT_API_KEY, TESAIOT_MQTT_HOST, TESAIOT_MQTT_PORT, TESAIOT_CA_CERT and
TESAIOT_CERTS_DIR stand above the bundle, and a flag stands above them. They are
read from the environment, then from .env here or else in the bundle.

Exit codes:
  0    every message was acknowledged
  1    unexpected failure
  2    wrong command line
  3    the bundle or the input: a file is missing, unreadable or damaged, or
       certificate, key, device and date do not fit together
  4    the broker was not reached: refused, unknown host, no route, no answer
  5    the broker's certificate is not trusted
  6    the broker refused the certificate, the key or the login
  7    the broker refused a message
  8    a message was not acknowledged: the connection was lost or fell silent,
       the time was over, or with --wait-stored nobody says that it is stored
  9    with --spool: what was not delivered, for reason 4 or 8, waits on disk
  130  interrupted before everything was sent and acknowledged";

impl PublishArgs {
    /// How many, how far apart.
    pub(super) fn plan(&self) -> Result<Plan, PublishError> {
        let stream = self.payload.is_stream();
        let interval = self.interval.unwrap_or(if stream { Duration::ZERO } else { INTERVAL });
        let count = if self.period > 0.0 {
            Plan::count_for(self.period, interval).ok_or(PublishError::PeriodWithoutInterval)?
        } else {
            self.count.unwrap_or(if stream && !self.once { u64::MAX } else { 1 })
        };
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        Ok(Plan { until, ..Plan::new(count, interval) })
    }

    /// What the command line says about place and login. A key that is given is meant to be used.
    pub(super) fn flags(&self) -> Result<(Flags, Choice), PublishError> {
        let api_key = match (&self.key.api_key, &self.key.api_key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(path)) => Some(read_key(path)?),
            (None, None) => None,
        };
        let choice = match api_key {
            Some(_) => Choice::Only(Method::ServerTls),
            None => Choice::PreferCertificate,
        };
        Ok((Flags { api_key, proxy: self.proxy.choice(), ..self.place.flags() }, choice))
    }

    /// Where a message of `device` goes.
    pub(super) fn envelope(&self, device: &DeviceId) -> Envelope {
        let topic = match &self.topic {
            Some(topic) => topic.clone(),
            None => DeviceTopic::telemetry(device, self.kind.clone()).to_string(),
        };
        let qos = match self.qos {
            QosArg::Zero => QoS::AtMostOnce,
            QosArg::One => QoS::AtLeastOnce,
            QosArg::Two => QoS::ExactlyOnce,
        };
        Envelope { topic, qos, retain: self.retain }
    }

    /// MQTT 5 when something is asked for that only it can say.
    pub(super) fn version(&self) -> Result<MqttVersion, PublishError> {
        match (self.mqtt_version, self.wait_stored) {
            (Some(MqttArg::V3), true) => Err(PublishError::StoredNeedsMqtt5),
            (Some(MqttArg::V5), _) | (None, true) => Ok(MqttVersion::V5),
            (Some(MqttArg::V3) | None, false) => Ok(MqttVersion::V3),
        }
    }

    /// The data directory of the spool, when there is to be one.
    pub(super) fn spool(&self, device: &DeviceId) -> Result<Option<PathBuf>, PublishError> {
        let Some(named) = &self.spool else { return Ok(None) };
        if matches!(self.qos, QosArg::Zero) {
            return Err(PublishError::SpoolNeedsAnswers);
        }
        let directory = named.clone().or_else(|| agents_directory(device));
        directory.map(Some).ok_or(PublishError::SpoolNeedsDirectory)
    }
}

/// Where the agent of this device keeps its data.
#[cfg(unix)]
fn agents_directory(device: &DeviceId) -> Option<PathBuf> {
    Some(crate::cli::agent::place::data_directory(device))
}

/// There is no agent on other systems.
#[cfg(not(unix))]
fn agents_directory(_: &DeviceId) -> Option<PathBuf> {
    None
}

/// A key from a file, as a bundle has it.
fn read_key(path: &Path) -> Result<Secret, PublishError> {
    let unreadable = |source| PublishError::KeyFile { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    File::open(path).and_then(|file| file.take(MAX_KEY).read_to_string(&mut text)).map_err(unreadable)?;
    match text.trim() {
        "" => Err(unreadable(std::io::ErrorKind::InvalidData.into())),
        key => Ok(Secret::new(key)),
    }
}

impl PlaceArgs {
    /// As the device side takes them.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            bundle_directory: self.certs_dir.clone(),
            host: self.broker_host.clone(),
            port: self.broker_port,
            device_id: self.device_id.clone(),
            api_key: None,
            proxy: None,
        }
    }
}

/// A number of seconds as a time; also what the agent takes.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    number(text, MOST_SECONDS).map(Duration::from_secs_f64)
}

/// The time a command has; none at all is not meant.
fn deadline(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("expected a time above 0".to_owned()),
        time => Ok(time),
    }
}

fn topic(text: &str) -> Result<String, String> {
    if tesaiot_device::is_topic_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a topic without wildcards".to_owned())
    }
}

fn telemetry_type(text: &str) -> Result<TelemetryType, String> {
    TelemetryType::new(text).map_err(|error| error.to_string())
}

fn api_key(text: &str) -> Result<Secret, String> {
    // What was given is not repeated in what is said about it.
    if text.trim().is_empty() { Err("expected a key".to_owned()) } else { Ok(Secret::new(text.trim())) }
}

fn minutes(text: &str) -> Result<f64, String> {
    number(text, MOST_SECONDS / 60.0)
}

fn number(text: &str, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=most).contains(&number) => Ok(number),
        Ok(_) => Err(format!("expected a number from 0 to {most}")),
        Err(_) => Err("expected a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        publish: PublishArgs,
    }

    fn plan(arguments: &[&str]) -> Option<(u64, f64)> {
        let line = Line::try_parse_from([&["publish"], arguments].concat()).ok()?;
        line.publish.plan().ok().map(|plan| (plan.count, plan.interval.as_secs_f64()))
    }

    #[test]
    fn count_interval_and_period_of_the_contract() {
        assert_eq!(plan(&[]), Some((1, 5.0)));
        assert_eq!(plan(&["--once"]), Some((1, 5.0)));
        assert_eq!(plan(&["--count", "3", "--interval", "0.25"]), Some((3, 0.25)));
        assert_eq!(plan(&["--period", "1", "--count", "99"]), Some((12, 5.0)));
        assert_eq!(plan(&["--period", "0.5", "--interval", "7"]), Some((4, 7.0)));
        assert_eq!(plan(&["--period", "0.01"]), Some((1, 5.0)), "at least one");
        assert_eq!(plan(&["--period", "0.02", "--interval", "0.2"]), Some((6, 0.2)), "1.2 s are six times 0.2 s");
        assert_eq!(plan(&["--interval", "0"]), Some((1, 0.0)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for arguments in [
            &["--period", "1", "--interval", "0"][..],
            &["--once", "--count", "2"],
            &["--count", "0"],
            &["--count", "-1"],
            &["--interval", "-1"],
            &["--interval", "NaN"],
            &["--interval", "inf"],
            &["--period", "1e300"],
            &["--tls-version", "tlsv1.1"],
            &["--mqtt-version", "4"],
            &["--broker-port", "0"],
            &["--device-id", "a/b"],
        ] {
            assert_eq!(plan(arguments), None, "{arguments:?}");
        }
    }
}
