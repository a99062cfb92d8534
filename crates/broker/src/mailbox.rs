//! Everything that reaches a session from outside its connection: outcomes of its messages, messages for it, and
//! the order to close. One lock, held for a few instructions; one waker.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tesaiot_mqtt::QoS;
use tesaiot_mqtt::inbound::Ticket;
use tesaiot_mqtt::packet::DisconnectReasonCode;

use crate::counters::{Counters, add, increment};
use crate::delivery::Delivery;
use crate::outcome::Outcome;

/// What a connection finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    Resolved(Vec<(Ticket, Outcome)>),
    Delivery(Delivery),
    Close(DisconnectReasonCode),
}

#[derive(Debug, Default)]
struct Inner {
    resolved: Vec<(Ticket, Outcome)>,
    deliveries: VecDeque<Delivery>,
    delivery_bytes: usize,
    /// How many of them expire: a queue without any is not searched for room.
    expiring: usize,
    close: Option<DisconnectReasonCode>,
    connected: bool,
    waker: Option<Waker>,
}

impl Inner {
    fn count_bytes(&mut self) {
        self.delivery_bytes = self.deliveries.iter().map(Delivery::size).sum();
        self.expiring = self.deliveries.iter().filter(|delivery| delivery.expires_at.is_some()).count();
    }

    /// Makes room. Returns how many messages nobody will miss.
    fn forget_expired(&mut self) -> usize {
        if self.expiring == 0 {
            return 0;
        }
        let before = self.deliveries.len();
        self.deliveries.retain(|delivery| {
            let keep = !delivery.is_expired();
            if !keep {
                delivery.forget();
            }
            keep
        });
        self.count_bytes();
        before - self.deliveries.len()
    }
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    max_queued: usize,
    max_queued_bytes: usize,
}

impl Mailbox {
    pub(crate) fn new(max_queued: usize, max_queued_bytes: usize) -> Self {
        Self { inner: Mutex::default(), max_queued, max_queued_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change below is complete before the lock is released: a poisoned lock holds valid data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message's outcome is known. Returns the waker to call once all of a commit are told.
    pub(crate) fn resolved(&self, ticket: Ticket, outcome: Outcome) -> Option<Waker> {
        let mut inner = self.lock();
        inner.resolved.push((ticket, outcome));
        inner.waker.take()
    }

    /// Whether a connection reads it.
    pub(crate) fn is_connected(&self) -> bool {
        self.lock().connected
    }

    /// A message for the session. What cannot be queued is dropped and counted, or costs the connection: a subscriber
    /// that does not keep up with what it owes acknowledgements for is closed. Returns whether it was queued.
    pub(crate) fn deliver(&self, delivery: Delivery, counters: &Counters) -> bool {
        let connected_only = delivery.qos == QoS::AtMostOnce;
        let Some(delivery) = self.offer(delivery, connected_only, counters) else { return true };
        delivery.forget();
        let mut inner = self.lock();
        let is_offline = connected_only && !inner.connected;
        counters.dropped(if is_offline { &counters.dropped_offline } else { &counters.dropped_queue_full });
        // One that is on its way out already is counted once.
        if inner.connected && delivery.qos != QoS::AtMostOnce && inner.close.is_none() {
            inner.close = Some(DisconnectReasonCode::QuotaExceeded);
            increment(&counters.slow_subscribers);
            let waker = inner.waker.take();
            drop(inner);
            waker.into_iter().for_each(Waker::wake);
        }
        false
    }

    /// A message the session may take or leave: it is given back when there is no room, or nobody is connected and
    /// somebody has to be.
    pub(crate) fn offer(&self, delivery: Delivery, connected_only: bool, counters: &Counters) -> Option<Delivery> {
        let mut inner = self.lock();
        if connected_only && (!inner.connected || inner.close.is_some()) {
            return Some(delivery);
        }
        let size = delivery.size();
        let is_full = |inner: &Inner| {
            inner.deliveries.len() >= self.max_queued || inner.delivery_bytes + size > self.max_queued_bytes
        };
        if is_full(&inner) {
            add(&counters.messages_expired, inner.forget_expired());
            if is_full(&inner) {
                return Some(delivery);
            }
        }
        inner.delivery_bytes += size;
        inner.expiring += usize::from(delivery.expires_at.is_some());
        inner.deliveries.push_back(delivery);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        None
    }

    /// Messages that wait, and their bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.deliveries.len(), inner.delivery_bytes)
    }

    /// Takes out what came by shared subscriptions and was not sent yet.
    pub(crate) fn take_shared(&self) -> VecDeque<Delivery> {
        let mut inner = self.lock();
        if inner.deliveries.iter().all(|delivery| delivery.share.is_none()) {
            return VecDeque::new();
        }
        let deliveries = std::mem::take(&mut inner.deliveries);
        let (shared, own) = deliveries.into_iter().partition(|delivery| delivery.share.is_some());
        inner.deliveries = own;
        inner.count_bytes();
        shared
    }

    /// Puts back, in front, what nobody else took. It had room before.
    pub(crate) fn put_back(&self, deliveries: VecDeque<Delivery>) {
        let mut inner = self.lock();
        for delivery in deliveries.into_iter().rev() {
            inner.deliveries.push_front(delivery);
        }
        inner.count_bytes();
    }

    /// Orders the live connection to close. The first order stands.
    pub(crate) fn close(&self, reason: DisconnectReasonCode) {
        let mut inner = self.lock();
        inner.close.get_or_insert(reason);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// A connection begins (`true`) or ends. Orders and outcomes meant for the one before are forgotten.
    pub(crate) fn set_connected(&self, connected: bool) {
        let mut inner = self.lock();
        inner.connected = connected;
        inner.close = None;
        inner.resolved = Vec::new();
        inner.waker = None;
        if !connected {
            // MQTT 5 section 4.1: the session keeps QoS 1 and 2 only.
            inner.deliveries.retain(|delivery| delivery.qos != QoS::AtMostOnce);
            inner.count_bytes();
        }
    }

    /// Forgets the messages that wait.
    pub(crate) fn clear_deliveries(&self) {
        let mut inner = self.lock();
        inner.deliveries = VecDeque::new();
        inner.count_bytes();
    }

    /// The next mail: outcomes first, then the order to close, then messages, if the connection has room for one.
    pub(crate) fn poll(&self, context: &mut Context<'_>, room: impl FnOnce(QoS) -> bool) -> Poll<Mail> {
        let mut inner = self.lock();
        if !inner.resolved.is_empty() {
            return Poll::Ready(Mail::Resolved(std::mem::take(&mut inner.resolved)));
        }
        if let Some(reason) = inner.close {
            return Poll::Ready(Mail::Close(reason));
        }
        if let Some(front) = inner.deliveries.front()
            && room(front.qos)
            && let Some(delivery) = inner.deliveries.pop_front()
        {
            inner.delivery_bytes -= delivery.size();
            inner.expiring -= usize::from(delivery.expires_at.is_some());
            return Poll::Ready(Mail::Delivery(delivery));
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The order to close only: all that a connection listens to while the host has no room for its message.
    pub(crate) fn poll_close(&self, context: &mut Context<'_>) -> Poll<DisconnectReasonCode> {
        let mut inner = self.lock();
        if let Some(reason) = inner.close {
            return Poll::Ready(reason);
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Outcomes only: what a connection still waits for after its stream is gone.
    pub(crate) fn poll_resolved(&self, context: &mut Context<'_>) -> Poll<Vec<(Ticket, Outcome)>> {
        let mut inner = self.lock();
        if inner.resolved.is_empty() {
            inner.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut inner.resolved))
    }
}
