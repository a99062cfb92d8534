//! What a run of messages came to: one line for people, one object for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_device::connect::Phases;
use tesaiot_device::publisher::{Report, Spooled};
use tesaiot_device::{Method, MqttVersion};
use tesaiot_tls::TlsVersion;

/// A run, and the connection it went over.
pub(super) struct Summary<'a> {
    pub(super) device_id: &'a DeviceId,
    pub(super) topic: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) method: Method,
    pub(super) tls_version: Option<TlsVersion>,
    pub(super) mqtt_version: MqttVersion,
    pub(super) phases: Phases,
    /// From the start of resolving to the end of the connection
    pub(super) total: Duration,
    /// Whether acknowledged was asked to mean stored, and does
    pub(super) stored: bool,
    /// What the spool held and holds, when there is one
    pub(super) spooled: Option<Spooled>,
    pub(super) report: &'a Report,
}

impl Summary<'_> {
    /// For programs. Times are in seconds.
    pub(super) fn to_json(&self) -> Value {
        let method = match self.method {
            Method::MutualTls => "mtls",
            Method::ServerTls => "server-tls",
        };
        let mqtt_version = match self.mqtt_version {
            MqttVersion::V3 => "3.1.1",
            MqttVersion::V5 => "5",
        };
        let (report, phases) = (self.report, &self.phases);
        let mut summary = json!({
            "device_id": self.device_id,
            "topic": self.topic,
            "host": self.host,
            "port": self.port,
            "auth": method,
            "tls_version": self.tls_version.map(|version| version.to_string()),
            "mqtt_version": mqtt_version,
            "sent": report.sent,
            "acknowledged": report.acknowledged,
            "refused": report.refused,
            "lost": report.lost,
            "not_sent": report.not_sent,
            "interrupted": report.interrupted,
            "timed_out": report.timed_out,
            "connect_seconds": rounded(phases.dns + phases.tcp + phases.tls + phases.connect),
            "publish_seconds": rounded(report.elapsed),
            "phases": {
                "dns_seconds": rounded(phases.dns),
                "tcp_seconds": rounded(phases.tcp),
                "tls_seconds": rounded(phases.tls),
                "connect_seconds": rounded(phases.connect),
                "first_acknowledgement_seconds": report.first_answer.map(rounded),
                "stored_seconds": self.stored.then(|| rounded(report.elapsed)),
                "total_seconds": rounded(self.total),
            },
        });
        if let Some(Spooled { found, kept, lost, waiting, .. }) = self.spooled {
            summary["spool"] = json!({"found": found, "kept": kept, "lost": lost, "waiting": waiting});
        }
        summary
    }
}

/// Microseconds are as fine as these figures are true.
fn rounded(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, host, port, method, mqtt_version, report, .. } = self;
        let messages = if report.sent == 1 { "message" } else { "messages" };
        write!(f, "{} {messages} to {topic} at {host}:{port} ({method}, ", report.sent)?;
        if let Some(version) = self.tls_version {
            write!(f, "{version}, ")?;
        }
        write!(f, "{mqtt_version}): {} acknowledged", report.acknowledged)?;
        for (count, what) in [(report.refused, "refused"), (report.lost, "lost"), (report.not_sent, "not sent")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, " in {:.1?}", report.elapsed)
    }
}
