//! Where a platform listens, as its bundles say it (`endpoints.json`; the wire contract, section 6).

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// MQTT host assumed when nothing names one.
pub const DEFAULT_HOST: &str = "mqtt.tesaiot.com";
/// MQTT over TLS with a client certificate.
pub const DEFAULT_MQTT_MTLS_PORT: u16 = 8883;
/// MQTT over TLS with username and password.
pub const DEFAULT_MQTT_TLS_PORT: u16 = 8884;
/// MQTT over WebSocket over TLS.
pub const DEFAULT_MQTT_WSS_PORT: u16 = 8084;
/// HTTPS: REST, dashboard, live feed.
pub const DEFAULT_API_PORT: u16 = 8443;
/// HTTPS with a mandatory client certificate.
pub const DEFAULT_INGEST_PORT: u16 = 9444;

/// The contents of `endpoints.json`. What the file leaves out, or holds as `null` or empty text, gets its default;
/// members it does not know are ignored, so that an older client reads a newer bundle. A port is 1 to 65535.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Endpoints {
    /// Name or address of the MQTT listeners, without brackets.
    pub mqtt_host: String,
    /// MQTT over TLS with a client certificate.
    pub mqtt_mtls_port: u16,
    /// MQTT over TLS with username and password.
    pub mqtt_tls_port: u16,
    /// MQTT over WebSocket over TLS.
    pub mqtt_wss_port: u16,
    /// `https://host:port` of the REST interface, without a slash at the end.
    pub api_base_url: String,
    /// Where telemetry is posted: the REST interface for server TLS, the listener with mandatory client certificate
    /// for mutual TLS. Without a slash at the end.
    pub ingest_base_url: String,
}

impl Endpoints {
    /// The standard ports of `host`, for a device that logs in with a key.
    pub fn for_host(host: impl Into<String>) -> Self {
        let mqtt_host = host.into();
        let api_base_url = base_url(&mqtt_host, DEFAULT_API_PORT);
        Self {
            mqtt_mtls_port: DEFAULT_MQTT_MTLS_PORT,
            mqtt_tls_port: DEFAULT_MQTT_TLS_PORT,
            mqtt_wss_port: DEFAULT_MQTT_WSS_PORT,
            ingest_base_url: api_base_url.clone(),
            api_base_url,
            mqtt_host,
        }
    }

    /// The same platform for a device with a certificate: telemetry is posted to `https://host:ingest_port`.
    #[must_use]
    pub fn with_ingest_port(mut self, ingest_port: u16) -> Self {
        self.ingest_base_url = base_url(&self.mqtt_host, ingest_port);
        self
    }
}

impl Default for Endpoints {
    fn default() -> Self {
        Self::for_host(DEFAULT_HOST)
    }
}

/// `https://host:port`, with the brackets an IPv6 address needs (RFC 3986, section 3.2.2).
pub fn base_url(host: &str, port: u16) -> String {
    if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
}

/// The file as it may have been written.
#[derive(Deserialize)]
struct Written {
    mqtt_host: Option<String>,
    mqtt_mtls_port: Option<NonZeroU16>,
    mqtt_tls_port: Option<NonZeroU16>,
    mqtt_wss_port: Option<NonZeroU16>,
    api_base_url: Option<String>,
    ingest_base_url: Option<String>,
}

impl From<Written> for Endpoints {
    fn from(written: Written) -> Self {
        let host = written.mqtt_host.as_deref().map(str::trim).filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST);
        let standard = Self::for_host(host);
        let api_base_url = without_last_slash(written.api_base_url).unwrap_or(standard.api_base_url);
        Self {
            mqtt_host: standard.mqtt_host,
            mqtt_mtls_port: written.mqtt_mtls_port.map_or(standard.mqtt_mtls_port, NonZeroU16::get),
            mqtt_tls_port: written.mqtt_tls_port.map_or(standard.mqtt_tls_port, NonZeroU16::get),
            mqtt_wss_port: written.mqtt_wss_port.map_or(standard.mqtt_wss_port, NonZeroU16::get),
            ingest_base_url: without_last_slash(written.ingest_base_url).unwrap_or_else(|| api_base_url.clone()),
            api_base_url,
        }
    }
}

fn without_last_slash(url: Option<String>) -> Option<String> {
    let url = url?;
    let url = url.trim().trim_end_matches('/');
    (!url.is_empty()).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Endpoints, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_empty_file_is_the_public_platform() {
        let endpoints = read("{}").unwrap();
        assert_eq!(endpoints, Endpoints::default());
        assert_eq!(endpoints.mqtt_host, "mqtt.tesaiot.com");
        assert_eq!((endpoints.mqtt_mtls_port, endpoints.mqtt_tls_port, endpoints.mqtt_wss_port), (8883, 8884, 8084));
    }

    #[test]
    fn what_is_left_out_follows_what_is_there() {
        let endpoints = read(r#"{"mqtt_host":" pi.local ","mqtt_wss_port":null,"new_in_2030":[1]}"#).unwrap();
        assert_eq!(endpoints, Endpoints::for_host("pi.local"));
        assert_eq!(endpoints.api_base_url, "https://pi.local:8443");

        let endpoints = read(r#"{"api_base_url":"https://api.example/","ingest_base_url":""}"#).unwrap();
        assert_eq!(endpoints.api_base_url, "https://api.example");
        assert_eq!(endpoints.ingest_base_url, "https://api.example");
    }

    #[test]
    fn a_port_that_cannot_be_one_is_refused() {
        for port in ["0", "65536", "-1", "\"8883\"", "8883.5"] {
            assert!(read(&format!(r#"{{"mqtt_mtls_port":{port}}}"#)).is_err(), "{port}");
        }
    }

    #[test]
    fn an_ipv6_address_is_bracketed_in_a_url_only() {
        let endpoints = Endpoints::for_host("::1").with_ingest_port(9444);
        assert_eq!(endpoints.mqtt_host, "::1");
        assert_eq!(endpoints.api_base_url, "https://[::1]:8443");
        assert_eq!(endpoints.ingest_base_url, "https://[::1]:9444");
    }

    #[test]
    fn writing_then_reading_is_identity() {
        let endpoints = Endpoints { mqtt_tls_port: 18884, ..Endpoints::for_host("10.0.0.2").with_ingest_port(19444) };
        assert_eq!(read(&serde_json::to_string(&endpoints).unwrap()).unwrap(), endpoints);
    }
}
