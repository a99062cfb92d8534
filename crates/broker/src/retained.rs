//! The last retained message of each topic.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock};

use bytestring::ByteString;
use tesaiot_mqtt::{Message, QoS, topic};

use crate::mailbox::Delivery;

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
        let kept = message.detached();
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

/// Retained messages on their way to one new subscriber. Expanded one filter at a time: a client that subscribes to
/// much, and often, holds the messages of one filter at most.
#[derive(Debug, Default)]
pub(crate) struct RetainedQueue {
    filters: VecDeque<(ByteString, QoS)>,
    messages: VecDeque<Delivery>,
}

impl RetainedQueue {
    /// Queues what is retained below `filter`, to be sent at `qos` at most.
    pub(crate) fn push(&mut self, filter: ByteString, qos: QoS) {
        self.filters.retain(|(known, _)| *known != filter);
        self.filters.push_back((filter, qos));
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.retain(|(known, _)| known != filter);
    }

    pub(crate) fn front(&mut self, retained: &Retained) -> Option<&Delivery> {
        while self.messages.is_empty() {
            let (filter, granted) = self.filters.pop_front()?;
            let deliveries = retained.matching(&filter).into_iter();
            self.messages = deliveries
                .map(|message| Delivery { qos: message.qos.less_value(granted), retain: true, message })
                .collect();
        }
        self.messages.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.messages.pop_front();
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        delivery
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.size() + 128
}
