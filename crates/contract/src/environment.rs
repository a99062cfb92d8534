//! Settings of a device program from the environment (the wire contract, section 7).
//!
//! Each setting has one name, `TESAIOT_…`, and an alias that is read when that name is unset. Each name is looked up in
//! the process environment first, in the `.env` file second. So the full name in a `.env` file stands above an alias in
//! the process environment: `API_KEY` there may belong to some other program. A name set to nothing is unset, and hides
//! the file's line of the same name. The process environment is only read, never changed.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use crate::{DeviceId, InvalidDeviceId, Secret};

pub(crate) mod dotenv;

pub(crate) const DEVICE_ID: &[&str] = &["TESAIOT_DEVICE_ID", "DEVICE_ID"];
pub(crate) const API_KEY: &[&str] = &["TESAIOT_API_KEY", "API_KEY"];
pub(crate) const MQTT_HOST: &[&str] = &["TESAIOT_MQTT_HOST", "MQTT_HOST"];
pub(crate) const MQTT_PORT: &[&str] = &["TESAIOT_MQTT_PORT", "MQTT_PORT"];
pub(crate) const CA_CERT: &[&str] = &["TESAIOT_CA_CERT", "CA_CERT_PATH"];
pub(crate) const API_BASE_URL: &[&str] = &["TESAIOT_API_BASE_URL", "API_BASE_URL"];
pub(crate) const CERTS_DIR: &[&str] = &["TESAIOT_CERTS_DIR", "CERTS_DIR"];
const MQTT_USERNAME: &[&str] = &["MQTT_USERNAME"];
const MQTT_PASSWORD: &[&str] = &["MQTT_PASSWORD"];

const ALL: [&[&str]; 9] =
    [DEVICE_ID, API_KEY, MQTT_HOST, MQTT_PORT, CA_CERT, API_BASE_URL, CERTS_DIR, MQTT_USERNAME, MQTT_PASSWORD];

/// What the environment sets. `None` is unset: the bundle or the default decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `TESAIOT_DEVICE_ID`, `DEVICE_ID`.
    pub device_id: Option<DeviceId>,
    /// `TESAIOT_API_KEY`, `API_KEY`.
    pub api_key: Option<Secret>,
    /// `TESAIOT_MQTT_HOST`, `MQTT_HOST`.
    pub mqtt_host: Option<String>,
    /// `TESAIOT_MQTT_PORT`, `MQTT_PORT`: 1 to 65535.
    pub mqtt_port: Option<u16>,
    /// `MQTT_USERNAME`.
    pub mqtt_username: Option<String>,
    /// `MQTT_PASSWORD`.
    pub mqtt_password: Option<Secret>,
    /// `TESAIOT_CA_CERT`, `CA_CERT_PATH`: the file of trust anchors. From a `.env` file, relative to that file.
    pub trust_anchor: Option<PathBuf>,
    /// `TESAIOT_API_BASE_URL`, `API_BASE_URL`, without a slash at the end.
    pub api_base_url: Option<String>,
    /// `TESAIOT_CERTS_DIR`, `CERTS_DIR`: the credential bundle. From a `.env` file, relative to that file.
    pub bundle_directory: Option<PathBuf>,
}

/// An environment that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The `.env` file is missing, may not be read, is not UTF-8 or is larger than a megabyte.
    #[error("File not readable: {}", path.display())]
    NotReadable {
        /// The `.env` file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the `.env` file sets one of our names in a way that cannot be read.
    #[error("{} line {line}: {reason}", path.display())]
    Line {
        /// The `.env` file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it; never its value.
        reason: &'static str,
    },
    /// A device identifier that is none.
    #[error("{name} is not a device id")]
    DeviceId {
        /// The name that set it.
        name: &'static str,
        /// Why.
        source: InvalidDeviceId,
    },
    /// A port that is none.
    #[error("{name} is not a port number from 1 to 65535")]
    Port {
        /// The name that set it.
        name: &'static str,
    },
}

