//! Reading everything once, to find what is damaged.

use rusqlite::Connection;

use super::chunk::Chunk;
use super::codec::Malformed;
use super::messages;
use super::query::{Corruption, Report};
use super::rollup::{Page, day_start};
use super::shared::decode_snapshot;
use super::{Telemetry, checksum, tail};
use crate::error::{During, StoreError};

/// Findings in one report.
const MAXIMUM_FINDINGS: usize = 1000;

/// How far a check or a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being read.
    pub what: &'static str,
    /// Rows or pages done.
    pub done: u64,
    /// Rows or pages in all; 0 when that is not known.
    pub total: u64,
}

impl Telemetry {
    /// Reads every page and decodes every blob, and reports what is damaged. It takes as long as
    /// reading the file takes; appends and other readers go on meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn check(&self) -> Result<Report, StoreError> {
        self.shared.readers.with(|connection| {
            check(connection, &mut |_| {})
                .map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source))
        })
    }
}

pub(super) fn check(connection: &Connection, progress: &mut dyn FnMut(Progress)) -> rusqlite::Result<Report> {
    let mut report = Report::default();
    // One read transaction: everything is compared as of one moment.
    let transaction = connection.unchecked_transaction()?;
    progress(Progress { what: "pages and indexes", done: 0, total: 0 });
    // Unlike `quick_check` it also compares the indexes with the tables: a broken index hides rows.
    let mut statement = transaction.prepare("PRAGMA integrity_check(100)")?;
    for finding in statement.query_map([], |row| row.get::<_, String>(0))? {
        let finding = finding?;
        if finding != "ok" {
            report.add("the database file".to_owned(), finding);
        }
    }
    let tables = [Table::Chunk, Table::Tail, Table::Device, Table::Rollup, Table::Message, Table::DeadLetter];
    for table in tables {
        if let Err(error) = check_table(&transaction, table, &mut report, progress) {
            // A page that cannot be read hides the rest of this table, not the other tables.
            report.add(format!("table {}", table.name()), format!("reading ended here: {error}"));
        }
    }
    let mut statement = transaction.prepare("SELECT position, reason FROM quarantine ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.add(format!("quarantined tail batch {}", row.get::<_, i64>(0)?), row.get(1)?);
    }
    Ok(report)
}

#[derive(Debug, Clone, Copy)]
enum Table {
    Chunk,
    Tail,
    Device,
    Rollup,
    Message,
    DeadLetter,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Tail => "tail",
            Self::Device => "device",
            Self::Rollup => "rollup",
            Self::Message => "message",
            Self::DeadLetter => "dead_letter",
        }
    }

    fn select(self) -> &'static str {
        match self {
            Self::Chunk => {
                "SELECT number, device, first_time, last_time, samples, blob, checksum FROM chunk ORDER BY number"
            }
            Self::Tail => "SELECT position, batch FROM tail ORDER BY position",
            Self::Device => "SELECT number, id, sealed_through, snapshot, checksum FROM device ORDER BY number",
            Self::Rollup => "SELECT number, device, resolution, first_day, page, checksum FROM rollup ORDER BY number",
            Self::Message => {
                "SELECT number, device, topic, received_at, payload, checksum FROM message ORDER BY number"
            }
            Self::DeadLetter => {
                "SELECT number, device, topic, received_at, payload, code, reason, checksum
                 FROM dead_letter ORDER BY number"
            }
        }
    }
}

fn check_table(
    connection: &Connection,
    table: Table,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<()> {
    let name = table.name();
    let total = connection.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, i64>(0))?;
    let mut statement = connection.prepare(table.select())?;
    let mut rows = statement.query([])?;
    let mut done = 0;
    progress(Progress { what: name, done, total: total.unsigned_abs() });
    while let Some(row) = rows.next()? {
        done += 1;
        match table {
            Table::Chunk => check_chunk(row, report)?,
            Table::Tail => {
                report.batches += 1;
                if let Err(malformed) = tail::decode(row.get_ref(1)?.as_blob()?) {
                    report.add(format!("tail batch {}", row.get::<_, i64>(0)?), malformed.to_string());
                }
            }
            Table::Device => check_device(row, report)?,
            Table::Rollup => check_rollup(row, report)?,
            Table::Message => {
                report.messages += 1;
                if messages::message(row).is_none() {
                    report.add(format!("message {}", row.get::<_, i64>(0)?), CHECKSUM.to_owned());
                }
            }
            Table::DeadLetter => {
                report.dead_letters += 1;
                if messages::summary(row).is_none() {
                    report.add(format!("dead letter {}", row.get::<_, i64>(0)?), CHECKSUM.to_owned());
                }
            }
        }
        if done % 1000 == 0 {
            progress(Progress { what: name, done, total: total.unsigned_abs() });
        }
    }
    Ok(())
}

const CHECKSUM: &str = "the checksum of the row does not fit";

fn check_chunk(row: &rusqlite::Row<'_>, report: &mut Report) -> rusqlite::Result<()> {
    report.chunks += 1;
    let (number, device): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (times, samples) = ((row.get(2)?, row.get(3)?), row.get::<_, i64>(4)?);
    let blob = row.get_ref(5)?.as_blob()?;
    let is_row_sound = checksum::of_chunk(number, device, times, samples, blob).matches(row.get(6)?);
    let verified = verify_chunk(blob, samples.unsigned_abs());
    match verified {
        Ok(()) if is_row_sound => report.sealed_samples += samples.unsigned_abs(),
        Ok(()) => report.add(format!("chunk {number}"), CHECKSUM.to_owned()),
        Err(malformed) => report.add(format!("chunk {number}"), malformed.to_string()),
    }
    Ok(())
}

fn check_device(row: &rusqlite::Row<'_>, report: &mut Report) -> rusqlite::Result<()> {
    let (id, snapshot) = (row.get_ref(1)?.as_str()?, row.get_ref(3)?.as_blob()?);
    if let Err(malformed) = decode_snapshot(snapshot) {
        report.add(format!("snapshot of device {id}"), malformed.to_string());
    } else if !checksum::of_device(id, row.get(2)?, snapshot).matches(row.get(4)?) {
        report.add(format!("device {id}"), CHECKSUM.to_owned());
    }
    Ok(())
}

fn check_rollup(row: &rusqlite::Row<'_>, report: &mut Report) -> rusqlite::Result<()> {
    report.rollup_pages += 1;
    let (number, device, resolution, first_day): (i64, i64, i64, i64) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let page = row.get_ref(4)?.as_blob()?;
    if !checksum::of_rollup(device, resolution, first_day, page).matches(row.get(5)?) {
        report.add(format!("rollup page {number}"), CHECKSUM.to_owned());
    } else if let Err(malformed) = Page::decode(page, day_start(first_day)) {
        report.add(format!("rollup page {number}"), malformed.to_string());
    }
    Ok(())
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
