//! The reason codes of MQTT in the words and numbers of the specification, for messages.

use std::fmt;

use tesaiot_mqtt::packet::{ConnectAckReason, DisconnectReasonCode, PublishAckReason, SubscribeAckReason, Version};

/// A reason code, as a person can look it up: `not authorized (0x87)`, or `not authorized (return code 5)` in
/// MQTT 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The code of MQTT 5
    code: u8,
    /// The return code of MQTT 3.1.1, when it came as one
    return_code: Option<u8>,
}

impl Reason {
    /// Of a CONNACK.
    pub fn of_connect(reason: ConnectAckReason, version: Version) -> Self {
        let return_code = match (version, reason) {
            (Version::V5, _) => None,
            (Version::V3, ConnectAckReason::UnsupportedProtocolVersion) => Some(1),
            (Version::V3, ConnectAckReason::ClientIdentifierNotValid) => Some(2),
            (Version::V3, ConnectAckReason::ServerUnavailable) => Some(3),
            (Version::V3, ConnectAckReason::BadUserNameOrPassword) => Some(4),
            (Version::V3, ConnectAckReason::NotAuthorized) => Some(5),
            (Version::V3, _) => None,
        };
        Self { code: reason as u8, return_code }
    }
}

impl From<PublishAckReason> for Reason {
    fn from(reason: PublishAckReason) -> Self {
        Self { code: reason as u8, return_code: None }
    }
}

impl From<SubscribeAckReason> for Reason {
    fn from(reason: SubscribeAckReason) -> Self {
        Self { code: reason as u8, return_code: None }
    }
}

impl From<DisconnectReasonCode> for Reason {
    fn from(reason: DisconnectReasonCode) -> Self {
        Self { code: reason as u8, return_code: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, return_code } = *self;
        match return_code {
            Some(number) => write!(f, "{} (return code {number})", words(code)),
            None => write!(f, "{} (0x{code:02x})", words(code)),
        }
    }
}

/// MQTT 5 section 2.4.
fn words(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x04 => "disconnect with will message",
        0x10 => "no matching subscribers",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => "an unknown reason",
    }
}
