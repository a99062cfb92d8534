//! Reading a bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Bundle, BundleError, ClientCertificate, files, not_readable};
use crate::{DeviceId, Secret, endpoints::Endpoints};

/// Largest file that is read, in bytes: far above any chain of certificates.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl Bundle {
    /// Reads the bundle in `directory`. Only `device_id.txt` must be there; a file that is there must be readable.
    pub fn read(directory: impl AsRef<Path>) -> Result<Self, BundleError> {
        let device_id = Self::read_device_id(&directory)?;
        Self::read_for(directory, device_id)
    }

    /// Reads `device_id.txt` alone: needs no key and no certificate.
    pub fn read_device_id(directory: impl AsRef<Path>) -> Result<DeviceId, BundleError> {
        let path = directory.as_ref().join(files::DEVICE_ID);
        let text = read_text(&path).map_err(|source| not_readable(&path, source))?;
        DeviceId::new(text.trim()).map_err(|source| BundleError::DeviceId { path, source })
    }

    /// Reads the bundle in `directory` for a device named elsewhere; `device_id.txt` is not looked at.
    pub fn read_for(directory: impl AsRef<Path>, device_id: DeviceId) -> Result<Self, BundleError> {
        let directory = directory.as_ref();
        let file = |name| read_optional(&directory.join(name));
        let secret = |name| file(name).map(|text| text.map(|text| Secret::new(text.trim())).filter(is_something));
        let key_pem = file(files::CLIENT_KEY)?.map(|text| Secret::new(text.as_str()));
        Ok(Self {
            directory: directory.to_owned(),
            device_id,
            certificate: file(files::CLIENT_CERTIFICATE)?
                .map(|chain| ClientCertificate { chain_pem: chain.to_string(), key_pem }),
            api_key: secret(files::API_KEY)?,
            mqtt_username: file(files::MQTT_USERNAME)?.map(|text| text.trim().to_owned()).filter(|t| !t.is_empty()),
            // Spaces may be part of a password, line breaks at its end are an editor's.
            mqtt_password: file(files::MQTT_PASSWORD)?
                .map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])))
                .filter(is_something),
            trust_anchor_pem: file(files::TRUST_ANCHOR)?.map(|pem| pem.to_string()),
            endpoints: read_endpoints(directory)?,
        })
    }

    /// Mode of the private key in `directory` when others than its owner may use it; `None` when they may not, when there
    /// is no key, and where files have no mode.
    #[cfg_attr(not(unix), expect(unused_variables))]
    pub fn exposed_key_mode(directory: impl AsRef<Path>) -> Option<u32> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = directory.as_ref().join(files::CLIENT_KEY).metadata().ok()?.permissions().mode() & 0o7777;
            (mode & 0o077 != 0).then_some(mode)
        }
        #[cfg(not(unix))]
        None
    }
}

fn is_something(secret: &Secret) -> bool {
    !secret.expose().is_empty()
}

fn read_endpoints(directory: &Path) -> Result<Endpoints, BundleError> {
    let path = directory.join(files::ENDPOINTS);
    match read_optional(&path)? {
        Some(json) => serde_json::from_str(&json).map_err(|source| BundleError::Endpoints { path, source }),
        None => Ok(Endpoints::default()),
    }
}

fn read_optional(path: &Path) -> Result<Option<Zeroizing<String>>, BundleError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(not_readable(path, error)),
    }
}

/// The text of a small file, without a byte order mark, overwritten when dropped.
pub(crate) fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(MAX_FILE_BYTES);
    // Room for all of it, so that it does not grow and leave copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}
