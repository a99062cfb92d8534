//! Tokens with which applications read topics over MQTT.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tesaiot_contract::Secret;
use tesaiot_contract::secret::mqtt_token;

use super::secrets::{random, token_hash};
use super::tokens::TokenId;
use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Between topic filters in their column. No filter has one: [`Registry::create_mqtt_token`] refuses it.
const SEPARATOR: char = '\n';

/// A token as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttToken {
    /// Its id, among tokens of this kind.
    pub id: TokenId,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// The organization that its text names.
    pub organization: String,
    /// The topic filters that its holder may subscribe to, and whatever is within them.
    pub topics: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS: &str = "number, name, organization, topics, created_at, revoked_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<MqttToken> {
    let topics: String = row.get(3)?;
    Ok(MqttToken {
        id: TokenId(row.get(0)?),
        name: row.get(1)?,
        organization: row.get(2)?,
        topics: topics.split(SEPARATOR).map(str::to_owned).collect(),
        created_at: from_nanoseconds(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(from_nanoseconds),
    })
}

impl Registry {
    /// Makes a token, `tesa_mqtt_<organization>_` and 32 hexadecimal digits of 128 random bits (the wire contract,
    /// section 2). It is shown this once: the file has only its hash.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when there is no topic, or one with a control character.
    pub fn create_mqtt_token(
        &self,
        name: &str,
        organization: &str,
        topics: &[String],
        now: Timestamp,
    ) -> Result<(MqttToken, Secret), StoreError> {
        if topics.is_empty() || topics.iter().any(|topic| topic.is_empty() || topic.chars().any(char::is_control)) {
            return Err(StoreError::Invalid {
                what: "the topics of a token",
                reason: "are at least one, and plain text",
            });
        }
        let token = mqtt_token(organization, random()?);
        let joined = topics.join(&SEPARATOR.to_string());
        let id = self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO mqtt_token (name, organization, topics, hash, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![name, organization, joined, token_hash(token.expose()), to_nanoseconds(now)])?;
            Ok(TokenId(transaction.last_insert_rowid()))
        })?;
        let shown = MqttToken {
            id,
            name: name.to_owned(),
            organization: organization.to_owned(),
            topics: topics.to_vec(),
            created_at: now,
            revoked_at: None,
        };
        Ok((shown, token))
    }

    /// The token's entry, unless there is none or it is revoked.
    pub fn verify_mqtt_token(&self, token: &str) -> Result<Option<MqttToken>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM mqtt_token WHERE hash = ?1 AND revoked_at IS NULL"))?
                .query_row([token_hash(token)], from_row)
                .optional()?)
        })
    }

    /// Makes a token invalid, now. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn revoke_mqtt_token(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached("UPDATE mqtt_token SET revoked_at = coalesce(revoked_at, ?2) WHERE number = ?1")?
                .execute(params![id.0, to_nanoseconds(now)])?;
            if changed == 0 {
                return Err(Failure::not_found("MQTT token", id.0));
            }
            Ok(())
        })
    }

    /// All tokens, oldest first, revoked ones included.
    pub fn list_mqtt_tokens(&self) -> Result<Vec<MqttToken>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM mqtt_token ORDER BY number"))?;
            let rows = statement.query_map([], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
