//! A telemetry database looked at from outside: without its lock, while a platform may be writing
//! to it, and without changing a byte of it.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;

use super::check::{Progress, check};
use super::query::Report;
use super::schema;
use crate::error::{During, StoreError};
use crate::file::open_outside;
use crate::time::from_nanoseconds;

/// A telemetry database, for reading only.
#[derive(Debug)]
pub struct Inspection {
    path: PathBuf,
    connection: Connection,
}

/// What is in a telemetry database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// The format of the file.
    pub format: i64,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log beside it.
    pub log_bytes: u64,
    /// Bytes of pages in the file that nothing uses: `compact` gives them back.
    pub free_bytes: u64,
    /// Devices with sealed samples.
    pub devices: u64,
    /// Samples in chunks.
    pub sealed_samples: u64,
    /// Metric values in chunks.
    pub sealed_values: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of all chunks.
    pub chunk_bytes: u64,
    /// The earliest time of a sealed sample.
    pub first_time: Option<Timestamp>,
    /// The latest time of a sealed sample.
    pub last_time: Option<Timestamp>,
    /// Commits in the tail, not all of whose samples are in chunks yet.
    pub tail_batches: u64,
    /// Their bytes.
    pub tail_bytes: u64,
    /// Messages kept.
    pub messages: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Dead letters dropped to stay within the bounds.
    pub dead_letters_dropped: u64,
    /// Batches that were found corrupt, and set aside.
    pub quarantined_batches: u64,
}

impl Inspection {
    /// Opens the file for reading.
    ///
    /// # Errors
    /// [`StoreError::Open`] when it is not there, [`StoreError::Damaged`] when it is not a database,
    /// [`StoreError::Version`] and [`StoreError::Outdated`] when it is one of a newer or older program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = open_outside(path)?;
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|source| StoreError::from_sqlite(path, During::Open, source))?;
        let supported = schema::MIGRATIONS.len() as i64;
        let path = path.to_owned();
        match found.cmp(&supported) {
            Ordering::Less => Err(StoreError::Outdated { path, found, supported }),
            Ordering::Equal => Ok(Self { path, connection }),
            Ordering::Greater => Err(StoreError::Version { path, found, supported }),
        }
    }

    /// As [`Telemetry::check`](super::Telemetry::check), telling how far it is.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, StoreError> {
        check(&self.connection, progress).map_err(|source| self.failed(source))
    }

    /// Counts what is there, without reading the samples.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn statistics(&self) -> Result<Statistics, StoreError> {
        let mut statistics = self.counted().map_err(|source| self.failed(source))?;
        statistics.file_bytes = file_bytes(&self.path);
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        statistics.log_bytes = file_bytes(Path::new(&log));
        Ok(statistics)
    }

    fn counted(&self) -> rusqlite::Result<Statistics> {
        let transaction = self.connection.unchecked_transaction()?;
        let number = |sql: &str| transaction.query_row(sql, [], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()));
        let time =
            |sql: &str| transaction.query_row(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?.map(from_nanoseconds)));
        Ok(Statistics {
            format: schema::MIGRATIONS.len() as i64,
            file_bytes: 0,
            log_bytes: 0,
            free_bytes: number("PRAGMA freelist_count")? * number("PRAGMA page_size")?,
            devices: number("SELECT count(*) FROM device")?,
            sealed_samples: number("SELECT sealed_samples FROM total")?,
            sealed_values: number("SELECT sealed_values FROM total")?,
            chunks: number("SELECT chunks FROM total")?,
            chunk_bytes: number("SELECT chunk_bytes FROM total")?,
            first_time: time("SELECT min(first_time) FROM chunk")?,
            last_time: time("SELECT max(last_time) FROM chunk")?,
            tail_batches: number("SELECT count(*) FROM tail")?,
            tail_bytes: number("SELECT coalesce(sum(length(batch)), 0) FROM tail")?,
            messages: number("SELECT count(*) FROM message")?,
            dead_letters: number("SELECT count(*) FROM dead_letter")?,
            dead_letters_dropped: number("SELECT dead_letters_dropped FROM total")?,
            quarantined_batches: number("SELECT count(*) FROM quarantine")?,
        })
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(&self.path, During::Read, source)
    }
}

/// A file that is not there has none.
fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
