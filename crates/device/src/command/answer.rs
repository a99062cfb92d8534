//! What became of a command, as it stands on `device/{id}/commands/{name}/response`.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is here and takes time; another answer follows.
    Received,
    /// It was carried out.
    Done,
    /// It was not, or not completely.
    Failed,
    /// It came too late and was not begun.
    Expired,
    /// This device does not know it, or does not allow it.
    Unknown,
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The command's name
    pub command: String,
    /// The sender's identifier, when it gave one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it is
    pub status: State,
    /// When that was said, RFC 3339
    pub timestamp: String,
    /// Why it failed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it gave
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Answer {
    /// An answer without error and result, in whole seconds.
    pub fn new(command: &str, id: Option<&str>, status: State, now: Timestamp) -> Self {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self {
            command: command.to_owned(),
            id: id.map(ToOwned::to_owned),
            status,
            timestamp: now.display_with_offset(Offset::UTC).to_string(),
            error: None,
            result: None,
        }
    }

    /// The message's payload.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text keys and JSON values always serialize")
    }
}
