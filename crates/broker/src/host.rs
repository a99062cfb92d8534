//! The four seams between the broker and the program it serves.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tesaiot_mqtt::packet::DisconnectReasonCode;
use tesaiot_mqtt::{Message, Version};

use crate::outcome::Verdict;
use crate::receipt::Receipt;

/// Where a connection came from, established below MQTT.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Remote address.
    pub address: SocketAddr,
    /// Name of the listener it came by.
    pub listener: Arc<str>,
    /// The client's certificate chain, leaf first, when one was presented. The TLS layer has verified it against
    /// the listener's trust anchors; empty otherwise.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// What a client says in CONNECT, before it is believed.
#[derive(Clone, Copy)]
pub struct Connecting<'a> {
    /// Where it came from.
    pub peer: &'a Peer,
    /// The client identifier it claims, or the one it was given because it claims none.
    pub client_id: &'a str,
    /// Whether the broker chose the identifier (MQTT-3.1.3-6).
    pub assigned: bool,
    /// The user name it claims.
    pub username: Option<&'a str>,
    /// The secret it presents.
    pub password: Option<&'a [u8]>,
    /// Protocol version.
    pub version: Version,
}

/// Why a CONNECT is refused. What the client hears; the host's own log may know more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown name, wrong secret, wrong certificate: the client cannot tell which (3.1.1: 4, MQTT 5: 0x86).
    BadCredentials,
    /// Known, and not allowed (3.1.1: 5, MQTT 5: 0x87).
    NotAuthorized,
    /// The client identifier is not acceptable (3.1.1: 2, MQTT 5: 0x85).
    InvalidClientId,
    /// It has as many connections as it may (3.1.1: 3, MQTT 5: 0x97).
    QuotaExceeded,
    /// The host cannot decide now (3.1.1: 3, MQTT 5: 0x88).
    Unavailable,
}

/// What an identity wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish to a topic name; also a Last Will, at CONNECT.
    Publish,
    /// Subscribe to a topic filter.
    Subscribe,
}

/// Something the host may want to know, log, count or record.
#[derive(Debug)]
pub enum Event<'a, I> {
    /// TLS failed or did not finish in time.
    HandshakeFailed {
        /// Where from.
        peer: &'a Peer,
        /// Who refused what.
        error: &'a tesaiot_tls::HandshakeError,
    },
    /// A connection ended before a session began: garbage, silence, or a refusal.
    Refused {
        /// Where from.
        peer: &'a Peer,
        /// The client identifier it claimed, when it came that far.
        client_id: Option<&'a str>,
        /// What was wrong.
        cause: &'a str,
    },
    /// A session began.
    Connected {
        /// Who.
        identity: &'a Arc<I>,
        /// Where from.
        peer: &'a Peer,
    },
    /// The connection of a session ended.
    Disconnected {
        /// Who.
        identity: &'a Arc<I>,
        /// Where from.
        peer: &'a Peer,
        /// Whether the client said goodbye.
        clean: bool,
        /// Whether another connection of the same client took its place: the client is not gone.
        taken_over: bool,
        /// Whether the client broke the protocol: garbage, oversized packets, rules broken.
        broke_protocol: bool,
        /// In words.
        cause: &'a str,
    },
    /// A packet of a session was larger than is read, and its connection ends for it.
    TooLarge {
        /// Who.
        identity: &'a Arc<I>,
        /// Bytes that the packet's header announced.
        size: u32,
        /// Bytes that are read at most.
        limit: u32,
    },
    /// A message was stored and delivered and not retained: its client, or all together, have as many as there may be.
    NotRetained {
        /// Who.
        identity: &'a Arc<I>,
        /// The topic, which retains nothing now.
        topic: &'a str,
    },
    /// An identity reached for a topic it may not use.
    Denied {
        /// Who.
        identity: &'a Arc<I>,
        /// For what.
        action: Action,
        /// The topic name or filter.
        topic: &'a str,
    },
}

/// The program the broker serves.
pub trait Host: Send + Sync + 'static {
    /// Who a connection is, once authenticated. It carries everything [`Host::authorize`] needs.
    type Identity: Send + Sync + 'static;

    /// Decides who a client is, before anything is allocated for it. Called once per connection, and once more when
    /// any client was evicted meanwhile: the first answer may be older than the eviction.
    fn authenticate(&self, connecting: Connecting<'_>) -> impl Future<Output = Result<Self::Identity, Refusal>> + Send;

    /// The name of a client's session, where that is not its client identifier. Clients with the same name take over each
    /// other's session: those of different kinds must not have the same, whatever they call themselves. What the broker
    /// says of clients it says by this name.
    fn session_name(&self, identity: &Self::Identity) -> Option<String> {
        let _ = identity;
        None
    }

    /// Decides whether an identity may use a topic. Called for every publish: it must be quick.
    fn authorize(&self, identity: &Self::Identity, action: Action, topic: &str) -> bool;

    /// Takes a message into safety. The receipt, present for QoS 1 and 2, is resolved once the message is stored;
    /// the acknowledgement leaves then and not before. May wait for room in the host's queue: the connection is
    /// not read meanwhile, and when it is closed meanwhile the future is dropped, message and receipt with it. The
    /// message of a Last Will has a receipt whatever its quality of service.
    ///
    /// The verdict decides whether a QoS 0 message is delivered; for QoS 1 and 2 the receipt's outcome does.
    fn accept(
        &self,
        identity: &Arc<Self::Identity>,
        message: Message,
        receipt: Option<Receipt>,
    ) -> impl Future<Output = Verdict> + Send;

    /// Where a client may expect responses, when it asks (Response Information, MQTT 5 section 3.2.2.3.15).
    fn response_information(&self, identity: &Self::Identity) -> Option<String> {
        let _ = identity;
        None
    }

    /// Who a client was that left a Last Will to be published later, in a process before this one. It was allowed its
    /// topic when it left it. `None`: it is nobody any more, and its will is not published.
    fn revive(&self, client_id: &str) -> Option<Self::Identity> {
        let _ = client_id;
        None
    }

    /// Hears of presence and of incidents. Must not block.
    fn observe(&self, event: Event<'_, Self::Identity>);
}

/// Why a live connection is closed by this side.
pub(crate) fn reason_text(reason: DisconnectReasonCode) -> &'static str {
    match reason {
        DisconnectReasonCode::SessionTakenOver => "taken over by a new connection of the same client",
        DisconnectReasonCode::ServerShuttingDown => "the broker is shutting down",
        DisconnectReasonCode::AdministrativeAction => "closed by an administrator",
        DisconnectReasonCode::NotAuthorized => "no longer authorized",
        DisconnectReasonCode::QuotaExceeded => "the client reads too slowly",
        DisconnectReasonCode::KeepAliveTimeout => "keep-alive timeout",
        _ => "closed by the broker",
    }
}
