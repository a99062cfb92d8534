//! Bytes to packets and back, for both versions, with the policy the codec library leaves to its user.
//!
//! The library decodes; what it lets pass is checked here, once a packet is complete: [`frame`] reads the fixed header
//! and knows sizes and reserved flags, [`rules`] knows what bytes and fields may say.

mod frame;
mod publish;
mod rules;
mod v3;

use bytes::BytesMut;
use rmqtt_codec::error::{DecodeError, EncodeError};
use tokio_util::codec::{Decoder, Encoder};

use crate::packet::{DisconnectReasonCode, Packet, PublishAckReason, Version};

pub use publish::PlainPublish;

const FIRST_BYTE_OF_CONNECT: u8 = 0x10;

/// The longest CONNECT a server reads, in bytes: a stranger is not lent more memory than a Last Will needs.
const MAX_CONNECT_BYTES: u32 = 128 * 1024;

/// What a peer did wrong on the wire. After any of these the connection is closed (MQTT-4.13.1-1).
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes are not an MQTT packet, or break a rule of the packet's own format.
    #[error("malformed packet: {0}")]
    Malformed(#[source] DecodeError),
    /// The packet is longer than this side accepts. It was not read.
    #[error("packet of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Length the peer announced, in bytes.
        size: u32,
        /// Limit of this side, in bytes.
        limit: u32,
    },
    /// The bytes break a rule of format that the library does not know: which.
    #[error("malformed packet: {0}")]
    Garbled(&'static str),
    /// A well-formed packet that says what it must not: which.
    #[error("protocol error: {0}")]
    RuleBroken(&'static str),
    /// The first packet was not CONNECT, or names a protocol this side does not speak.
    #[error("not an MQTT 3.1.1 or 5 connection")]
    NotMqtt,
    /// A 3.1.1 client without an identifier that asks for a session to be kept (3.1.1: MQTT-3.1.3-8).
    #[error("no client identifier for a session that is to be kept")]
    NoClientIdentifier,
    /// MQTT in a version this side does not speak (MQTT-3.1.2-2).
    #[error("a version of MQTT other than 3.1, 3.1.1 and 5")]
    UnsupportedVersion,
    /// A topic name with a wildcard, an empty one, or one with a NUL (MQTT-3.3.2-2, MQTT-4.7.3).
    #[error("invalid topic name")]
    InvalidTopicName,
    /// A flag that the specification reserves was set.
    #[error("reserved bit set in a {0} packet")]
    ReservedBit(&'static str),
    /// A packet that this role must not receive in this state.
    #[error("unexpected {0} packet")]
    Unexpected(&'static str),
    /// More unacknowledged messages than the receive maximum allows (MQTT-3.3.4-9).
    #[error("receive maximum exceeded")]
    ReceiveMaximumExceeded,
    /// A topic alias of zero, above the maximum, or never set (MQTT-3.3.2-8).
    #[error("invalid topic alias")]
    InvalidTopicAlias,
    /// A packet of ours could not be encoded; the connection's state is no longer known.
    #[error("packet could not be encoded: {0}")]
    Encode(#[source] EncodeError),
}

impl ProtocolError {
    /// The MQTT 5 reason code that tells the peer.
    pub fn disconnect_reason(&self) -> DisconnectReasonCode {
        match self {
            Self::Malformed(_) | Self::Garbled(_) | Self::NotMqtt | Self::ReservedBit(_) => {
                DisconnectReasonCode::MalformedPacket
            }
            Self::UnsupportedVersion | Self::NoClientIdentifier | Self::RuleBroken(_) | Self::Unexpected(_) => {
                DisconnectReasonCode::ProtocolError
            }
            Self::TooLarge { .. } => DisconnectReasonCode::PacketTooLarge,
            Self::InvalidTopicName => DisconnectReasonCode::TopicNameInvalid,
            Self::ReceiveMaximumExceeded => DisconnectReasonCode::ReceiveMaximumExceeded,
            Self::InvalidTopicAlias => DisconnectReasonCode::TopicAliasInvalid,
            Self::Encode(_) => DisconnectReasonCode::ImplementationSpecificError,
        }
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::MaxSizeExceeded { size, max } => Self::TooLarge { size, limit: max },
            DecodeError::InvalidProtocol | DecodeError::UnsupportedProtocolLevel => Self::NotMqtt,
            DecodeError::InvalidTopicName => Self::InvalidTopicName,
            DecodeError::InvalidClientId => Self::NoClientIdentifier,
            other => Self::Malformed(other),
        }
    }
}

enum Inner {
    /// A server before CONNECT: the version is in the packet.
    Unknown,
    V3(rmqtt_codec::v3::Codec),
    V5(rmqtt_codec::v5::Codec),
}

/// Encoder and decoder of one connection.
pub struct Codec {
    inner: Inner,
    /// Largest packet read, fixed header included, in bytes; 0: no limit.
    max_packet_size: u32,
    /// Whether the peer is a client: a few things only a server may say.
    from_client: bool,
}

impl Codec {
    /// A server's codec: the version is learned from CONNECT. `max_packet_size` bounds what is read, in bytes.
    pub fn server(max_packet_size: u32) -> Self {
        Self { inner: Inner::Unknown, max_packet_size, from_client: true }
    }

    /// A client's codec, which chooses the version.
    pub fn client(version: Version, max_packet_size: u32) -> Self {
        let mut codec = Self { from_client: false, ..Self::server(max_packet_size) };
        codec.set_version(version);
        codec
    }

    /// The version, once known.
    pub fn version(&self) -> Option<Version> {
        match self.inner {
            Inner::Unknown => None,
            Inner::V3(_) => Some(Version::V3),
            Inner::V5(_) => Some(Version::V5),
        }
    }

    /// Bounds what is sent to an MQTT 5 peer that announced a Maximum Packet Size (MQTT-3.1.2-24), in bytes, fixed
    /// header included.
    pub fn set_max_outbound(&mut self, bytes: u32) {
        /// What the library takes off again: a fixed header at its longest, whatever the packet's real one is.
        const ALLOWANCE: u32 = 5;
        if let Inner::V5(codec) = &mut self.inner {
            codec.set_max_outbound_size(largest_remaining(bytes).max(1).saturating_add(ALLOWANCE));
        }
    }

    fn set_version(&mut self, version: Version) {
        // Sizes are checked here, before the library sees a packet.
        self.inner = match version {
            Version::V3 => Inner::V3(rmqtt_codec::v3::Codec::new(0)),
            Version::V5 => Inner::V5(rmqtt_codec::v5::Codec::new(0, 0)),
        };
    }

    /// Takes the next packet out of `bytes`, or `None` when it is not complete yet.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, ProtocolError> {
        if let Inner::Unknown = self.inner
            && bytes.first().is_some_and(|first| *first != FIRST_BYTE_OF_CONNECT)
        {
            return Err(ProtocolError::NotMqtt);
        }
        if let Some(packet) = self.decode_plain_puback(bytes) {
            return Ok(Some(packet));
        }
        let Some(frame) = frame::peek(bytes, self.version())? else { return Ok(None) };
        let limit = match (&self.inner, self.max_packet_size) {
            // A stranger gets no buffer beyond the limit, whatever length it announces.
            (Inner::Unknown, 0) => MAX_CONNECT_BYTES,
            (Inner::Unknown, limit) => limit.min(MAX_CONNECT_BYTES),
            (_, 0) => u32::MAX,
            (_, limit) => limit,
        };
        if frame.total() > limit {
            return Err(ProtocolError::TooLarge { size: frame.total(), limit });
        }
        let Some(body) = bytes.get_mut(frame.header..frame.total() as usize) else { return Ok(None) };
        if let Inner::Unknown = self.inner {
            match rules::version(body) {
                Ok(version) => self.set_version(version),
                Err(error) => {
                    // An answer has to have some form: that of 3.1.1 (MQTT-3.1.2-2).
                    self.set_version(Version::V3);
                    return Err(error);
                }
            }
        }
        let packet = match &mut self.inner {
            Inner::V3(codec) => {
                rules::check_bytes(frame, body, Version::V3)?;
                codec.decode(bytes)?.map(|(packet, _)| v3::into_neutral(packet))
            }
            Inner::V5(codec) => {
                rules::check_bytes(frame, body, Version::V5)?;
                codec.decode(bytes)?.map(|(packet, _)| packet)
            }
            Inner::Unknown => None,
        };
        if let Some(packet) = &packet {
            rules::check_content(packet, self.from_client)?;
        }
        Ok(packet)
    }

    /// Appends `packet` to `bytes`.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`] when an MQTT 5 peer's Maximum Packet Size forbids it: nothing was written.
    pub fn encode(&mut self, packet: Packet, bytes: &mut BytesMut) -> Result<(), ProtocolError> {
        let result = match &mut self.inner {
            Inner::V3(codec) => match v3::from_neutral(packet) {
                Some(packet) => codec.encode(packet, bytes),
                // The version has no word for it (a reason after the fact): saying nothing is correct.
                None => Ok(()),
            },
            Inner::V5(codec) => codec.encode(packet, bytes),
            Inner::Unknown => Err(EncodeError::UnsupportedVersion),
        };
        result.map_err(|error| match error {
            EncodeError::OverMaxPacketSize { size, max } => ProtocolError::TooLarge { size, limit: max },
            other => ProtocolError::Encode(other),
        })
    }

    /// Appends the acknowledgement of a stored PUBLISH: the hot path, four bytes, no allocation.
    pub fn encode_puback(&mut self, packet_id: std::num::NonZeroU16, bytes: &mut BytesMut) {
        let [high, low] = packet_id.get().to_be_bytes();
        // MQTT 5 section 3.4.2.1: the reason code may be left out when it is Success.
        bytes.extend_from_slice(&[0x40, 2, high, low]);
    }
}

/// Whether a PUBACK or PUBREC with this reason says that the message was not accepted.
pub fn is_refusal(reason: PublishAckReason) -> bool {
    u8::from(reason) >= 0x80
}

/// The largest remaining length of a packet that is `total` bytes long, fixed header included.
fn largest_remaining(total: u32) -> u32 {
    let length_bytes = |remaining: u32| match remaining {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    let fits = |remaining: &u32| 1 + length_bytes(*remaining) + remaining <= total;
    (2..=5).map(|header| total.saturating_sub(header)).find(fits).unwrap_or(0)
}

/// The specification's name of a packet, for messages.
pub fn packet_name(packet: &Packet) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnectAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PublishAck(_) => "PUBACK",
        Packet::PublishReceived(_) => "PUBREC",
        Packet::PublishRelease(_) => "PUBREL",
        Packet::PublishComplete(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubscribeAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubscribeAck(_) => "UNSUBACK",
        Packet::PingRequest => "PINGREQ",
        Packet::PingResponse => "PINGRESP",
        Packet::Disconnect(_) => "DISCONNECT",
        Packet::Auth(_) => "AUTH",
    }
}

#[cfg(test)]
mod tests;
