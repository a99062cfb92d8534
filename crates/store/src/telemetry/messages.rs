//! Messages and dead letters, as they came.

use bytes::Bytes;
use rusqlite::{Row, params};
use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::query::{DeadLetter, MessageQuery, StoredMessage};
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
            "SELECT number, device, topic, received_at, payload FROM message
             WHERE device = ?1 AND number < ?2 AND topic >= ?3 AND topic < ?4 ORDER BY number DESC LIMIT ?5"
        } else {
            "SELECT number, device, topic, received_at, payload FROM message
             WHERE ?1 IS NULL AND number < ?2 AND topic >= ?3 AND topic < ?4 ORDER BY number DESC LIMIT ?5"
        };
        let end = format!("{prefix}{AFTER_EVERY_TOPIC}");
        self.select(sql, params![device, bound(query.before), prefix, end, limit(query.limit)], |row| {
            Ok(StoredMessage {
                number: row.get::<_, i64>(0)?.unsigned_abs(),
                device: device_id(row, 1)?,
                topic: row.get(2)?,
                received_at: from_nanoseconds(row.get(3)?),
                payload: Bytes::from(row.get::<_, Vec<u8>>(4)?),
            })
        })
    }

    /// The newest dead letters, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letters(&self, most: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = "SELECT number, device, topic, received_at, payload, code, reason FROM dead_letter
                   ORDER BY number DESC LIMIT ?1";
        self.select(sql, params![limit(most)], |row| {
            let has_device = row.get::<_, Option<String>>(1)?.is_some();
            Ok(DeadLetter {
                number: row.get::<_, i64>(0)?.unsigned_abs(),
                device: if has_device { Some(device_id(row, 1)?) } else { None },
                topic: row.get(2)?,
                received_at: from_nanoseconds(row.get(3)?),
                payload: Bytes::from(row.get::<_, Vec<u8>>(4)?),
                code: row.get(5)?,
                reason: row.get(6)?,
            })
        })
    }

    fn select<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        from_row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.shared.readers.with(|connection| {
            connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_map(parameters, from_row)?.collect())
                .map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source))
        })
    }
}

fn bound(before: Option<u64>) -> i64 {
    before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX))
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn device_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceId> {
    DeviceId::new(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
