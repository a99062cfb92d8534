//! Certificates for keys that devices made themselves: asked for by HTTPS and by MQTT, and everything that is refused.

#[cfg(feature = "device")]
mod agent;
#[cfg(feature = "device")]
mod foreign;
mod mqtt;
#[cfg(feature = "device")]
mod renewal;
mod requests;
mod revocations;
mod tokens;
mod with_certificate;

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::support::authority::CertificateFiles;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::process::run;
use crate::support::{PATIENCE, mosquitto};

/// A key that the platform never sees, and requests for it.
struct OwnKey(KeyPair);

impl OwnKey {
    fn new() -> Self {
        Self(KeyPair::generate().expect("a P-256 key"))
    }

    /// A request with this common name, in PEM.
    fn request(&self, common_name: &str) -> String {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.serialize_request(&self.0).expect("a request").pem().expect("PEM")
    }

    /// The body of `POST …/csr`.
    fn body(&self, common_name: &str) -> Vec<u8> {
        body(common_name, &self.request(common_name))
    }

    /// Key and certificate in files.
    fn files(&self, directory: &Path, chain: &str) -> CertificateFiles {
        let name = |extension: &str| -> PathBuf { directory.join(format!("own.{extension}")) };
        let files = CertificateFiles { certificate: name("pem"), key: name("key.pem") };
        fs::write(&files.certificate, chain).expect("a file");
        fs::write(&files.key, self.0.serialize_pem()).expect("a file");
        files
    }
}

fn body(device: &str, request: &str) -> Vec<u8> {
    json!({"device_id": device, "csr": request}).to_string().into_bytes()
}

/// The path of requests.
fn path(device: &str) -> String {
    format!("/devices/{device}/csr")
}

/// The chain in an answer.
#[track_caller]
fn chain(answer: &Value) -> &str {
    answer["certificate"].as_str().unwrap_or_else(|| panic!("no certificate in {answer}"))
}

/// Whether `mosquitto_pub` can publish with these files.
fn publishes(platform: &TestPlatform, device: &Device, files: &CertificateFiles) -> bool {
    let mut command = mosquitto::client("mosquitto_pub", platform.mqtt().port(), Some(&platform.trust_chain()));
    command.args(["-i", device.id().as_str(), "-q", "1", "-t", &device.topic("telemetry"), "-m", "{\"n\":1}"]);
    command.arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
    run(&mut command, PATIENCE).code == Some(0)
}
