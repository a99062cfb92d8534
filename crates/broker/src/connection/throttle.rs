//! How fast a client may publish: it is not read while it owes, and closed when it has owed for too long.
//!
//! Not reading is the whole of the back-pressure: the network holds the client back, nothing is lost, and a client that
//! sends in bursts never notices. One that has always more to say than it may is let go (MQTT 5: 0x97); what it owes
//! waits for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, Rate};
use crate::limits::bucket::Bucket;
use crate::limits::clients::Publishes;

#[derive(Debug)]
pub(super) struct Throttle {
    messages: Bucket,
    bytes: Bucket,
    /// Not read before.
    until: Option<Instant>,
    /// Since when it has owed something at every message.
    since: Option<Instant>,
    patience: Duration,
}

impl Throttle {
    /// `None` when nothing is limited. `resumed`: what the client's connection before left.
    pub(super) fn new(config: &Config, resumed: impl FnOnce() -> Option<Publishes>) -> Option<Box<Self>> {
        let (messages, bytes): (Option<Rate>, Option<Rate>) = (config.publish_rate, config.publish_bytes_rate);
        if messages.is_none() && bytes.is_none() {
            return None;
        }
        let now = Instant::now();
        let new = || [messages, bytes].map(|rate| Bucket::new(rate, now));
        let [mut messages, mut bytes] = resumed().unwrap_or_else(new);
        let owed = messages.owe(0.0, now).max(bytes.owe(0.0, now));
        Some(Box::new(Self {
            messages,
            bytes,
            until: now.checked_add(owed).filter(|_| !owed.is_zero()),
            since: None,
            patience: config.publish_patience,
        }))
    }

    /// A message of `bytes` came.
    pub(super) fn published(&mut self, bytes: usize, now: Instant) {
        let wait = self.messages.owe(1.0, now).max(self.bytes.owe(bytes as f64, now));
        if wait.is_zero() {
            self.since = None;
        } else {
            self.since.get_or_insert(now);
            self.until = now.checked_add(wait);
        }
    }

    /// What the client's next connection begins with.
    pub(super) fn left(&self) -> Publishes {
        [self.messages, self.bytes]
    }

    /// Until when the client is not read.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it may be read again.
    pub(super) fn may_read(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| until > now) {
            return false;
        }
        self.until = None;
        true
    }

    /// Whether it has gone on for too long.
    pub(super) fn is_abused(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= self.patience)
    }
}
