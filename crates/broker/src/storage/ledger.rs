//! The broker's side of the seam: what is written when, and what waits for it.
//!
//! Positions are given out under one lock that is held while a batch is put together, so that the order of numbers,
//! of positions and of messages in a session's queue is one order. Order of locks: table of sessions, ledger, mailbox.
//! A broker without a keeper takes it never.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tesaiot_mqtt::Message;
use tesaiot_mqtt::packet::PacketId;
use tokio::time::Instant;

use super::record::{self, Copy, Kept, SessionRecord};
use super::{Change, Key, Storage, kind};
use crate::delivery::Delivery;
use crate::router::Subscription;

/// What the copies on disk and their holders share.
#[derive(Debug, Default)]
struct Room {
    /// Bytes of copies there are.
    used: AtomicUsize,
    /// Copies that nobody will deliver, to be removed on the next occasion.
    forgotten: Mutex<Vec<Key>>,
}

/// A copy that is durable once `position` is.
#[derive(Debug)]
pub(crate) struct Stored {
    key: Key,
    position: u64,
    bytes: usize,
    room: Arc<Room>,
}

impl Stored {
    /// The copy is of no use any more. It is removed on the next occasion.
    pub(crate) fn forget(&self) {
        self.room.forgotten.lock().unwrap_or_else(PoisonError::into_inner).push(self.key.clone());
    }

    /// Nothing that speaks of the copy may leave before this is durable.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn beside(&self, kind: u8) -> Key {
        Key { kind, ..self.key.clone() }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Writes for the sessions of one broker.
pub(crate) struct Ledger {
    keeper: Option<Arc<dyn Storage>>,
    /// The position of the last batch, and the number of the last copy.
    last: Mutex<(u64, u64)>,
    /// The same position, to look at.
    position: AtomicU64,
    room: Arc<Room>,
    max_bytes: usize,
}

impl Ledger {
    pub(crate) fn new(keeper: Option<Arc<dyn Storage>>, max_bytes: usize) -> Self {
        let (last, position, room) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        Self { keeper, last, position, room, max_bytes }
    }

    /// Whether anything outlives the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// The position of everything written so far.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    fn durable(&self) -> u64 {
        self.keeper.as_ref().map_or(u64::MAX, |keeper| keeper.progress().durable())
    }

    /// Waits until `position` is durable.
    pub(crate) fn poll(&self, position: u64, context: &mut Context<'_>) -> Poll<()> {
        self.keeper.as_ref().map_or(Poll::Ready(()), |keeper| keeper.progress().poll(position, context))
    }

    /// Changes to be made together. Nothing is locked before the first.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { ledger: self, last: None, changes: Vec::new() }
    }

    /// Removes what was forgotten meanwhile.
    pub(crate) fn settle(&self) {
        let is_empty = self.room.forgotten.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if self.is_kept() && !is_empty {
            let mut batch = self.batch();
            batch.begin();
            batch.submit();
        }
    }

    /// A copy that is on disk from an earlier run.
    pub(crate) fn known_copy(&self, key: Key, number: u64, bytes: usize) -> Stored {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.1 = last.1.max(number);
        self.room.used.fetch_add(bytes, Ordering::Relaxed);
        Stored { key, position: 0, bytes, room: Arc::clone(&self.room) }
    }
}

/// Changes that become durable together. Dropped, they are submitted all the same.
pub(crate) struct Batch<'a> {
    ledger: &'a Ledger,
    last: Option<MutexGuard<'a, (u64, u64)>>,
    changes: Vec<Change>,
}

