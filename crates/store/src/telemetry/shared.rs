//! What the writer and the readers of one open store have in common.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Sample;

use super::codec::{Malformed, Reader, Writer};
use super::cursor::Cursor;
use super::head::Head;
use super::latest::LatestValues;
use super::options::Options;
use super::query::Counts;
use super::rollup::day_of;
use crate::file::DirectoryLock;
use crate::pool::Pool;
use crate::time::to_nanoseconds;

const SNAPSHOT_VERSION: u8 = 1;

#[derive(Debug)]
pub(super) struct Shared {
    // The connections are closed before the lock is given up: fields are dropped in this order.
    pub(super) readers: Pool,
    pub(super) options: Options,
    devices: RwLock<Devices>,
    pub(super) totals: Totals,
    /// The UTC day that retention goes by, as the writer last saw it.
    pub(super) today: AtomicI64,
    _lock: DirectoryLock,
}

/// The devices, to be found by their ids at every commit, and to be listed in their order.
#[derive(Debug, Default)]
struct Devices {
    by_id: HashMap<DeviceId, Arc<Device>>,
    in_order: BTreeMap<DeviceId, Arc<Device>>,
}

/// One device in memory. Its state is locked to look at or change memory, never for the disk.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    state: RwLock<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// Its row in the table `device`, once it has one.
    pub(super) number: Option<i64>,
    /// Samples of the device up to this tail position are in chunks, later ones in the head.
    pub(super) sealed_through: i64,
    /// Chunks up to this number do not overlap the head. A reader copies the head first and then
    /// reads these chunks only, so it sees each sample once even while the device is sealed.
    pub(super) visible_chunk: i64,
    pub(super) head: Head,
    /// Of all samples, sealed or not.
    pub(super) latest: LatestValues,
    pub(super) cursor: Cursor,
}

/// Totals that every commit changes.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) samples: AtomicU64,
    pub(super) values: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) dead_letter_bytes: AtomicU64,
    pub(super) dead_letters_dropped: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) chunks: AtomicU64,
    pub(super) chunk_bytes: AtomicU64,
    pub(super) tail_batches: AtomicU64,
    pub(super) tail_bytes: AtomicU64,
    pub(super) open_samples: AtomicU64,
    pub(super) open_bytes: AtomicU64,
    pub(super) corrupt_chunk_reads: AtomicU64,
    pub(super) corrupt_batches: AtomicU64,
    pub(super) corrupt_message_reads: AtomicU64,
    pub(super) chunks_dropped: AtomicU64,
    pub(super) samples_dropped: AtomicU64,
    pub(super) rollups_dropped: AtomicU64,
    pub(super) messages_dropped: AtomicU64,
}

// Each total stands for itself: nothing is read that another one guards.
pub(super) fn add(total: &AtomicU64, amount: u64) {
    total.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn subtract(total: &AtomicU64, amount: u64) {
    total.fetch_sub(amount, Ordering::Relaxed);
}

pub(super) fn value(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}

impl Shared {
    pub(super) fn new(lock: DirectoryLock, readers: Pool, options: Options) -> Self {
        let today = day_of(to_nanoseconds(Timestamp::now()));
        Self {
            readers,
            options,
            devices: RwLock::default(),
            totals: Totals::default(),
            today: AtomicI64::new(today),
            _lock: lock,
        }
    }

    pub(super) fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.devices().by_id.get(id).cloned()
    }

    pub(super) fn device_or_new(&self, id: &DeviceId, visible_chunk: i64) -> Arc<Device> {
        self.device(id).unwrap_or_else(|| {
            self.insert(
                id.clone(),
                State {
                    number: None,
                    sealed_through: 0,
                    visible_chunk,
                    head: Head::new(),
                    latest: LatestValues::default(),
                    cursor: Cursor::default(),
                },
            )
        })
    }

    pub(super) fn insert(&self, id: DeviceId, state: State) -> Arc<Device> {
        let device = Arc::new(Device { id: id.clone(), state: RwLock::new(state) });
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.in_order.insert(id.clone(), Arc::clone(&device));
        devices.by_id.insert(id, Arc::clone(&device));
        device
    }

    /// All devices, in the order of their ids.
    pub(super) fn all_devices(&self) -> Vec<Arc<Device>> {
        self.devices_after(None, usize::MAX)
    }

    /// The devices behind an id, in the order of their ids.
    pub(super) fn devices_after(&self, after: Option<&DeviceId>, limit: usize) -> Vec<Arc<Device>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let devices = self.devices();
        let behind = devices.in_order.range::<DeviceId, _>((after, Bound::Unbounded));
        behind.take(limit).map(|(_, device)| Arc::clone(device)).collect()
    }

    fn devices(&self) -> RwLockReadGuard<'_, Devices> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        let totals = &self.totals;
        Counts {
            devices: self.devices().by_id.len() as u64,
            samples: value(&totals.samples),
            values: value(&totals.values),
            messages: value(&totals.messages),
            dead_letters: value(&totals.dead_letters),
            dead_letters_dropped: value(&totals.dead_letters_dropped),
            duplicates: value(&totals.duplicates),
            chunks: value(&totals.chunks),
            chunk_bytes: value(&totals.chunk_bytes),
            tail_batches: value(&totals.tail_batches),
            tail_bytes: value(&totals.tail_bytes),
            open_samples: value(&totals.open_samples),
            open_bytes: value(&totals.open_bytes),
            corrupt_chunk_reads: value(&totals.corrupt_chunk_reads),
            corrupt_batches: value(&totals.corrupt_batches),
            corrupt_message_reads: value(&totals.corrupt_message_reads),
            chunks_dropped: value(&totals.chunks_dropped),
            samples_dropped: value(&totals.samples_dropped),
            rollups_dropped: value(&totals.rollups_dropped),
            messages_dropped: value(&totals.messages_dropped),
        }
    }
}

impl Device {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // What changes a state does not panic half way: it only appends to memory.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in a sample that is committed at a tail position.
    pub(super) fn apply(&mut self, totals: &Totals, position: i64, kind: Option<&str>, received: i64, sample: &Sample) {
        let bytes_before = self.head.bytes;
        self.head.push(position, kind, received, sample, Some(&mut self.latest));
        if let Some(id) = &sample.id {
            self.cursor.insert(id);
        }
        add(&totals.samples, 1);
        add(&totals.values, sample.metrics.len() as u64);
        add(&totals.open_samples, 1);
        add(&totals.open_bytes, (self.head.bytes - bytes_before) as u64);
    }
}

/// The blob of a device's snapshot: its cursor and newest values as of `sealed_through`.
pub(super) fn encode_snapshot(cursor: &Cursor, latest: &LatestValues) -> Vec<u8> {
    let mut writer = Writer::new(SNAPSHOT_VERSION);
    cursor.encode(&mut writer);
    latest.encode(&mut writer);
    writer.finish()
}

pub(super) fn decode_snapshot(blob: &[u8]) -> Result<(Cursor, LatestValues), Malformed> {
    let mut reader = Reader::open(blob, SNAPSHOT_VERSION)?;
    let cursor = Cursor::decode(&mut reader)?;
    let latest = LatestValues::decode(&mut reader)?;
    if !reader.is_empty() {
        return Err(Malformed("bytes follow the snapshot"));
    }
    Ok((cursor, latest))
}
