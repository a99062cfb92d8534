//! The table of section 3, once: a topic is taken apart here, for the parser and for the access rule alike.

use super::path::{check_command_name, check_path};
use super::{CommandName, DeviceTopic, InvalidTopic, TelemetryType, TopicBase, TopicKind, TopicPath};
use crate::{DeviceId, device_id};

/// A valid topic, borrowed.
pub(super) struct Levels<'a> {
    base: TopicBase,
    pub(super) device: &'a str,
    kind: Kind<'a>,
}

/// [`TopicKind`], borrowed.
enum Kind<'a> {
    Telemetry(Option<&'a str>),
    Status,
    Events(Option<&'a str>),
    Commands(Option<&'a str>),
    CommandResponse(&'a str),
    CommandAck,
    CommandSigningRequest,
    CommandCertificate,
    Config(Option<&'a str>),
    Receipts,
}

impl<'a> Levels<'a> {
    /// Takes a topic apart and checks every level. Allocates nothing.
    pub(super) fn split(topic: &'a str) -> Result<Self, InvalidTopic> {
        let (base, rest) = base(topic).ok_or(InvalidTopic::Base)?;
        let (device, rest) = rest.split_once('/').unwrap_or((rest, ""));
        device_id::check(device)?;
        Ok(Self { base, device, kind: kind(rest)? })
    }

    /// As [`TopicKind::is_published_by_device`].
    pub(super) fn is_published_by_device(&self) -> bool {
        match self.kind {
            Kind::Telemetry(_)
            | Kind::Status
            | Kind::Events(_)
            | Kind::CommandResponse(_)
            | Kind::CommandAck
            | Kind::CommandSigningRequest => true,
            Kind::Commands(_) | Kind::CommandCertificate | Kind::Config(_) | Kind::Receipts => false,
        }
    }

    /// The owned form.
    pub(super) fn into_topic(self) -> Result<DeviceTopic, InvalidTopic> {
        let path = |path: Option<&str>| path.map(TopicPath::new).transpose();
        let kind = match self.kind {
            Kind::Telemetry(kind) => TopicKind::Telemetry(kind.map(TelemetryType::new).transpose()?),
            Kind::Status => TopicKind::Status,
            Kind::Events(levels) => TopicKind::Events(path(levels)?),
            Kind::Commands(levels) => TopicKind::Commands(path(levels)?),
            Kind::CommandResponse(name) => TopicKind::CommandResponse { name: CommandName::new(name)? },
            Kind::CommandAck => TopicKind::CommandAck,
            Kind::CommandSigningRequest => TopicKind::CommandSigningRequest,
            Kind::CommandCertificate => TopicKind::CommandCertificate,
            Kind::Config(levels) => TopicKind::Config(path(levels)?),
            Kind::Receipts => TopicKind::Receipts,
        };
        Ok(DeviceTopic { device: DeviceId::new(self.device)?, base: self.base, kind })
    }
}

/// The base and what follows its slash.
pub(super) fn base(topic: &str) -> Option<(TopicBase, &str)> {
    let (base, rest) = topic.split_once('/')?;
    match base {
        "device" => Some((TopicBase::Device, rest)),
        "devices" => Some((TopicBase::Devices, rest)),
        _ => None,
    }
}

fn kind(levels: &str) -> Result<Kind<'_>, InvalidTopic> {
    let (first, rest) = match levels.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (levels, None),
    };
    if let Some(rest) = rest {
        check_path(rest)?;
    }
    match (first, rest) {
        ("telemetry", kind) => Ok(Kind::Telemetry(kind)),
        ("status", None) => Ok(Kind::Status),
        ("events", rest) => Ok(Kind::Events(rest)),
        ("commands", rest) => Ok(command(rest)),
        ("config", rest) => Ok(Kind::Config(rest)),
        ("receipts", None) => Ok(Kind::Receipts),
        _ => Err(InvalidTopic::Kind),
    }
}

fn command(levels: Option<&str>) -> Kind<'_> {
    match levels {
        Some("ack") => Kind::CommandAck,
        Some("csr") => Kind::CommandSigningRequest,
        Some("certificate") => Kind::CommandCertificate,
        Some(other) => match other.strip_suffix("/response") {
            Some(name) if check_command_name(name).is_ok() => Kind::CommandResponse(name),
            _ => Kind::Commands(levels),
        },
        None => Kind::Commands(None),
    }
}
