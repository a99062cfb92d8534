//! What is dropped when it is old, or when there is too much: chunks, rollups and messages.
//!
//! Devices are visited one after the other, a few in each call of `maintain` and all of them about
//! once a minute. Chunks go when all their samples are older than the day that the rule of their
//! device says, and when the rollups of their days are made. Above the bound on the size of the
//! file, each visit of all devices drops the oldest day that any of them has; the day before
//! yesterday is the last one that goes. Rollups and messages go by their age, and messages
//! also by their number. What was dropped is counted.
//!
//! A chunk goes as a whole, and a head is sealed first, so samples older than the rule says can still be there for some
//! days. They are not served: a question for points begins at the first day that is kept. Buckets are made of rollups,
//! which have an age of their own, and the newest value of a device is its newest however old it is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tesaiot_contract::DeviceId;

use super::append::Appender;
use super::rollup::{Resolution, day_of, day_start};
use super::shared::{Shared, add, subtract, value};
use super::span::Span;
use super::sweep::Sweep;
use crate::error::{During, StoreError};
use crate::time::to_nanoseconds;

/// Between two visits of all devices, when nothing presses.
const PAUSE: Duration = Duration::from_secs(60);
/// While rollups must be made before chunks can go.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// Devices visited in one call.
const DEVICES_PER_CALL: i64 = 16;
/// Chunks, pages or messages dropped in one call.
const DROP_PER_CALL: i64 = 32;
/// Pages of the file that are given back in one call: 1 MiB.
const VACUUM_PER_CALL: u64 = 256;
/// Unused pages that stay in the file for what is written next: 8 MiB.
const SPARE_PAGES: u64 = 2048;

/// What one step dropped.
#[derive(Default)]
struct Dropped {
    chunks: u64,
    chunk_bytes: u64,
    samples: u64,
    rollups: u64,
    messages: u64,
}

/// A device that is visited.
struct Visited {
    number: i64,
    raw_from: i64,
    /// Chunks before this day go.
    raw_before: Option<i64>,
    /// Pages of rollups before this day go.
    rollups_before: Option<i64>,
}

impl Appender {
    /// Does a bounded piece of the work. Answers whether there is more now.
    pub(super) fn retain(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        if !self.sweep.is_due() {
            return self.shrink();
        }
        let today = day_of(to_nanoseconds(now));
        if self.sweep.device.is_none() {
            self.begin_sweep(today)?;
        }
        let devices = self.visited(today).map_err(|source| self.unreadable(source))?;
        let message_age = self.shared.options.message_age;
        let oldest_message = message_age.map(|age| to_nanoseconds(now).saturating_sub(nanoseconds(age)));
        let mut step = Step { today, ..Step::default() };
        self.relaxed(|appender| {
            let transaction = appender.connection.transaction()?;
            let excess = value(&appender.shared.totals.messages).saturating_sub(appender.shared.options.messages);
            step.drop_messages(&transaction, excess, oldest_message)?;
            for device in &devices {
                step.visit(&transaction, device)?;
                if step.is_full() {
                    break;
                }
            }
            step.count(&transaction)?;
            transaction.commit()
        })?;
        Ok(self.after(&step, devices.len()))
    }

    fn unreadable(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(self.path(), During::Read, source)
    }

    fn begin_sweep(&mut self, today: i64) -> Result<(), StoreError> {
        let maximum = self.shared.options.maximum_bytes;
        let is_over = match maximum {
            Some(maximum) => used_bytes(&self.connection).map_err(|source| self.unreadable(source))? > maximum,
            None => false,
        };
        // The oldest day was found by the visit before.
        let pressure = self.sweep.oldest.filter(|_| is_over).map(|oldest| (oldest + 1).min(today - 1));
        self.sweep = Sweep { device: Some(i64::MIN), pressure, shrink: true, ..Sweep::default() };
        Ok(())
    }

    fn visited(&self, today: i64) -> rusqlite::Result<Vec<Visited>> {
        let options = &self.shared.options;
        let before = |age: Option<Duration>| age.map(|age| first_day(today, age));
        self.connection
            .prepare_cached("SELECT number, id, raw_from FROM device WHERE number > ?1 ORDER BY number LIMIT ?2")?
            .query_map([self.sweep.device.unwrap_or(i64::MIN), DEVICES_PER_CALL], |row| {
                let retention = options.retention_of(row.get_ref(1)?.as_str()?);
                Ok(Visited {
                    number: row.get(0)?,
                    raw_from: row.get(2)?,
                    raw_before: before(retention.raw).max(self.sweep.pressure),
                    rollups_before: before(retention.rollups),
                })
            })?
            .collect()
    }

