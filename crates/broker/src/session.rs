//! What outlives a connection: subscriptions, messages in flight, messages waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tesaiot_mqtt::Message;
use tesaiot_mqtt::inbound::Inbound;
use tesaiot_mqtt::outbound::Outbound;
use tokio::time::Instant;

use crate::config::Config;
use crate::delivery::Delivery;
use crate::inspect::Connected;
use crate::mailbox::Mailbox;
use crate::router::Subscription;
use crate::storage::SessionRecord;

/// A received message whose acknowledgement is held.
#[derive(Debug)]
pub(crate) struct HeldMessage {
    pub(crate) message: Message,
    pub(crate) received: Instant,
    /// Topic and payload in short, in sessions that may be resumed.
    pub(crate) fingerprint: Option<u64>,
}

/// The part of a session that only its connection touches.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) inbound: Inbound<HeldMessage>,
    pub(crate) outbound: Outbound<Delivery>,
    pub(crate) subscriptions: HashMap<String, Subscription>,
    /// How long the session lives without a connection.
    pub(crate) expiry: Duration,
    /// Whether an earlier connection left this state to be resumed.
    pub(crate) resumable: bool,
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Held by the connection for as long as it lives: a take-over waits here until the one before has let go.
    pub(crate) state: Arc<tokio::sync::Mutex<SessionState>>,
    /// What can be told of the session while a connection holds its state.
    about: std::sync::Mutex<About>,
    /// Whether it is on disk: it outlives its connection, and the process.
    durable: AtomicBool,
}

impl SessionState {
    /// What of it is written when its connection begins (`None`) or ends.
    pub(crate) fn record(&self, disconnected_at: Option<SystemTime>) -> SessionRecord {
        SessionRecord { expiry: self.expiry, disconnected_at, recent: self.inbound.recent().collect() }
    }
}

/// What an operator may want to know of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// The connection that holds it.
    pub(crate) connection: Option<Connected>,
    pub(crate) subscriptions: usize,
}

impl Session {
    /// Whether it is on disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    /// Returns whether it was before.
    pub(crate) fn set_durable(&self, durable: bool) -> bool {
        self.durable.swap(durable, Ordering::AcqRel)
    }

    pub(crate) fn new(client_id: Arc<str>, config: &Config) -> Self {
        Self {
            client_id,
            durable: AtomicBool::new(false),
            mailbox: Arc::new(Mailbox::new(config.max_queued, config.max_queued_bytes)),
            state: Arc::new(tokio::sync::Mutex::new(SessionState {
                inbound: Inbound::new(config.receive_maximum),
                outbound: Outbound::new(config.max_in_flight),
                subscriptions: HashMap::new(),
                expiry: Duration::ZERO,
                resumable: false,
            })),
            about: std::sync::Mutex::default(),
        }
    }

    /// What can be told of it.
    pub(crate) fn about(&self) -> About {
        self.lock_about().clone()
    }

    /// A connection holds the session from now on, or none does.
    pub(crate) fn set_connection(&self, connection: Option<Connected>) {
        self.lock_about().connection = connection;
    }

    pub(crate) fn count_subscriptions(&self, count: usize) {
        self.lock_about().subscriptions = count;
    }

    fn lock_about(&self) -> std::sync::MutexGuard<'_, About> {
        self.about.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
