//! The records as bytes. Each begins with the version of its form; numbers are big endian, times are milliseconds
//! since 1970, messages are MQTT 5 PUBLISH packets.
//!
//! ```text
//! session       2, expiry in seconds u32, disconnected at u64 (0: connected), then what messages were answered
//!               lately: (packet identifier u16, fingerprint u64, QoS u8, reason u8)*
//!               1: without QoS and reason, which are 1 and 0
//! subscription  1, options as in SUBSCRIBE u8, identifier u32 (0: none)
//! message       1, flags u8 (0–1 QoS, 2 retain, 3 expires, 4 share), [expires at u64], [length u16, share],
//!               count u16, subscription identifiers u32*, PUBLISH
//! sent          1, packet identifier u16, whether PUBREC came u8
//! will          as retained; it is due when it "expires"
//! retained      1, flags u8 (3 expires, 4 owner), [expires at u64], [length u16, owner], PUBLISH
//! ```

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use tesaiot_mqtt::codec::ProtocolError;
use tesaiot_mqtt::inbound::Answered;
use tesaiot_mqtt::packet::{Packet, PacketId, PublishAckReason, RetainHandling, SubscriptionOptions, Version};
use tesaiot_mqtt::{Codec, Message, QoS};

/// The version of every form here but that of sessions.
const VERSION: u8 = 1;
/// The version of the form of sessions.
const SESSION_VERSION: u8 = 2;
/// No message is larger than a packet can be.
const MAX_PACKET: u32 = u32::MAX;
const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const NAMED: u8 = 1 << 4;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("its form is of version {0}")]
    Version(u8),
    #[error("it ends too early")]
    Short(#[from] TryGetError),
    #[error("it holds no text where text belongs")]
    Text(#[from] std::str::Utf8Error),
    #[error("its message is no PUBLISH")]
    Publish(#[source] Option<ProtocolError>),
    #[error("it has a value out of range")]
    Range,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    /// How long it lives without a connection.
    pub(crate) expiry: Duration,
    /// When its connection ended; `None` while it has one.
    pub(crate) disconnected_at: Option<SystemTime>,
    /// Messages answered lately, oldest first.
    pub(crate) recent: Vec<Answered>,
}

/// A message for one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) message: Message,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Vec<NonZeroU32>,
    pub(crate) expires_at: Option<SystemTime>,
    /// The shared subscription it came by.
    pub(crate) share: Option<Arc<str>>,
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) message: Message,
    pub(crate) expires_at: Option<SystemTime>,
    /// The client it is counted against.
    pub(crate) owner: Option<Arc<str>>,
}

impl SessionRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(13 + 12 * self.recent.len());
        bytes.put_u8(SESSION_VERSION);
        bytes.put_u32(u32::try_from(self.expiry.as_secs()).unwrap_or(u32::MAX));
        bytes.put_u64(self.disconnected_at.map_or(0, milliseconds));
        for answered in &self.recent {
            bytes.put_u16(answered.packet_id.get());
            bytes.put_u64(answered.fingerprint);
            bytes.put_u8(answered.qos as u8);
            bytes.put_u8(answered.reason.into());
        }
        bytes.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, RecordError> {
        let is_first = bytes.first() == Some(&VERSION);
        match bytes.try_get_u8()? {
            VERSION | SESSION_VERSION => {}
            other => return Err(RecordError::Version(other)),
        }
        let expiry = Duration::from_secs(u64::from(bytes.try_get_u32()?));
        let disconnected_at = Some(bytes.try_get_u64()?).filter(|at| *at > 0).map(time);
        let mut recent = Vec::new();
        while !bytes.is_empty() {
            let packet_id = PacketId::new(bytes.try_get_u16()?).ok_or(RecordError::Range)?;
            let fingerprint = bytes.try_get_u64()?;
            let (mut quality, mut reason) = (QoS::AtLeastOnce, PublishAckReason::Success);
            if !is_first {
                quality = qos(bytes.try_get_u8()?)?;
                reason = bytes.try_get_u8()?.try_into().map_err(|_| RecordError::Range)?;
            }
            recent.push(Answered { packet_id, qos: quality, fingerprint, reason });
        }
        Ok(Self { expiry, disconnected_at, recent })
    }
}

pub(crate) fn encode_subscription(options: SubscriptionOptions, id: Option<NonZeroU32>) -> Bytes {
    let handling: u8 = match options.retain_handling {
        RetainHandling::AtSubscribe => 0,
        RetainHandling::AtSubscribeNew => 1,
        RetainHandling::NoAtSubscribe => 2,
    };
    let flags = options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | handling << 4;
    let mut bytes = BytesMut::with_capacity(6);
    bytes.put_u8(VERSION);
    bytes.put_u8(flags);
    bytes.put_u32(id.map_or(0, NonZeroU32::get));
    bytes.freeze()
}