    /// Takes over into memory what a step did.
    fn after(&mut self, step: &Step, visited: usize) -> bool {
        let (totals, dropped) = (&self.shared.totals, &step.dropped);
        subtract(&totals.chunks, dropped.chunks);
        subtract(&totals.chunk_bytes, dropped.chunk_bytes);
        subtract(&totals.messages, dropped.messages);
        add(&totals.chunks_dropped, dropped.chunks);
        add(&totals.samples_dropped, dropped.samples);
        add(&totals.rollups_dropped, dropped.rollups);
        add(&totals.messages_dropped, dropped.messages);
        if dropped.chunks > 0 {
            tracing::info!(chunks = dropped.chunks, samples = dropped.samples, "old chunks were dropped");
            // What is being computed may have lost its chunks.
            self.rollup = None;
        }
        self.log_bytes += dropped.chunk_bytes + (16 << 10);
        let sweep = &mut self.sweep;
        sweep.has_dropped |= dropped.chunks + dropped.rollups > 0;
        sweep.has_waited |= step.has_waited;
        sweep.oldest = [sweep.oldest, step.oldest].into_iter().flatten().min();
        sweep.device = step.last.or(sweep.device);
        if step.is_full() || visited == DEVICES_PER_CALL as usize {
            return true;
        }
        self.end_sweep()
    }

    fn end_sweep(&mut self) -> bool {
        let maximum = self.shared.options.maximum_bytes;
        let is_over = maximum.is_some_and(|maximum| used_bytes(&self.connection).is_ok_and(|used| used > maximum));
        let sweep = &mut self.sweep;
        sweep.device = None;
        let is_pressing = is_over && (sweep.has_dropped || (sweep.pressure.is_none() && sweep.oldest.is_some()));
        let pause = match (is_pressing, sweep.has_waited) {
            (true, _) => Duration::ZERO,
            (false, true) => SHORT_PAUSE,
            (false, false) => PAUSE,
        };
        sweep.next = Some(Instant::now() + pause);
        is_pressing || sweep.shrink
    }

