//! The credential bundle: one directory with what a device needs to log in (the wire contract, section 6).
//!
//! ```text
//! device_id.txt                              the device identifier
//! client_cert.pem                            leaf and intermediate             (mutual TLS)
//! client_key.pem                             PKCS#8, mode 600                  (mutual TLS, unless the device keeps its key)
//! api_key.txt                                mode 600                          (server TLS)
//! mqtt_username.txt, mqtt_password.txt       the password with mode 600        (server TLS)
//! ca-chain.pem                               intermediate and root: verifies every port of the platform
//! endpoints.json                             see `Endpoints`
//! .env                                       the same as `TESAIOT_*` lines, mode 600
//! ```
//!
//! Files that hold one value end without a line break, because clients exist that send the whole file. Reading accepts
//! line breaks and a byte order mark. Every file is replaced by renaming a complete one over it: a crash leaves each file
//! old or new, never half, and writing again finishes the work. Writing removes nothing: a key that the device made for
//! itself stays.

use std::io;
use std::path::{Path, PathBuf};

use crate::{DeviceId, InvalidDeviceId, Secret, endpoints::Endpoints};

mod files;
mod read;
mod write;

pub use files::BundleFile;

/// Everything one device needs to connect. What a bundle must hold depends on how its device logs in, so all but the
/// identifier may be missing; the `require_…` methods name the file when what they return is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Where the bundle was read from; empty for one that was not. It only serves to name missing files.
    pub directory: PathBuf,
    /// The device.
    pub device_id: DeviceId,
    /// For mutual TLS.
    pub certificate: Option<ClientCertificate>,
    /// For server TLS and HTTPS.
    pub api_key: Option<Secret>,
    /// For server TLS; the device identifier when missing.
    pub mqtt_username: Option<String>,
    /// For server TLS.
    pub mqtt_password: Option<Secret>,
    /// `ca-chain.pem`: intermediate and root, which verify every port of the platform.
    pub trust_anchor_pem: Option<String>,
    /// Where the platform listens; the defaults when the bundle does not say.
    pub endpoints: Endpoints,
}

/// A device's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Leaf, then intermediate, in PEM.
    pub chain_pem: String,
    /// The private key as PKCS#8 in PEM; `None` when the device made it and it never left the device.
    pub key_pem: Option<Secret>,
}

/// What went wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is missing, may not be read, is not UTF-8 or is larger than a megabyte.
    #[error("File not readable: {}", path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `device_id.txt` holds something else.
    #[error("{} does not hold a device id", path.display())]
    DeviceId {
        /// The file.
        path: PathBuf,
        /// Why.
        source: InvalidDeviceId,
    },
    /// `endpoints.json` cannot be understood.
    #[error("{} does not hold the endpoints of a platform", path.display())]
    Endpoints {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The directory holds the bundle of another device; nothing was written.
    #[error("{} holds the bundle of device {found}, not of {expected}", path.display())]
    OtherDevice {
        /// The directory.
        path: PathBuf,
        /// Whose bundle it is.
        found: DeviceId,
        /// Whose bundle was to be written.
        expected: DeviceId,
    },
    /// A file of that name is there, and nothing says that it is this device's; nothing was written.
    #[error("{} exists and belongs to no bundle", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// A file or the directory cannot be written.
    #[error("File not writable: {}", path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BundleError {
    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotReadable { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied && path.ends_with(files::CLIENT_KEY) =>
            {
                "run as the owner of the key, then: chmod 600 client_key.pem"
            }
            Self::NotReadable { .. } => "check the directory of the bundle and who may read it",
            Self::DeviceId { .. } | Self::Endpoints { .. } => "write the bundle again from the platform",
            Self::OtherDevice { .. } | Self::Occupied { .. } => "choose another directory, or remove what is there",
            Self::NotWritable { .. } => "check who may write there, and the free space",
        }
    }
}

impl Bundle {
    /// A bundle that holds only its device, for the default platform.
    pub fn new(device_id: DeviceId) -> Self {
        Self {
            directory: PathBuf::new(),
            device_id,
            certificate: None,
            api_key: None,
            mqtt_username: None,
            mqtt_password: None,
            trust_anchor_pem: None,
            endpoints: Endpoints::default(),
        }
    }

    /// The certificate chain and its private key, both in PEM.
    pub fn require_certificate(&self) -> Result<(&str, &Secret), BundleError> {
        let certificate = self.certificate.as_ref().ok_or_else(|| self.missing(files::CLIENT_CERTIFICATE))?;
        let key = certificate.key_pem.as_ref().ok_or_else(|| self.missing(files::CLIENT_KEY))?;
        Ok((&certificate.chain_pem, key))
    }

    /// The API key.
    pub fn require_api_key(&self) -> Result<&Secret, BundleError> {
        self.api_key.as_ref().ok_or_else(|| self.missing(files::API_KEY))
    }

    /// Username and password for MQTT over server TLS: the API key when there is one, which may have been renewed alone,
    /// else the MQTT password.
    pub fn require_login(&self) -> Result<(&str, &Secret), BundleError> {
        let password =
            self.api_key.as_ref().or(self.mqtt_password.as_ref()).map_or_else(|| self.require_api_key(), Ok)?;
        Ok((self.mqtt_username.as_deref().unwrap_or(self.device_id.as_str()), password))
    }

    /// The certificates that verify the platform, in PEM.
    pub fn require_trust_anchor(&self) -> Result<&str, BundleError> {
        self.trust_anchor_pem.as_deref().ok_or_else(|| self.missing(files::TRUST_ANCHOR))
    }

    fn missing(&self, name: &str) -> BundleError {
        not_readable(self.directory.join(name), io::ErrorKind::NotFound.into())
    }
}

fn not_readable(path: impl AsRef<Path>, source: io::Error) -> BundleError {
    BundleError::NotReadable { path: path.as_ref().to_owned(), source }
}
