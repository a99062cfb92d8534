//! What the platform's REST interface sends (the wire contract, section 10), as far as it is shown here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A registered device. Times are RFC 3339.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Device {
    pub(crate) device_id: String,
    pub(crate) name: Option<String>,
    /// `mtls` or `server-tls`
    pub(crate) auth_mode: String,
    pub(crate) enabled: bool,
    pub(crate) connected: bool,
    /// Connected, or away for no longer than the platform's grace
    #[serde(default)]
    pub(crate) online: bool,
    #[serde(default)]
    pub(crate) presence_changed_at: Option<String>,
    /// How it left, when it is offline
    #[serde(default)]
    pub(crate) offline_cause: Option<String>,
    pub(crate) created_at: String,
    pub(crate) last_seen_at: Option<String>,
    pub(crate) last_address: Option<String>,
}

/// Some of the devices, in the order of their ids.
#[derive(Debug, Deserialize)]
pub(crate) struct DevicePage {
    pub(crate) devices: Vec<Device>,
    /// Where the next page begins; none on the last
    pub(crate) next: Option<String>,
}

/// One reading of one metric.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Point {
    pub(crate) metric: String,
    /// Number, true or false, or text
    pub(crate) value: Value,
    pub(crate) unit: Option<String>,
    /// The device's own time; the platform's when it gave none
    pub(crate) time: String,
    pub(crate) received_at: String,
    /// What stood behind `telemetry/` in its topic
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
}

/// Readings of one device.
#[derive(Debug, Deserialize)]
pub(crate) struct Points {
    pub(crate) points: Vec<Point>,
    /// There are more than were asked for
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// Readings of one metric in buckets.
#[derive(Debug, Deserialize)]
pub(crate) struct Buckets {
    /// `start`, and what was asked for
    pub(crate) buckets: Vec<serde_json::Map<String, Value>>,
    /// There are more than were asked for
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// Readings of one metric, chosen for a plot.
#[derive(Debug, Deserialize)]
pub(crate) struct Plot {
    pub(crate) plot: Vec<PlotPoint>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct PlotPoint {
    pub(crate) time: String,
    pub(crate) value: Value,
}

/// A new API key: the only time it is readable.
#[derive(Deserialize)]
pub(crate) struct NewKey {
    pub(crate) api_key: tesaiot_contract::Secret,
}

/// RFC 9457, with what old clients read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    error: Option<OldProblem>,
}

#[derive(Debug, Deserialize)]
struct OldProblem {
    message: Option<String>,
}

impl Problem {
    /// The most telling sentence of it.
    pub(crate) fn reason(self) -> Option<String> {
        self.detail.or(self.error.and_then(|error| error.message)).or(self.title)
    }
}

/// A value as a person reads it: text without quotes, the rest as in JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
