//! Reading a bundle.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Bundle, BundleError, ClientCertificate, files, not_readable};
use crate::text_file::read_text;
use crate::{DeviceId, Secret, endpoints::Endpoints};

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
