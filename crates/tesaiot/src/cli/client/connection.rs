//! Which platform to talk to, as whom, and whom to believe.
//!
//! A platform leaves a note in its data directory, readable by its own user alone, so that operators on
//! its machine need no set-up. What the note holds is used for the address it names and for no other: a
//! token is never sent to a platform it was not made for.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tesaiot_contract::Secret;
use tesaiot_tls::TrustAnchors;
use ureq::http::Uri;

use super::error::ClientError;
use crate::cli::data_directory;

/// The file of a data directory that holds address, token and trust anchors for operators.
const NOTE: &str = "operator.json";
/// The port of `https://HOST` without one is that of HTTPS.
const HTTPS_PORT: u16 = 443;

/// The flags of every command that talks to the platform.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Platform")]
pub(crate) struct ConnectionArgs {
    /// The platform's address, https://HOST:PORT [default: the platform of this machine]
    #[arg(long, env = "TESAIOT_URL", hide_env_values = true)]
    url: Option<String>,
    /// A token to be accepted with
    #[arg(long, env = "TESAIOT_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// The authority to verify the platform with, and the only one: its ca-chain.pem
    #[arg(long, env = "TESAIOT_CA_CERT", value_name = "FILE", hide_env_values = true)]
    ca: Option<PathBuf>,
    /// Where the platform of this machine keeps its data [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What the platform writes for operators of its own machine, at every start.
#[derive(Deserialize)]
struct Note {
    url: String,
    token: Secret,
    ca_file: PathBuf,
}

/// A platform, complete: everything was read and checked, nothing was sent.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `https://HOST[:PORT]`, with nothing behind it
    pub(crate) url: String,
    /// The host alone, as certificates name it
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) token: Secret,
    /// The PEM text of the trust anchors
    pub(crate) ca_pem: String,
    pub(crate) trust: TrustAnchors,
}

impl ConnectionArgs {
    /// The platform that keeps its data in `data_dir`, whatever the environment says.
    #[cfg(feature = "device")]
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { url: None, token: None, ca: None, data_dir: Some(data_dir.to_owned()) }
    }

    /// Completes the flags with the note of this machine's platform.
    pub(crate) fn resolve(self) -> Result<Target, ClientError> {
        let given = self.url.as_deref().map(address).transpose()?;
        let note = match &given {
            // Everything is said: whether there is a platform here does not matter.
            Some(_) if self.token.is_some() && self.ca.is_some() => None,
            Some((url, ..)) => self.note().ok().filter(|note| same_platform(&note.url, url)),
            None => Some(self.note()?),
        };
        let (url, host, port) = match (given, &note) {
            (Some(address), _) => address,
            (None, Some(note)) => address(&note.url)?,
            (None, None) => return Err(ClientError::NoDataDirectory),
        };
        let (noted_token, noted_ca) = note.map(|note| (note.token, note.ca_file)).unzip();
        let token = self.token.or(noted_token).ok_or_else(|| ClientError::NoToken { url: url.clone() })?;
        let ca = self.ca.or(noted_ca).ok_or_else(|| ClientError::NoTrust { url: url.clone() })?;
        if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::InvalidToken);
        }
        let ca_pem = read(&ca)?;
        let trust = TrustAnchors::from_pem(&ca_pem).map_err(|source| ClientError::Trust { path: ca, source })?;
        Ok(Target { url, host, port, token, ca_pem, trust })
    }

    fn note(&self) -> Result<Note, ClientError> {
        let directory = self.data_dir.clone().or_else(data_directory).ok_or(ClientError::NoDataDirectory)?;
        let path = directory.join(NOTE);
        let text = match read(&path) {
            Err(ClientError::File { path, source }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(ClientError::NoPlatform { path });
            }
            text => text?,
        };
        serde_json::from_str(&text).map_err(|source| ClientError::DamagedNote { path, source })
    }
}

/// Takes `https://HOST[:PORT][/]` apart: address with nothing behind it, host, port.
fn address(text: &str) -> Result<(String, String, u16), ClientError> {
    let invalid = || ClientError::InvalidUrl { url: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    if uri.scheme_str() != Some("https") || !bare || authority.host().is_empty() {
        return Err(invalid());
    }
    // A port that is no number, or too large a one, is not silently 443.
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => HTTPS_PORT,
        _ => authority.port_u16().ok_or_else(invalid)?,
    };
    Ok((format!("https://{authority}"), authority.host().to_owned(), port))
}

fn same_platform(one: &str, other: &str) -> bool {
    match (address(one), address(other)) {
        (Ok((_, host, port)), Ok((_, other_host, other_port))) => {
            host.eq_ignore_ascii_case(&other_host) && port == other_port
        }
        _ => false,
    }
}

fn read(path: &Path) -> Result<String, ClientError> {
    std::fs::read_to_string(path).map_err(|source| ClientError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(url: Option<&str>, token: Option<&str>, data_dir: &Path) -> ConnectionArgs {
        ConnectionArgs {
            url: url.map(str::to_owned),
            token: token.map(Secret::new),
            ca: None,
            data_dir: Some(data_dir.to_owned()),
        }
    }

    fn directory_with_a_note() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_file = directory.path().join("ca-chain.pem");
        std::fs::write(&ca_file, certificate.cert.pem()).unwrap();
        let note = serde_json::json!({"url": "https://localhost:8443", "token": "noted", "ca_file": ca_file});
        std::fs::write(directory.path().join(NOTE), note.to_string()).unwrap();
        directory
    }

    #[test]
    fn an_address_is_https_with_a_host_and_nothing_else() {
        let parsed = address("https://tesaiot.example:8443/").unwrap();
        assert_eq!(parsed, ("https://tesaiot.example:8443".into(), "tesaiot.example".into(), 8443));
        assert_eq!(address("https://[::1]").unwrap(), ("https://[::1]".into(), "[::1]".into(), 443));
        for bad in ["http://host", "host:8443", "https://", "https://host/api", "https://host?a", "https://a@b", ""] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for bad in ["https://host:", "https://host:x", "https://host:99999"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_note_is_enough() {
        let directory = directory_with_a_note();
        let target = arguments(None, None, directory.path()).resolve().unwrap();
        assert_eq!((target.url.as_str(), target.token.expose()), ("https://localhost:8443", "noted"));
    }

    #[test]
    fn a_noted_token_goes_to_no_other_platform() {
        let directory = directory_with_a_note();
        let same = arguments(Some("https://LOCALHOST:8443/"), None, directory.path()).resolve().unwrap();
        assert_eq!(same.token.expose(), "noted");
        let other = arguments(Some("https://localhost:9443"), None, directory.path()).resolve();
        assert!(matches!(other, Err(ClientError::NoToken { .. })));
        let no_trust = arguments(Some("https://localhost:9443"), Some("mine"), directory.path()).resolve();
        assert!(matches!(no_trust, Err(ClientError::NoTrust { .. })));
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        let directory = directory_with_a_note();
        for token in ["a\r\nX-Injected: 1", "a b", ""] {
            let refused = arguments(None, Some(token), directory.path()).resolve();
            assert!(matches!(refused, Err(ClientError::InvalidToken)), "{token:?}");
        }
    }
}
