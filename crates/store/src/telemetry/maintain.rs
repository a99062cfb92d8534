//! Moving points from the tail into chunks, between appends, a bounded amount at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use tesaiot_contract::DeviceId;

use super::append::Appender;
use super::checksum;
use super::chunk::{Sealed, seal};
use super::compact;
use super::head::Head;
use super::query::Maintained;
use super::rollup::day_of;
use super::shared::{Device, add, encode_snapshot, subtract, value};
use super::span::Span;
use crate::error::{During, StoreError};
use crate::time::to_nanoseconds;

/// Batches in the tail above which the devices that keep it are sealed: each is a row to replay.
const MAXIMUM_BATCHES: usize = 65_536;
/// Batches trimmed in one call.
const TRIM_PER_CALL: i64 = 256;
/// Calls in a row that seal and do nothing else: then rollups and retention get their turn.
const MAXIMUM_BUSY_CALLS: u32 = 3;
/// However much is over its bound, one call writes no more chunks than this times its usual number.
const EMERGENCY_FACTOR: usize = 64;

/// A device whose whole head is compressed and waits to be committed.
struct Ready {
    device: Arc<Device>,
    number: Option<i64>,
    chunks: Vec<Sealed>,
    snapshot: Vec<u8>,
    samples: usize,
    values: u64,
    bytes: usize,
    oldest: i64,
    /// The days of its samples, rising.
    days: Vec<i64>,
}

impl Appender {
    /// Seals the heads that are due, trims the tail behind them, keeps the dead letters within
    /// their bounds and moves the write-ahead log into the database when it is long.
    ///
    /// The work of one call is bounded: call it after every append and while idle, at least once
    /// a second, and again while [`Maintained::more`] says so and nothing waits to be appended.
    /// Without these calls nothing is lost, but memory and the tail grow.
    ///
    /// # Errors
    /// As [`Appender::append`]; nothing is changed then, and the next call tries again.
    pub fn maintain(&mut self) -> Result<Maintained, StoreError> {
        self.maintain_at(Timestamp::now())
    }

    /// The same at a time of day that retention goes by.
    pub(super) fn maintain_at(&mut self, now: Timestamp) -> Result<Maintained, StoreError> {
        self.shared.today.store(day_of(to_nanoseconds(now)), Ordering::Relaxed);
        let chosen = self.choose();
        let ready: Vec<Ready> = chosen.into_iter().filter_map(|device| self.prepare(device)).collect();
        let trim_before = self.trim_before(&ready);
        let mut done = Maintained { more: false, ..Maintained::default() };
        if !ready.is_empty() || trim_before.is_some() {
            let first_chunk = self.last_chunk + 1;
            self.relaxed(|appender| appender.commit_sealed(&ready, first_chunk, trim_before))?;
            self.take_out(ready, &mut done);
            done.batches = self.forget_batches(trim_before);
        }
        self.drop_dead_letters()?;
        self.appended_since = 0;
        // What follows is no hurry, and each takes its time: one of them in a call that sealed nothing.
        let is_busy = done.chunks > 0 && self.busy_calls < MAXIMUM_BUSY_CALLS;
        self.busy_calls = if is_busy { self.busy_calls + 1 } else { 0 };
        let more = is_busy || self.roll_up()? || self.compact()? || self.retain(now)?;
        done.more = more || self.is_work_left();
        self.checkpoint_when_long()?;
        Ok(done)
    }

    /// Seals every head now, whatever its size: before a backup, or in a test.
    ///
    /// # Errors
    /// As [`Appender::maintain`].
    pub fn seal_all(&mut self) -> Result<Maintained, StoreError> {
        let mut total = Maintained::default();
        while let Some((_, id)) = self.by_oldest.first().cloned() {
            let ready: Vec<Ready> =
                self.shared.device(&id).into_iter().filter_map(|device| self.prepare(device)).collect();
            let trim_before = self.trim_before(&ready);
            let first_chunk = self.last_chunk + 1;
            self.relaxed(|appender| appender.commit_sealed(&ready, first_chunk, trim_before))?;
            self.take_out(ready, &mut total);
            total.batches += self.forget_batches(trim_before);
        }
        Ok(total)
    }

    /// The devices to seal in this call: full heads first, then those that keep the tail from
    /// being trimmed for too long, then the largest while memory is over its bound.
    fn choose(&mut self) -> Vec<Arc<Device>> {
        let usual = self.shared.options.seals_per_call.max(1);
        let mut chosen: Vec<Arc<Device>> = Vec::new();
        let mut ids: HashSet<DeviceId> = HashSet::new();
        for device in &self.due {
            if chosen.len() >= usual {
                break;
            }
            if ids.insert(device.id.clone()) {
                chosen.push(Arc::clone(device));
            }
        }
        let is_tail_long = self.is_tail_long();
        for (_, id) in self.by_oldest.iter().take(usual) {
            let Some(device) = self.shared.device(id) else {
                continue;
            };
            let is_old = device.read().head.since.elapsed() >= self.shared.options.head_age;
            if (is_old || is_tail_long) && ids.insert(id.clone()) {
                chosen.push(device);
            }
        }
        self.choose_largest(&mut chosen, &mut ids, usual * EMERGENCY_FACTOR);
        chosen
    }

