//! The shared words of device and platform: identifiers, topics, payloads, bundles, secrets.
//!
//! Everything here is a plain type or a pure function of the wire contract; nothing opens a socket, and only
//! [`bundle`] touches files. A value that exists is valid: it was parsed once, at the edge.

pub mod bundle;
pub mod command;
pub mod device_id;
pub mod endpoints;
pub mod environment;
pub mod receipt;
pub mod secret;
pub mod telemetry;
mod text_file;
pub mod topic;

/// What the platform says of itself in CONNACK (MQTT 5, user property): an acknowledged message is a stored one. A
/// device that wants to know asks for it; a broker that says nothing may acknowledge before anything is safe.
pub const ACKNOWLEDGED_MEANS_STORED: (&str, &str) = ("acknowledged", "stored");

pub use device_id::{DeviceId, InvalidDeviceId};
pub use endpoints::Endpoints;
pub use receipt::Receipt;
pub use secret::Secret;
pub use telemetry::{MessageId, Metric, Sample, Value};
pub use topic::{DeviceTopic, TelemetryType, TopicKind};
