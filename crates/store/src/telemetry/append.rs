//! Appending: one transaction for all entries, then the memory that mirrors it.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::MessageId;

use super::checksum;
use super::cursor::identifies;
use super::entry::{Appended, Entry, Outcome, bytes_of};
use super::rollup::Job;
use super::shared::{Device, Shared, add};
use super::sweep::Sweep;
use super::tail::{self, Incoming};
use crate::error::{During, StoreError};
use crate::time::to_nanoseconds;

/// Bytes of one row of the tail, about.
const BATCH_BYTES: usize = 4 << 20;

/// A head of more estimated bytes is sealed even with few samples: they are large.
pub(super) const MAXIMUM_HEAD_BYTES: usize = 1 << 20;

/// Writes the store. There is one, and the thread that receives data owns it.
///
/// Between appends it calls [`Appender::maintain`], which moves points out of memory and keeps
/// the tail short. The lock on the data directory is held until this and all [`Telemetry`]
/// handles are gone.
///
/// [`Telemetry`]: super::Telemetry
#[derive(Debug)]
pub struct Appender {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    /// The last used tail position.
    pub(super) position: i64,
    /// The last used chunk number.
    pub(super) last_chunk: i64,
    /// Positions and sizes of the batches in the tail.
    pub(super) batches: VecDeque<(i64, u64)>,
    /// Devices with open points, by the tail position of the oldest: the first one keeps the tail.
    pub(super) by_oldest: BTreeSet<(i64, DeviceId)>,
    /// Devices whose head is full.
    pub(super) due: VecDeque<Arc<Device>>,
    /// Samples appended since the last call of `maintain`.
    pub(super) appended_since: usize,
    /// Estimated bytes in the write-ahead log.
    pub(super) log_bytes: u64,
    /// The day whose rollups are being computed.
    pub(super) rollup: Option<Job>,
    /// The device and day that were begun last, so that every device gets its turn.
    pub(super) rolled_up: (i64, i64),
    /// Where retention and compaction stand.
    pub(super) sweep: Sweep,
    /// Calls of `maintain` in a row that did nothing but seal.
    pub(super) busy_calls: u32,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            connection,
            shared,
            position: 0,
            last_chunk: 0,
            batches: VecDeque::new(),
            by_oldest: BTreeSet::new(),
            due: VecDeque::new(),
            appended_since: 0,
            log_bytes: 0,
            rollup: None,
            rolled_up: (i64::MIN, i64::MIN),
            sweep: Sweep::default(),
            busy_calls: 0,
        }
    }

    /// Stores entries in one durable commit: when this returns `Ok`, everything is on disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] without space, [`StoreError::Commit`] for other failures. Nothing of
    /// the entries is stored then, and the same append may be tried again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Appended, StoreError> {
        self.append_in_place_of(entries, &[])
    }

    /// The same, and in the same commit the dead letters of these numbers are removed.
    pub(super) fn append_in_place_of(&mut self, entries: &[Entry], letters: &[i64]) -> Result<Appended, StoreError> {
        let outcomes = self.outcomes(entries);
        let new: Vec<&Entry> = entries
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == Outcome::Stored)
            .map(|(entry, _)| entry)
            .collect();
        let duplicates = (outcomes.len() - new.len()) as u64;
        let values = if new.is_empty() && letters.is_empty() { 0 } else { self.commit(&new, letters)? };
        add(&self.shared.totals.duplicates, duplicates);
        Ok(Appended { outcomes, values })
    }

    /// Ends writing in good order: moves the write-ahead log into the database.
    ///
    /// # Errors
    /// When the database cannot be written; everything appended is safe in the log all the same.
    pub fn close(self) -> Result<(), StoreError> {
        let path = self.shared.readers.path().to_owned();
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .and_then(|()| self.connection.close().map_err(|(_, error)| error))
            .map_err(|source| StoreError::from_sqlite(&path, During::Commit, source))
    }

    /// Bounds the size of the database file to a number of pages of 4 KiB, or to the largest that
    /// SQLite can hold. An append that needs more fails with [`StoreError::Full`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn limit_pages(&mut self, pages: Option<u32>) -> Result<(), StoreError> {
        let pages = pages.unwrap_or(u32::MAX - 1);
        self.connection
            .pragma_update(None, "max_page_count", pages)
            .map_err(|source| StoreError::from_sqlite(self.path(), During::Read, source))
    }

    pub(super) fn path(&self) -> &Path {
        self.shared.readers.path()
    }

    /// Which entries are new, in order, without changing anything.
    fn outcomes(&self, entries: &[Entry]) -> Vec<Outcome> {
        let mut in_this_append: HashSet<(&DeviceId, &MessageId)> = HashSet::new();
        entries
            .iter()
            .map(|entry| match entry {
                Entry::Sample { device, sample, .. } => match &sample.id {
                    Some(id) if identifies(id) => {
                        let is_known = self.shared.device(device).is_some_and(|known| known.read().cursor.contains(id));
                        if is_known || !in_this_append.insert((device, id)) {
                            Outcome::Duplicate
                        } else {
                            Outcome::Stored
                        }
                    }
                    _ => Outcome::Stored,
                },
                Entry::Message { .. } | Entry::DeadLetter { .. } => Outcome::Stored,
            })
            .collect()
    }

    /// Commits the entries, then takes them into memory. Returns the number of metric values.
    fn commit(&mut self, entries: &[&Entry], letters: &[i64]) -> Result<u64, StoreError> {
        let samples: Vec<Incoming<'_>> = entries.iter().filter_map(|entry| incoming(entry)).collect();
        let parts = parts(&samples);
        let batches: Vec<(i64, Vec<u8>)> =
            (self.position + 1..).zip(&parts).map(|(position, part)| (position, tail::encode(part))).collect();
        let written = write(&mut self.connection, &batches, entries, letters);
        written.map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Commit, source))?;
        // From here on nothing fails: memory follows the disk.
        for (position, batch) in &batches {
            self.position = *position;
            self.remember_batch(*position, batch.len() as u64);
        }
        self.log_bytes += 16 << 10;
        self.log_bytes += entries.iter().map(|entry| payload_bytes(entry)).sum::<u64>();
        self.count_rows(entries);
        let mut values = 0;
        for ((position, _), part) in batches.iter().zip(&parts) {
            for incoming in *part {
                values += incoming.sample.metrics.len() as u64;
                self.apply(*position, incoming);
            }
        }
        self.appended_since += samples.len();
        Ok(values)
    }

    fn apply(&mut self, position: i64, incoming: &Incoming<'_>) {
        let device = self.shared.device_or_new(incoming.device, self.last_chunk);
        let mut state = device.write();
        let (was_empty, was_full) = (state.head.is_empty(), is_full(&state.head, &self.shared.options));
        state.apply(&self.shared.totals, position, incoming.kind, incoming.received, incoming.sample);
        let is_full = is_full(&state.head, &self.shared.options);
        drop(state);
        if was_empty {
            self.by_oldest.insert((position, incoming.device.clone()));
        }
        if is_full && !was_full {
            self.due.push_back(device);
        }
    }

    /// Puts a device that has open points after a replay where `apply` would have put it.
    pub(super) fn schedule(&mut self, device: &Arc<Device>) {
        let state = device.read();
        if state.head.is_empty() {
            return;
        }
        self.by_oldest.insert((state.head.oldest, device.id.clone()));
        if is_full(&state.head, &self.shared.options) {
            self.due.push_back(Arc::clone(device));
        }
    }

    pub(super) fn remember_batch(&mut self, position: i64, bytes: u64) {
        self.batches.push_back((position, bytes));
        self.log_bytes += bytes;
        add(&self.shared.totals.tail_batches, 1);
        add(&self.shared.totals.tail_bytes, bytes);
    }

    fn count_rows(&self, entries: &[&Entry]) {
        let totals = &self.shared.totals;
        for entry in entries {
            match entry {
                Entry::Sample { .. } => {}
                Entry::Message { .. } => add(&totals.messages, 1),
                Entry::DeadLetter { payload, .. } => {
                    add(&totals.dead_letters, 1);
                    add(&totals.dead_letter_bytes, payload.len() as u64);
                }
            }
        }
    }
}

