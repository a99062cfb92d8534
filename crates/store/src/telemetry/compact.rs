//! Chunks that lie over each other, made into chunks that do not.
//!
//! Late samples make chunks that overlap earlier ones. When too many lie over one moment, sealing
//! leaves a mark, and later some of them are merged, a bounded number at a time, until few enough
//! are left. The points stay the same and so does their order: a merged chunk takes the number of
//! a chunk it was made of, and every chunk between these numbers that shares their time is merged
//! too, so that equal times stay in the order of arrival.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tesaiot_contract::telemetry::{Metric, Sample};

use super::append::Appender;
use super::checksum::of_chunk;
use super::chunk::{Chunk, MAXIMUM_SPAN, Sealed, seal};
use super::codec::Malformed;
use super::head::Head;
use super::shared::{add, subtract};
use super::span::Span;
use super::stored::{self, Stored};
use crate::error::{During, StoreError};
use crate::time::from_nanoseconds;

/// Chunks over one moment that a reader can bear.
const MAXIMUM_DEPTH: usize = 4;
/// Chunks merged in one call.
const MERGE_PER_CALL: usize = 16;
/// Samples merged in one call.
const SAMPLES_PER_CALL: i64 = 16_384;
/// Neighbours looked at for one sealed chunk.
const NEIGHBOURS: usize = 256;

/// A row of a chunk on its way into another.
struct Row {
    time: i64,
    received: i64,
    kind: Option<std::sync::Arc<str>>,
    sample: Sample,
}

/// What a merge puts in place of its chunks.
struct Merged {
    numbers: Vec<i64>,
    bytes_before: u64,
    sealed: Vec<Sealed>,
}

/// Leaves a mark when too many chunks lie over a moment of one that was just sealed.
pub(super) fn mark(transaction: &Transaction<'_>, device: i64, number: i64, span: Span) -> rusqlite::Result<()> {
    let neighbours = stored::list(transaction, device, span, i64::MAX, NEIGHBOURS)?;
    if neighbours.len() <= MAXIMUM_DEPTH {
        return Ok(());
    }
    let (time, depth) = deepest(&neighbours, span);
    if depth > MAXIMUM_DEPTH {
        tracing::debug!(device, chunk = number, depth, "chunks lie over each other; they will be merged");
        transaction
            .prepare_cached("INSERT OR IGNORE INTO compact_due (device, time) VALUES (?1, ?2)")?
            .execute([device, time])?;
    }
    Ok(())
}

/// The moment within a span that most chunks reach over. Such a moment begins one of them.
fn deepest(chunks: &[Stored], span: Span) -> (i64, usize) {
    let over = |time: i64| chunks.iter().filter(|chunk| chunk.span.contains(time)).count();
    let mut starts: Vec<i64> = chunks.iter().map(|chunk| chunk.span.from.max(span.from)).collect();
    starts.dedup();
    starts.into_iter().map(|time| (time, over(time))).max_by_key(|(_, depth)| *depth).unwrap_or((span.from, 0))
}

