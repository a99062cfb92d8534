//! Tokens with which devices get certificates for keys of their own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tesaiot_contract::{DeviceId, Secret};

use super::Client;
use super::error::ClientError;

/// A token as it may be shown. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Token {
    pub(crate) number: i64,
    pub(crate) device_id: String,
    pub(crate) created_at: String,
    pub(crate) expires_at: String,
    pub(crate) revoked_at: Option<String>,
    pub(crate) used_at: Option<String>,
}

/// A new one: the only time its secret is readable.
#[derive(Deserialize)]
pub(crate) struct MadeToken {
    #[serde(flatten)]
    pub(crate) about: Token,
    pub(crate) token: Secret,
    /// SHA-256 of the authority to believe, in hexadecimal
    pub(crate) ca_fingerprint: String,
    /// Where the device goes with it
    pub(crate) api_base_url: String,
}

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
struct Revoked {
    revoked: u64,
}

impl Client {
    pub(crate) fn create_enrolment_token(&self, id: &DeviceId, lifetime: Duration) -> Result<MadeToken, ClientError> {
        let request = self.agent.post(self.path(&tokens_of(id))).header("Authorization", self.bearer());
        self.read(self.answer(request.send_json(json!({"lifetime_seconds": lifetime.as_secs()})))?)
    }

    pub(crate) fn enrolment_tokens(&self, id: &DeviceId) -> Result<Vec<Token>, ClientError> {
        self.get::<Tokens>(&tokens_of(id), &[]).map(|tokens| tokens.tokens)
    }

    /// Returns how many were good until now.
    pub(crate) fn revoke_enrolment_tokens(&self, id: &DeviceId) -> Result<u64, ClientError> {
        let request = self.agent.delete(self.path(&tokens_of(id)));
        let answer = self.answer(request.header("Authorization", self.bearer()).call())?;
        self.read::<Revoked>(answer).map(|revoked| revoked.revoked)
    }
}

fn tokens_of(id: &DeviceId) -> String {
    format!("/devices/{id}/enrolment-tokens")
}