    /// Gives unused pages at the end of the file back to the file system, some at a time. Files
    /// made by earlier formats keep theirs for reuse until they are compacted as a whole.
    fn shrink(&mut self) -> Result<bool, StoreError> {
        if !self.sweep.shrink {
            return Ok(false);
        }
        let spare = |connection: &Connection| -> rusqlite::Result<u64> {
            let is_incremental: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
            let unused = pragma(connection, "freelist_count")?;
            let kept = SPARE_PAGES.max(pragma(connection, "page_count")? / 16);
            Ok(if is_incremental == 2 { unused.saturating_sub(kept) } else { 0 })
        };
        let spare = spare(&self.connection).map_err(|source| self.unreadable(source))?;
        if spare == 0 {
            self.sweep.shrink = false;
            return Ok(false);
        }
        self.relaxed(|appender| {
            let pages = spare.min(VACUUM_PER_CALL);
            let mut statement = appender.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            // It gives back one page for each step.
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        self.log_bytes += VACUUM_PER_CALL * 4096;
        Ok(true)
    }
}

/// One step of a visit.
#[derive(Default)]
struct Step {
    today: i64,
    dropped: Dropped,
    oldest: Option<i64>,
    /// The last device that was visited to its end.
    last: Option<i64>,
    has_waited: bool,
}

impl Step {
    fn is_full(&self) -> bool {
        [self.dropped.chunks, self.dropped.rollups, self.dropped.messages].into_iter().max()
            >= Some(DROP_PER_CALL as u64)
    }

    fn visit(&mut self, transaction: &Transaction<'_>, device: &Visited) -> rusqlite::Result<()> {
        // A device that has gone silent has no later day that would make its last one ready.
        transaction
            .prepare_cached("UPDATE rollup_due SET ready = 1 WHERE device = ?1 AND day < ?2 AND ready = 0")?
            .execute([device.number, self.today - 1])?;
        if let Some(before) = device.raw_before {
            self.drop_chunks(transaction, device, before)?;
        }
        if let Some(before) = device.rollups_before {
            self.drop_rollups(transaction, device.number, before)?;
        }
        let first: Option<i64> = transaction
            .prepare_cached("SELECT min(first_time) FROM chunk INDEXED BY chunk_by_time WHERE device = ?1")?
            .query_row([device.number], |row| row.get(0))?;
        self.oldest = [self.oldest, first.map(day_of)].into_iter().flatten().min();
        if !self.is_full() {
            self.last = Some(device.number);
        }
        Ok(())
    }

    /// Drops chunks whose samples are all before a day, once the rollups of these days are made.
    fn drop_chunks(&mut self, transaction: &Transaction<'_>, device: &Visited, before: i64) -> rusqlite::Result<()> {
        let old: Vec<(i64, u64, u64)> = transaction
            .prepare_cached(
                "SELECT number, samples, length(blob) FROM chunk INDEXED BY chunk_by_time
                 WHERE device = ?1 AND first_time < ?2 AND last_time < ?2 ORDER BY first_time LIMIT ?3",
            )?
            .query_map([device.number, day_start(before), DROP_PER_CALL], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get::<_, i64>(2)?.unsigned_abs()))
            })?
            .collect::<Result<_, _>>()?;
        if old.is_empty() {
            return Ok(());
        }
        let is_waiting = transaction
            .prepare_cached("UPDATE rollup_due SET ready = 1 WHERE device = ?1 AND day >= ?2 AND day < ?3")?
            .execute([device.number, device.raw_from, before])?
            > 0;
        if is_waiting {
            self.has_waited = true;
            return Ok(());
        }
        transaction
            .prepare_cached("UPDATE device SET raw_from = max(raw_from, ?2) WHERE number = ?1")?
            .execute([device.number, before])?;
        for (number, samples, bytes) in old {
            transaction.prepare_cached("DELETE FROM chunk WHERE number = ?1")?.execute([number])?;
            self.dropped.chunks += 1;
            self.dropped.samples += samples;
            self.dropped.chunk_bytes += bytes;
        }
        Ok(())
    }

    fn drop_rollups(&mut self, transaction: &Transaction<'_>, device: i64, before: i64) -> rusqlite::Result<()> {
        for resolution in Resolution::ALL {
            let dropped = transaction
                .prepare_cached(
                    "DELETE FROM rollup WHERE number IN (SELECT number FROM rollup
                     WHERE device = ?1 AND resolution = ?2 AND first_day <= ?3 ORDER BY first_day LIMIT ?4)",
                )?
                .execute(params![device, resolution.number(), before - resolution.page_days(), DROP_PER_CALL])?;
            self.dropped.rollups += dropped as u64;
        }
        Ok(())
    }

    /// Drops the oldest messages: `excess` of them, and those received before a time.
    fn drop_messages(
        &mut self,
        transaction: &Transaction<'_>,
        excess: u64,
        before: Option<i64>,
    ) -> rusqlite::Result<()> {
        let oldest: Vec<(i64, i64)> = transaction
            .prepare_cached("SELECT number, received_at FROM message ORDER BY number LIMIT ?1")?
            .query_map([DROP_PER_CALL], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (number, received) in oldest {
            let is_old = before.is_some_and(|before| received < before);
            if !is_old && self.dropped.messages >= excess {
                break;
            }
            transaction.prepare_cached("DELETE FROM message WHERE number = ?1")?.execute([number])?;
            self.dropped.messages += 1;
        }
        Ok(())
    }

    fn count(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let dropped = &self.dropped;
        if dropped.chunks + dropped.rollups + dropped.messages == 0 {
            return Ok(());
        }
        transaction
            .prepare_cached(
                "UPDATE total SET chunks = chunks - ?1, chunk_bytes = chunk_bytes - ?2,
                     chunks_dropped = chunks_dropped + ?1, samples_dropped = samples_dropped + ?3,
                     rollups_dropped = rollups_dropped + ?4, messages_dropped = messages_dropped + ?5",
            )?
            .execute(params![
                dropped.chunks as i64,
                dropped.chunk_bytes as i64,
                dropped.samples as i64,
                dropped.rollups as i64,
                dropped.messages as i64
            ])?;
        Ok(())
    }
}

/// Bytes of the database that hold something.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")?.saturating_sub(pragma(connection, "freelist_count")?);
    Ok(pages * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let number: Option<i64> = connection.pragma_query_value(None, name, |row| row.get(0)).optional()?;
    Ok(number.unwrap_or_default().unsigned_abs())
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Shared {
    /// The part of a span of which the samples of a device are kept. What is older may still be there, in a head or in
    /// a chunk with younger samples, and is not served all the same: who sets a limit relies on it.
    pub(super) fn kept(&self, device: &DeviceId, span: Span) -> Option<Span> {
        let Some(age) = self.options.retention_of(device.as_str()).raw else {
            return Some(span);
        };
        let from = day_start(first_day(self.today.load(Ordering::Relaxed), age)).max(span.from);
        (from <= span.to).then_some(Span { from, ..span })
    }
}

/// The first day whose data is kept.
fn first_day(today: i64, age: Duration) -> i64 {
    today.saturating_sub(days(age))
}

/// Whole days, at least one.
fn days(age: Duration) -> i64 {
    (nanoseconds(age) / super::rollup::DAY).max(1)
}
