//! `tesaiot agent enroll`: the first certificate, for a key that is made here.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tesaiot_contract::secret::{EnrolmentToken, fingerprint_bytes};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_device::SettingsError;
use tesaiot_device::clock::{Clock, System};
use tesaiot_device::connect::Proxies;
use tesaiot_device::identity::enrol::Authority;
use tesaiot_device::identity::{Enrolled, Enrolment, enrol};
use tokio::runtime;

use super::failure::AgentFailure;
use crate::cli::publish::arguments::ProxyArgs;
use crate::cli::publish::environment;
use crate::exit;
use crate::output;

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct EnrollArgs {
    /// The platform: https://HOST:8443
    #[arg(long, value_name = "URL")]
    url: String,
    /// The one-time token of `tesaiot device enroll-token`; it says which device this is, and whom to believe
    #[arg(long, env = "TESAIOT_ENROLMENT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// Read the token from this file
    #[arg(long, value_name = "PATH", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// SHA-256 of the authority's certificate, in hexadecimal, when the token does not carry it
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    ca_fingerprint: Option<Fingerprint>,
    /// The authority's certificate instead: the platform's ca-chain.pem
    #[arg(long, value_name = "FILE", conflicts_with = "ca_fingerprint")]
    ca: Option<PathBuf>,
    /// The directory of the credential bundle; made when it is not there [default: ./ID]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also when there is a certificate that is good: with a new key
    #[arg(long)]
    again: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    proxy: ProxyArgs,
}

#[derive(Clone, Copy)]
struct Fingerprint([u8; 32]);

fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    fingerprint_bytes(text).map(Fingerprint).ok_or("write 64 hexadecimal digits, with or without colons")
}

const HELP: &str = "\
Makes a key, which never leaves this machine, and asks the platform for its
certificate. The platform is believed by the fingerprint in the token, by
--ca-fingerprint or by --ca, and not otherwise. Run again after it was cut
short, it goes on with the same key; a token is good for one key.

Examples:
  tesaiot agent enroll --url https://iot.example.org:8443 --token tesa_enr_…
  tesaiot agent enroll --url https://iot.example.org:8443 --token-file token --out /etc/tesaiot/bundle
  tesaiot publish --certs-dir ./pump-7

Exit codes:
  0    the bundle is complete; also when it was before
  1    unexpected failure
  2    wrong command line, or nothing to verify the platform with
  3    a file is missing, unreadable or in the way
  4    the platform was not reached
  5    the platform's certificate is not that of the authority
  6    the platform does not accept the token
  7    the platform refused the request";

impl EnrollArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = self.secret()?;
        let token = EnrolmentToken::parse(text.expose()).ok_or(AgentFailure::NoToken)?;
        let authority = match (self.ca, self.ca_fingerprint, token.authority) {
            (Some(path), ..) => {
                let pem = std::fs::read_to_string(&path);
                Authority::Anchors(pem.map_err(|source| AgentFailure::File { path, source })?)
            }
            (None, Some(Fingerprint(given)), Some(carried)) if given != carried => {
                return Err(AgentFailure::TwoAuthorities.into());
            }
            (None, Some(Fingerprint(bytes)), _) | (None, None, Some(bytes)) => Authority::Fingerprint(bytes),
            (None, None, None) => return Err(AgentFailure::NoAuthority.into()),
        };
        let device = token.device;
        let directory = self.out.unwrap_or_else(|| PathBuf::from(".").join(device.as_str()));
        let enrolment = Enrolment {
            device: device.clone(),
            token: token.secret,
            url: self.url,
            authority,
            directory: directory.clone(),
            again: self.again,
            proxies: Proxies::choose(self.proxy.choice().as_ref(), environment).map_err(SettingsError::from)?,
        };
        let now = Clock::new(Box::new(System::new()), None).now();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let enrolled = runtime.block_on(enrol(&enrolment, now));
        runtime.shutdown_background();
        let (until, is_new) = match enrolled.with_context(|| format!("{device} has no certificate"))? {
            Enrolled::Now(until) => (until, true),
            Enrolled::Before(until) => (until, false),
        };
        conclude(&device, &directory, until, is_new, self.json)
    }

    fn secret(&self) -> anyhow::Result<Secret> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|source| AgentFailure::File { path: path.clone(), source })?;
                Ok(Secret::new(text.trim()))
            }
            (None, None) => Err(AgentFailure::NoToken.into()),
        }
    }
}

fn conclude(
    device: &DeviceId,
    directory: &std::path::Path,
    until: Timestamp,
    is_new: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if json {
        let shown = json!({
            "device_id": device, "bundle_dir": directory, "not_after": until.to_string(), "enrolled_now": is_new,
        });
        output::json(&shown)?;
        return Ok(exit::code(exit::OK));
    }
    if is_new {
        output::say(format_args!("{device} has a certificate until {until:.0}; its key was made here and stays here."));
    } else {
        output::say(format_args!("{device} has a certificate until {until:.0} already; --again asks for another."));
    }
    output::say(format_args!("Next: tesaiot publish --certs-dir {}", directory.display()));
    output::line(directory.display())?;
    Ok(exit::code(exit::OK))
}
