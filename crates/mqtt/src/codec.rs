//! Bytes to packets and back, for both versions, with the policy the codec library leaves to its user.
//!
//! The library decodes; what a well-formed packet may *say* is checked here: wildcards in a topic name,
//! reserved flag bits, a first packet that is not CONNECT, sizes.

mod v3;

use bytes::{Buf, BytesMut};
use rmqtt_codec::error::{DecodeError, EncodeError};
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use tokio_util::codec::{Decoder, Encoder};

use crate::packet::{DisconnectReasonCode, Packet, PublishAckReason, Version};
use crate::topic;

/// The longest fixed header: one type byte and a variable byte integer of four (MQTT 5 section 2.1.4).
const MAX_FIXED_HEADER: usize = 5;

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
    /// The first packet was not CONNECT, or names a protocol this side does not speak.
    #[error("not an MQTT 3.1.1 or 5 connection")]
    NotMqtt,
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
            Self::Malformed(_) | Self::NotMqtt | Self::ReservedBit(_) => DisconnectReasonCode::MalformedPacket,
            Self::TooLarge { .. } => DisconnectReasonCode::PacketTooLarge,
            Self::InvalidTopicName => DisconnectReasonCode::TopicNameInvalid,
            Self::Unexpected(_) => DisconnectReasonCode::ProtocolError,
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
    max_packet_size: u32,
    /// Whether the next byte starts a packet: the library takes a fixed header off before the body is there.
    at_header: bool,
}

impl Codec {
    /// A server's codec: the version is learned from CONNECT. `max_packet_size` bounds what is read, in bytes.
    pub fn server(max_packet_size: u32) -> Self {
        Self { inner: Inner::Unknown, max_packet_size, at_header: true }
    }

    /// A client's codec, which chooses the version.
    pub fn client(version: Version, max_packet_size: u32) -> Self {
        let mut codec = Self::server(max_packet_size);
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

    /// Bounds what is sent to an MQTT 5 peer that announced a Maximum Packet Size (MQTT-3.1.2-24).
    pub fn set_max_outbound(&mut self, bytes: u32) {
        if let Inner::V5(codec) = &mut self.inner {
            codec.set_max_outbound_size(bytes);
        }
    }

    fn set_version(&mut self, version: Version) {
        self.inner = match version {
            Version::V3 => Inner::V3(rmqtt_codec::v3::Codec::new(self.max_packet_size)),
            Version::V5 => Inner::V5(rmqtt_codec::v5::Codec::new(self.max_packet_size, 0)),
        };
    }

    /// Takes the next packet out of `bytes`, or `None` when it is not complete yet.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, ProtocolError> {
        if let Inner::Unknown = self.inner {
            // A stranger gets no buffer beyond the limit, whatever length it announces.
            if let Some(length) = announced_length(bytes)
                && length > self.max_packet_size.min(MAX_CONNECT_BYTES)
            {
                let limit = self.max_packet_size.min(MAX_CONNECT_BYTES);
                return Err(ProtocolError::TooLarge { size: length, limit });
            }
            match VersionCodec.decode(bytes).map_err(|_| ProtocolError::NotMqtt)? {
                None => return Ok(None),
                Some(ProtocolVersion::MQTT3) => self.set_version(Version::V3),
                Some(ProtocolVersion::MQTT5) => self.set_version(Version::V5),
            }
        }
        if self.at_header
            && let Some(&first) = bytes.first()
        {
            check_reserved_bits(first)?;
        }
        let available = bytes.len();
        let packet = match &mut self.inner {
            Inner::V3(codec) => codec.decode(bytes)?.map(|(packet, _)| v3::into_neutral(packet)),
            Inner::V5(codec) => codec.decode(bytes)?.map(|(packet, _)| packet),
            Inner::Unknown => None,
        };
        self.at_header = packet.is_some() || (self.at_header && bytes.len() == available);
        if let Some(Packet::Publish(publish)) = &packet {
            let has_alias = publish.properties.as_ref().is_some_and(|properties| properties.topic_alias.is_some());
            // MQTT 5 lets a topic alias stand for the name.
            let by_alias = publish.topic.is_empty() && has_alias;
            if !by_alias && !topic::is_valid_name(&publish.topic) {
                return Err(ProtocolError::InvalidTopicName);
            }
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

/// Remaining length of the packet at the head of `bytes`, when its fixed header is complete and valid.
fn announced_length(bytes: &BytesMut) -> Option<u32> {
    let mut header = bytes.get(1..bytes.len().min(MAX_FIXED_HEADER))?;
    let (mut length, mut shift) = (0u32, 0);
    while header.has_remaining() && shift <= 21 {
        let byte = header.get_u8();
        length |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
        shift += 7;
    }
    None
}

/// The flags of a fixed header are fixed for every packet but PUBLISH (MQTT-2.1.3-1).
fn check_reserved_bits(first: u8) -> Result<(), ProtocolError> {
    let (name, flags) = match first >> 4 {
        1 => ("CONNECT", 0),
        2 => ("CONNACK", 0),
        3 if first & 0b0110 == 0b0110 => return Err(ProtocolError::ReservedBit("PUBLISH")),
        3 => return Ok(()),
        4 => ("PUBACK", 0),
        5 => ("PUBREC", 0),
        6 => ("PUBREL", 2),
        7 => ("PUBCOMP", 0),
        8 => ("SUBSCRIBE", 2),
        9 => ("SUBACK", 0),
        10 => ("UNSUBSCRIBE", 2),
        11 => ("UNSUBACK", 0),
        12 => ("PINGREQ", 0),
        13 => ("PINGRESP", 0),
        14 => ("DISCONNECT", 0),
        15 => ("AUTH", 0),
        _ => return Err(ProtocolError::NotMqtt),
    };
    if first & 0x0F == flags { Ok(()) } else { Err(ProtocolError::ReservedBit(name)) }
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
