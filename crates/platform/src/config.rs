//! What an operator may choose. Everything is checked before anything is opened or written, and every mistake is
//! reported, not the first.

mod limits;

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use tesaiot_contract::Secret;
use tesaiot_contract::telemetry::Limits;

/// The ports of the wire contract, section 1.
pub const MQTT_PORT: u16 = 8883;
/// MQTT over TLS without client certificates.
pub const MQTT_TLS_PORT: u16 = 8884;
/// MQTT over WebSocket over TLS.
pub const WSS_PORT: u16 = 8084;
/// REST and the live feed.
pub const HTTPS_PORT: u16 = 8443;

/// HTTPS with a client certificate.
pub const INGEST_PORT: u16 = 9444;

/// What becomes of the root's private key on the first start.
#[derive(Clone, Debug)]
pub enum RootKey {
    /// It stays in the data directory, encrypted with this passphrase, or with one made up and shown once.
    Encrypted {
        /// At least 8 characters; `None` makes one up.
        passphrase: Option<Secret>,
    },
    /// It is written to this path and nowhere else.
    Offline(PathBuf),
}

/// Configuration of a platform.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Address all listeners are bound to.
    pub bind: IpAddr,
    /// Names and addresses by which clients reach this platform: they go into the server's certificate, and the
    /// first one into credential bundles. Empty: those of the last start, or else this machine's own.
    pub host_names: Vec<String>,
    /// MQTT with a client certificate, or with a password. 0 takes any free port.
    pub mqtt_port: u16,
    /// MQTT with a password. 0 takes any free port.
    pub mqtt_tls_port: u16,
    /// MQTT with a password over WebSocket. 0 takes any free port.
    pub wss_port: u16,
    /// REST. 0 takes any free port.
    pub https_port: u16,
    /// REST for devices with a certificate, and for nobody else. 0 takes any free port, and so does `None` where
    /// [`Config::https_port`] is 0; otherwise it is [`INGEST_PORT`].
    pub ingest_port: Option<u16>,
    /// Whether [`Config::mqtt_port`] is for clients with a certificate only.
    pub require_client_certificate: bool,
    /// Organization in the subjects of the certificate authority.
    pub organization: String,
    /// The root's private key, on the first start.
    pub root_key: RootKey,
    /// Bounds of what a device may send.
    pub limits: Limits,
    /// Bounds of the broker.
    pub broker: tesaiot_broker::Config,
    /// Connections of one application's token at a time.
    pub max_connections_per_token: usize,
    /// How long a device may be away before it is offline.
    pub presence_grace: Duration,
    /// Bounds of the telemetry store.
    pub store: tesaiot_store::telemetry::Options,
    /// How long a client of the REST interface may read nothing of its answer before it is given up.
    pub https_write_timeout: Duration,
    /// How often `$SYS/broker/…` is told to administrators, and their right to hear it is looked at again.
    pub system_topics_period: Duration,
    /// How long a certificate of a device lasts.
    pub device_certificate_lifetime: Duration,
    /// How long after the end of its certificate a device is given another for the same key.
    pub renewal_grace: Duration,
    /// The least time between two receipts for one run of a device.
    pub receipts_period: Duration,
    /// How often the server's certificate is looked at, and renewed when it is due or gone.
    pub certificate_check: Duration,
    /// How long a drain may take.
    pub grace: Duration,
}

impl Config {
    /// The defaults: the contract's ports on all addresses, reachable as this host, `localhost`, 127.0.0.1 and ::1.
    pub fn new(data_dir: PathBuf) -> Self {
        let (name, value) = tesaiot_contract::ACKNOWLEDGED_MEANS_STORED;
        let stored = (name.to_owned(), value.to_owned());
        Self {
            data_dir,
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            host_names: Vec::new(),
            mqtt_port: MQTT_PORT,
            mqtt_tls_port: MQTT_TLS_PORT,
            wss_port: WSS_PORT,
            https_port: HTTPS_PORT,
            ingest_port: None,
            require_client_certificate: false,
            organization: "tesaiot".into(),
            root_key: RootKey::Encrypted { passphrase: None },
            limits: Limits::default(),
            broker: limits::defaults(vec![stored]),
            max_connections_per_token: 100,
            presence_grace: Duration::from_secs(60),
            store: tesaiot_store::telemetry::Options::default(),
            https_write_timeout: Duration::from_secs(30),
            system_topics_period: Duration::from_secs(10),
            device_certificate_lifetime: tesaiot_pki::DEVICE_LIFETIME,
            renewal_grace: Duration::from_secs(30 * 86_400),
            receipts_period: Duration::from_secs(1),
            certificate_check: Duration::from_secs(3600),
            grace: Duration::from_secs(10),
        }
    }

