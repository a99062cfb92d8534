//! Topic aliases (MQTT 5 section 3.3.2.3.4): a number that stands for a topic name, for one direction of one
//! connection. A resumed session starts without any.

use std::collections::HashMap;
use std::num::NonZeroU16;

use bytestring::ByteString;

use crate::codec::ProtocolError;
use crate::packet::Publish;

/// The longest topic name worth remembering to save sending it again, in bytes.
const MAX_SENT_NAME: usize = 1024;

/// Aliases the peer has set.
#[derive(Debug)]
pub struct ReceivedAliases {
    names: Vec<Option<ByteString>>,
    maximum: u16,
}

impl ReceivedAliases {
    /// `maximum`: the Topic Alias Maximum this side announced; 0 allows none.
    pub fn new(maximum: u16) -> Self {
        Self { names: Vec::new(), maximum }
    }

    /// Gives a PUBLISH its topic name, or learns the name from it. The alias is taken out.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidTopicAlias`] above the maximum (MQTT-3.3.2-9), [`ProtocolError::RuleBroken`] for an
    /// alias that was never set.
    pub fn resolve(&mut self, publish: &mut Publish) -> Result<(), ProtocolError> {
        let Some(alias) = publish.properties.as_mut().and_then(|properties| properties.topic_alias.take()) else {
            return Ok(());
        };
        if alias.get() > self.maximum {
            return Err(ProtocolError::InvalidTopicAlias);
        }
        let index = usize::from(alias.get()) - 1;
        if publish.topic.is_empty() {
            let name = self.names.get(index).and_then(Option::as_ref);
            publish.topic = name.ok_or(ProtocolError::RuleBroken("a topic alias that was never set"))?.clone();
            return Ok(());
        }
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        // A copy: the name must not keep the buffer it came in.
        self.names[index] = Some(ByteString::from(&*publish.topic));
        Ok(())
    }
}

/// Aliases this side has set: the first topics get one, until there is no other.
#[derive(Debug)]
pub struct SentAliases {
    numbers: HashMap<ByteString, NonZeroU16>,
    maximum: u16,
}

/// How to name a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By its name.
    Name,
    /// By name, with an alias to be remembered.
    Introduce(NonZeroU16),
    /// By its alias alone.
    Alias(NonZeroU16),
}

impl SentAliases {
    /// `maximum`: the Topic Alias Maximum of the peer, or less; 0 allows none.
    pub fn new(maximum: u16) -> Self {
        Self { numbers: HashMap::new(), maximum }
    }

    /// How to name `topic`. What is to be introduced is only known to the peer once it was sent:
    /// [`SentAliases::introduced`].
    pub fn naming(&self, topic: &ByteString) -> Naming {
        if self.maximum == 0 || topic.len() > MAX_SENT_NAME {
            return Naming::Name;
        }
        if let Some(alias) = self.numbers.get(topic) {
            return Naming::Alias(*alias);
        }
        let next = u16::try_from(self.numbers.len() + 1).ok().filter(|next| *next <= self.maximum);
        next.and_then(NonZeroU16::new).map_or(Naming::Name, Naming::Introduce)
    }

    /// A PUBLISH with this name and alias is on its way.
    pub fn introduced(&mut self, topic: &ByteString, alias: NonZeroU16) {
        self.numbers.insert(ByteString::from(&**topic), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PublishProperties, QoS};

    fn publish(topic: &str, alias: u16) -> Publish {
        let properties = PublishProperties { topic_alias: NonZeroU16::new(alias), ..PublishProperties::default() };
        Publish {
            dup: false,
            retain: false,
            qos: QoS::AtMostOnce,
            topic: topic.into(),
            packet_id: None,
            payload: bytes::Bytes::new(),
            properties: Some(properties),
        }
    }

    #[test]
    fn a_name_is_learned_used_and_replaced() {
        let mut aliases = ReceivedAliases::new(3);
        for (name, alias, expected) in [("a", 3, "a"), ("", 3, "a"), ("b", 3, "b"), ("", 3, "b"), ("c", 0, "c")] {
            let mut publish = publish(name, alias);
            aliases.resolve(&mut publish).unwrap();
            assert_eq!(publish.topic, expected);
            assert_eq!(publish.properties.unwrap().topic_alias, None);
        }
        assert!(matches!(aliases.resolve(&mut publish("", 1)), Err(ProtocolError::RuleBroken(_))));
        assert!(matches!(aliases.resolve(&mut publish("d", 4)), Err(ProtocolError::InvalidTopicAlias)));
        assert!(matches!(ReceivedAliases::new(0).resolve(&mut publish("d", 1)), Err(ProtocolError::InvalidTopicAlias)));
    }

    #[test]
    fn the_first_topics_get_the_aliases_there_are() {
        let mut aliases = SentAliases::new(1);
        let (first, second) = (ByteString::from("a"), ByteString::from("b"));
        let one = NonZeroU16::MIN;
        assert_eq!(aliases.naming(&first), Naming::Introduce(one));
        assert_eq!(aliases.naming(&first), Naming::Introduce(one), "it was not sent yet");
        aliases.introduced(&first, one);
        assert_eq!(aliases.naming(&first), Naming::Alias(one));
        assert_eq!(aliases.naming(&second), Naming::Name);
        assert_eq!(SentAliases::new(0).naming(&first), Naming::Name);
    }
}