impl EnvironmentError {
    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotReadable { .. } => "check the path and who may read the file",
            Self::Line { .. } => "write NAME=value, or NAME='value' when it holds spaces or quotes",
            Self::DeviceId { .. } | Self::Port { .. } => "correct the variable or unset it",
        }
    }
}

impl Environment {
    /// Reads the settings from `process`, which answers for the process environment
    /// (`|name| std::env::var(name).ok()`), and from the file `dotenv`. A file that is named must be readable; a caller
    /// with a place to look passes it only when something is there.
    pub fn load(process: impl Fn(&str) -> Option<String>, dotenv: Option<&Path>) -> Result<Self, EnvironmentError> {
        let lookup = Lookup { process, file: dotenv.map(File::read).transpose()? };
        Ok(Self {
            device_id: lookup.device_id()?,
            api_key: lookup.get(API_KEY).map(|found| found.secret()),
            mqtt_host: lookup.text(MQTT_HOST),
            mqtt_port: lookup.port()?,
            mqtt_username: lookup.text(MQTT_USERNAME),
            // Spaces around a password may be part of it.
            mqtt_password: lookup.get(MQTT_PASSWORD).map(|found| found.value),
            trust_anchor: lookup.path(CA_CERT),
            api_base_url: lookup.text(API_BASE_URL).map(|url| url.trim_end_matches('/').to_owned()),
            bundle_directory: lookup.path(CERTS_DIR),
        })
    }
}

/// A `.env` file, read: our names only.
struct File {
    directory: PathBuf,
    values: BTreeMap<&'static str, Secret>,
}

impl File {
    fn read(path: &Path) -> Result<Self, EnvironmentError> {
        let text = crate::text_file::read_text(path)
            .map_err(|source| EnvironmentError::NotReadable { path: path.to_owned(), source })?;
        let values = dotenv::parse(&text, &ALL.concat()).map_err(|error| EnvironmentError::Line {
            path: path.to_owned(),
            line: error.line,
            reason: error.reason,
        })?;
        Ok(Self { directory: path.parent().map(Path::to_owned).unwrap_or_default(), values })
    }
}

/// A setting as found, and where.
struct Found<'a> {
    name: &'static str,
    value: Secret,
    directory: Option<&'a Path>,
}

impl Found<'_> {
    fn secret(&self) -> Secret {
        Secret::new(self.value.expose().trim())
    }
}

struct Lookup<P> {
    process: P,
    file: Option<File>,
}

impl<P: Fn(&str) -> Option<String>> Lookup<P> {
    /// The first of `names` that is set to something.
    fn get(&self, names: &[&'static str]) -> Option<Found<'_>> {
        names.iter().find_map(|&name| self.find(name).filter(|found| !found.value.expose().trim().is_empty()))
    }

    fn find(&self, name: &'static str) -> Option<Found<'_>> {
        if let Some(value) = (self.process)(name) {
            return Some(Found { name, value: Secret::new(value), directory: None });
        }
        let file = self.file.as_ref()?;
        Some(Found { name, value: file.values.get(name)?.clone(), directory: Some(&file.directory) })
    }

    fn text(&self, names: &[&'static str]) -> Option<String> {
        self.get(names).map(|found| found.value.expose().trim().to_owned())
    }

    fn path(&self, names: &[&'static str]) -> Option<PathBuf> {
        let found = self.get(names)?;
        let path = Path::new(found.value.expose().trim());
        Some(found.directory.map_or_else(|| path.to_owned(), |directory| directory.join(path)))
    }

    fn device_id(&self) -> Result<Option<DeviceId>, EnvironmentError> {
        let Some(Found { name, value, .. }) = self.get(DEVICE_ID) else { return Ok(None) };
        DeviceId::new(value.expose().trim()).map(Some).map_err(|source| EnvironmentError::DeviceId { name, source })
    }

    fn port(&self) -> Result<Option<u16>, EnvironmentError> {
        let Some(Found { name, value, .. }) = self.get(MQTT_PORT) else { return Ok(None) };
        let port = value.expose().trim().parse::<NonZeroU16>().map_err(|_| EnvironmentError::Port { name })?;
        Ok(Some(port.get()))
    }
}

#[cfg(test)]
mod tests;
