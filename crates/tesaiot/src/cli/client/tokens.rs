//! Tokens of programs.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tesaiot_contract::Secret;

use super::Client;
use super::error::ClientError;

/// A token as it may be shown. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Token {
    pub(crate) token_id: i64,
    pub(crate) name: String,
    /// `viewer`, `operator` or `admin`
    pub(crate) role: String,
    pub(crate) created_at: String,
    pub(crate) revoked_at: Option<String>,
}

/// A new one: the only time its secret is readable.
#[derive(Deserialize)]
pub(crate) struct NewToken {
    #[serde(flatten)]
    pub(crate) about: Token,
    pub(crate) token: Secret,
}

/// An application's token as it may be shown. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct MqttToken {
    /// Its number among tokens of this kind
    #[serde(rename(deserialize = "token_id"), skip_serializing)]
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) organization: String,
    /// What it may subscribe to
    pub(crate) topics: Vec<String>,
    pub(crate) created_at: String,
    pub(crate) revoked_at: Option<String>,
}

/// A new one: the only time its secret is readable.
#[derive(Deserialize)]
pub(crate) struct NewMqttToken {
    #[serde(flatten)]
    pub(crate) about: MqttToken,
    pub(crate) token: Secret,
}

#[derive(Deserialize)]
struct Tokens<T> {
    tokens: Vec<T>,
}

impl Client {
    pub(crate) fn create_token(&self, name: &str, role: &str) -> Result<NewToken, ClientError> {
        let request = self.agent.post(self.path("/tokens")).header("Authorization", self.bearer());
        self.read(self.answer(request.send_json(json!({"name": name, "role": role})))?)
    }

    pub(crate) fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.get::<Tokens<Token>>("/tokens", &[]).map(|tokens| tokens.tokens)
    }

    pub(crate) fn create_mqtt_token(
        &self,
        name: &str,
        topics: &[String],
        organization: Option<&str>,
    ) -> Result<NewMqttToken, ClientError> {
        let request = self.agent.post(self.path("/mqtt-tokens")).header("Authorization", self.bearer());
        let body = json!({"name": name, "topics": topics, "organization": organization});
        self.read(self.answer(request.send_json(body))?)
    }

    pub(crate) fn mqtt_tokens(&self) -> Result<Vec<MqttToken>, ClientError> {
        self.get::<Tokens<MqttToken>>("/mqtt-tokens", &[]).map(|tokens| tokens.tokens)
    }

    pub(crate) fn revoke_mqtt_token(&self, number: i64) -> Result<(), ClientError> {
        let request = self.agent.delete(self.path(&format!("/mqtt-tokens/{number}")));
        self.answer(request.header("Authorization", self.bearer()).call()).map(drop)
    }

    pub(crate) fn revoke_token(&self, id: i64) -> Result<(), ClientError> {
        let request = self.agent.delete(self.path(&format!("/tokens/{id}")));
        self.answer(request.header("Authorization", self.bearer()).call()).map(drop)
    }
}
