//! Opening the store: load the snapshots, replay the tail over them, set aside what is corrupt.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tesaiot_contract::DeviceId;

use super::append::Appender;
use super::head::Head;
use super::options::Options;
use super::shared::{Shared, State, add, decode_snapshot};
use super::{Telemetry, checksum, schema, tail};
use crate::error::{During, StoreError};
use crate::file::{self, DirectoryLock, open_writer};
use crate::pool::Pool;

/// Pages of write-ahead log at which SQLite itself moves it into the database, when nobody
/// calls `maintain`: 64 MiB.
const CHECKPOINT_PAGES: i64 = 16_384;
/// The write-ahead log shrinks to this after it was moved.
const LOG_SIZE_LIMIT: i64 = 64 << 20;

pub(super) fn open(path: &Path, options: Options) -> Result<(Telemetry, Appender), StoreError> {
    let lock = DirectoryLock::take(path)?;
    lock.refuse_if_emptied(path)?;
    let connection = open_writer(path, schema::MIGRATIONS)?;
    lock.mark_used(path)?;
    let readers = Pool::new(path, options.readers);
    let shared = Arc::new(Shared::new(lock, readers, options));
    let mut appender = Appender::new(Arc::clone(&shared), connection);
    load(&mut appender).map_err(|source| StoreError::from_sqlite(path, During::Open, source))?;
    Ok((Telemetry { shared }, appender))
}

/// Brings a copy that nobody has open, of a store that an older program left, up to date. Reads no samples.
///
/// # Errors
/// [`StoreError::Version`] for a file of a newer program, [`StoreError::Outdated`] for one that is no store, and when it
/// cannot be read or written.
pub fn upgrade(path: &Path) -> Result<(), StoreError> {
    file::upgrade(path, schema::MIGRATIONS)
}

fn load(appender: &mut Appender) -> rusqlite::Result<()> {
    let shared = Arc::clone(&appender.shared);
    let connection = &appender.connection;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT)?;
    load_totals(&shared, connection)?;
    appender.last_chunk = connection.query_row("SELECT coalesce(max(number), 0) FROM chunk", [], |row| row.get(0))?;
    load_devices(&shared, connection, appender.last_chunk)?;
    // Positions are never used twice: what a device has sealed is told by its position.
    appender.position = connection.query_row(
        "SELECT max(trimmed_through, coalesce((SELECT max(position) FROM tail), 0),
                    coalesce((SELECT max(sealed_through) FROM device), 0),
                    coalesce((SELECT max(position) FROM quarantine), 0)) FROM total",
        [],
        |row| row.get(0),
    )?;
    let corrupt = replay(appender)?;
    quarantine(appender, &corrupt)
}