impl Appender {
    /// Merges the chunks over one marked moment. Answers whether it did something.
    pub(super) fn compact(&mut self) -> Result<bool, StoreError> {
        let failed = |appender: &Self, source| StoreError::from_sqlite(appender.path(), During::Read, source);
        let marked: Option<(i64, i64)> = self
            .connection
            .prepare_cached("SELECT device, time FROM compact_due LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(|source| failed(self, source))?;
        let Some((device, time)) = marked else {
            return Ok(false);
        };
        let level = self.shared.options.compression_level;
        let samples = self.shared.options.chunk_samples;
        let merged = merge(&self.connection, device, time, samples, level).map_err(|source| failed(self, source))?;
        let Some(merged) = merged else {
            self.relaxed(|appender| {
                let mut statement =
                    appender.connection.prepare_cached("DELETE FROM compact_due WHERE device = ?1 AND time = ?2")?;
                statement.execute([device, time])
            })?;
            return Ok(true);
        };
        self.relaxed(|appender| merged.store(&mut appender.connection, device))?;
        let totals = &self.shared.totals;
        subtract(&totals.chunks, (merged.numbers.len() - merged.sealed.len()) as u64);
        add(&totals.chunk_bytes, merged.bytes());
        subtract(&totals.chunk_bytes, merged.bytes_before);
        self.log_bytes += merged.bytes() + (16 << 10);
        // The chunks it was about to read are gone.
        self.rollup = self.rollup.take().filter(|job| job.device != device);
        Ok(true)
    }
}

/// Merges some of the chunks over a moment. `None` when there are few enough, or none that can be.
fn merge(
    connection: &Connection,
    device: i64,
    time: i64,
    chunk_samples: usize,
    level: usize,
) -> rusqlite::Result<Option<Merged>> {
    let over = stored::list(connection, device, Span { from: time, to: time }, i64::MAX, NEIGHBOURS)?;
    if over.len() <= MAXIMUM_DEPTH {
        return Ok(None);
    }
    let Some(group) = group(connection, device, over)? else {
        return Ok(None);
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes_before = 0;
    for chunk in &group {
        let read = stored::read(connection, device, chunk.number, |chunk| collect(chunk, &mut rows))?;
        // A corrupt chunk stays as it is, for a person to look at.
        let Some(Ok(())) = read else {
            return Ok(None);
        };
        bytes_before += blob_bytes(connection, chunk.number)?;
    }
    rows.sort_by_key(|row| row.time);
    let sealed = pieces(&rows, chunk_samples.max(rows.len().div_ceil(group.len())), level);
    let numbers: Vec<i64> = group.iter().map(|chunk| chunk.number).collect();
    Ok((sealed.len() < numbers.len()).then_some(Merged { numbers, bytes_before, sealed }))
}

/// The chunks to merge: as many as fit of those over the moment, in a row by their numbers, and
/// all between these numbers that share their time. In the order of numbers.
fn group(connection: &Connection, device: i64, mut over: Vec<Stored>) -> rusqlite::Result<Option<Vec<Stored>>> {
    over.sort_unstable_by_key(|chunk| chunk.number);
    let mut best: Option<(usize, Vec<Stored>)> = None;
    for start in 0..over.len() {
        for end in start + 2..=over.len() {
            if end - start > MERGE_PER_CALL {
                break;
            }
            let Some(group) = closed(connection, device, &over[start..end])? else {
                break;
            };
            if best.as_ref().is_none_or(|(most, _)| end - start > *most) {
                best = Some((end - start, group));
            }
        }
        // Enough to get below the bound soon; the rest is for the next call.
        if best.as_ref().is_some_and(|(most, _)| *most > MAXIMUM_DEPTH) {
            break;
        }
    }
    Ok(best.map(|(_, group)| group))
}

/// Some chunks, and all that must be merged with them. `None` when these are too many.
fn closed(connection: &Connection, device: i64, chosen: &[Stored]) -> rusqlite::Result<Option<Vec<Stored>>> {
    let mut group: BTreeMap<i64, Stored> = chosen.iter().map(|chunk| (chunk.number, *chunk)).collect();
    loop {
        if group.len() > MERGE_PER_CALL {
            return Ok(None);
        }
        let mut samples = 0;
        for number in group.keys() {
            samples += stored::samples(connection, *number)?;
        }
        if samples > SAMPLES_PER_CALL {
            return Ok(None);
        }
        let (Some((&first, _)), Some((&last, _))) = (group.first_key_value(), group.last_key_value()) else {
            return Ok(None);
        };
        let from = group.values().map(|chunk| chunk.span.from).min().unwrap_or_default();
        let to = group.values().map(|chunk| chunk.span.to).max().unwrap_or_default();
        let near = stored::list(connection, device, Span { from, to }, i64::MAX, NEIGHBOURS)?;
        if near.len() == NEIGHBOURS {
            return Ok(None);
        }
        let known = group.len();
        group.extend(
            near.into_iter().filter(|chunk| (first..=last).contains(&chunk.number)).map(|chunk| (chunk.number, chunk)),
        );
        if group.len() == known {
            return Ok(Some(group.into_values().collect()));
        }
    }
}

/// The rows of a chunk, in their order.
fn collect(chunk: &Chunk<'_>, rows: &mut Vec<Row>) -> Result<(), Malformed> {
    let (header, columns) = (chunk.rows()?, chunk.columns(None)?);
    let mut places = vec![0_usize; columns.len()];
    for (row, &time) in header.times.iter().enumerate() {
        let mut metrics = Vec::with_capacity(columns.len());
        for (column, place) in columns.iter().zip(&mut places) {
            if column.rows.get(*place).is_some_and(|next| *next as usize == row) {
                let value = column.values.get(*place).ok_or(Malformed("a value is missing"))?;
                metrics.push(Metric {
                    name: (&*column.name).into(),
                    value,
                    unit: column.unit.as_deref().map(Into::into),
                });
                *place += 1;
            }
        }
        let received = *header.received.get(row).ok_or(Malformed("a receive time is missing"))?;
        let time_given = header.device_time.get(row).is_some_and(|given| *given);
        if !time_given && received != time {
            return Err(Malformed("a sample without a time has another one than it was received at"));
        }
        rows.push(Row {
            time,
            received,
            kind: header.kind(row).cloned(),
            sample: Sample { time: time_given.then(|| from_nanoseconds(time)), id: None, metrics },
        });
    }
    Ok(())
}

/// Rows in the order of time, sealed in pieces of about so many. Equal times stay together, so
/// that no two pieces share a moment.
fn pieces(rows: &[Row], samples: usize, level: usize) -> Vec<Sealed> {
    let mut sealed = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let end = first.time.saturating_add(MAXIMUM_SPAN);
        let mut length = samples.min(rest.partition_point(|row| row.time <= end)).max(1);
        let last = rest[length - 1].time;
        length = rest.partition_point(|row| row.time <= last).max(length);
        let (piece, later) = rest.split_at(length);
        let mut head = Head::new();
        for row in piece {
            head.push(0, row.kind.as_deref(), row.received, &row.sample, None);
        }
        sealed.extend(seal(&head, usize::MAX, level));
        rest = later;
    }
    sealed
}

fn blob_bytes(connection: &Connection, number: i64) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT length(blob) FROM chunk WHERE number = ?1")?
        .query_row([number], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

impl Merged {
    fn bytes(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.blob.len() as u64).sum()
    }

    fn store(&self, connection: &mut Connection, device: i64) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for number in &self.numbers {
            transaction.prepare_cached("DELETE FROM chunk WHERE number = ?1")?.execute([number])?;
        }
        for (number, chunk) in self.numbers.iter().zip(&self.sealed) {
            let (times, samples) = ((chunk.first_time, chunk.last_time), chunk.samples as i64);
            transaction
                .prepare_cached(
                    "INSERT INTO chunk (number, device, first_time, last_time, samples, blob, checksum)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    number,
                    device,
                    times.0,
                    times.1,
                    samples,
                    chunk.blob,
                    of_chunk(*number, device, times, samples, &chunk.blob).finish()
                ])?;
        }
        transaction.prepare_cached("UPDATE total SET chunks = chunks - ?1, chunk_bytes = chunk_bytes + ?2")?.execute(
            params![(self.numbers.len() - self.sealed.len()) as i64, self.bytes() as i64 - self.bytes_before as i64],
        )?;
        transaction.commit()
    }
}
