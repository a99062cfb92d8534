//! Who is connected and which sessions there are, for operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_mqtt::Version;
use tokio::time::Instant;

use crate::Broker;
use crate::host::{Host, Peer};

/// A connection that holds a session.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Where from.
    pub address: SocketAddr,
    /// Name of the listener it came by.
    pub listener: Arc<str>,
    /// Protocol version.
    pub version: Version,
    /// When its session began on this connection.
    since: Instant,
}

/// A session at one moment.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// Whose.
    pub client_id: Arc<str>,
    /// The connection that holds it, if there is one.
    pub connection: Option<Connected>,
    /// When it ends if nobody connects; `None` while somebody is connected.
    pub expires_in: Option<Duration>,
    /// Topic filters it is subscribed to.
    pub subscriptions: usize,
    /// Messages that wait for it.
    pub queued: usize,
    /// Bytes of these.
    pub queued_bytes: usize,
}

impl Connected {
    pub(crate) fn new(peer: &Peer, version: Version) -> Self {
        Self { address: peer.address, listener: Arc::clone(&peer.listener), version, since: Instant::now() }
    }

    /// For how long.
    pub fn duration(&self) -> Duration {
        self.since.elapsed()
    }
}

impl<H: Host> Broker<H> {
    /// Whether a client's own session asked for messages with this topic name, connected or not. Its part in a shared
    /// subscription does not count: another member may get them.
    pub fn is_subscribed(&self, client_id: &str, topic: &str) -> bool {
        self.shared.router.matching(topic, None).sessions.iter().any(|found| &*found.session.client_id == client_id)
    }

    /// The sessions behind `after`, in the order of client identifiers, at most `limit`: all, or those that somebody
    /// is connected to.
    pub fn sessions(&self, after: &str, limit: usize, only_connected: bool) -> Vec<SessionSummary> {
        let found = self.shared.sessions.list(after, limit, only_connected).into_iter();
        found
            .map(|(session, expires_at)| {
                let (about, (queued, queued_bytes)) = (session.about(), session.mailbox.queued());
                SessionSummary {
                    client_id: Arc::clone(&session.client_id),
                    connection: about.connection,
                    expires_in: expires_at.map(|at| at.saturating_duration_since(Instant::now())),
                    subscriptions: about.subscriptions,
                    queued,
                    queued_bytes,
                }
            })
            .collect()
    }
}
