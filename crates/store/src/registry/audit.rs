//! The audit log: who did what, and was it allowed. Each record carries the hash of all before
//! it, so that a record cannot be changed, removed or put in between without a trace.
//!
//! The hash of a record is `SHA-256(previous hash ‖ number ‖ at ‖ actor ‖ action ‖ subject ‖
//! outcome ‖ detail)`: the previous hash is 32 zero bytes for the first record, number and time
//! are eight bytes, most significant first, and each text is preceded by its length in bytes as
//! eight bytes. Cutting off the newest records leaves a shorter sound chain: to notice that, keep
//! the [`Chain`] of an earlier day elsewhere.

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Registry;
use super::secrets::{HASH_BYTES, hexadecimal};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Something that is worth remembering. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who did it: `device:<id>`, `user:<email>`, `system`.
    pub actor: String,
    /// What was done or tried: `mqtt.connect`, `certificate.revoke`.
    pub action: String,
    /// To what it was done.
    pub subject: String,
    /// How it ended: `allowed`, `refused`, `failed`.
    pub outcome: String,
    /// Anything else, for a person.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its place, from 1.
    pub number: u64,
    /// What happened.
    pub event: AuditEvent,
    /// The hash of it and all before it, in hexadecimal.
    pub hash: String,
}

/// What became of checking the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Records that were checked and are sound.
    pub records: u64,
    /// The hash of the last sound record, in hexadecimal.
    pub hash: String,
    /// The place of the first record that was changed, or where records are missing.
    pub broken_at: Option<u64>,
}

const COLUMNS: &str = "number, at, actor, action, subject, outcome, detail, hash";

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, AuditEvent, Vec<u8>)> {
    let event = AuditEvent {
        at: from_nanoseconds(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        outcome: row.get(5)?,
        detail: row.get(6)?,
    };
    Ok((row.get(0)?, event, row.get(7)?))
}

fn chained_hash(previous: &[u8], number: i64, event: &AuditEvent) -> [u8; HASH_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&number.to_be_bytes());
    context.update(&to_nanoseconds(event.at).to_be_bytes());
    for text in [&event.actor, &event.action, &event.subject, &event.outcome, &event.detail] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

impl Registry {
    /// Adds events to the log, in one commit.
    pub fn append_audit(&self, events: &[AuditEvent]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let last = transaction
                .prepare_cached("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")?
                .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
                .optional()?;
            let (mut number, mut previous) = last.unwrap_or((0, vec![0; HASH_BYTES]));
            let mut statement = transaction
                .prepare_cached(&format!("INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?;
            for event in events {
                number += 1;
                previous = chained_hash(&previous, number, event).to_vec();
                statement.execute(params![
                    number,
                    to_nanoseconds(event.at),
                    event.actor,
                    event.action,
                    event.subject,
                    event.outcome,
                    event.detail,
                    previous
                ])?;
            }
            Ok(())
        })
    }

    /// Records of the log, newest first, at most `limit`, older than the record `before`.
    pub fn list_audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2"
            ))?;
            let rows = statement.query_map([before, limit], |row| {
                let (number, event, hash) = from_row(row)?;
                Ok(AuditRecord { number: number.unsigned_abs(), event, hash: hexadecimal(&hash) })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Recomputes the whole chain.
    pub fn verify_audit_chain(&self) -> Result<Chain, StoreError> {
        self.read(|connection| Ok(verify_chain(connection)?))
    }
}

pub(super) fn verify_chain(connection: &Connection) -> rusqlite::Result<Chain> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM audit ORDER BY number"))?;
    let mut rows = statement.query([])?;
    let mut sound = 0_i64;
    let mut previous = vec![0; HASH_BYTES];
    let mut broken_at = None;
    while let Some(row) = rows.next()? {
        let (number, event, hash) = from_row(row)?;
        if number != sound + 1 || chained_hash(&previous, number, &event)[..] != hash {
            broken_at = Some((sound + 1).unsigned_abs());
            break;
        }
        sound = number;
        previous = hash;
    }
    Ok(Chain { records: sound.unsigned_abs(), hash: hexadecimal(&previous), broken_at })
}
