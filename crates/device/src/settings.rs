//! Where a device connects and with what, from flags, environment and bundle (the wire contract, sections 6 to 8).
//!
//! A flag wins over the process environment, that over a `.env` file, that over the bundle's other files. The `.env`
//! file is the bundle's when a flag names the bundle; otherwise the one in the working directory, and when there is none,
//! the bundle's. What a platform wrote into the bundle's
//! `.env` repeats its other files, so two lines of it give way: the key to `api_key.txt`, which may have been renewed
//! alone, and a port of `endpoints.json` to the one that suits the way of logging in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tesaiot_contract::bundle::{Bundle, BundleError};
use tesaiot_contract::environment::{Environment, EnvironmentError};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_tls::Versions;

use crate::connect::{Connector, Deadlines, Proxies, WrongProxy};
use crate::credentials::{Choice, Credentials, CredentialsError, Method};

/// Where a bundle is looked for when nothing says where it is; the last one is assumed.
const BUNDLE_DIRECTORIES: [&str; 2] = ["../certs_credentials", "./certs_credentials"];

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Directory of the bundle
    pub bundle_directory: Option<PathBuf>,
    /// Broker host
    pub host: Option<String>,
    /// Broker port
    pub port: Option<u16>,
    /// Device
    pub device_id: Option<DeviceId>,
    /// Key for server TLS
    pub api_key: Option<Secret>,
    /// A proxy's URL, or `none`; it may hold a password
    pub proxy: Option<Secret>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The environment holds something unusable, or its `.env` file cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A file of the bundle is missing or cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What `endpoints.json` names as host cannot be one.
    #[error("endpoints.json: mqtt_host {host:?} is not the name or address of a host")]
    Host {
        /// What stands there
        host: String,
    },
    /// What names a proxy names none.
    #[error(transparent)]
    Proxy(#[from] WrongProxy),
    /// The file of trust anchors that the environment names cannot be read.
    #[error("File not readable: {}", path.display())]
    TrustAnchor {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
}

impl SettingsError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Environment(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Host { .. } => "mqtt_host is a name or an address alone, without a scheme, a port or a path",
            Self::Proxy(_) => "write http://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT, or --proxy none",
            Self::TrustAnchor { .. } => "check TESAIOT_CA_CERT (or CA_CERT_PATH) and who may read the file",
        }
    }
}

/// Flags, environment and bundle together.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bundle, with what the environment and the flags replace in it
    pub bundle: Bundle,
    host: Option<String>,
    port: Option<u16>,
    proxies: Proxies,
}

impl Settings {
    /// Reads environment and bundle. `process` answers for the process environment.
    ///
    /// # Errors
    /// A file cannot be read, or a setting is none.
    pub fn load(flags: Flags, process: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let proxies = Proxies::choose(flags.proxy.as_ref(), &process)?;
        let Surroundings { directory, environment, bundled } = surroundings(&flags, process)?;
        let mut bundle = match flags.device_id.or(environment.device_id) {
            Some(device_id) => Bundle::read_for(&directory, device_id)?,
            None => Bundle::read(&directory)?,
        };
        let named = flags.api_key.or_else(|| environment.api_key.clone());
        bundle.api_key = named.clone().or(bundle.api_key).or(bundled.api_key);
        bundle.mqtt_username = environment.mqtt_username.or(bundle.mqtt_username);
        if let Some(password) = environment.mqtt_password {
            bundle.mqtt_password = Some(password);
            if named.is_none() {
                // A key in the bundle must not stand in the way of a password that was asked for.
                bundle.api_key = None;
            }
        }
        if let Some(path) = environment.trust_anchor {
            let anchors = fs::read_to_string(&path);
            let anchors = anchors.map_err(|source| SettingsError::TrustAnchor { path, source })?;
            bundle.trust_anchor_pem = Some(anchors);
        }
        let written = [bundle.endpoints.mqtt_mtls_port, bundle.endpoints.mqtt_tls_port];
        let bundled_port = bundled.mqtt_port.filter(|port| !written.contains(port));
        let port = flags.port.or(environment.mqtt_port).or(bundled_port);
        Ok(Self { bundle, host: flags.host.or(environment.mqtt_host), port, proxies })
    }

