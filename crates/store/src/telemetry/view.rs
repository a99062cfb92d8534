//! One consistent look at a device: what its head holds, and the chunks that complete it.
//!
//! Sealing commits chunks first and empties the head right after. A reader copies what it needs of
//! the head, then begins a read transaction, and looks whether the database says that the device
//! is sealed through the same position as the copy: then every point is in exactly one of the two,
//! whatever is sealed, compacted or dropped meanwhile.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::chunk::Chunk;
use super::codec::Malformed;
use super::rollup::{Decoded, Piece, Resolution, day_of, due, pieces};
use super::shared::{Device, State, add};
use super::span::Span;
use super::{Telemetry, checksum, stored};
use crate::error::{During, StoreError};

/// Looks before a reader stops waiting for the same position and takes the chunks it knows.
const LOOKS: usize = 1000;

/// Days to be rolled up that a view remembers. A device has one or two.
const MOST_DUE: usize = 1000;

const CHUNK: &str = "SELECT blob, device, first_time, last_time, samples, checksum FROM chunk WHERE number = ?1";

/// Something that holds points in a span of time: a chunk, or the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) span: Span,
    /// The number of a chunk; the head has none and comes after all of them.
    pub(super) chunk: Option<i64>,
}

/// The chunks of one device as of one moment.
pub(super) struct View<'a> {
    telemetry: &'a Telemetry,
    connection: &'a Connection,
    /// The device's row, when anything of it was ever sealed.
    number: Option<i64>,
    /// Chunks up to this number belong to the view.
    visible: i64,
    /// The day before which retention has dropped chunks, or is about to.
    raw_from: i64,
    /// Of each resolution, the page that was read last.
    decoded: [RefCell<Decoded>; Resolution::ALL.len()],
    /// The first days whose rollups are to be made, at most [`MOST_DUE`]: asked for once, not for each edge of a bucket.
    due: OnceCell<Vec<i64>>,
    /// Whether the device has chunks of more than an hour.
    has_long: OnceCell<bool>,
    /// Reads a chunk.
    chunk: Cell<Option<CachedStatement<'a>>>,
}

/// What the database says of a device that was sealed before.
struct Sealed {
    number: i64,
    through: i64,
    raw_from: i64,
}

impl Telemetry {
    /// Copies something of the device's state, and reads the chunks that complete it.
    pub(super) fn view<C, T>(
        &self,
        device: &Device,
        copy: impl Fn(&State) -> C,
        read: impl FnOnce(&View<'_>, C) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = |source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source);
        self.shared.readers.with(|connection| {
            for look in 1.. {
                let (copied, number, sealed_through, visible) = {
                    let state = device.read();
                    (copy(&state), state.number, state.sealed_through, state.visible_chunk)
                };
                let transaction = connection.unchecked_transaction().map_err(failed)?;
                let sealed = sealed(connection, device.id.as_str()).map_err(failed)?;
                let is_same = sealed.as_ref().map_or(number.is_none(), |sealed| sealed.through == sealed_through);
                if is_same || look == LOOKS {
                    let raw_from = sealed.as_ref().map_or(i64::MIN, |sealed| sealed.raw_from);
                    let (number, visible) = match sealed {
                        Some(sealed) if is_same => (Some(sealed.number), i64::MAX),
                        _ => (number, visible),
                    };
                    let decoded = Default::default();
                    let view = View {
                        telemetry: self,
                        connection,
                        number,
                        visible,
                        raw_from,
                        decoded,
                        due: OnceCell::new(),
                        has_long: OnceCell::new(),
                        chunk: Cell::new(None),
                    };
                    let outcome = read(&view, copied);
                    drop(view);
                    transaction.finish().map_err(failed)?;
                    return outcome;
                }
                transaction.finish().map_err(failed)?;
                // The head is emptied right after the commit that was just seen.
                std::thread::yield_now();
            }
            unreachable!("the last look returns")
        })
    }
}

fn sealed(connection: &Connection, id: &str) -> rusqlite::Result<Option<Sealed>> {
    connection
        .prepare_cached("SELECT number, sealed_through, raw_from FROM device WHERE id = ?1")?
        .query_row([id], |row| Ok(Sealed { number: row.get(0)?, through: row.get(1)?, raw_from: row.get(2)? }))
        .optional()
}

impl View<'_> {
    /// Chunks that reach into a span, by their first times, at most `limit`.
    pub(super) fn sources(&self, span: Span, limit: usize) -> Result<Vec<Source>, StoreError> {
        let Some(number) = self.number else {
            return Ok(Vec::new());
        };
        let found = self
            .has_long(number)
            .and_then(|has_long| stored::list_of(self.connection, number, span, (self.visible, has_long), limit));
        let found = found.map_err(|source| self.failed(source))?;
        Ok(found.into_iter().map(|chunk| Source { span: chunk.span, chunk: Some(chunk.number) }).collect())
    }

