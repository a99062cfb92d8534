//! Who is connected, and which sessions there are.

use serde::{Deserialize, Serialize};

use super::Client;
use super::error::ClientError;

/// A session of a client, with its connection when there is one. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Session {
    pub(crate) client_id: String,
    pub(crate) connected: bool,
    pub(crate) address: Option<String>,
    pub(crate) listener: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) connected_at: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) subscriptions: u64,
    pub(crate) queued: u64,
    pub(crate) queued_bytes: u64,
}

/// Some of them, in the order of client identifiers.
#[derive(Debug, Deserialize)]
pub(crate) struct SessionPage {
    #[serde(alias = "clients")]
    pub(crate) sessions: Vec<Session>,
    /// Where the next page begins; none on the last
    pub(crate) next: Option<String>,
}

impl Client {
    /// The clients behind `after` that are connected.
    pub(crate) fn broker_clients(&self, after: Option<&str>, limit: usize) -> Result<SessionPage, ClientError> {
        self.page("/broker/clients", after, limit)
    }

    /// The sessions behind `after`.
    pub(crate) fn broker_sessions(&self, after: Option<&str>, limit: usize) -> Result<SessionPage, ClientError> {
        self.page("/broker/sessions", after, limit)
    }

    fn page(&self, path: &str, after: Option<&str>, limit: usize) -> Result<SessionPage, ClientError> {
        let limit = limit.to_string();
        let after = after.map(|after| ("after", after));
        self.get(path, &after.into_iter().chain([("limit", limit.as_str())]).collect::<Vec<_>>())
    }
}
