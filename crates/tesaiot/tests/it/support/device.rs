//! A device as a client sees it: the files of its bundle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tesaiot_contract::DeviceId;
use tesaiot_contract::bundle::Bundle;
use tesaiot_tls::{ClientIdentity, ClientSettings, TrustAnchors};

use super::authority::CertificateFiles;
use super::mosquitto;

/// A device whose credentials are in a directory.
#[derive(Clone)]
pub(crate) struct Device {
    directory: PathBuf,
    bundle: Bundle,
}

impl Device {
    /// Reads a bundle.
    #[track_caller]
    pub(crate) fn new(directory: PathBuf) -> Self {
        let bundle = Bundle::read(&directory).unwrap_or_else(|error| panic!("no bundle: {error}"));
        Self { directory, bundle }
    }

    pub(crate) fn id(&self) -> &DeviceId {
        &self.bundle.device_id
    }

    /// A file of the bundle.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Its API key.
    #[track_caller]
    pub(crate) fn api_key(&self) -> &str {
        self.bundle.api_key.as_ref().expect("a device with an API key").expose()
    }

    /// One of its topics: `telemetry/vitals`, `status`.
    pub(crate) fn topic(&self, rest: &str) -> String {
        format!("device/{}/{rest}", self.id())
    }

    /// Certificate and key, when the device has them.
    pub(crate) fn certificate(&self) -> Option<CertificateFiles> {
        let files = CertificateFiles { certificate: self.file("client_cert.pem"), key: self.file("client_key.pem") };
        files.certificate.exists().then_some(files)
    }

    /// The port its bundle says: with a certificate, or with a password.
    pub(crate) fn port(&self) -> u16 {
        let endpoints: Value =
            serde_json::from_slice(&fs::read(self.file("endpoints.json")).expect("endpoints.json")).expect("JSON");
        let name = if self.certificate().is_some() { "mqtt_mtls_port" } else { "mqtt_tls_port" };
        endpoints[name].as_u64().and_then(|port| port.try_into().ok()).expect("a port in endpoints.json")
    }

    /// `mosquitto_pub` or `mosquitto_sub` with the files of the bundle and nothing else.
    pub(crate) fn mosquitto(&self, name: &str) -> Command {
        self.mosquitto_at(name, self.port())
    }

    /// The same at another port.
    pub(crate) fn mosquitto_at(&self, name: &str, port: u16) -> Command {
        let mut command = mosquitto::client(name, port, Some(&self.file("ca-chain.pem")));
        command.args(["-i", self.id().as_str()]);
        match self.certificate() {
            Some(files) => {
                command.arg("--cert").arg(files.certificate).arg("--key").arg(files.key);
            }
            None => {
                let read = |name| fs::read_to_string(self.file(name)).expect("a file of the bundle");
                command.args(["-u", read("mqtt_username.txt").trim(), "-P", self.api_key()]);
            }
        }
        command
    }

    /// What TLS needs of the bundle.
    pub(crate) fn tls(&self) -> ClientSettings {
        let read = |path: &Path| fs::read_to_string(path).expect("a file of the bundle");
        let mut settings =
            ClientSettings::new(TrustAnchors::from_pem(&read(&self.file("ca-chain.pem"))).expect("trust anchors"));
        settings.identity = self.certificate().map(|files| {
            ClientIdentity::from_pem(&read(&files.certificate), &read(&files.key)).expect("a client's identity")
        });
        settings
    }
}
