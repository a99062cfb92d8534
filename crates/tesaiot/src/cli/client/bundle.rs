//! From the zip that the platform sends to the bundle that it is.

use std::io::{Cursor, Read};

use tesaiot_contract::bundle::{Bundle, ClientCertificate};
use tesaiot_contract::{DeviceId, Secret};
use zip::ZipArchive;

/// Largest zip that is read, in bytes: a bundle has about ten.
pub(crate) const LARGEST_ZIP: u64 = 1024 * 1024;
/// Largest file of one, unpacked, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Unpacks the bundle of `expected` in memory: a private key touches the disk once, where it belongs.
/// What is wrong with the zip is said in words for [`ClientError::NotAPlatform`](super::error::ClientError).
pub(crate) fn from_zip(zip: &[u8], expected: &DeviceId) -> Result<Bundle, String> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|error| format!("a bundle that is no zip: {error}"))?;
    let mut file = |name: &str| -> Result<Option<String>, String> {
        let broken = |error: &dyn std::fmt::Display| format!("a bundle with a broken {name}: {error}");
        let entry = match archive.by_name(name) {
            Ok(entry) => entry,
            Err(zip::result::ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(broken(&error)),
        };
        let mut text = String::new();
        let read = entry.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(|error| broken(&error))?;
        if read as u64 > LARGEST_FILE { Err(broken(&"it is too large")) } else { Ok(Some(text)) }
    };
    let mut bundle = Bundle::new(expected.clone());
    if file("device_id.txt")?.as_deref().map(str::trim) != Some(expected.as_str()) {
        return Err("the bundle of another device".to_owned());
    }
    let secret = |text: Option<String>| text.map(|text| Secret::new(text.trim()));
    let key_pem = file("client_key.pem")?.map(Secret::new);
    bundle.certificate = file("client_cert.pem")?.map(|chain_pem| ClientCertificate { chain_pem, key_pem });
    bundle.api_key = secret(file("api_key.txt")?);
    bundle.mqtt_username = file("mqtt_username.txt")?.map(|name| name.trim().to_owned());
    bundle.mqtt_password = secret(file("mqtt_password.txt")?);
    bundle.trust_anchor_pem = file("ca-chain.pem")?;
    if let Some(endpoints) = file("endpoints.json")? {
        bundle.endpoints = serde_json::from_str(&endpoints).map_err(|error| format!("bad endpoints: {error}"))?;
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn what_was_zipped_is_what_is_unpacked() {
        let device = DeviceId::new("pump-7").unwrap();
        let mut bundle = Bundle::new(device.clone());
        bundle.certificate =
            Some(ClientCertificate { chain_pem: "chain\n".into(), key_pem: Some(Secret::new("key\n")) });
        bundle.api_key = Some(Secret::new("tesa_dak_pump7_00"));
        bundle.mqtt_username = Some("pump-7".into());
        bundle.mqtt_password = Some(Secret::new("password"));
        bundle.trust_anchor_pem = Some("anchor\n".into());
        bundle.endpoints.mqtt_host = "platform.example".into();
        let files = bundle.files();
        let zip = zipped(&files.iter().map(|file| (file.name, file.contents.expose())).collect::<Vec<_>>());
        assert_eq!(from_zip(&zip, &device).unwrap(), bundle);
    }

    #[test]
    fn the_bundle_of_another_device_is_not_taken() {
        let zip = zipped(&[("device_id.txt", "pump-77")]);
        assert!(from_zip(&zip, &DeviceId::new("pump-7").unwrap()).unwrap_err().contains("another device"));
        assert!(from_zip(&zipped(&[]), &DeviceId::new("pump-7").unwrap()).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_and_garbage_are_refused() {
        let device = DeviceId::new("pump-7").unwrap();
        let large = "x".repeat(LARGEST_FILE as usize + 1);
        let zip = zipped(&[("device_id.txt", "pump-7"), ("ca-chain.pem", &large)]);
        assert!(from_zip(&zip, &device).unwrap_err().contains("too large"));
        assert!(from_zip(b"not a zip", &device).is_err());
    }
}
