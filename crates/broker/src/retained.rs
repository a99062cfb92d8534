//! The last retained message of each topic.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tesaiot_mqtt::{Message, topic};

#[derive(Debug, Default)]
struct Inner {
    messages: HashMap<String, Message>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Retained {
    inner: RwLock<Inner>,
    max_messages: usize,
    max_bytes: usize,
}

impl Retained {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { inner: RwLock::default(), max_messages, max_bytes }
    }

    /// Replaces the topic's message; an empty payload removes it (MQTT-3.3.1-6). Returns false when there is no
    /// room: the topic then keeps no message, rather than a stale one.
    pub(crate) fn set(&self, message: &Message) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = inner.messages.remove(&*message.topic) {
            inner.bytes -= size(&old);
        }
        if message.payload.is_empty() {
            return true;
        }
        // A copy: the received payload shares its buffer with its neighbours, which must not stay alive with it.
        let kept = Message { payload: bytes::Bytes::copy_from_slice(&message.payload), ..message.clone() };
        let bytes = size(&kept);
        if inner.messages.len() >= self.max_messages || inner.bytes + bytes > self.max_bytes {
            return false;
        }
        inner.bytes += bytes;
        inner.messages.insert(message.topic.to_string(), kept);
        true
    }

    pub(crate) fn matching(&self, filter: &str) -> Vec<Message> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if !filter.contains(['+', '#']) {
            return inner.messages.get(filter).cloned().into_iter().collect();
        }
        inner.messages.values().filter(|message| topic::matches(filter, &message.topic)).cloned().collect()
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() * 2 + message.payload.len() + 128
}
