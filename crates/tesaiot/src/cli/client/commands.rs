//! Commands to devices.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tesaiot_contract::DeviceId;

use super::Client;
use super::error::ClientError;

/// A command, and what became of it. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Command {
    pub(crate) command_id: String,
    pub(crate) device_id: String,
    pub(crate) name: String,
    pub(crate) arguments: Value,
    /// `queued`, `received`, `done`, `failed`, `expired` or `unknown`
    pub(crate) status: String,
    /// Nothing more is to come
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    pub(crate) created_by: String,
    pub(crate) created_at: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) sent_at: Option<String>,
    pub(crate) answered_at: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) result: Option<Value>,
}

#[derive(Deserialize)]
struct Commands {
    commands: Vec<Command>,
}

impl Client {
    pub(crate) fn send_command(
        &self,
        device: &DeviceId,
        name: &str,
        arguments: &Value,
        expires_in: u64,
    ) -> Result<Command, ClientError> {
        let request = self.agent.post(self.path(&format!("/devices/{device}/commands")));
        let body = json!({"name": name, "arguments": arguments, "expires_in_seconds": expires_in});
        self.read(self.answer(request.header("Authorization", self.bearer()).send_json(body))?)
    }

    pub(crate) fn commands(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, ClientError> {
        let path = format!("/devices/{device}/commands");
        self.get::<Commands>(&path, &[("limit", &limit.to_string())]).map(|found| found.commands)
    }

    pub(crate) fn command(&self, device: &DeviceId, id: &str) -> Result<Command, ClientError> {
        self.get(&format!("/devices/{device}/commands/{id}"), &[])
    }
}