impl Batch<'_> {
    /// From here on the order is fixed. Returns position and number of the batch and its next copy.
    fn begin(&mut self) -> (u64, u64) {
        let last = self.last.get_or_insert_with(|| self.ledger.last.lock().unwrap_or_else(PoisonError::into_inner));
        (last.0 + 1, last.1 + 1)
    }

    fn push(&mut self, change: Change) {
        if self.ledger.is_kept() {
            self.begin();
            self.changes.push(change);
        }
    }

    fn put(&mut self, client_id: &Arc<str>, kind: u8, name: Vec<u8>, record: Bytes) {
        self.push(Change::Put(Key { owner: Arc::clone(client_id), kind, name }, record));
    }

    fn remove(&mut self, client_id: &Arc<str>, kind: u8, name: Vec<u8>) {
        self.push(Change::Remove(Key { owner: Arc::clone(client_id), kind, name }));
    }

    /// Fixes the order of what follows against what others do: before something is changed that they change too.
    pub(crate) fn in_order(&mut self) {
        if self.ledger.is_kept() {
            self.begin();
        }
    }

    /// A session has a connection, or none any more.
    pub(crate) fn session(&mut self, client_id: &Arc<str>, record: &SessionRecord) {
        self.put(client_id, kind::SESSION, Vec::new(), record.encode());
    }

    /// A session has ended, with everything that belongs to it.
    pub(crate) fn session_ended(&mut self, client_id: &Arc<str>) {
        self.push(Change::RemoveOwner(Arc::clone(client_id)));
    }

    pub(crate) fn subscribed(&mut self, client_id: &Arc<str>, filter: &str, subscription: Subscription) {
        let record = record::encode_subscription(subscription.options, subscription.id);
        self.put(client_id, kind::SUBSCRIPTION, filter.as_bytes().to_vec(), record);
    }

    pub(crate) fn unsubscribed(&mut self, client_id: &Arc<str>, filter: &str) {
        self.remove(client_id, kind::SUBSCRIPTION, filter.as_bytes().to_vec());
    }

    /// A message for a session. `None` when there is no room for another, or nobody keeps any.
    pub(crate) fn copy(&mut self, client_id: &Arc<str>, delivery: &Delivery) -> Option<Arc<Stored>> {
        if !self.ledger.is_kept() {
            return None;
        }
        let copy = Copy {
            message: delivery.message.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_ids: delivery.subscription_ids.clone(),
            expires_at: delivery.expires_at.map(wall_time),
            share: delivery.share.clone(),
        };
        let record = copy.encode().ok()?;
        let (room, bytes) = (&self.ledger.room, record.len());
        if room.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.ledger.max_bytes {
            room.used.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        let (position, number) = self.begin();
        if let Some(last) = &mut self.last {
            last.1 = number;
        }
        let name = number.to_be_bytes().to_vec();
        let key = Key { owner: Arc::clone(client_id), kind: kind::MESSAGE, name };
        self.changes.push(Change::Put(key.clone(), record));
        Some(Arc::new(Stored { key, position, bytes, room: Arc::clone(&self.ledger.room) }))
    }

    /// A copy is on its way under this identifier; `released`: PUBREC came.
    pub(crate) fn sent(&mut self, stored: &Stored, packet_id: PacketId, released: bool) {
        self.push(Change::Put(stored.beside(kind::SENT), record::encode_sent(packet_id, released)));
    }

    /// Whether anything outlives the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.ledger.is_kept()
    }

    /// A copy has arrived, or is of no use any more.
    pub(crate) fn copy_gone(&mut self, stored: &Stored) {
        self.push(Change::Remove(stored.key.clone()));
        self.push(Change::Remove(stored.beside(kind::SENT)));
    }

    /// A QoS 2 identifier of a client is in use until it is released.
    pub(crate) fn received(&mut self, client_id: &Arc<str>, packet_id: PacketId) {
        self.put(client_id, kind::RECEIVED, packet_id.get().to_be_bytes().to_vec(), Bytes::new());
    }

    pub(crate) fn released(&mut self, client_id: &Arc<str>, packet_id: PacketId) {
        self.remove(client_id, kind::RECEIVED, packet_id.get().to_be_bytes().to_vec());
    }

    pub(crate) fn retained(&mut self, kept: &Kept) {
        if !self.ledger.is_kept() {
            return;
        }
        match kept.encode() {
            Ok(record) => self.put(&nobody(), kind::RETAINED, kept.message.topic.as_bytes().to_vec(), record),
            // It came in a packet, and goes into one: it cannot be too large.
            Err(error) => tracing::error!(%error, topic = %kept.message.topic, "a retained message is not kept"),
        }
    }

    /// A client has left a Last Will that is due at `at`, unless it comes back.
    pub(crate) fn will(&mut self, client_id: &Arc<str>, message: &Message, at: Instant) {
        let kept = Kept { message: message.clone(), expires_at: Some(wall_time(at)), owner: None };
        match kept.encode() {
            Ok(record) => self.put(client_id, kind::WILL, Vec::new(), record),
            Err(error) => tracing::error!(%error, "a Last Will is not kept"),
        }
    }

    pub(crate) fn will_gone(&mut self, client_id: &Arc<str>) {
        self.remove(client_id, kind::WILL, Vec::new());
    }

    pub(crate) fn retained_gone(&mut self, topic: &str) {
        if self.ledger.is_kept() {
            self.remove(&nobody(), kind::RETAINED, topic.as_bytes().to_vec());
        }
    }

    /// Returns the position to wait for; 0: nothing was written.
    pub(crate) fn submit(mut self) -> u64 {
        self.hand_over()
    }

    fn hand_over(&mut self) -> u64 {
        let (Some(keeper), Some(mut last)) = (&self.ledger.keeper, self.last.take()) else { return 0 };
        let mut changes = std::mem::take(&mut self.changes);
        let forgotten = std::mem::take(&mut *self.ledger.room.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        for key in forgotten {
            changes.push(Change::Remove(Key { kind: kind::SENT, ..key.clone() }));
            changes.push(Change::Remove(key));
        }
        if changes.is_empty() {
            return 0;
        }
        last.0 += 1;
        keeper.submit(last.0, changes);
        self.ledger.position.store(last.0, Ordering::Release);
        last.0
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

fn nobody() -> Arc<str> {
    "".into()
}

/// A moment of this run as a date.
pub(crate) fn wall_time(at: Instant) -> SystemTime {
    let (now, here) = (SystemTime::now(), Instant::now());
    match at.checked_duration_since(here) {
        Some(ahead) => now.checked_add(ahead).unwrap_or(now),
        None => now.checked_sub(here.duration_since(at)).unwrap_or(now),
    }
}

/// A date as a moment of this run; `None` when it has passed.
pub(crate) fn moment(at: SystemTime) -> Option<Instant> {
    let ahead: Duration = at.duration_since(SystemTime::now()).ok()?;
    Instant::now().checked_add(ahead)
}

/// What of a connection's output may leave: packets wait, in their order, for what they promise to be durable.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    /// Positions, and from which byte of the output on each is needed. Both grow.
    fences: VecDeque<(u64, u64)>,
    /// Since when the first has been waited for.
    since: Option<Instant>,
    /// The position that a task will be woken for.
    waiting: Option<(u64, Waker)>,
}

impl Fences {
    /// What is encoded from now on, at `offset`, needs `position`.
    pub(crate) fn require(&mut self, ledger: &Ledger, position: u64, offset: u64) {
        let known = self.fences.back().is_some_and(|(last, _)| *last >= position);
        if !known && position > ledger.durable() {
            self.since.get_or_insert_with(Instant::now);
            self.fences.push_back((position, offset));
        }
    }

    /// Up to which byte the output may leave; `None`: all of it may.
    pub(crate) fn end(&mut self, ledger: &Ledger) -> Option<u64> {
        self.first(ledger).map(|(_, end)| end)
    }

    /// The same, and wakes the task when more may leave.
    pub(crate) fn poll_end(&mut self, ledger: &Ledger, context: &mut Context<'_>) -> u64 {
        while let Some((position, end)) = self.first(ledger) {
            let is_waiting = |(known, waker): &(u64, Waker)| *known == position && waker.will_wake(context.waker());
            if self.waiting.as_ref().is_some_and(is_waiting) {
                return end;
            }
            if ledger.poll(position, context).is_pending() {
                self.waiting = Some((position, context.waker().clone()));
                return end;
            }
        }
        u64::MAX
    }

    fn first(&mut self, ledger: &Ledger) -> Option<(u64, u64)> {
        if self.fences.is_empty() {
            return None;
        }
        let durable = ledger.durable();
        while self.fences.front().is_some_and(|(position, _)| *position <= durable) {
            self.fences.pop_front();
            self.since = Some(Instant::now());
        }
        let first = self.fences.front().copied();
        if first.is_none() {
            (self.since, self.waiting) = (None, None);
        }
        first
    }

    /// Since when nothing has become durable that output waits for.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.since
    }
}
