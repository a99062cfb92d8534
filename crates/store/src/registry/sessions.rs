//! Login sessions of people. The token is known to its holder only; the file has its hash.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use tesaiot_contract::Secret;
use zeroize::Zeroizing;

use super::secrets::{hexadecimal, random, token_hash};
use super::users::{self, User, UserId};
use super::{Failure, Registry};
use crate::error::StoreError;
use crate::time::to_nanoseconds;

impl Registry {
    /// Starts a session that ends after `lifetime`, and returns its token: 256 random bits.
    /// Sessions that have ended are cleared away on the same occasion.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a user.
    pub fn create_session(&self, user: UserId, lifetime: Duration, now: Timestamp) -> Result<Secret, StoreError> {
        let random: Zeroizing<[u8; 32]> = Zeroizing::new(random()?);
        let token = Secret::from(hexadecimal(&random[..]));
        let created_at = to_nanoseconds(now);
        let lifetime = i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX);
        self.write(|transaction| {
            transaction.prepare_cached("DELETE FROM session WHERE expires_at <= ?1")?.execute([created_at])?;
            let inserted = transaction
                .prepare_cached(
                    "INSERT INTO session (hash, user, created_at, expires_at)
                     SELECT ?1, number, ?3, ?4 FROM user WHERE number = ?2",
                )?
                .execute(params![
                    token_hash(token.expose()),
                    user.0,
                    created_at,
                    created_at.saturating_add(lifetime)
                ])?;
            if inserted == 0 {
                return Err(Failure::not_found("user", user.0));
            }
            Ok(())
        })?;
        Ok(token)
    }

    /// The user whose session this is, unless it has ended.
    pub fn session(&self, token: &str, now: Timestamp) -> Result<Option<User>, StoreError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT user.number, email, name, role, user.created_at
                     FROM session JOIN user ON user.number = session.user
                     WHERE session.hash = ?1 AND expires_at > ?2",
                )?
                .query_row(params![token_hash(token), to_nanoseconds(now)], users::from_row)
                .optional()?)
        })
    }

    /// Ends a session; nothing happens when there is none.
    pub fn delete_session(&self, token: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.prepare_cached("DELETE FROM session WHERE hash = ?1")?.execute([token_hash(token)])?;
            Ok(())
        })
    }
}
