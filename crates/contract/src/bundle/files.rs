//! The files of a bundle: names, contents, modes.

use zeroize::Zeroizing;

use super::Bundle;
use crate::environment::{self, dotenv};
use crate::{Secret, endpoints::Endpoints};

pub(super) const DEVICE_ID: &str = "device_id.txt";
pub(super) const CLIENT_CERTIFICATE: &str = "client_cert.pem";
pub(super) const CLIENT_KEY: &str = "client_key.pem";
pub(super) const API_KEY: &str = "api_key.txt";
pub(super) const MQTT_USERNAME: &str = "mqtt_username.txt";
pub(super) const MQTT_PASSWORD: &str = "mqtt_password.txt";
pub(super) const TRUST_ANCHOR: &str = "ca-chain.pem";
pub(super) const ENDPOINTS: &str = "endpoints.json";
pub(super) const ENVIRONMENT: &str = ".env";

/// For the owner alone.
const PRIVATE: u32 = 0o600;
/// For everyone to read.
const PUBLIC: u32 = 0o644;

/// One file of a bundle, as it is written or put into an archive. Its contents are treated as secret whatever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Name, without a directory.
    pub name: &'static str,
    /// The whole file.
    pub contents: Secret,
    /// Unix mode: `0o600` or `0o644`.
    pub mode: u32,
}

impl Bundle {
    /// The files that hold secrets: for their owner alone.
    pub const SECRET_FILES: [&str; 4] = [CLIENT_KEY, API_KEY, MQTT_PASSWORD, ENVIRONMENT];

    /// The files, `device_id.txt` first: it says whose the others are. A private key stands before its certificate.
    pub fn files(&self) -> Vec<BundleFile> {
        let certificate = self.certificate.as_ref();
        let key = certificate.and_then(|certificate| certificate.key_pem.as_ref());
        [
            Some(public(DEVICE_ID, self.device_id.as_str())),
            key.map(|key| private(CLIENT_KEY, key)),
            certificate.map(|certificate| public(CLIENT_CERTIFICATE, &certificate.chain_pem)),
            self.api_key.as_ref().map(|key| private(API_KEY, key)),
            self.mqtt_username.as_deref().map(|username| public(MQTT_USERNAME, username)),
            self.mqtt_password.as_ref().map(|password| private(MQTT_PASSWORD, password)),
            self.trust_anchor_pem.as_deref().map(|pem| public(TRUST_ANCHOR, pem)),
            Some(public(ENDPOINTS, &endpoints_json(&self.endpoints))),
            Some(private(ENVIRONMENT, &self.dotenv())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The `.env` file: what the environment of a device program needs, with paths relative to the bundle. The port is
    /// the one that asks for a certificate when the bundle holds one.
    pub fn dotenv(&self) -> Secret {
        let endpoints = &self.endpoints;
        let port = if self.certificate.is_some() { endpoints.mqtt_mtls_port } else { endpoints.mqtt_tls_port };
        // Large enough not to grow for what a platform issues, so that no copy of the key is left behind.
        let mut file = Zeroizing::new(String::with_capacity(4096));
        let mut push = |names: &[&str], value: &str| dotenv::push_line(&mut file, names[0], value);
        push(environment::DEVICE_ID, self.device_id.as_str());
        if let Some(key) = &self.api_key {
            push(environment::API_KEY, key.expose());
        }
        push(environment::MQTT_HOST, &endpoints.mqtt_host);
        push(environment::MQTT_PORT, &port.to_string());
        if self.trust_anchor_pem.is_some() {
            push(environment::CA_CERT, TRUST_ANCHOR);
        }
        push(environment::API_BASE_URL, &endpoints.api_base_url);
        push(environment::CERTS_DIR, ".");
        Secret::new(file.as_str())
    }
}

fn endpoints_json(endpoints: &Endpoints) -> String {
    serde_json::to_string_pretty(endpoints).expect("members of text and numbers always serialize") + "\n"
}

fn public(name: &'static str, contents: &str) -> BundleFile {
    BundleFile { name, contents: Secret::new(contents), mode: PUBLIC }
}

fn private(name: &'static str, contents: &Secret) -> BundleFile {
    BundleFile { name, contents: contents.clone(), mode: PRIVATE }
}