fn load_totals(shared: &Shared, connection: &Connection) -> rusqlite::Result<()> {
    let totals = &shared.totals;
    connection.query_row(
        "SELECT sealed_samples, sealed_values, chunks, chunk_bytes, dead_letters_dropped,
                chunks_dropped, samples_dropped, rollups_dropped, messages_dropped FROM total",
        [],
        |row| {
            add(&totals.samples, row.get::<_, i64>(0)?.unsigned_abs());
            add(&totals.values, row.get::<_, i64>(1)?.unsigned_abs());
            add(&totals.chunks, row.get::<_, i64>(2)?.unsigned_abs());
            add(&totals.chunk_bytes, row.get::<_, i64>(3)?.unsigned_abs());
            add(&totals.dead_letters_dropped, row.get::<_, i64>(4)?.unsigned_abs());
            add(&totals.chunks_dropped, row.get::<_, i64>(5)?.unsigned_abs());
            add(&totals.samples_dropped, row.get::<_, i64>(6)?.unsigned_abs());
            add(&totals.rollups_dropped, row.get::<_, i64>(7)?.unsigned_abs());
            add(&totals.messages_dropped, row.get::<_, i64>(8)?.unsigned_abs());
            Ok(())
        },
    )?;
    // Messages are numbered without holes from the oldest: no need to count them one by one.
    let messages: i64 = connection.query_row(
        "SELECT coalesce((SELECT max(number) FROM message) - (SELECT min(number) FROM message) + 1, 0)",
        [],
        |row| row.get(0),
    )?;
    add(&totals.messages, messages.unsigned_abs());
    let (letters, bytes): (i64, i64) =
        connection.query_row("SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_letter", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    add(&totals.dead_letters, letters.unsigned_abs());
    add(&totals.dead_letter_bytes, bytes.unsigned_abs());
    let corrupt: i64 = connection.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
    add(&totals.corrupt_batches, corrupt.unsigned_abs());
    Ok(())
}

fn load_devices(shared: &Shared, connection: &Connection, last_chunk: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT number, id, sealed_through, snapshot, checksum FROM device")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Ok(id) = DeviceId::new(row.get_ref(1)?.as_str()?) else {
            continue;
        };
        let row_checksum = checksum::of_device(id.as_str(), row.get(2)?, row.get_ref(3)?.as_blob()?);
        if !row_checksum.matches(row.get(4)?) {
            tracing::error!(device = %id, "the row of a device is corrupt: its samples may be incomplete, or there twice");
        }
        let (cursor, latest) = decode_snapshot(row.get_ref(3)?.as_blob()?).unwrap_or_else(|malformed| {
            // Without its cursor a device may store a redelivered sample again; it loses none.
            tracing::warn!(device = %id, reason = %malformed, "the snapshot of a device is corrupt; it starts anew");
            Default::default()
        });
        shared.insert(
            id,
            State {
                number: Some(row.get(0)?),
                sealed_through: row.get(2)?,
                visible_chunk: last_chunk,
                head: Head::new(),
                latest,
                cursor,
            },
        );
    }
    Ok(())
}

/// A batch that does not decode.
struct Corrupt {
    position: i64,
    bytes: u64,
    reason: String,
}

fn replay(appender: &mut Appender) -> rusqlite::Result<Vec<Corrupt>> {
    let shared = Arc::clone(&appender.shared);
    let mut corrupt = Vec::new();
    let mut batches = Vec::new();
    {
        let mut statement = appender.connection.prepare("SELECT position, batch FROM tail ORDER BY position")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let position: i64 = row.get(0)?;
            let blob = row.get_ref(1)?.as_blob()?;
            match tail::decode(blob) {
                Ok(samples) => {
                    batches.push((position, blob.len() as u64));
                    for replayed in &samples {
                        let device = shared.device_or_new(&replayed.device, appender.last_chunk);
                        let mut state = device.write();
                        if position > state.sealed_through {
                            state.apply(
                                &shared.totals,
                                position,
                                replayed.kind.as_deref(),
                                replayed.received,
                                &replayed.sample,
                            );
                        }
                    }
                }
                Err(malformed) => {
                    corrupt.push(Corrupt { position, bytes: blob.len() as u64, reason: malformed.to_string() });
                }
            }
        }
    }
    for (position, bytes) in batches {
        appender.remember_batch(position, bytes);
    }
    for device in shared.all_devices() {
        appender.schedule(&device);
    }
    Ok(corrupt)
}

/// Corrupt batches are moved out of the way of trimming, and kept for a person to look at.
fn quarantine(appender: &mut Appender, corrupt: &[Corrupt]) -> rusqlite::Result<()> {
    if corrupt.is_empty() {
        return Ok(());
    }
    let transaction = appender.connection.transaction()?;
    for Corrupt { position, bytes, reason } in corrupt {
        tracing::error!(position, bytes, reason, "a batch of samples is corrupt; it is set aside in quarantine");
        transaction.execute(
            "INSERT INTO quarantine (position, reason, batch) SELECT position, ?2, batch FROM tail WHERE position = ?1",
            params![position, reason],
        )?;
        transaction.execute("DELETE FROM tail WHERE position = ?1", [position])?;
    }
    transaction.commit()?;
    add(&appender.shared.totals.corrupt_batches, corrupt.len() as u64);
    Ok(())
}
