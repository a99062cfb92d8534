//! What the codec library lets pass and the specification does not: rules of format, checked on the bytes of a whole
//! packet before it is decoded, and rules of content, checked on the decoded packet.

use bytestring::ByteString;

use super::ProtocolError;
use super::frame::{Frame, variable_byte_integer};
use crate::packet::{Connect, Packet, PublishProperties, Version};
use crate::topic;

const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const PASSWORD_ALONE: ProtocolError = ProtocolError::Garbled("password without a user name");
const WILL_BITS_ALONE: ProtocolError = ProtocolError::Garbled("Will QoS or Will Retain without a Will");

/// Walks the fields of a packet.
struct Fields<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Result<&mut [u8], ProtocolError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ProtocolError::Garbled("a field is longer than its packet"))?;
        let taken = &mut self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.take(1)?[0])
    }

    fn skip(&mut self, count: usize) -> Result<(), ProtocolError> {
        self.take(count).map(drop)
    }

    /// Text or binary data behind its two bytes of length.
    fn skip_data(&mut self) -> Result<u16, ProtocolError> {
        let bytes = self.take(2)?;
        let length = u16::from_be_bytes([bytes[0], bytes[1]]);
        self.skip(usize::from(length))?;
        Ok(length)
    }

    fn variable_byte_integer(&mut self) -> Result<u32, ProtocolError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let integer = variable_byte_integer(rest)?;
        let (value, length) = integer.ok_or(ProtocolError::Garbled("a field is longer than its packet"))?;
        self.at += length;
        Ok(value)
    }

    /// Walks a block of properties. An expiry of zero is legal and unknown to the library, whose shortest is a
    /// second: it becomes one.
    fn properties(&mut self) -> Result<(), ProtocolError> {
        let length = self.variable_byte_integer()? as usize;
        let end = self.at + length;
        while self.at < end {
            match self.byte()? {
                MESSAGE_EXPIRY_INTERVAL => {
                    let interval = self.take(4)?;
                    if *interval == [0; 4] {
                        interval[3] = 1;
                    }
                }
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => self.skip(1)?,
                0x13 | 0x21 | 0x22 | 0x23 => self.skip(2)?,
                0x11 | 0x18 | 0x27 => self.skip(4)?,
                0x0B => drop(self.variable_byte_integer()?),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => drop(self.skip_data()?),
                0x26 => {
                    self.skip_data()?;
                    self.skip_data()?;
                }
                _ => return Err(ProtocolError::Garbled("unknown property")),
            }
        }
        if self.at == end { Ok(()) } else { Err(ProtocolError::Garbled("properties are longer than they say")) }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// The version a CONNECT asks for. `body` is the packet after its fixed header.
pub(super) fn version(body: &[u8]) -> Result<Version, ProtocolError> {
    let (level, name) = match body {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => (*level, 5),
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] => (*level, 3),
        _ => return Err(ProtocolError::NotMqtt),
    };
    match (name, level) {
        (3, 3) | (5, 4) => Ok(Version::V3),
        (5, 5) => Ok(Version::V5),
        _ => Err(ProtocolError::UnsupportedVersion),
    }
}

/// Checks the bytes of one whole packet, before the library decodes them.
pub(super) fn check_bytes(frame: Frame, body: &mut [u8], version: Version) -> Result<(), ProtocolError> {
    match frame.first >> 4 {
        1 => check_connect(body, version),
        3 if version == Version::V5 => {
            let mut fields = Fields::new(body);
            fields.skip_data()?;
            fields.skip(if frame.first & 0b0110 == 0 { 0 } else { 2 })?;
            fields.properties()
        }
        8 if version == Version::V3 => check_subscribe(body),
        12 | 13 if frame.remaining > 0 => Err(ProtocolError::Garbled("a ping with a body")),
        14 if frame.remaining > 0 && version == Version::V3 => Err(ProtocolError::Garbled("a DISCONNECT with a body")),
        _ => Ok(()),
    }
}

