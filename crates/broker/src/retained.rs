//! The last retained message of each topic.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use bytestring::ByteString;
use tesaiot_mqtt::{Message, QoS, topic};
use tokio::time::Instant;

use crate::config::Config;
use crate::delivery::Delivery;

#[derive(Debug)]
struct Kept {
    message: Message,
    expires_at: Option<Instant>,
    /// The client whose share it takes; `None`: the host's own.
    owner: Option<Arc<str>>,
}

/// What something takes of the room there is.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    messages: usize,
    bytes: usize,
}

impl Room {
    /// Whether one more message of `bytes` is within `limit`, or takes no more than was taken `before`.
    fn fits(self, bytes: usize, limit: Room, before: Room) -> bool {
        self.messages < limit.messages.max(before.messages) && self.bytes + bytes <= limit.bytes.max(before.bytes)
    }

    fn take(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn give_back(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

#[derive(Debug, Default)]
struct Inner {
    messages: HashMap<String, Kept>,
    taken: Room,
    owners: HashMap<Arc<str>, Room>,
    /// No message expires before this.
    next_expiry: Option<Instant>,
}

impl Inner {
    /// What a client has; nothing for the host.
    fn room_of(&self, owner: Option<&Arc<str>>) -> Room {
        owner.and_then(|owner| self.owners.get(owner)).copied().unwrap_or_default()
    }

    /// Its topic has no message.
    fn insert(&mut self, message: Message, bytes: usize, expires_at: Option<Instant>, owner: Option<&Arc<str>>) {
        self.taken.take(bytes);
        if let Some(owner) = owner {
            self.owners.entry(Arc::clone(owner)).or_default().take(bytes);
        }
        self.next_expiry = [self.next_expiry, expires_at].into_iter().flatten().min();
        self.messages.insert(message.topic.to_string(), Kept { message, expires_at, owner: owner.cloned() });
    }

    fn remove(&mut self, name: &str) {
        let Some(kept) = self.messages.remove(name) else { return };
        let bytes = size(&kept.message);
        self.taken.give_back(bytes);
        if let Some(owner) = kept.owner
            && let Some(room) = self.owners.get_mut(&owner)
        {
            room.give_back(bytes);
            if room.messages == 0 {
                self.owners.remove(&owner);
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Retained {
    inner: RwLock<Inner>,
    limit: Room,
    /// One client gets no more, or it could leave nothing for the others.
    limit_per_client: Room,
}

impl Retained {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            inner: RwLock::default(),
            limit: Room { messages: config.max_retained, bytes: config.max_retained_bytes },
            limit_per_client: Room {
                messages: config.max_retained_per_client,
                bytes: config.max_retained_bytes_per_client,
            },
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the topic's message; an empty payload removes it (MQTT-3.3.1-6). Returns false when there is no
    /// room: the topic then keeps no message, rather than a stale one. Who has more than the limits allow, since they
    /// were lowered, may change what there is, not add to it.
    pub(crate) fn set(&self, message: &Message, expires_at: Option<Instant>, owner: Option<&Arc<str>>) -> bool {
        let mut inner = self.write();
        let (all_before, own_before) = (inner.taken, inner.room_of(owner));
        inner.remove(&message.topic);
        if message.payload.is_empty() {
            return true;
        }
        let kept = message.detached();
        let bytes = size(&kept);
        let has_share = owner.is_none() || inner.room_of(owner).fits(bytes, self.limit_per_client, own_before);
        if !has_share || !inner.taken.fits(bytes, self.limit, all_before) {
            return false;
        }
        inner.insert(kept, bytes, expires_at, owner);
        true
    }

    /// Puts back what an earlier process kept. It was promised, whatever the limits are now: they hold back what comes.
    pub(crate) fn restore(&self, message: &Message, expires_at: Option<Instant>, owner: Option<&Arc<str>>) {
        let mut inner = self.write();
        inner.remove(&message.topic);
        let kept = message.detached();
        let bytes = size(&kept);
        inner.insert(kept, bytes, expires_at, owner);
    }

    /// What is retained below a filter, as a new subscriber gets it.
    fn matching(&self, wanted: &Wanted) -> VecDeque<Delivery> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let deliver = |kept: &Kept| Delivery {
            qos: kept.message.qos.min(wanted.qos),
            // 3.1.1: MQTT-3.3.1-8.
            retain: true,
            message: kept.message.clone(),
            subscription_ids: wanted.id.into_iter().collect(),
            expires_at: kept.expires_at,
            share: None,
            stored: None,
        };
        let deliveries: VecDeque<_> = if wanted.filter.contains(['+', '#']) {
            let matching = inner.messages.values().filter(|kept| topic::matches(&wanted.filter, &kept.message.topic));
            matching.map(deliver).collect()
        } else {
            inner.messages.get(&*wanted.filter).map(deliver).into_iter().collect()
        };
        deliveries.into_iter().filter(|delivery| !delivery.is_expired()).collect()
    }

    /// Forgets messages past their time (MQTT-3.3.2-5), and returns their topics. Cheap while none is.
    pub(crate) fn sweep(&self) -> Vec<String> {
        let now = Instant::now();
        let mut inner = self.write();
        if inner.next_expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_expired = |kept: &Kept| kept.expires_at.is_some_and(|at| at <= now);
        let expired: Vec<_> =
            inner.messages.iter().filter(|(_, kept)| is_expired(kept)).map(|(name, _)| name.clone()).collect();
        for name in &expired {
            inner.remove(name);
        }
        inner.next_expiry = inner.messages.values().filter_map(|kept| kept.expires_at).min();
        expired
    }
}

/// A new subscription that asks for what is retained.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) filter: ByteString,
    /// What was granted.
    pub(crate) qos: QoS,
    pub(crate) id: Option<NonZeroU32>,
}

/// Retained messages on their way to one new subscriber. Expanded one filter at a time: a client that subscribes to
/// much, and often, holds the messages of one filter at most.
#[derive(Debug, Default)]
pub(crate) struct RetainedQueue {
    filters: VecDeque<Wanted>,
    messages: VecDeque<Delivery>,
}

impl RetainedQueue {
    /// Queues what is retained below a filter.
    pub(crate) fn push(&mut self, wanted: Wanted) {
        self.remove(&wanted.filter);
        self.filters.push_back(wanted);
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.retain(|known| known.filter != filter);
    }

    pub(crate) fn front(&mut self, retained: &Retained) -> Option<&Delivery> {
        while self.messages.is_empty() {
            self.messages = retained.matching(&self.filters.pop_front()?);
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
