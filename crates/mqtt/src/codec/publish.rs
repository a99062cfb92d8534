//! The two packets of a run of messages, without the detour over a [`Packet`]: PUBLISH out, PUBACK in.

use bytes::{Buf, BufMut, BytesMut};

use super::{Codec, Inner, ProtocolError};
use crate::packet::{Packet, PacketId, PublishAckReason, QoS, publish_ack};
use crate::topic;

/// What a remaining length of four bytes can say (MQTT 5 section 1.5.5).
const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// A PUBLISH without properties, not yet sent before.
#[derive(Clone, Copy, Debug)]
pub struct PlainPublish<'a> {
    /// Topic name, without wildcards.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// Present for QoS 1 and 2, and only for them.
    pub packet_id: Option<PacketId>,
    /// Quality of service.
    pub qos: QoS,
    /// Whether it replaces the topic's retained message.
    pub retain: bool,
}

impl Codec {
    /// Appends `publish` to `bytes`: the hot path of a sender, no allocation but that of `bytes`.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`] when the peer's Maximum Packet Size or the format forbids it,
    /// [`ProtocolError::InvalidTopicName`]: nothing was written.
    pub fn encode_publish(&mut self, publish: PlainPublish<'_>, bytes: &mut BytesMut) -> Result<(), ProtocolError> {
        let PlainPublish { topic, payload, packet_id, qos, retain } = publish;
        let (properties, limit) = match &self.inner {
            Inner::V5(codec) => (1, codec.max_outbound_size() as usize),
            Inner::V3(_) | Inner::Unknown => (0, 0),
        };
        let topic_length = u16::try_from(topic.len()).map_err(|_| ProtocolError::InvalidTopicName)?;
        if !topic::is_valid_name(topic) {
            return Err(ProtocolError::InvalidTopicName);
        }
        let length = 2 + topic.len() + packet_id.map_or(0, |_| 2) + properties + payload.len();
        let limit = if limit == 0 { MAX_REMAINING_LENGTH } else { limit.min(MAX_REMAINING_LENGTH) };
        if length > limit {
            let clamped = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            return Err(ProtocolError::TooLarge { size: clamped(length), limit: clamped(limit) });
        }
        bytes.reserve(5 + length);
        bytes.put_u8(0x30 | (u8::from(qos) << 1) | u8::from(retain));
        let mut rest = length;
        loop {
            let more = if rest >= 0x80 { 0x80 } else { 0 };
            bytes.put_u8((rest & 0x7F) as u8 | more);
            rest >>= 7;
            if rest == 0 {
                break;
            }
        }
        bytes.put_u16(topic_length);
        bytes.put_slice(topic.as_bytes());
        if let Some(packet_id) = packet_id {
            bytes.put_u16(packet_id.get());
        }
        // No properties: their length alone.
        bytes.put_bytes(0, properties);
        bytes.put_slice(payload);
        Ok(())
    }

    /// Takes a PUBACK without reason code (3.1.1, or success in MQTT 5) off the head of `bytes`.
    pub(super) fn decode_plain_puback(&self, bytes: &mut BytesMut) -> Option<Packet> {
        let &[0x40, 2, high, low, ..] = &bytes[..] else { return None };
        if matches!(self.inner, Inner::Unknown) {
            return None;
        }
        let packet_id = PacketId::new(u16::from_be_bytes([high, low]))?;
        bytes.advance(4);
        Some(Packet::PublishAck(publish_ack(packet_id, PublishAckReason::Success)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Message;
    use crate::packet::Version;

    #[test]
    fn it_writes_what_the_library_writes() {
        let id = PacketId::new(0x1234);
        for version in [Version::V3, Version::V5] {
            for (qos, packet_id) in [(QoS::AtMostOnce, None), (QoS::AtLeastOnce, id), (QoS::ExactlyOnce, id)] {
                for size in [0, 1, 90, 127, 128, 300, 16_383, 16_384, 70_000] {
                    for retain in [false, true] {
                        let payload = Bytes::from(vec![b'x'; size]);
                        let message = Message::new("device/a-1/telemetry", payload.clone(), qos);
                        let packet = message.to_publish(qos, packet_id, false, retain);
                        let (mut ours, mut theirs) = (BytesMut::new(), BytesMut::new());
                        let mut codec = Codec::client(version, 1 << 20);
                        codec.encode(Packet::Publish(Box::new(packet)), &mut theirs).unwrap();
                        let plain = PlainPublish { topic: &message.topic, payload: &payload, packet_id, qos, retain };
                        codec.encode_publish(plain, &mut ours).unwrap();
                        assert_eq!(ours, theirs, "{version} {qos:?} {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_peer_does_not_take_is_not_written() {
        let plain =
            |topic, payload| PlainPublish { topic, payload, packet_id: None, qos: QoS::AtMostOnce, retain: false };
        let mut codec = Codec::client(Version::V5, 1 << 20);
        codec.set_max_outbound(100);
        let mut bytes = BytesMut::new();
        let refused = codec.encode_publish(plain("a/b", &[0; 100]), &mut bytes);
        assert!(matches!(refused, Err(ProtocolError::TooLarge { .. })), "{refused:?}");
        let refused = codec.encode_publish(plain("a/#", &[]), &mut bytes);
        assert!(matches!(refused, Err(ProtocolError::InvalidTopicName)), "{refused:?}");
        assert!(bytes.is_empty());
        codec.encode_publish(plain("a/b", &[0; 50]), &mut bytes).unwrap();
    }

    #[test]
    fn a_puback_is_read_whole_or_not_at_all() {
        for version in [Version::V3, Version::V5] {
            let mut codec = Codec::client(version, 1 << 20);
            let mut bytes = BytesMut::from(&[0x40, 2, 0, 7, 0x40, 2, 1][..]);
            let id = |packet: Option<Packet>| match packet {
                Some(Packet::PublishAck(ack)) => Some(ack.packet_id.get()),
                None => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(id(codec.decode(&mut bytes).unwrap()), Some(7));
            assert_eq!(id(codec.decode(&mut bytes).unwrap()), None);
            bytes.put_u8(2);
            assert_eq!(id(codec.decode(&mut bytes).unwrap()), Some(0x102));
            bytes.put_slice(&[0x40, 2, 0, 0]);
            assert!(codec.decode(&mut bytes).is_err(), "zero is no identifier");
        }
    }
}
