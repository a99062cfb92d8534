//! How a client connects.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::message::Message;
use crate::packet::Version;

/// What a client says in CONNECT, and its own bounds.
#[derive(Clone)]
pub struct Options {
    /// Protocol version.
    pub version: Version,
    /// Client identifier. For a device, its device id.
    pub client_id: ByteString,
    /// User name, when the broker wants one.
    pub username: Option<ByteString>,
    /// Password or API key.
    pub password: Option<Bytes>,
    /// Longest silence before a ping, in whole seconds on the wire. Zero turns it off.
    pub keep_alive: Duration,
    /// Whether an earlier session is discarded.
    pub clean_start: bool,
    /// How long the broker keeps the session after the connection ends (MQTT 5).
    pub session_expiry: Duration,
    /// What the broker publishes when this client vanishes.
    pub will: Option<Message>,
    /// Messages the broker may have unacknowledged towards us, and the in-flight window towards a broker that
    /// does not say (3.1.1).
    pub receive_maximum: u16,
    /// Largest packet read, in bytes.
    pub max_packet_size: u32,
    /// Length of the queues between the connection and its users, in messages.
    pub queue: usize,
}

impl Options {
    /// MQTT 3.1.1, clean session, keep-alive 60 s, a window of 100 messages, packets up to 1 MiB.
    pub fn new(client_id: impl Into<ByteString>) -> Self {
        Self {
            version: Version::V3,
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive: Duration::from_secs(60),
            clean_start: true,
            session_expiry: Duration::ZERO,
            will: None,
            receive_maximum: 100,
            max_packet_size: 1024 * 1024,
            queue: 256,
        }
    }
}

/// The password is never printed.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}
