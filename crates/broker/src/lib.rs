//! An embeddable MQTT broker, 3.1.1 and 5, that acknowledges what its host has stored and nothing else.
//!
//! The broker knows sessions, subscriptions and packets. What a client *is*, what it may do, where its messages
//! are kept and who wants to know of its coming and going is the host's business, through four seams
//! ([`Host`]): *authenticate*, *authorize*, *accept a publish* (resolves when stored), *observe*.
//!
//! | Module | Is |
//! |---|---|
//! | [`host`] | the four seams |
//! | [`receipt`] | the right, and the duty, to say what became of a message |
//! | [`config`] | bounds: every queue, size and time |
//! | `listener` | accepting sockets |
//! | `transport` | PROXY header, TLS, WebSocket, under one deadline; how to add another transport |
//! | `limits` | what one address, and one client, may take |
//! | `connection` | one task per connection, from CONNECT to the last acknowledgement |
//! | `session`, `sessions` | what outlives a connection; take-over |
//! | `wills` | what a client leaves when it vanishes |
//! | `router`, `fan_out`, `retained` | who gets a message |
//! | `delivery`, `mailbox` | a message on its way, and where it waits |
//! | [`storage`] | what outlives the process, and what waits for it |
//! | `counters` | what happened, in numbers |
//! | [`inspect`] | who is connected, and which sessions there are |
//!
//! # The life of a publish
//! A connection reads a PUBLISH, asks the host whether the identity may ([`Host::authorize`]), registers a held
//! acknowledgement and hands message and [`Receipt`] to [`Host::accept`]. It goes on reading. When the host
//! resolves receipts (many at once, after a commit) the connection wakes once, routes the stored messages to
//! subscribers, and writes all acknowledgements, in order, in one write. A receipt that is dropped unresolved closes
//! the connection without an acknowledgement: the client keeps its message.

mod assigned;
pub mod config;
mod connection;
pub mod counters;
mod delivery;
mod fan_out;
mod handshakes;
pub mod host;
pub mod inspect;
mod limits;
mod listener;
mod mailbox;
pub mod outcome;
pub mod receipt;
mod retained;
mod router;
mod session;
mod sessions;
pub mod storage;
mod transport;
mod wills;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tesaiot_mqtt::Message;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Config, Rate};
pub use counters::{Counters, Snapshot};
pub use host::{Action, Connecting, Event, Host, Peer, Refusal};
pub use inspect::{Connected, SessionSummary};
pub use listener::Listener;
pub use outcome::{Outcome, Verdict};
pub use receipt::Receipt;
pub use transport::Transport;
pub use transport::network::{Network, NetworkError};

use assigned::Assigned;
use fan_out::{Origin, fan_out};
use limits::Limits;
use retained::Retained;
use router::Router;
use sessions::{Common, Sessions};
use storage::{Key, Ledger, Restored, Storage};
use wills::Wills;

/// A running broker. Clones share it.
pub struct Broker<H: Host> {
    shared: Arc<Shared<H>>,
}

impl<H: Host> Clone for Broker<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// What all connections of a broker share.
pub(crate) struct Shared<H: Host> {
    pub(crate) host: H,
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) sessions: Sessions,
    pub(crate) router: Router,
    pub(crate) retained: Retained,
    /// Last Wills that wait for their clients.
    pub(crate) wills: Wills<H::Identity>,
    /// What outlives the process.
    pub(crate) ledger: Ledger,
    /// Names for clients that bring none.
    pub(crate) assigned: Assigned,
    /// Cancelled when the broker drains: listeners stop, connections finish what they hold and close.
    pub(crate) draining: CancellationToken,
    /// A place for each socket, from accept to its end.
    pub(crate) places: Arc<Semaphore>,
    /// What one address, and one client, may take.
    pub(crate) limits: Arc<Limits>,
    /// Every task the broker spawned.
    pub(crate) tasks: TaskTracker,
}

impl<H: Host> Shared<H> {
    pub(crate) fn common(&self) -> Common<'_> {
        Common { router: &self.router, counters: &self.counters, ledger: &self.ledger }
    }
}

