//! The bounds of a broker. Everything a peer can make grow has a limit here.

use std::time::Duration;

use crate::transport::network::Network;

/// So much a second, and so much at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// After a pause.
    pub burst: u32,
}

/// Bounds of a broker and of each of its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections at a time; more are closed right after they are accepted.
    pub max_connections: usize,
    /// Connections of one address at a time; an IPv6 address counts as its /64.
    pub max_connections_per_address: usize,
    /// Connections that one address may begin; those beyond are closed. `None`: as many as it likes.
    pub connect_rate_per_address: Option<Rate>,
    /// Connections that one client, by its identifier and address, may begin; those beyond are refused (MQTT 5: 0x9f).
    /// `None`: as many as it likes.
    pub connect_rate_per_client: Option<Rate>,
    /// Failed logins of one address, beyond which none of its logins is looked at. Also turns on the pause that a client
    /// gets after five failures in a row, from a second to a minute. `None`: neither.
    pub failed_login_rate_per_address: Option<Rate>,
    /// Messages that one client may publish: it is not read while it is ahead, on this connection and on its next.
    /// `None`: as many as it can.
    pub publish_rate: Option<Rate>,
    /// The same in bytes of topic and payload. A message larger than the burst still passes, alone.
    pub publish_bytes_rate: Option<Rate>,
    /// How long a client may be ahead of these at every single message, before it is closed.
    pub publish_patience: Duration,
    /// Load balancers. A connection from one of these addresses begins with a PROXY protocol version 2 header and
    /// counts as the client's it names; from any other address such a header is refused. None: nobody's is believed.
    pub proxies: Vec<Network>,
    /// TLS handshakes at a time; more wait in the listen queue.
    pub max_handshakes: usize,
    /// Time for everything before CONNECT (PROXY header, TLS, WebSocket), and for CONNECT, each.
    pub handshake_timeout: Duration,
    /// Largest packet read, in bytes (announced to MQTT 5 clients).
    pub max_packet_size: u32,
    /// Unacknowledged QoS 1 and 2 messages per client (announced to MQTT 5 clients; a 3.1.1 client is not read
    /// while it has as many).
    pub receive_maximum: u16,
    /// Bytes of unacknowledged messages per connection; it is not read while it holds more.
    pub max_held_bytes: usize,
    /// How long the host may take to store a message before the connection is closed without acknowledgement.
    pub acknowledge_timeout: Duration,
    /// Keep-alive for clients that ask for none or for more, announced to MQTT 5 clients.
    pub max_keep_alive: Duration,
    /// Messages waiting for one session.
    pub max_queued: usize,
    /// Bytes of messages waiting for one session.
    pub max_queued_bytes: usize,
    /// QoS 1 and 2 messages sent to a 3.1.1 client at a time; an MQTT 5 client says itself.
    pub max_in_flight: u16,
    /// How long a client may read nothing of what was written before it is closed.
    pub write_timeout: Duration,
    /// Longest life of a session without a connection.
    pub max_session_expiry: Duration,
    /// Sessions without a connection; beyond it a session ends with its connection.
    pub max_offline_sessions: usize,
    /// Bytes of messages that wait, on disk and in memory, for all sessions that outlive the process. Beyond it a
    /// message is delivered to who is connected and dropped for who is not.
    pub max_stored_bytes: usize,
    /// Subscriptions per session.
    pub max_subscriptions: usize,
    /// Retained messages.
    pub max_retained: usize,
    /// Bytes of retained messages.
    pub max_retained_bytes: usize,
    /// Retained messages of one client. Beyond it a message is stored and delivered and not retained (MQTT 5: 0x97).
    pub max_retained_per_client: usize,
    /// Bytes of retained messages of one client.
    pub max_retained_bytes_per_client: usize,
    /// Bytes of Last Wills that wait for their client to come back; one that finds no room is published at once.
    pub max_delayed_will_bytes: usize,
    /// Topic aliases an MQTT 5 client may set, and that are set towards it if it allows as many, per connection.
    pub topic_alias_maximum: u16,
    /// What every MQTT 5 client is told in CONNACK: user properties, name and value.
    pub announcements: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_address: 20_000,
            connect_rate_per_address: Some(Rate { per_second: 500, burst: 10_000 }),
            connect_rate_per_client: Some(Rate { per_second: 20, burst: 1000 }),
            failed_login_rate_per_address: Some(Rate { per_second: 5, burst: 300 }),
            publish_rate: None,
            publish_bytes_rate: None,
            publish_patience: Duration::from_secs(60),
            proxies: Vec::new(),
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            max_packet_size: 1024 * 1024,
            receive_maximum: 256,
            max_held_bytes: 4 * 1024 * 1024,
            acknowledge_timeout: Duration::from_secs(30),
            max_keep_alive: Duration::from_secs(3600),
            max_queued: 1000,
            max_queued_bytes: 4 * 1024 * 1024,
            max_in_flight: 20,
            write_timeout: Duration::from_secs(30),
            max_session_expiry: Duration::from_secs(24 * 3600),
            max_offline_sessions: 100_000,
            max_stored_bytes: 256 * 1024 * 1024,
            max_subscriptions: 100,
            max_retained: 100_000,
            max_retained_bytes: 64 * 1024 * 1024,
            max_retained_per_client: 100,
            max_retained_bytes_per_client: 1024 * 1024,
            max_delayed_will_bytes: 16 * 1024 * 1024,
            topic_alias_maximum: 10,
            announcements: Vec::new(),
        }
    }
}
