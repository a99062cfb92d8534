//! The fixed header: what kind of packet comes, and how long it is, before any of it is read.

use super::ProtocolError;
use crate::packet::Version;

/// A packet whose fixed header has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Type and flags.
    pub(super) first: u8,
    /// Bytes of the fixed header.
    pub(super) header: usize,
    /// Bytes after the fixed header.
    pub(super) remaining: u32,
}

impl Frame {
    /// Bytes of the whole packet: what Maximum Packet Size counts (MQTT 5 section 2.1.4).
    pub(super) fn total(self) -> u32 {
        self.remaining + self.header as u32
    }
}

/// The frame at the head of `bytes`; `None` while its header is not complete.
///
/// # Errors
/// The packet type or its flags cannot be, or its length is not a variable byte integer.
pub(super) fn peek(bytes: &[u8], version: Option<Version>) -> Result<Option<Frame>, ProtocolError> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    check_reserved_bits(first)?;
    match variable_byte_integer(rest)? {
        None => Ok(None),
        Some((remaining, length)) => {
            // MQTT-1.5.5-1: the shortest form; 3.1.1 does not say so.
            if version == Some(Version::V5) && length > 1 && rest[length - 1] == 0 {
                return Err(ProtocolError::Garbled("remaining length is not in its shortest form"));
            }
            Ok(Some(Frame { first, header: 1 + length, remaining }))
        }
    }
}

/// A variable byte integer and the bytes it takes (MQTT 5 section 1.5.5); `None` when it is not complete.
pub(super) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, ProtocolError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(ProtocolError::Garbled("a length of more than four bytes")) }
}

/// The flags of a fixed header are fixed for every packet but PUBLISH (MQTT-2.1.3-1, 3.1.1: MQTT-2.2.2-2).
fn check_reserved_bits(first: u8) -> Result<(), ProtocolError> {
    let (name, flags) = match first >> 4 {
        1 => ("CONNECT", 0),
        2 => ("CONNACK", 0),
        3 => return check_publish_flags(first),
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

fn check_publish_flags(first: u8) -> Result<(), ProtocolError> {
    match (first & 0b0110, first & 0b1000) {
        // MQTT-3.3.1-4: there is no third quality of service.
        (0b0110, _) => Err(ProtocolError::ReservedBit("PUBLISH")),
        // MQTT-3.3.1-2: what is sent at most once is never sent again.
        (0, 0b1000) => Err(ProtocolError::Garbled("DUP set in a QoS 0 PUBLISH")),
        _ => Ok(()),
    }
}