/// The samples of a commit in parts of about [`BATCH_BYTES`]: each becomes a row of the tail, all of them in one
/// transaction. However much one commit brings, no blob grows with it.
fn parts<'a, 'b>(samples: &'b [Incoming<'a>]) -> Vec<&'b [Incoming<'a>]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, incoming) in samples.iter().enumerate() {
        let more = bytes_of(incoming.sample);
        if bytes + more > BATCH_BYTES && place > start {
            parts.push(&samples[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += more;
    }
    if start < samples.len() {
        parts.push(&samples[start..]);
    }
    parts
}

fn is_full(head: &super::head::Head, options: &super::Options) -> bool {
    head.len() >= options.chunk_samples || head.bytes >= MAXIMUM_HEAD_BYTES
}

fn incoming(entry: &Entry) -> Option<Incoming<'_>> {
    match entry {
        Entry::Sample { device, kind, received_at, sample } => {
            Some(Incoming { device, kind: kind.as_deref(), received: to_nanoseconds(*received_at), sample })
        }
        Entry::Message { .. } | Entry::DeadLetter { .. } => None,
    }
}

fn payload_bytes(entry: &Entry) -> u64 {
    match entry {
        Entry::Sample { .. } => 0,
        Entry::Message { payload, .. } | Entry::DeadLetter { payload, .. } => payload.len() as u64,
    }
}

fn write(
    connection: &mut Connection,
    batches: &[(i64, Vec<u8>)],
    entries: &[&Entry],
    letters: &[i64],
) -> rusqlite::Result<()> {
    // Dropped without a commit, a transaction is rolled back.
    let transaction = connection.transaction()?;
    for (position, batch) in batches {
        transaction
            .prepare_cached("INSERT INTO tail (position, batch) VALUES (?1, ?2)")?
            .execute(params![position, batch])?;
    }
    for entry in entries {
        write_row(&transaction, entry)?;
    }
    for letter in letters {
        transaction.prepare_cached("DELETE FROM dead_letter WHERE number = ?1")?.execute([letter])?;
    }
    transaction.commit()
}

fn write_row(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Sample { .. } => {}
        Entry::Message { device, topic, received_at, payload } => {
            let received = to_nanoseconds(*received_at);
            let checksum = checksum::of_message(device.as_str(), topic, received, payload).finish();
            transaction
                .prepare_cached(
                    "INSERT INTO message (device, topic, received_at, payload, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![device.as_str(), topic, received, &payload[..], checksum])?;
        }
        Entry::DeadLetter { device, topic, received_at, payload, code, reason } => {
            let (device, received) = (device.as_ref().map(DeviceId::as_str), to_nanoseconds(*received_at));
            let checksum = checksum::of_dead_letter(device, topic, received, payload, (code, reason)).finish();
            transaction
                .prepare_cached(
                    "INSERT INTO dead_letter (device, topic, received_at, payload, code, reason, checksum)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![device, topic, received, &payload[..], code, reason, checksum])?;
        }
    }
    Ok(())
}
