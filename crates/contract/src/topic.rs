//! The topics of a device (the wire contract, section 3), and what an identity may do with them.
//!
//! The access rule needs no configuration: it is a comparison of the topic's second level with the identity. Both
//! halves of it ([`may_publish`], [`may_subscribe`]) run for every packet and allocate nothing.

mod parse;
mod path;
mod permission;

use std::fmt;
use std::str::FromStr;

pub use path::{CommandName, InvalidPath, MAX_PATH_BYTES, TelemetryType, TopicPath};
pub use permission::{may_publish, may_subscribe};

use crate::{DeviceId, InvalidDeviceId};

/// A topic of one device. Printing it gives back exactly the text it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceTopic {
    /// Whose topic it is.
    pub device: DeviceId,
    /// Which of the two accepted first levels it uses.
    pub base: TopicBase,
    /// What it carries.
    pub kind: TopicKind,
}

/// The first level of a topic. Our own programs say `device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TopicBase {
    /// `device/…`
    #[default]
    Device,
    /// `devices/…`, the accepted alias.
    Devices,
}

/// What a topic carries. A value made by [`DeviceTopic::parse`] or a constructor parses back to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// `telemetry` and `telemetry/{type}`: samples. Published by the device.
    Telemetry(Option<TelemetryType>),
    /// `status`: online or offline, retained; also the Last Will. Published by the device.
    Status,
    /// `events` and below. Published by the device.
    Events(Option<TopicPath>),
    /// `commands` and below, as far as no other kind names it. Received by the device.
    Commands(Option<TopicPath>),
    /// `commands/{name}/response`. Published by the device.
    CommandResponse {
        /// The command answered.
        name: CommandName,
    },
    /// `commands/ack`. Published by the device.
    CommandAck,
    /// `commands/csr`: a certificate signing request. Published by the device.
    CommandSigningRequest,
    /// `commands/certificate`: the signed chain as PEM. Received by the device.
    CommandCertificate,
    /// `config` and below. Received by the device.
    Config(Option<TopicPath>),
    /// `receipts`: which sequence numbers are durably stored. Received by the device.
    Receipts,
}

/// Text that is not the topic of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// The first level is neither `device` nor `devices`, or nothing follows it.
    #[error("a device's topic starts with device/ or devices/ and the device id")]
    Base,
    /// The second level is not a device identifier.
    #[error("the second level of the topic is not a device id")]
    Device(#[from] InvalidDeviceId),
    /// The levels after the identifier are none of the contract's topics.
    #[error("no such topic of a device")]
    Kind,
    /// The free levels at the end break a rule.
    #[error("the last levels of the topic are not valid")]
    Path(#[from] InvalidPath),
}

impl TopicBase {
    /// The level as it stands in the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Devices => "devices",
        }
    }
}

impl TopicKind {
    /// Whether the device publishes on it; on the others it is the receiver.
    pub fn is_published_by_device(&self) -> bool {
        match self {
            Self::Telemetry(_)
            | Self::Status
            | Self::Events(_)
            | Self::CommandResponse { .. }
            | Self::CommandAck
            | Self::CommandSigningRequest => true,
            Self::Commands(_) | Self::CommandCertificate | Self::Config(_) | Self::Receipts => false,
        }
    }
}

impl DeviceTopic {
    /// Parses a topic name (not a filter: wildcards are refused).
    pub fn parse(topic: &str) -> Result<Self, InvalidTopic> {
        parse::Levels::split(topic)?.into_topic()
    }

    /// Whether the device publishes on it.
    pub fn is_published_by_device(&self) -> bool {
        self.kind.is_published_by_device()
    }

    /// `device/{id}/telemetry` or `device/{id}/telemetry/{type}`.
    pub fn telemetry(device: &DeviceId, kind: Option<TelemetryType>) -> Self {
        Self::of(device, TopicKind::Telemetry(kind))
    }

    /// `device/{id}/status`.
    pub fn status(device: &DeviceId) -> Self {
        Self::of(device, TopicKind::Status)
    }

    /// `device/{id}/events` or a topic below it.
    pub fn events(device: &DeviceId, path: Option<TopicPath>) -> Self {
        Self::of(device, TopicKind::Events(path))
    }

    /// `device/{id}/commands/{name}`: where the platform sends a command.
    pub fn command(device: &DeviceId, name: &CommandName) -> Self {
        Self::of(device, TopicKind::Commands(Some(name.to_path())))
    }

    /// `device/{id}/commands/{name}/response`.
    pub fn command_response(device: &DeviceId, name: CommandName) -> Self {
        Self::of(device, TopicKind::CommandResponse { name })
    }

    /// `device/{id}/commands/ack`.
    pub fn command_ack(device: &DeviceId) -> Self {
        Self::of(device, TopicKind::CommandAck)
    }

    /// `device/{id}/commands/csr`.
    pub fn command_signing_request(device: &DeviceId) -> Self {
        Self::of(device, TopicKind::CommandSigningRequest)
    }

    /// `device/{id}/commands/certificate`.
    pub fn command_certificate(device: &DeviceId) -> Self {
        Self::of(device, TopicKind::CommandCertificate)
    }

    /// `device/{id}/config` or a topic below it.
    pub fn config(device: &DeviceId, path: Option<TopicPath>) -> Self {
        Self::of(device, TopicKind::Config(path))
    }

    /// `device/{id}/receipts`.
    pub fn receipts(device: &DeviceId) -> Self {
        Self::of(device, TopicKind::Receipts)
    }

    /// `device/{id}/commands/#`: every command to the device, `device/{id}/commands` included (MQTT-4.7.1-2).
    pub fn commands_filter(device: &DeviceId) -> String {
        format!("device/{device}/commands/#")
    }

    /// `device/{id}/config/#`: every configuration for the device.
    pub fn config_filter(device: &DeviceId) -> String {
        format!("device/{device}/config/#")
    }

    fn of(device: &DeviceId, kind: TopicKind) -> Self {
        Self { device: device.clone(), base: TopicBase::Device, kind }
    }
}

impl FromStr for DeviceTopic {
    type Err = InvalidTopic;

    fn from_str(topic: &str) -> Result<Self, InvalidTopic> {
        Self::parse(topic)
    }
}

impl fmt::Display for DeviceTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.base.as_str(), self.device, self.kind)
    }
}

impl fmt::Display for TopicKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, path) = match self {
            Self::Telemetry(kind) => ("telemetry", kind.as_ref().map(TelemetryType::as_str)),
            Self::Status => ("status", None),
            Self::Events(path) => ("events", path.as_ref().map(TopicPath::as_str)),
            Self::Commands(path) => ("commands", path.as_ref().map(TopicPath::as_str)),
            Self::CommandResponse { name } => return write!(f, "commands/{name}/response"),
            Self::CommandAck => ("commands/ack", None),
            Self::CommandSigningRequest => ("commands/csr", None),
            Self::CommandCertificate => ("commands/certificate", None),
            Self::Config(path) => ("config", path.as_ref().map(TopicPath::as_str)),
            Self::Receipts => ("receipts", None),
        };
        match path {
            Some(path) => write!(f, "{level}/{path}"),
            None => f.write_str(level),
        }
    }
}
