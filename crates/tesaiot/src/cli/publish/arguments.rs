//! The flags of the publish command: names, defaults and rules of the wire contract, section 8.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tesaiot_contract::DeviceId;
use tesaiot_device::publisher::Plan;
use tesaiot_device::{Flags, MqttVersion};
use tesaiot_tls::TlsVersion;

use super::failure::PublishError;

/// The longest interval or period that is taken: a hundred years, in seconds.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

/// Publish simulated telemetry over mutual TLS or, with an API key, server TLS.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Exactly this version of TLS: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", default_value = "tlsv1.2")]
    pub(super) tls_version: TlsVersion,
    /// Version of MQTT; with 5 the broker can say why it refuses a message
    #[arg(long, value_name = "VERSION", value_enum, default_value = "3.1.1")]
    pub(super) mqtt_version: MqttArg,
    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seconds between two samples, decimals allowed; 0 is as fast as the broker acknowledges
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    interval: Duration,
    /// Minutes to publish for; above 0 it decides the count: one sample per interval, at least one
    #[arg(long, value_name = "MINUTES", default_value = "0", value_parser = minutes)]
    period: f64,
    /// The same as --count 1
    #[arg(long, conflicts_with_all = ["count", "period"])]
    once: bool,
    /// Print the payload and send nothing; needs no network and no key
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Refuse a private key that others may read, instead of warning
    #[arg(long)]
    pub(super) strict: bool,
    /// Print a summary as JSON on stdout, once the connection came about
    #[arg(long)]
    pub(super) json: bool,
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

/// A version of MQTT on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum MqttArg {
    #[value(name = "3.1.1")]
    V3,
    #[value(name = "5")]
    V5,
}

const HELP: &str = "\
Examples:
  tesaiot publish --certs-dir ./pump-7
  tesaiot publish --certs-dir ./pump-7 --period 10 --interval 2
  tesaiot publish --certs-dir ./pump-7 --tls-version tlsv1.3 --json
  tesaiot publish --device-id pump-7 --dry-run

A bundle without a certificate logs in with its API key. TESAIOT_DEVICE_ID,
TESAIOT_API_KEY, TESAIOT_MQTT_HOST, TESAIOT_MQTT_PORT, TESAIOT_CA_CERT and
TESAIOT_CERTS_DIR stand above the bundle, and a flag stands above them. They are
read from the environment, then from .env here or else in the bundle.

Exit codes:
  0    every message was acknowledged
  1    unexpected failure
  2    wrong command line
  3    the bundle: a file is missing, unreadable or damaged, or certificate,
       key, device and date do not fit together
  4    the broker was not reached: refused, unknown host, no route, no answer
  5    the broker's certificate is not trusted
  6    the broker refused the certificate, the key or the login
  7    the broker refused a message
  8    a message was not acknowledged: the connection was lost or fell silent
  130  interrupted before everything was sent and acknowledged";

impl PublishArgs {
    /// How many, how far apart.
    pub(super) fn plan(&self) -> Result<Plan, PublishError> {
        let count = if self.period > 0.0 {
            Plan::count_for(self.period, self.interval).ok_or(PublishError::PeriodWithoutInterval)?
        } else {
            self.count
        };
        Ok(Plan::new(count, self.interval))
    }

    pub(super) fn flags(&self) -> Flags {
        self.place.flags()
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
        }
    }
}

impl From<MqttArg> for MqttVersion {
    fn from(version: MqttArg) -> Self {
        match version {
            MqttArg::V3 => Self::V3,
            MqttArg::V5 => Self::V5,
        }
    }
}

/// A number of seconds as a time; also what the agent takes.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    number(text, MOST_SECONDS).map(Duration::from_secs_f64)
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
