//! Messages and dead letters, as they came.
//!
//! A row whose checksum does not fit is passed over, logged and counted: no byte of a message is
//! served that was not received.

use bytes::Bytes;
use rusqlite::{Params, Row, params};
use tesaiot_contract::DeviceId;

use super::query::{DeadLetter, DeadLetterQuery, DeadLetterSummary, MessageQuery, StoredMessage};
use super::shared::add;
use super::{Telemetry, checksum};
use crate::error::{During, StoreError};
use crate::time::from_nanoseconds;

/// Beyond the last character of any topic that starts with a prefix.
const AFTER_EVERY_TOPIC: char = char::MAX;

impl Telemetry {
    /// Messages, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn messages(&self, query: &MessageQuery) -> Result<Vec<StoredMessage>, StoreError> {
        let device = query.device.as_ref().map(DeviceId::as_str);
        let prefix = query.topic_prefix.as_deref().unwrap_or_default();
        let sql = if device.is_some() {
            "SELECT number, device, topic, received_at, payload, checksum FROM message
             WHERE device = ?1 AND number < ?2 AND topic >= ?3 AND topic < ?4 ORDER BY number DESC LIMIT ?5"
        } else {
            "SELECT number, device, topic, received_at, payload, checksum FROM message
             WHERE ?1 IS NULL AND number < ?2 AND topic >= ?3 AND topic < ?4 ORDER BY number DESC LIMIT ?5"
        };
        let end = format!("{prefix}{AFTER_EVERY_TOPIC}");
        let mut room = MessageQuery::MAXIMUM_PAGE_BYTES;
        self.select(sql, params![device, bound(query.before), prefix, end, limit(query.limit)], |row| {
            if room == 0 {
                return Ok(Next::Stop);
            }
            room = room.saturating_sub(row.get_ref(4)?.as_blob()?.len());
            Ok(message(row).map_or(Next::Corrupt, Next::Row))
        })
    }

    /// Dead letters without their payloads, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<DeadLetterSummary>, StoreError> {
        let sql = "SELECT number, device, topic, received_at, payload, code, reason, checksum FROM dead_letter
                   WHERE number < ?1 AND (?2 IS NULL OR device = ?2) AND (?3 IS NULL OR code = ?3)
                   ORDER BY number DESC LIMIT ?4";
        let device = query.device.as_ref().map(DeviceId::as_str);
        let parameters = params![bound(query.before), device, query.code, limit(query.limit)];
        self.select(sql, parameters, |row| Ok(summary(row).map_or(Next::Corrupt, Next::Row)))
    }

    /// The numbers of the dead letters behind `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letter_numbers(&self, after: u64, query: &DeadLetterQuery) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT number FROM dead_letter
                   WHERE number > ?1 AND number < ?2 AND (?3 IS NULL OR device = ?3) AND (?4 IS NULL OR code = ?4)
                   ORDER BY number LIMIT ?5";
        let (after, device) = (bound(Some(after)), query.device.as_ref().map(DeviceId::as_str));
        let parameters = params![after, bound(query.before), device, query.code, limit(query.limit)];
        self.select(sql, parameters, |row| Ok(Next::Row(row.get::<_, i64>(0)?.unsigned_abs())))
    }

    /// One dead letter, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not what was stored; when the database cannot be read.
    pub fn dead_letter(&self, number: u64) -> Result<Option<DeadLetter>, StoreError> {
        let sql = "SELECT number, device, topic, received_at, payload, code, reason, checksum FROM dead_letter
                   WHERE number = ?1";
        let mut is_corrupt = false;
        let mut found = self.select(sql, [bound(Some(number))], |row| {
            let summary = summary(row);
            is_corrupt = summary.is_none();
            let Some(DeadLetterSummary { number, device, topic, received_at, code, reason, .. }) = summary else {
                return Ok(Next::Corrupt);
            };
            let payload = Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?);
            Ok(Next::Row(DeadLetter { number, device, topic, received_at, payload, code, reason }))
        })?;
        if is_corrupt {
            let reason = "its checksum does not fit".to_owned();
            return Err(StoreError::Corrupt { what: format!("dead letter {number}"), reason });
        }
        Ok(found.pop())
    }

    fn select<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        mut from_row: impl FnMut(&Row<'_>) -> rusqlite::Result<Next<T>>,
    ) -> Result<Vec<T>, StoreError> {
        let read = |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(parameters)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                match from_row(row)? {
                    Next::Row(row) => found.push(row),
                    Next::Corrupt => {
                        let number: i64 = row.get(0)?;
                        add(&self.shared.totals.corrupt_message_reads, 1);
                        tracing::error!(number, "a message or dead letter is corrupt; it is passed over");
                    }
                    Next::Stop => break,
                }
            }
            Ok(found)
        };
        self.shared.readers.with(|connection| {
            read(connection).map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source))
        })
    }
}

/// What a row says of itself.
enum Next<T> {
    Row(T),
    Corrupt,
    Stop,
}

/// A message of columns number, device, topic, received_at, payload, checksum. `None` when it is corrupt.
pub(super) fn message(row: &Row<'_>) -> Option<StoredMessage> {
    let device = row.get_ref(1).ok()?.as_str().ok()?;
    let topic = row.get_ref(2).ok()?.as_str().ok()?;
    let received: i64 = row.get(3).ok()?;
    let payload = row.get_ref(4).ok()?.as_blob().ok()?;
    if !checksum::of_message(device, topic, received, payload).matches(row.get(5).ok()?) {
        return None;
    }
    Some(StoredMessage {
        number: row.get::<_, i64>(0).ok()?.unsigned_abs(),
        device: DeviceId::new(device).ok()?,
        topic: topic.into(),
        received_at: from_nanoseconds(received),
        payload: Bytes::copy_from_slice(payload),
    })
}

/// A dead letter of columns number, device, topic, received_at, payload, code, reason, checksum. `None` when it is
/// corrupt.
pub(super) fn summary(row: &Row<'_>) -> Option<DeadLetterSummary> {
    let device = row.get_ref(1).ok()?.as_str_or_null().ok()?;
    let topic = row.get_ref(2).ok()?.as_str().ok()?;
    let received: i64 = row.get(3).ok()?;
    let payload = row.get_ref(4).ok()?.as_blob().ok()?;
    let code = row.get_ref(5).ok()?.as_str().ok()?;
    let reason = row.get_ref(6).ok()?.as_str().ok()?;
    if !checksum::of_dead_letter(device, topic, received, payload, (code, reason)).matches(row.get(7).ok()?) {
        return None;
    }
    Some(DeadLetterSummary {
        number: row.get::<_, i64>(0).ok()?.unsigned_abs(),
        device: device.map(DeviceId::new).transpose().ok()?,
        topic: topic.into(),
        received_at: from_nanoseconds(received),
        payload_bytes: payload.len() as u64,
        code: code.into(),
        reason: reason.into(),
    })
}

fn bound(before: Option<u64>) -> i64 {
    before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
