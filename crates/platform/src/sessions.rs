//! Keeps the broker's records on disk: one thread, one commit for everything that waits.
//!
//! The queue is the group commit, as in [`ingest`](crate::ingest): while one commit waits for the disk the next
//! gathers. It needs no bound of its own: what a connection may have waiting is bounded by the broker, which sends no
//! acknowledgement before its records are durable.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tesaiot_broker::storage::{Change, Key, Progress, Storage};
use tesaiot_store::records::{RecordChange, RecordKey};
use tesaiot_store::{Records, StoreError};

/// Waits between attempts to commit while the disk is full: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

#[derive(Default)]
struct Queue {
    changes: Vec<Change>,
    position: u64,
    closing: bool,
}

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    filled: Condvar,
    progress: Progress,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the broker submits.
#[derive(Clone)]
pub(crate) struct SessionKeeper(Arc<Inner>);

/// The thread behind it, to be closed when the broker has drained.
pub(crate) struct KeeperThread {
    inner: Arc<Inner>,
    thread: JoinHandle<()>,
}

/// The records of the last run, as the broker takes them.
pub(crate) type Kept = Vec<(Key, bytes::Bytes)>;

/// Opens the file. Returns what it holds.
pub(crate) fn open(path: &Path) -> Result<(Records, Kept), StoreError> {
    let records = Records::open(path)?;
    let mut kept = Vec::new();
    let mut owner: Arc<str> = "".into();
    records.read(|key, value| {
        if *key.owner != *owner {
            owner = key.owner.into();
        }
        let key = Key { owner: Arc::clone(&owner), kind: key.kind, name: key.name.to_vec() };
        kept.push((key, bytes::Bytes::copy_from_slice(value)));
    })?;
    Ok((records, kept))
}

impl SessionKeeper {
    /// Starts the thread.
    pub(crate) fn start(records: Records) -> std::io::Result<(Self, KeeperThread)> {
        let inner = Arc::new(Inner::default());
        let of_thread = Arc::clone(&inner);
        let thread =
            std::thread::Builder::new().name("session-keeper".into()).spawn(move || keep(&of_thread, records))?;
        Ok((Self(Arc::clone(&inner)), KeeperThread { inner, thread }))
    }
}

impl Storage for SessionKeeper {
    fn submit(&self, position: u64, changes: Vec<Change>) {
        let mut queue = self.0.lock();
        queue.changes.extend(changes);
        queue.position = position;
        drop(queue);
        self.0.filled.notify_one();
    }

    fn progress(&self) -> &Progress {
        &self.0.progress
    }
}

impl KeeperThread {
    /// Commits what is queued and ends. Blocks.
    pub(crate) fn close(self) {
        self.inner.lock().closing = true;
        self.inner.filled.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the keeper of sessions ended unexpectedly; what was not acknowledged is with the devices");
        }
    }
}

fn keep(inner: &Inner, mut records: Records) {
    loop {
        let (changes, position) = {
            let waiting = |queue: &mut Queue| queue.changes.is_empty() && !queue.closing;
            let queue = inner.filled.wait_while(inner.lock(), waiting);
            let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
            if queue.changes.is_empty() {
                return;
            }
            (std::mem::take(&mut queue.changes), queue.position)
        };
        if !commit(inner, &mut records, &changes) {
            return;
        }
        inner.progress.advance(position);
    }
}

/// Again and again while the disk is full: nothing is acknowledged meanwhile. False when the platform ends first.
fn commit(inner: &Inner, records: &mut Records, changes: &[Change]) -> bool {
    let mut wait = RETRY.0;
    loop {
        let Err(error) = records.commit(changes.iter().map(as_record)) else {
            if wait > RETRY.0 {
                tracing::info!("sessions are kept again");
            }
            return true;
        };
        if wait == RETRY.0 {
            tracing::error!(%error, hint = error.hint(), "sessions cannot be kept; nothing that needs it is acknowledged");
        }
        if inner.lock().closing {
            tracing::error!(
                "the platform ends before sessions could be kept; what was not acknowledged is with the devices"
            );
            return false;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(RETRY.1);
    }
}

fn as_record(change: &Change) -> RecordChange<'_> {
    fn name(key: &Key) -> RecordKey<'_> {
        RecordKey { owner: &key.owner, kind: key.kind, name: &key.name }
    }
    match change {
        Change::Put(key, value) => RecordChange::Put(name(key), value),
        Change::Remove(key) => RecordChange::Remove(name(key)),
        Change::RemoveOwner(owner) => RecordChange::RemoveOwner(owner),
    }
}