fn check_connect(body: &mut [u8], version: Version) -> Result<(), ProtocolError> {
    const CLEAN_START: u8 = 0b0000_0010;
    let mut fields = Fields::new(body);
    fields.skip_data()?;
    fields.skip(1)?;
    let flags_at = fields.at;
    let flags = fields.byte()?;
    let (user_name, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    let will = flags & 0b0000_0100 != 0;
    // MQTT-3.1.2-11, MQTT-3.1.2-13.
    if !will && flags & 0b0011_1000 != 0 {
        return Err(WILL_BITS_ALONE);
    }
    // 3.1.1: MQTT-3.1.2-22; MQTT 5 allows it.
    if password && !user_name && version == Version::V3 {
        return Err(PASSWORD_ALONE);
    }
    fields.skip(2)?;
    if version == Version::V5 {
        fields.properties()?;
    }
    let nameless = fields.skip_data()? == 0;
    if will {
        if version == Version::V5 {
            fields.properties()?;
        }
        fields.skip_data()?;
        fields.skip_data()?;
    }
    for present in [user_name, password] {
        if present {
            fields.skip_data()?;
        }
    }
    if !fields.is_at_end() {
        return Err(ProtocolError::Garbled("a CONNECT with something behind its last field"));
    }
    if nameless && version == Version::V5 {
        // A client that is given a new name has no session to resume (MQTT-3.1.3-6): for it a start is always
        // clean, which the library insists on.
        body[flags_at] |= CLEAN_START;
    }
    Ok(())
}

/// 3.1.1: MQTT-3.8.3-4, which the library masks away.
fn check_subscribe(body: &mut [u8]) -> Result<(), ProtocolError> {
    let mut fields = Fields::new(body);
    fields.skip(2)?;
    while !fields.is_at_end() {
        fields.skip_data()?;
        if fields.byte()? > 2 {
            return Err(ProtocolError::Garbled("reserved bits set in a subscription"));
        }
    }
    Ok(())
}

/// Checks what a well-formed packet says. `from_client`: the peer is a client.
pub(super) fn check_content(packet: &Packet, from_client: bool) -> Result<(), ProtocolError> {
    match packet {
        Packet::Connect(connect) => check_connect_content(connect),
        Packet::Publish(publish) => {
            let properties = publish.properties.as_ref();
            // MQTT 5 lets a topic alias stand for the name.
            let by_alias = publish.topic.is_empty() && properties.is_some_and(|given| given.topic_alias.is_some());
            if !by_alias && !topic::is_valid_name(&publish.topic) {
                return Err(ProtocolError::InvalidTopicName);
            }
            properties.map_or(Ok(()), |properties| check_publish_properties(properties, from_client))
        }
        Packet::Subscribe(subscribe) => {
            no_nul(subscribe.topic_filters.iter().map(|(filter, _)| filter))?;
            no_nul_pairs(&subscribe.user_properties)?;
            // MQTT-3.8.3-4.
            let shared = |(filter, options): &(ByteString, crate::packet::SubscriptionOptions)| {
                options.no_local && filter.starts_with("$share/")
            };
            if subscribe.topic_filters.iter().any(shared) {
                return Err(ProtocolError::RuleBroken("No Local on a shared subscription"));
            }
            Ok(())
        }
        Packet::Unsubscribe(unsubscribe) => {
            no_nul(&unsubscribe.topic_filters)?;
            no_nul_pairs(&unsubscribe.user_properties)
        }
        Packet::Disconnect(disconnect) if from_client && disconnect.server_reference.is_some() => {
            Err(ProtocolError::RuleBroken("a server reference from a client"))
        }
        _ => Ok(()),
    }
}

fn check_connect_content(connect: &Connect) -> Result<(), ProtocolError> {
    if connect.auth_data.is_some() && connect.auth_method.is_none() {
        return Err(ProtocolError::RuleBroken("authentication data without a method"));
    }
    no_nul([Some(&connect.client_id), connect.username.as_ref()].into_iter().flatten())?;
    no_nul_pairs(&connect.user_properties)?;
    let Some(will) = &connect.last_will else { return Ok(()) };
    no_nul([Some(&will.topic), will.content_type.as_ref()].into_iter().flatten())?;
    no_nul_pairs(&will.user_properties)?;
    check_response_topic(will.response_topic.as_ref())
}

fn check_publish_properties(properties: &PublishProperties, from_client: bool) -> Result<(), ProtocolError> {
    // MQTT-3.3.4-6.
    if from_client && !properties.subscription_ids.is_empty() {
        return Err(ProtocolError::RuleBroken("a subscription identifier from a client"));
    }
    no_nul(&properties.content_type)?;
    no_nul_pairs(&properties.user_properties)?;
    check_response_topic(properties.response_topic.as_ref())
}

/// MQTT-3.3.2-14.
fn check_response_topic(response_topic: Option<&ByteString>) -> Result<(), ProtocolError> {
    match response_topic {
        Some(name) if !topic::is_valid_name(name) => Err(ProtocolError::RuleBroken("invalid response topic")),
        _ => Ok(()),
    }
}

/// MQTT-1.5.4-2 (3.1.1: MQTT-1.5.3-2).
fn no_nul<'a>(texts: impl IntoIterator<Item = &'a ByteString>) -> Result<(), ProtocolError> {
    if texts.into_iter().any(|text| text.as_bytes().contains(&0)) {
        return Err(ProtocolError::Garbled("a text with a null character"));
    }
    Ok(())
}

fn no_nul_pairs(pairs: &[(ByteString, ByteString)]) -> Result<(), ProtocolError> {
    no_nul(pairs.iter().flat_map(|(name, value)| [name, value]))
}