    fn has_long(&self, number: i64) -> rusqlite::Result<bool> {
        if let Some(has_long) = self.has_long.get() {
            return Ok(*has_long);
        }
        let has_long = stored::has_long(self.connection, number)?;
        Ok(*self.has_long.get_or_init(|| has_long))
    }

    /// The chunks that reach into a span, when they are few and retention has dropped none of them.
    pub(super) fn few_sources(&self, span: Span) -> Result<Option<Vec<Source>>, StoreError> {
        let most = self.telemetry.shared.options.few_chunks;
        if most == 0 || day_of(span.from) < self.raw_from {
            return Ok(None);
        }
        let sources = self.sources(span, most + 1)?;
        Ok((sources.len() <= most).then_some(sources))
    }

    /// What rollups answer of a span, piece by piece; what they leave open stands in the chunks of this view.
    /// `each` says whether to go on, and may ask for the pieces of a finer resolution.
    pub(super) fn rolled(
        &self,
        metric: &str,
        resolution: Resolution,
        span: Span,
        each: &mut dyn FnMut(Piece) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        // Rollups know of all chunks that are sealed, so a view of fewer cannot use them.
        let Some(number) = self.number.filter(|_| self.visible == i64::MAX) else {
            return each(Piece::Open(span)).map(drop);
        };
        let decoded = &mut self.decoded[resolution as usize].borrow_mut();
        let failed = |source| self.failed(source);
        let due = self.due(number, span).map_err(failed)?;
        let corrupt = pieces(self.connection, (number, &due), (metric, resolution, span), decoded, failed, each)?;
        add(&self.telemetry.shared.totals.corrupt_chunk_reads, corrupt);
        Ok(())
    }

    /// The days of a span whose rollups are to be made, and perhaps others.
    fn due(&self, number: i64, span: Span) -> rusqlite::Result<Cow<'_, [i64]>> {
        let all = match self.due.get() {
            Some(all) => all,
            None => {
                let all = due(self.connection, number, (i64::MIN, i64::MAX), MOST_DUE)?;
                self.due.get_or_init(|| all)
            }
        };
        if all.len() < MOST_DUE {
            return Ok(Cow::Borrowed(all));
        }
        due(self.connection, number, (day_of(span.from), day_of(span.to)), usize::MAX).map(Cow::Owned)
    }

    /// Reads one chunk. A corrupt one is passed over, logged and counted.
    pub(super) fn chunk(
        &self,
        number: i64,
        read: impl FnOnce(&Chunk<'_>) -> Result<(), Malformed>,
    ) -> Result<(), StoreError> {
        let failed = |source| self.failed(source);
        // Kept at hand: it is run for every chunk.
        let mut statement = match self.chunk.take() {
            Some(statement) => statement,
            None => self.connection.prepare_cached(CHUNK).map_err(failed)?,
        };
        let outcome = statement.query([number]).and_then(|mut rows| match rows.next()? {
            Some(row) => self.open(number, row).map(|chunk| chunk.and_then(|chunk| read(&chunk))),
            None => Ok(Ok(())),
        });
        self.chunk.set(Some(statement));
        if let Err(malformed) = outcome.map_err(failed)? {
            add(&self.telemetry.shared.totals.corrupt_chunk_reads, 1);
            tracing::error!(chunk = number, reason = %malformed, "a chunk is corrupt; its points are passed over");
        }
        Ok(())
    }

    fn open<'a>(&self, number: i64, row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Result<Chunk<'a>, Malformed>> {
        let blob = row.get_ref(0)?.as_blob()?;
        let owner: i64 = row.get(1)?;
        let checksum = checksum::of_chunk(number, owner, (row.get(2)?, row.get(3)?), row.get(4)?, blob);
        // A device without a row has no chunks; there is none of the number 0.
        Ok(stored::open(self.number.unwrap_or(0), owner, blob, checksum, row.get(5)?))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(self.telemetry.shared.readers.path(), During::Read, source)
    }

    /// The next stretch of time, from `span.from` on, that few chunks reach into, and these chunks.
    /// There are about `most` of them; where more overlap at one moment, all of those.
    pub(super) fn stretch(&self, span: Span, most: usize) -> Result<(Span, Vec<Source>), StoreError> {
        let mut sources = self.sources(span, most.saturating_add(1))?;
        if sources.len() <= most {
            return Ok((span, sources));
        }
        let cut = sources[most].span.from.saturating_sub(1);
        if cut >= span.from {
            sources.truncate(most);
            sources.retain(|source| source.span.from <= cut);
            return Ok((Span { from: span.from, to: cut.min(span.to) }, sources));
        }
        // Deep in overlapping chunks: all that reach over the first moment, up to where the next begins.
        let mut sources = self.sources(Span { from: span.from, to: span.from }, usize::MAX)?;
        let next = self.sources(Span { from: span.from, to: span.to }, sources.len() + 1)?;
        let end = match next.get(sources.len()) {
            Some(next) => next.span.from.saturating_sub(1),
            None => span.to,
        };
        sources.sort_by_key(|source| source.span.from);
        Ok((Span { from: span.from, to: end.clamp(span.from, span.to) }, sources))
    }
}
