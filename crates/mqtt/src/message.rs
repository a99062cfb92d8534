//! An application message, independent of the connection and the version it came by.

use bytes::Bytes;
use bytestring::ByteString;

use crate::packet::{LastWill, Publish, PublishProperties, QoS};

/// What a publisher said: the part of a PUBLISH that outlives its packet. Cheap to clone: bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name, without wildcards.
    pub topic: ByteString,
    /// The application's bytes.
    pub payload: Bytes,
    /// Quality of service it was published with.
    pub qos: QoS,
    /// Whether it replaces the topic's retained message.
    pub retain: bool,
    /// MQTT 5 properties that travel with the message; `None` when it has none.
    pub properties: Option<Box<PublishProperties>>,
}

impl Message {
    /// A message without properties.
    pub fn new(topic: impl Into<ByteString>, payload: impl Into<Bytes>, qos: QoS) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, retain: false, properties: None }
    }

    /// The same message, retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// The message inside a received PUBLISH. What belongs to one connection only (topic alias, subscription
    /// identifiers) is dropped.
    pub fn from_publish(publish: Publish) -> Self {
        let properties = publish
            .properties
            .map(|properties| PublishProperties { topic_alias: None, subscription_ids: Vec::new(), ..properties })
            .filter(|properties| *properties != PublishProperties::default())
            .map(Box::new);
        Self { topic: publish.topic, payload: publish.payload, qos: publish.qos, retain: publish.retain, properties }
    }

    /// The message a server publishes when its client vanishes.
    pub fn from_will(will: LastWill) -> Self {
        let properties = PublishProperties {
            correlation_data: will.correlation_data,
            message_expiry_interval: will.message_expiry_interval,
            content_type: will.content_type,
            user_properties: will.user_properties,
            is_utf8_payload: will.is_utf8_payload.unwrap_or(false),
            response_topic: will.response_topic,
            ..PublishProperties::default()
        };
        let properties = (properties != PublishProperties::default()).then(|| Box::new(properties));
        Self { topic: will.topic, payload: will.message, qos: will.qos, retain: will.retain, properties }
    }

    /// False for a message that says that its payload is UTF-8 text when it is not (MQTT 5 section 3.3.2.3.2).
    pub fn is_text_if_it_says_so(&self) -> bool {
        let says_so = self.properties.as_deref().is_some_and(|properties| properties.is_utf8_payload);
        !says_so || std::str::from_utf8(&self.payload).is_ok()
    }

    /// Bytes this message occupies: topic, payload and properties.
    pub fn size(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, |properties| {
            let pairs: usize = properties.user_properties.iter().map(|(key, value)| key.len() + value.len()).sum();
            let texts = [&properties.content_type, &properties.response_topic];
            pairs
                + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
        });
        self.topic.len() + self.payload.len() + properties
    }

    /// A copy that shares no bytes with the buffer this message was received in. What is kept for long must not
    /// keep the buffer, and with it the messages that came beside it.
    #[must_use]
    pub fn detached(&self) -> Self {
        let text = |text: &ByteString| ByteString::from(&**text);
        let bytes = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let properties = self.properties.as_deref().map(|properties| {
            Box::new(PublishProperties {
                correlation_data: properties.correlation_data.as_ref().map(bytes),
                content_type: properties.content_type.as_ref().map(text),
                response_topic: properties.response_topic.as_ref().map(text),
                user_properties: properties
                    .user_properties
                    .iter()
                    .map(|(key, value)| (text(key), text(value)))
                    .collect(),
                ..properties.clone()
            })
        });
        Self { topic: text(&self.topic), payload: bytes(&self.payload), properties, ..*self }
    }

    /// This message as a Last Will, without delay.
    pub fn to_will(&self) -> LastWill {
        let properties = self.properties.as_deref().cloned().unwrap_or_default();
        LastWill {
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.clone(),
            message: self.payload.clone(),
            will_delay_interval_sec: None,
            correlation_data: properties.correlation_data,
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type,
            user_properties: properties.user_properties,
            is_utf8_payload: properties.is_utf8_payload.then_some(true),
            response_topic: properties.response_topic,
        }
    }

    /// A PUBLISH of this message. The caller gives what belongs to the connection.
    pub fn to_publish(&self, qos: QoS, packet_id: Option<std::num::NonZeroU16>, dup: bool, retain: bool) -> Publish {
        Publish {
            dup,
            retain,
            qos,
            topic: self.topic.clone(),
            packet_id,
            payload: self.payload.clone(),
            properties: self.properties.as_deref().cloned(),
        }
    }
}

/// Payloads are never printed.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_message_is_equal_and_shares_nothing() {
        let buffer = Bytes::from_static(b"d/t payload key value data");
        let text = |range| ByteString::try_from(buffer.slice(range)).unwrap();
        let mut message = Message::new(text(0..3), buffer.slice(4..11), QoS::AtLeastOnce).retained();
        message.properties = Some(Box::new(PublishProperties {
            user_properties: vec![(text(12..15), text(16..21))],
            correlation_data: Some(buffer.slice(22..26)),
            ..PublishProperties::default()
        }));
        let copy = message.detached();
        assert_eq!(copy, message);
        assert_eq!(copy.size(), 3 + 7 + 3 + 5 + 4);
        let properties = copy.properties.as_deref().unwrap();
        let data = properties.correlation_data.as_deref().unwrap();
        let (key, value) = &properties.user_properties[0];
        for copied in [copy.topic.as_bytes(), &copy.payload, data, key.as_bytes(), value.as_bytes()] {
            assert!(!buffer.as_ptr_range().contains(&copied.as_ptr()));
        }
    }
}