    /// The port for devices with a certificate.
    pub(crate) fn ingest_port(&self) -> u16 {
        self.ingest_port.unwrap_or(if self.https_port == 0 { 0 } else { INGEST_PORT })
    }

    /// Everything that is wrong with it, in words for the operator.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for name in &self.host_names {
            // A dot at the end is valid in a host name, and never in a certificate.
            if name.ends_with('.') || rustls::pki_types::ServerName::try_from(name.as_str()).is_err() {
                mistakes.push(format!("'{name}' is neither a DNS name nor an IP address"));
            }
        }
        let ports = [
            ("the MQTT port", self.mqtt_port),
            ("the MQTT TLS port", self.mqtt_tls_port),
            ("the WebSocket port", self.wss_port),
            ("the HTTPS port", self.https_port),
            ("the HTTPS port for certificates", self.ingest_port()),
        ];
        for (index, (name, port)) in ports.iter().enumerate() {
            for (other, same) in &ports[index + 1..] {
                if *port != 0 && port == same {
                    mistakes.push(format!("{name} and {other} are both {port}"));
                }
            }
        }
        if self.organization.is_empty() || self.organization.chars().count() > 64 {
            mistakes.push("the organization has 1 to 64 characters".into());
        }
        if let RootKey::Encrypted { passphrase: Some(passphrase) } = &self.root_key
            && passphrase.expose().chars().count() < 8
        {
            mistakes.push("the root key's passphrase has at least 8 characters".into());
        }
        mistakes.extend(retention_mistakes(&self.store));
        mistakes.extend(limits::mistakes(&self.broker));
        if self.max_connections_per_token == 0 {
            mistakes.push("a token has at least 1 connection".into());
        }
        mistakes
    }
}

/// Retention counts in days, and a store that is bounded must hold the days that always stay.
fn retention_mistakes(store: &tesaiot_store::telemetry::Options) -> Vec<String> {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut mistakes = Vec::new();
    let rules = store.retention_rules.iter().map(|rule| (format!("devices '{}…'", rule.prefix), rule.retention));
    for (whose, retention) in std::iter::once(("all devices".to_owned(), store.retention)).chain(rules) {
        if retention.raw.is_some_and(|age| age < DAY) {
            mistakes.push(format!("samples of {whose} are kept for at least a day (24h)"));
        }
        if retention.rollups.is_some_and(|age| age < retention.raw.unwrap_or(Duration::MAX).max(DAY)) {
            mistakes.push(format!("rollups of {whose} are kept for at least as long as their samples"));
        }
    }
    if store.maximum_bytes.is_some_and(|bytes| bytes < 100_000_000) {
        mistakes.push("the telemetry store may take at least 100MB".into());
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_listed() {
        let mut config = Config::new(PathBuf::new());
        assert_eq!(config.mistakes(), Vec::<String>::new());
        config.host_names = vec!["not a name".into()];
        config.mqtt_tls_port = config.mqtt_port;
        config.organization.clear();
        assert_eq!(config.mistakes().len(), 3, "{:?}", config.mistakes());
        config.store.retention.raw = Some(Duration::from_secs(3600));
        config.store.maximum_bytes = Some(1);
        assert_eq!(config.mistakes().len(), 5, "{:?}", config.mistakes());
        config.store.retention.raw = Some(Duration::from_secs(86_400));
        config.store.retention.rollups = Some(Duration::from_secs(3600));
        assert_eq!(config.mistakes().len(), 5, "{:?}", config.mistakes());
        config.store = tesaiot_store::telemetry::Options::default();
        config.mqtt_port = 0;
        config.mqtt_tls_port = 0;
        assert_eq!(config.mistakes().len(), 2, "any free port twice is two ports");
    }
}
