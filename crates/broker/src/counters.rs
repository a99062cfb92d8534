//! What happened, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters of a broker.
        #[derive(Debug, Default)]
        pub struct Counters { $(pub(crate) $name: AtomicU64,)* }

        /// Counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Counters {
            /// Reads all counters.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Snapshot {
            /// Name and value of each counter, in the order of this page.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// What each counter counts, in the same order.
            pub fn meanings() -> Vec<&'static str> {
                vec![$(concat!($($doc,)*).trim_start(),)*]
            }
        }
    };
}

counters! {
    /// Connections open now.
    connections,
    /// Connections accepted since the start.
    connections_total,
    /// TLS handshakes that failed or did not finish.
    handshakes_failed,
    /// Connections closed because there were too many.
    connections_over_limit,
    /// CONNECT packets refused.
    connects_refused,
    /// Of these: not looked at, because the client or its address had failed too often.
    logins_paused,
    /// Of these: the client connects too often.
    connects_too_often,
    /// Connections ended by a protocol error: garbage, oversized packets, rules broken.
    protocol_errors,
    /// Connections ended by a packet larger than is read.
    packets_too_large,
    /// Publishes and subscriptions refused by the host.
    denied,
    /// Messages received.
    messages_received,
    /// Bytes of topic and payload of these.
    bytes_received,
    /// QoS 1 and 2 messages acknowledged after they were stored.
    messages_acknowledged,
    /// Messages acknowledged with a refusal, or kept aside.
    messages_refused,
    /// Connections closed because the host could not store a message.
    store_unavailable,
    /// Messages sent to subscribers.
    messages_sent,
    /// Bytes of topic and payload of these.
    bytes_sent,
    /// Messages for subscribers that were dropped, for whatever cause.
    messages_dropped,
    /// Of these: the queue of the session was full.
    dropped_queue_full,
    /// Of these: QoS 0, and nobody was connected.
    dropped_offline,
    /// Of these: larger than the client takes.
    dropped_too_large,
    /// Of these: no member of the shared subscription had room.
    dropped_no_member,
    /// Of these: no room for another retained message.
    dropped_retained_full,
    /// Messages for subscribers that were not sent in their time (Message Expiry Interval).
    messages_expired,
    /// Connections closed because the client read too slowly.
    slow_subscribers,
    /// Connections closed because the client never stopped publishing more than it may.
    publish_abused,
    /// Connections closed by keep-alive.
    keep_alive_timeouts,
    /// Connections closed because the same client connected again.
    taken_over,
}

pub(crate) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    if count > 0 {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Counters {
    /// A message for a subscriber was dropped; `cause` is one of the counters `dropped_…`.
    pub(crate) fn dropped(&self, cause: &AtomicU64) {
        increment(&self.messages_dropped);
        increment(cause);
    }
}

/// Counts something that is open now, until dropped.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn new(counter: &'a AtomicU64) -> Self {
        increment(counter);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
