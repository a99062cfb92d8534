//! The chunks of a device as the writer sees them: for rollups, compaction and retention.

use rusqlite::{Connection, OptionalExtension, params};

use super::checksum::of_chunk;
use super::chunk::{Chunk, MAXIMUM_SPAN};
use super::codec::Malformed;
use super::view::Span;

/// The row of a chunk, without its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) number: i64,
    pub(super) span: Span,
    pub(super) samples: i64,
}

/// The chunks that reach into a span, by their first times, at most `limit`.
pub(super) fn list(connection: &Connection, device: i64, span: Span, limit: usize) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached(
            "SELECT number, first_time, last_time, samples FROM chunk INDEXED BY chunk_by_time
             WHERE device = ?1 AND first_time BETWEEN ?2 AND ?3 AND last_time >= ?4 ORDER BY first_time LIMIT ?5",
        )?
        .query_map(
            params![
                device,
                span.from.saturating_sub(MAXIMUM_SPAN),
                span.to,
                span.from,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| {
                let span = Span { from: row.get(1)?, to: row.get(2)? };
                Ok(Stored { number: row.get(0)?, span, samples: row.get(3)? })
            },
        )?
        .collect()
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
            if owner != device || !checksum.matches(row.get(5)?) {
                return Ok(Err(Malformed("the row is not what was written for this device")));
            }
            Ok(Chunk::open(blob).and_then(|chunk| read(&chunk)))
        })
        .optional()
}
