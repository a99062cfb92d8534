//! Everything that reaches a session from outside its connection: outcomes of its messages, messages for it, and
//! the order to close. One lock, held for a few instructions; one waker.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tesaiot_mqtt::inbound::Ticket;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tesaiot_mqtt::{Message, QoS};

use crate::outcome::Outcome;

/// A message for a subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Message,
    /// The lower of what was published and what was granted.
    pub(crate) qos: QoS,
    /// The retain flag as the subscriber is to see it.
    pub(crate) retain: bool,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    Queued,
    /// The queue is full, or the subscriber is offline and the message QoS 0.
    Dropped,
    /// The queue of a live connection is full of messages it owes an acknowledgement for: it is closed.
    TooSlow,
}

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
    close: Option<DisconnectReasonCode>,
    connected: bool,
    waker: Option<Waker>,
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

    pub(crate) fn deliver(&self, delivery: Delivery) -> Delivered {
        let mut inner = self.lock();
        let size = delivery.message.size();
        let full = inner.deliveries.len() >= self.max_queued || inner.delivery_bytes + size > self.max_queued_bytes;
        if !inner.connected && delivery.qos == QoS::AtMostOnce {
            return Delivered::Dropped;
        }
        if full {
            if !inner.connected || delivery.qos == QoS::AtMostOnce {
                return Delivered::Dropped;
            }
            if inner.close.is_some() {
                // It is on its way out already: that is counted once.
                return Delivered::Dropped;
            }
            inner.close = Some(DisconnectReasonCode::QuotaExceeded);
            let waker = inner.waker.take();
            drop(inner);
            waker.into_iter().for_each(Waker::wake);
            return Delivered::TooSlow;
        }
        inner.delivery_bytes += size;
        inner.deliveries.push_back(delivery);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        Delivered::Queued
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
            inner.delivery_bytes = inner.deliveries.iter().map(|delivery| delivery.message.size()).sum();
        }
    }

    /// Forgets the messages that wait.
    pub(crate) fn clear_deliveries(&self) {
        let mut inner = self.lock();
        inner.deliveries = VecDeque::new();
        inner.delivery_bytes = 0;
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
            inner.delivery_bytes -= delivery.message.size();
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