pub(crate) fn decode_subscription(mut bytes: &[u8]) -> Result<(SubscriptionOptions, Option<NonZeroU32>), RecordError> {
    version(&mut bytes)?;
    let flags = bytes.try_get_u8()?;
    let options = SubscriptionOptions {
        qos: qos(flags)?,
        no_local: flags & 4 != 0,
        retain_as_published: flags & 8 != 0,
        retain_handling: match flags >> 4 {
            0 => RetainHandling::AtSubscribe,
            1 => RetainHandling::AtSubscribeNew,
            2 => RetainHandling::NoAtSubscribe,
            _ => return Err(RecordError::Range),
        },
    };
    Ok((options, NonZeroU32::new(bytes.try_get_u32()?)))
}

impl Copy {
    pub(crate) fn encode(&self) -> Result<Bytes, ProtocolError> {
        let flags = self.qos as u8 | if self.retain { RETAIN } else { 0 };
        let mut bytes = start(flags, self.expires_at, self.share.as_deref(), self.message.size());
        bytes.put_u16(u16::try_from(self.subscription_ids.len()).unwrap_or(u16::MAX));
        for id in self.subscription_ids.iter().take(usize::from(u16::MAX)) {
            bytes.put_u32(id.get());
        }
        put_message(&self.message, &mut bytes)?;
        Ok(bytes.freeze())
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, RecordError> {
        version(&mut bytes)?;
        let flags = bytes.try_get_u8()?;
        let (expires_at, share) = optional(flags, &mut bytes)?;
        let count = bytes.try_get_u16()?;
        let mut subscription_ids = Vec::new();
        for _ in 0..count {
            subscription_ids.push(NonZeroU32::new(bytes.try_get_u32()?).ok_or(RecordError::Range)?);
        }
        let message = message(bytes)?;
        let retain = flags & RETAIN != 0;
        Ok(Self { message, qos: qos(flags)?, retain, subscription_ids, expires_at, share })
    }
}

impl Kept {
    pub(crate) fn encode(&self) -> Result<Bytes, ProtocolError> {
        let mut bytes = start(0, self.expires_at, self.owner.as_deref(), self.message.size());
        put_message(&self.message, &mut bytes)?;
        Ok(bytes.freeze())
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, RecordError> {
        version(&mut bytes)?;
        let flags = bytes.try_get_u8()?;
        let (expires_at, owner) = optional(flags, &mut bytes)?;
        Ok(Self { message: message(bytes)?, expires_at, owner })
    }
}

pub(crate) fn encode_sent(packet_id: PacketId, released: bool) -> Bytes {
    let [high, low] = packet_id.get().to_be_bytes();
    Bytes::copy_from_slice(&[VERSION, high, low, u8::from(released)])
}

pub(crate) fn decode_sent(mut bytes: &[u8]) -> Result<(PacketId, bool), RecordError> {
    version(&mut bytes)?;
    let packet_id = PacketId::new(bytes.try_get_u16()?).ok_or(RecordError::Range)?;
    Ok((packet_id, bytes.try_get_u8()? != 0))
}

fn start(flags: u8, expires_at: Option<SystemTime>, text: Option<&str>, size: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(size + 64);
    bytes.put_u8(VERSION);
    let expires = if expires_at.is_some() { EXPIRES } else { 0 };
    bytes.put_u8(flags | expires | if text.is_some() { NAMED } else { 0 });
    if let Some(at) = expires_at {
        bytes.put_u64(milliseconds(at));
    }
    if let Some(text) = text {
        // Client identifiers and filters came in MQTT strings: their length is a u16.
        bytes.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        bytes.put_slice(&text.as_bytes()[..text.len().min(usize::from(u16::MAX))]);
    }
    bytes
}

type Optional = (Option<SystemTime>, Option<Arc<str>>);

fn optional(flags: u8, bytes: &mut &[u8]) -> Result<Optional, RecordError> {
    let expires_at = if flags & EXPIRES == 0 { None } else { Some(time(bytes.try_get_u64()?)) };
    if flags & NAMED == 0 {
        return Ok((expires_at, None));
    }
    let length = usize::from(bytes.try_get_u16()?);
    let text = bytes.split_off(..length).ok_or(RecordError::Range)?;
    Ok((expires_at, Some(std::str::from_utf8(text)?.into())))
}

fn put_message(message: &Message, bytes: &mut BytesMut) -> Result<(), ProtocolError> {
    // An identifier, because the form of a PUBLISH needs one above QoS 0; it says nothing.
    let packet_id = (message.qos != QoS::AtMostOnce).then_some(PacketId::MIN);
    let publish = message.to_publish(message.qos, packet_id, false, message.retain);
    Codec::client(Version::V5, MAX_PACKET).encode(Packet::Publish(Box::new(publish)), bytes)
}

fn message(bytes: &[u8]) -> Result<Message, RecordError> {
    let mut bytes = BytesMut::from(bytes);
    match Codec::client(Version::V5, MAX_PACKET).decode(&mut bytes) {
        Ok(Some(Packet::Publish(publish))) => Ok(Message::from_publish(*publish)),
        Ok(_) => Err(RecordError::Publish(None)),
        Err(error) => Err(RecordError::Publish(Some(error))),
    }
}

fn version(bytes: &mut &[u8]) -> Result<(), RecordError> {
    match bytes.try_get_u8()? {
        VERSION => Ok(()),
        other => Err(RecordError::Version(other)),
    }
}

fn qos(flags: u8) -> Result<QoS, RecordError> {
    match flags & 3 {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(RecordError::Range),
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(1, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use tesaiot_mqtt::packet::PublishProperties;

    use super::*;

    fn samples() -> Vec<Copy> {
        let at = Some(time(1_795_000_000_123));
        let mut message = Message::new("d/t", vec![0, 1, 2, 255], QoS::ExactlyOnce).retained();
        let plain = Copy {
            message: Message::new("d/t", "", QoS::AtLeastOnce),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
            expires_at: None,
            share: None,
        };
        message.properties = Some(Box::new(PublishProperties {
            user_properties: vec![("key".into(), "value".into())],
            response_topic: Some("answers".into()),
            correlation_data: Some(Bytes::from_static(b"\0\xff")),
            message_expiry_interval: NonZeroU32::new(60),
            ..PublishProperties::default()
        }));
        let full = Copy {
            message,
            qos: QoS::ExactlyOnce,
            retain: true,
            subscription_ids: [1, 268_435_455].into_iter().filter_map(NonZeroU32::new).collect(),
            expires_at: at,
            share: Some("$share/workers/d/#".into()),
        };
        vec![plain, full]
    }

    #[test]
    fn what_is_written_is_read_and_no_bytes_are_a_panic() {
        for copy in samples() {
            let bytes = copy.encode().unwrap();
            assert_eq!(Copy::decode(&bytes).unwrap(), copy);
            let kept = Kept { message: copy.message, expires_at: copy.expires_at, owner: Some("d".into()) };
            assert_eq!(Kept::decode(&kept.encode().unwrap()).unwrap(), kept);
            for end in 0..bytes.len() {
                assert!(Copy::decode(&bytes[..end]).is_err(), "{end} of {}", bytes.len());
            }
            for at in 0..bytes.len() {
                for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                    let mut broken = bytes.to_vec();
                    broken[at] = value;
                    let _ = (Copy::decode(&broken), Kept::decode(&broken), SessionRecord::decode(&broken));
                    let _ = (decode_subscription(&broken), decode_sent(&broken));
                }
            }
        }
        let session = SessionRecord {
            expiry: Duration::from_secs(3600),
            disconnected_at: Some(time(1_795_000_000_000)),
            recent: vec![
                Answered {
                    packet_id: PacketId::MIN,
                    qos: QoS::AtLeastOnce,
                    fingerprint: 7,
                    reason: PublishAckReason::Success,
                },
                Answered {
                    packet_id: PacketId::MAX,
                    qos: QoS::ExactlyOnce,
                    fingerprint: u64::MAX,
                    reason: PublishAckReason::PayloadFormatInvalid,
                },
            ],
        };
        assert_eq!(SessionRecord::decode(&session.encode()).unwrap(), session);
        let mut first = session.encode()[..23].to_vec();
        first[0] = VERSION;
        assert_eq!(SessionRecord::decode(&first).unwrap().recent, session.recent[..1]);
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::NoAtSubscribe,
        };
        let bytes = encode_subscription(options, NonZeroU32::new(9));
        assert_eq!(decode_subscription(&bytes).unwrap(), (options, NonZeroU32::new(9)));
        assert_eq!(decode_sent(&encode_sent(PacketId::MAX, true)).unwrap(), (PacketId::MAX, true));
    }
}