    /// The device alone: what a dry run needs. No key and no certificate is read.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn device_id(flags: Flags, process: impl Fn(&str) -> Option<String>) -> Result<DeviceId, SettingsError> {
        let Surroundings { directory, environment, .. } = surroundings(&flags, process)?;
        match flags.device_id.or(environment.device_id) {
            Some(device_id) => Ok(device_id),
            None => Ok(Bundle::read_device_id(directory)?),
        }
    }

    /// Makes sure that what `endpoints.json` names can be a host at all; a host named elsewhere is taken as it is.
    ///
    /// # Errors
    /// [`SettingsError::Host`].
    pub fn check_endpoints(&self) -> Result<(), SettingsError> {
        let host = &self.bundle.endpoints.mqtt_host;
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match rustls::pki_types::ServerName::try_from(name) {
            Err(_) if self.host.is_none() => Err(SettingsError::Host { host: host.clone() }),
            _ => Ok(()),
        }
    }

    /// Credentials out of the bundle.
    ///
    /// # Errors
    /// As [`Credentials::from_bundle`].
    pub fn credentials(&self, choice: Choice, now: Timestamp) -> Result<Credentials, CredentialsError> {
        Credentials::from_bundle(&self.bundle, choice, now)
    }

    /// The mode of the private key when others than its owner may use it.
    pub fn exposed_key_mode(&self) -> Option<u32> {
        Bundle::exposed_key_mode(&self.bundle.directory)
    }

    /// Host and port for this method.
    pub fn address(&self, method: Method) -> (&str, u16) {
        let endpoints = &self.bundle.endpoints;
        let port = match method {
            Method::MutualTls => endpoints.mqtt_mtls_port,
            Method::ServerTls => endpoints.mqtt_tls_port,
        };
        (self.host.as_deref().unwrap_or(&endpoints.mqtt_host), self.port.unwrap_or(port))
    }

    /// A connector to that address with these credentials.
    ///
    /// # Errors
    /// The trust anchors cannot be used.
    pub fn connector(&self, credentials: &Credentials, versions: Versions) -> Result<Connector, CredentialsError> {
        let (host, port) = self.address(credentials.method());
        self.connector_to(host, port, credentials, versions)
    }

    /// The proxies on the way.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// A connector to another host and port with these credentials, through the same proxy.
    ///
    /// # Errors
    /// The trust anchors cannot be used.
    pub fn connector_to(
        &self,
        host: &str,
        port: u16,
        credentials: &Credentials,
        versions: Versions,
    ) -> Result<Connector, CredentialsError> {
        let tls = credentials.tls_config(versions)?;
        Ok(Connector::new(host, port, tls, Deadlines::default()).through(self.proxies.clone()))
    }
}

struct Surroundings {
    directory: PathBuf,
    environment: Environment,
    /// What gives way to the bundle's other files
    bundled: Bundled,
}

#[derive(Default)]
struct Bundled {
    api_key: Option<Secret>,
    mqtt_port: Option<u16>,
}

fn surroundings(flags: &Flags, process: impl Fn(&str) -> Option<String>) -> Result<Surroundings, SettingsError> {
    // A bundle that was named is complete: the file of another device in the working directory has no say in it.
    let here = Path::new(".env");
    let here = (flags.bundle_directory.is_none() && here.is_file()).then_some(here);
    let environment = Environment::load(&process, here)?;
    let directory = flags.bundle_directory.clone().or_else(|| environment.bundle_directory.clone());
    let directory = directory.unwrap_or_else(standard_directory);
    let of_bundle = directory.join(".env");
    if here.is_some() || !of_bundle.is_file() {
        return Ok(Surroundings { directory, environment, bundled: Bundled::default() });
    }
    let mut both = Environment::load(&process, Some(&of_bundle))?;
    let mut bundled = Bundled::default();
    // What the file changed is the file's.
    if both.api_key != environment.api_key {
        bundled.api_key = both.api_key.take();
    }
    if both.mqtt_port != environment.mqtt_port {
        bundled.mqtt_port = both.mqtt_port.take();
    }
    Ok(Surroundings { directory, environment: both, bundled })
}

fn standard_directory() -> PathBuf {
    let [above, here] = BUNDLE_DIRECTORIES;
    let above = Path::new(above);
    if above.is_dir() { above.to_owned() } else { PathBuf::from(here) }
}