    /// While the heads take more memory than they may: the largest ones, and enough of them to
    /// get ahead of what is being appended.
    fn choose_largest(&self, chosen: &mut Vec<Arc<Device>>, ids: &mut HashSet<DeviceId>, most: usize) {
        let open_bytes = value(&self.shared.totals.open_bytes);
        let bound = self.shared.options.head_bytes as u64;
        if open_bytes <= bound {
            return;
        }
        let mut by_size: Vec<(usize, usize, Arc<Device>)> = self
            .shared
            .all_devices()
            .into_iter()
            .map(|device| {
                let state = device.read();
                let (bytes, samples) = (state.head.bytes, state.head.len());
                drop(state);
                (bytes, samples, device)
            })
            .filter(|(_, samples, _)| *samples > 0)
            .collect();
        by_size.sort_unstable_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        let mut excess = open_bytes - bound;
        let mut samples_wanted = 2 * self.appended_since + 1;
        for (bytes, samples, device) in by_size {
            if excess == 0 || samples_wanted == 0 || chosen.len() >= most {
                break;
            }
            excess = excess.saturating_sub(bytes as u64);
            samples_wanted = samples_wanted.saturating_sub(samples);
            if ids.insert(device.id.clone()) {
                chosen.push(device);
            }
        }
    }

    /// Compresses the head of a device. Readers go on meanwhile; only this thread changes heads.
    fn prepare(&self, device: Arc<Device>) -> Option<Ready> {
        let state = device.read();
        let head = &state.head;
        if head.is_empty() {
            return None;
        }
        let options = &self.shared.options;
        let chunks = seal(head, options.chunk_samples.max(1), options.compression_level);
        let snapshot = encode_snapshot(&state.cursor, &state.latest);
        let (number, samples, values, bytes, oldest) = (state.number, head.len(), head.values, head.bytes, head.oldest);
        let mut days: Vec<i64> = head.rows.times.iter().map(|time| day_of(*time)).collect();
        days.sort_unstable();
        days.dedup();
        drop(state);
        Some(Ready { device, number, chunks, snapshot, samples, values, bytes, oldest, days })
    }

    /// The first tail position that is still needed once `ready` is sealed, if batches can go.
    fn trim_before(&self, ready: &[Ready]) -> Option<i64> {
        let (first, _) = *self.batches.front()?;
        let sealed: HashSet<&DeviceId> = ready.iter().map(|ready| &ready.device.id).collect();
        let needed = self
            .by_oldest
            .iter()
            .find(|(_, id)| !sealed.contains(id))
            .map_or(self.position + 1, |(position, _)| *position);
        let before = needed.min(first + TRIM_PER_CALL);
        (before > first).then_some(before)
    }

    /// Runs a change without waiting for the disk. A crash of the machine may undo it, and then
    /// the tail still has every sample: what must not be lost is only ever written by `append`,
    /// which waits. The order of the write-ahead log keeps chunks and trimming together.
    pub(super) fn relaxed<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let outcome = self.connection.pragma_update(None, "synchronous", "NORMAL").and_then(|()| change(self));
        let restored = self.connection.pragma_update(None, "synchronous", "FULL");
        outcome
            .and_then(|value| restored.map(|()| value))
            .map_err(|source| StoreError::from_sqlite(self.path(), During::Commit, source))
    }

    fn commit_sealed(&mut self, ready: &[Ready], first_chunk: i64, trim_before: Option<i64>) -> rusqlite::Result<()> {
        let position = self.position;
        let transaction = self.connection.transaction()?;
        let mut number = first_chunk;
        for ready in ready {
            insert_sealed(&transaction, ready, position, &mut number)?;
        }
        if let Some(before) = trim_before {
            transaction.prepare_cached("DELETE FROM tail WHERE position < ?1")?.execute([before])?;
            transaction.prepare_cached("UPDATE total SET trimmed_through = ?1 - 1")?.execute([before])?;
        }
        transaction.commit()
    }

    /// Takes what is now in chunks out of memory.
    fn take_out(&mut self, ready: Vec<Ready>, done: &mut Maintained) {
        let totals = &self.shared.totals;
        for ready in ready {
            self.last_chunk += ready.chunks.len() as i64;
            let chunk_bytes: u64 = ready.chunks.iter().map(|chunk| chunk.blob.len() as u64).sum();
            self.log_bytes += chunk_bytes + ready.snapshot.len() as u64 + (16 << 10);
            add(&totals.chunks, ready.chunks.len() as u64);
            add(&totals.chunk_bytes, chunk_bytes);
            subtract(&totals.open_samples, ready.samples as u64);
            subtract(&totals.open_bytes, ready.bytes as u64);
            done.chunks += ready.chunks.len();
            done.samples += ready.samples;
            self.by_oldest.remove(&(ready.oldest, ready.device.id.clone()));
            self.due.retain(|device| !Arc::ptr_eq(device, &ready.device));
            let number = ready.number.or_else(|| self.number_of(&ready.device.id));
            self.rollup = self.rollup.take().filter(|job| Some(job.device) != number || !ready.days.contains(&job.day));
            let mut state = ready.device.write();
            state.number = number;
            state.sealed_through = self.position;
            state.visible_chunk = self.last_chunk;
            state.latest.after_sealing();
            state.head = Head::new();
        }
    }

    /// The row of a device that has just got one.
    fn number_of(&self, id: &DeviceId) -> Option<i64> {
        self.connection
            .prepare_cached("SELECT number FROM device WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id.as_str()], |row| row.get(0)).optional())
            .ok()
            .flatten()
    }

    fn forget_batches(&mut self, trim_before: Option<i64>) -> usize {
        let Some(before) = trim_before else {
            return 0;
        };
        let mut forgotten = 0;
        while let Some(&(position, bytes)) = self.batches.front()
            && position < before
        {
            self.batches.pop_front();
            subtract(&self.shared.totals.tail_batches, 1);
            subtract(&self.shared.totals.tail_bytes, bytes);
            forgotten += 1;
        }
        forgotten
    }

    fn is_tail_long(&self) -> bool {
        self.batches.len() > MAXIMUM_BATCHES || value(&self.shared.totals.tail_bytes) > self.shared.options.tail_bytes
    }

    fn is_work_left(&self) -> bool {
        let can_trim = self.trim_before(&[]).is_some();
        let over = value(&self.shared.totals.open_bytes) > self.shared.options.head_bytes as u64;
        !self.due.is_empty()
            || can_trim
            || over
            || (self.is_tail_long() && !self.by_oldest.is_empty())
            || self.has_too_many_dead_letters()
    }

    /// Moves the write-ahead log into the database, here rather than inside a commit.
    fn checkpoint_when_long(&mut self) -> Result<(), StoreError> {
        if self.log_bytes < self.shared.options.write_ahead_log_bytes {
            return Ok(());
        }
        // Passive: it never waits for readers, and takes what they still use the next time.
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(|source| StoreError::from_sqlite(self.path(), During::Commit, source))?;
        self.log_bytes = 0;
        Ok(())
    }
}

