//! The chunks of a device as the writer sees them: for rollups, compaction and retention.

use rusqlite::{Connection, OptionalExtension, params};

use super::checksum::{RowChecksum, of_chunk};
use super::chunk::{Chunk, MAXIMUM_SPAN};
use super::codec::Malformed;
use super::span::Span;

/// A chunk that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) number: i64,
    pub(super) span: Span,
}

/// A chunk that spans more than this, an hour, is in an index of its own. So the chunks over a moment are found
/// among those that begin up to an hour before it, and the few long ones that begin earlier: never among the
/// thousands that a quick device seals in [`MAXIMUM_SPAN`].
const LONG: i64 = 3_600_000_000_000;

/// The chunks that reach into a span, by their first times, at most `limit`; only those up to the number `visible`.
pub(super) fn list(
    connection: &Connection,
    device: i64,
    span: Span,
    visible: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Stored>> {
    list_of(connection, device, span, (visible, true), limit)
}

/// Whether a device has chunks that are in the index of long ones.
pub(super) fn has_long(connection: &Connection, device: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM chunk INDEXED BY chunk_long
         WHERE last_time - first_time > 3600000000000 AND device = ?1)";
    connection.prepare_cached(sql)?.query_row([device], |row| row.get(0))
}

/// The same for who knows whether the device has long chunks at all.
pub(super) fn list_of(
    connection: &Connection,
    device: i64,
    span: Span,
    (visible, has_long): (i64, bool),
    limit: usize,
) -> rusqlite::Result<Vec<Stored>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let recent = span.from.saturating_sub(LONG);
    let mut found = Vec::new();
    // The predicate of the index is written as it stands there: only then may it be used.
    let long = "SELECT number, first_time, last_time FROM chunk INDEXED BY chunk_long
         WHERE last_time - first_time > 3600000000000
           AND device = ?1 AND first_time >= ?2 AND first_time < ?3 AND last_time >= ?4 AND number <= ?5
         ORDER BY first_time LIMIT ?6";
    let any = "SELECT number, first_time, last_time FROM chunk INDEXED BY chunk_by_time
         WHERE device = ?1 AND first_time >= ?2 AND first_time <= ?3 AND last_time >= ?4 AND number <= ?5
         ORDER BY first_time LIMIT ?6";
    let earliest = span.from.saturating_sub(MAXIMUM_SPAN);
    let parts = [(long, earliest, recent), (any, recent, span.to)];
    for (statement, first, last) in parts.into_iter().skip(usize::from(!has_long)) {
        let wanted = limit - found.len() as i64;
        let mut statement = connection.prepare_cached(statement)?;
        let rows = statement.query_map(params![device, first, last, span.from, visible, wanted], |row| {
            Ok(Stored { number: row.get(0)?, span: Span { from: row.get(1)?, to: row.get(2)? } })
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

/// How many samples a chunk has; none when it is gone.
pub(super) fn samples(connection: &Connection, number: i64) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT samples FROM chunk WHERE number = ?1")?;
    Ok(statement.query_row([number], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// The chunk of a row, when the row is what was written for a device: the index that led here has no checksum.
pub(super) fn open(
    device: i64,
    owner: i64,
    blob: &[u8],
    checksum: RowChecksum,
    stored: Option<i64>,
) -> Result<Chunk<'_>, Malformed> {
    if owner == device && checksum.is(stored) {
        // The checksum of the row covers the blob: it is not gone through a second time.
        Chunk::open_checked(blob)
    } else if owner == device && stored.is_none() {
        Chunk::open(blob)
    } else {
        Err(Malformed("the row is not what was written for this device"))
    }
}

/// Reads one chunk of a device. `None` when it is gone; what is malformed is for the caller to judge.
pub(super) fn read<T>(
    connection: &Connection,
    device: i64,
    number: i64,
    read: impl FnOnce(&Chunk<'_>) -> Result<T, Malformed>,
) -> rusqlite::Result<Option<Result<T, Malformed>>> {
    connection
        .prepare_cached("SELECT device, first_time, last_time, samples, blob, checksum FROM chunk WHERE number = ?1")?
        .query_row([number], |row| {
            let blob = row.get_ref(4)?.as_blob()?;
            let owner: i64 = row.get(0)?;
            let checksum = of_chunk(number, owner, (row.get(1)?, row.get(2)?), row.get(3)?, blob);
            Ok(open(device, owner, blob, checksum, row.get(5)?).and_then(|chunk| read(&chunk)))
        })
        .optional()
}
