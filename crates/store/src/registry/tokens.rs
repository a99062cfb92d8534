//! Tokens with which programs use the operator's interface.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use tesaiot_contract::Secret;
use tesaiot_contract::secret::rest_key;

use super::secrets::{random, token_hash};
use super::users::Role;
use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Names a token without being it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub i64);

/// A token as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorToken {
    /// Its id.
    pub id: TokenId,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<OperatorToken> {
    Ok(OperatorToken {
        id: TokenId(row.get(0)?),
        name: row.get(1)?,
        role: Role::from_column(row, 2)?,
        created_at: from_nanoseconds(row.get(3)?),
        revoked_at: row.get::<_, Option<i64>>(4)?.map(from_nanoseconds),
    })
}

impl Registry {
    /// Makes a token, `tesa_ak_` and 32 hexadecimal digits of 128 random bits (the wire
    /// contract, section 2). It is shown this once: the file has only its hash.
    pub fn create_token(&self, name: &str, role: Role, now: Timestamp) -> Result<(OperatorToken, Secret), StoreError> {
        let token = rest_key(random()?);
        let id = self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO operator_token (name, role, hash, created_at)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![name, role.as_str(), token_hash(token.expose()), to_nanoseconds(now)])?;
            Ok(TokenId(transaction.last_insert_rowid()))
        })?;
        let shown = OperatorToken { id, name: name.to_owned(), role, created_at: now, revoked_at: None };
        Ok((shown, token))
    }

    /// The token's entry, unless there is none or it is revoked.
    pub fn verify_token(&self, token: &str) -> Result<Option<OperatorToken>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT number, name, role, created_at, revoked_at
                     FROM operator_token WHERE hash = ?1 AND revoked_at IS NULL",
                )?
                .query_row([token_hash(token)], from_row)
                .optional()?)
        })
    }

    /// Makes a token invalid, now. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE operator_token SET revoked_at = coalesce(revoked_at, ?2)
                     WHERE number = ?1",
                )?
                .execute(params![id.0, to_nanoseconds(now)])?;
            if changed == 0 {
                return Err(Failure::not_found("token", id.0));
            }
            Ok(())
        })
    }

    /// All tokens, oldest first, revoked ones included.
    pub fn list_tokens(&self) -> Result<Vec<OperatorToken>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, name, role, created_at, revoked_at
                 FROM operator_token ORDER BY number",
            )?;
            let rows = statement.query_map([], from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