fn insert_sealed(
    transaction: &Transaction<'_>,
    ready: &Ready,
    position: i64,
    number: &mut i64,
) -> rusqlite::Result<()> {
    let device: i64 = transaction
        .prepare_cached(
            "INSERT INTO device (id, sealed_through, snapshot, checksum) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET sealed_through = excluded.sealed_through,
                 snapshot = excluded.snapshot, checksum = excluded.checksum
             RETURNING number",
        )?
        .query_row(
            params![
                ready.device.id.as_str(),
                position,
                ready.snapshot,
                checksum::of_device(ready.device.id.as_str(), position, &ready.snapshot).finish()
            ],
            |row| row.get(0),
        )?;
    let mut bytes = 0;
    for chunk in &ready.chunks {
        transaction
            .prepare_cached(
                "INSERT INTO chunk (number, device, first_time, last_time, samples, blob, checksum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                *number,
                device,
                chunk.first_time,
                chunk.last_time,
                chunk.samples as i64,
                chunk.blob,
                checksum::of_chunk(
                    *number,
                    device,
                    (chunk.first_time, chunk.last_time),
                    chunk.samples as i64,
                    &chunk.blob
                )
                .finish()
            ])?;
        compact::mark(transaction, device, *number, Span { from: chunk.first_time, to: chunk.last_time })?;
        *number += 1;
        bytes += chunk.blob.len() as i64;
    }
    mark_days(transaction, device, &ready.days)?;
    transaction
        .prepare_cached(
            "UPDATE total SET sealed_samples = sealed_samples + ?1, sealed_values = sealed_values + ?2,
                              chunks = chunks + ?3, chunk_bytes = chunk_bytes + ?4",
        )?
        .execute(params![ready.samples as i64, ready.values as i64, ready.chunks.len() as i64, bytes])?;
    Ok(())
}

/// Marks the days whose rollups must be computed. Those before the newest day of the device are
/// ready; the newest one will have more samples.
fn mark_days(transaction: &Transaction<'_>, device: i64, days: &[i64]) -> rusqlite::Result<()> {
    let newest: i64 = transaction
        .prepare_cached("SELECT max(first_time) FROM chunk INDEXED BY chunk_by_time WHERE device = ?1")?
        .query_row([device], |row| row.get(0))?;
    let newest = day_of(newest);
    for day in days {
        transaction
            .prepare_cached(
                "INSERT INTO rollup_due (device, day, ready) SELECT number, ?2, ?3 FROM device
                 WHERE number = ?1 AND raw_from <= ?2
                 ON CONFLICT (device, day) DO UPDATE SET ready = excluded.ready",
            )?
            .execute(params![device, day, i64::from(*day < newest)])?;
    }
    transaction
        .prepare_cached("UPDATE rollup_due SET ready = 1 WHERE device = ?1 AND day < ?2 AND ready = 0")?
        .execute([device, newest])?;
    Ok(())
}
