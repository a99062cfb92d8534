//! Reading everything once, to find what is damaged.

use rusqlite::Connection;

use super::chunk::Chunk;
use super::codec::Malformed;
use super::query::{Corruption, Report};
use super::shared::decode_snapshot;
use super::{Telemetry, tail};
use crate::error::{During, StoreError};

/// Findings in one report.
const MAXIMUM_FINDINGS: usize = 1000;

impl Telemetry {
    /// Reads every page and decodes every blob, and reports what is damaged. It takes as long as
    /// reading the file takes; appends and other readers go on meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn check(&self) -> Result<Report, StoreError> {
        self.shared.readers.with(|connection| {
            check(connection)
                .map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source))
        })
    }
}

fn check(connection: &Connection) -> rusqlite::Result<Report> {
    let mut report = Report::default();
    // One read transaction: everything is compared as of one moment.
    let transaction = connection.unchecked_transaction()?;
    let mut statement = transaction.prepare("PRAGMA quick_check(100)")?;
    for finding in statement.query_map([], |row| row.get::<_, String>(0))? {
        let finding = finding?;
        if finding != "ok" {
            report.add("the database file".to_owned(), finding);
        }
    }
    let mut statement = transaction.prepare("SELECT number, samples, blob FROM chunk ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.chunks += 1;
        let samples = row.get::<_, i64>(1)?.unsigned_abs();
        match verify_chunk(row.get_ref(2)?.as_blob()?, samples) {
            Ok(()) => report.sealed_samples += samples,
            Err(malformed) => report.add(format!("chunk {}", row.get::<_, i64>(0)?), malformed.to_string()),
        }
    }
    let mut statement = transaction.prepare("SELECT position, batch FROM tail ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.batches += 1;
        if let Err(malformed) = tail::decode(row.get_ref(1)?.as_blob()?) {
            report.add(format!("tail batch {}", row.get::<_, i64>(0)?), malformed.to_string());
        }
    }
    let mut statement = transaction.prepare("SELECT id, snapshot FROM device ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(malformed) = decode_snapshot(row.get_ref(1)?.as_blob()?) {
            report.add(format!("snapshot of device {}", row.get::<_, String>(0)?), malformed.to_string());
        }
    }
    let mut statement = transaction.prepare("SELECT position, reason FROM quarantine ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.add(format!("quarantined tail batch {}", row.get::<_, i64>(0)?), row.get(1)?);
    }
    Ok(report)
}

fn verify_chunk(blob: &[u8], samples: u64) -> Result<(), Malformed> {
    let chunk = Chunk::open(blob)?;
    if chunk.len() as u64 != samples {
        return Err(Malformed("the chunk has another number of samples than its row says"));
    }
    chunk.verify()
}

impl Report {
    fn add(&mut self, what: String, reason: String) {
        if self.corruptions.len() < MAXIMUM_FINDINGS {
            self.corruptions.push(Corruption { what, reason });
        }
    }
}