impl<H: Host> Broker<H> {
    /// A broker without listeners: give it some with [`Broker::listen`], or streams with [`Broker::serve`]. Nothing
    /// outlives it.
    pub fn new(host: H, config: Config) -> Self {
        Self::build(host, config, None)
    }

    /// A broker whose sessions and retained messages outlive the process. Before anything is served, give it back
    /// what was kept: [`Broker::restore`].
    pub fn with_storage(host: H, config: Config, storage: Arc<dyn Storage>) -> Self {
        Self::build(host, config, Some(storage))
    }

    fn build(host: H, config: Config, storage: Option<Arc<dyn Storage>>) -> Self {
        let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared {
            host,
            sessions: Sessions::new(&config),
            router: Router::default(),
            retained: Retained::new(&config),
            wills: Wills::new(config.max_delayed_will_bytes),
            ledger: Ledger::new(storage, config.max_stored_bytes),
            assigned: Assigned::default(),
            limits: Arc::new(Limits::new(&config)),
            config,
            counters: Counters::default(),
            draining: CancellationToken::new(),
            places,
            tasks: TaskTracker::new(),
        });
        let janitor = Arc::clone(&shared);
        shared.tasks.spawn(async move { sessions::expire_periodically(&janitor).await });
        let executor = Arc::clone(&shared);
        shared.tasks.spawn(async move { wills::publish_when_due(&executor).await });
        Self { shared }
    }

    /// Takes back what an earlier process kept, in any order. Sessions whose time is over are forgotten.
    pub fn restore(&self, records: impl IntoIterator<Item = (Key, Bytes)>) -> Restored {
        storage::restore(&self.shared, records)
    }

    /// Serves a bound listener until the broker drains.
    pub fn listen(&self, listener: Listener) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(listener::run(shared, listener));
    }

    /// Serves one stream that is already open (and decrypted), until it ends. Drive it to its end: dropped half way,
    /// the client stays "connected", without a Last Will, until it connects again.
    pub fn serve<S>(&self, stream: S, peer: Peer) -> impl Future<Output = ()> + Send + use<S, H>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let serving = connection::serve(Arc::clone(&self.shared), stream, peer);
        self.shared.tasks.track_future(serving)
    }

    /// Delivers a message of the host's own to subscribers. The host has stored it already, if it wants it stored.
    /// Returns how many sessions took it.
    pub fn publish(&self, message: &Message) -> usize {
        let origin = Origin { client_id: None, received: Instant::now() };
        fan_out(&self.shared, message, origin, &mut self.shared.ledger.batch(), None).taken
    }

    /// As [`Broker::publish`], of a message that is meant for one client. Returns whether the session of this client
    /// took it, whoever else did.
    pub fn publish_for(&self, client_id: &str, message: &Message) -> bool {
        let origin = Origin { client_id: None, received: Instant::now() };
        fan_out(&self.shared, message, origin, &mut self.shared.ledger.batch(), Some(client_id)).taken_by_addressee
    }

    /// Closes the live connection of a client at once and discards its session. Returns whether there was one.
    pub fn disconnect(&self, client_id: &str, reason: DisconnectReasonCode) -> bool {
        let was_connected = self.shared.sessions.evict(client_id, reason);
        if !was_connected && let Some(will) = self.shared.wills.take(client_id) {
            // Its session has ended (MQTT-3.1.2-10).
            wills::spawn(&self.shared, will);
        }
        was_connected
    }

    /// Whether a client is connected now.
    pub fn is_connected(&self, client_id: &str) -> bool {
        self.shared.sessions.is_connected(client_id)
    }

    /// What happened so far.
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }

    /// Stops accepting, lets every connection finish what the host still holds, closes them, and waits for all of
    /// it, at most `grace`. Returns whether everything ended in time.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.shared.draining.cancel();
        self.shared.sessions.close_all(DisconnectReasonCode::ServerShuttingDown);
        self.shared.tasks.close();
        tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_ok()
    }
}
