//! The thread that owns the store's one writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_broker::Receipt;
use tesaiot_store::Appender;
use tesaiot_store::telemetry::{Appended, Entry, Outcome};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::{IngestCounters, Stored, Submission, Waiting};

/// Messages in one commit, at most: bounds how long the first of them waits.
const MAX_BATCH: usize = 4096;
/// Entries in one commit, about: a commit is one blob, and one request can hold a thousand samples.
const MAX_ENTRIES: usize = 16_384;
/// Bytes of entries in one commit, about: a message may be large, and all of them wait for the same write.
const MAX_BYTES: usize = 16 << 20;
/// How often the store is tended when nothing comes in.
const IDLE: Duration = Duration::from_secs(1);
/// Waits between attempts to commit while the store cannot: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

pub(super) struct Writer {
    pub(super) appender: Appender,
    pub(super) submissions: mpsc::Receiver<Submission>,
    pub(super) live: broadcast::Sender<Arc<Stored>>,
    pub(super) counters: Arc<IngestCounters>,
    pub(super) runtime: Handle,
    /// Cancelled when nobody will submit any more: what is queued is committed, then the thread ends.
    pub(super) closing: CancellationToken,
}

impl Writer {
    /// Commits until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.gather(&mut batch) {
            if !batch.is_empty() {
                self.commit(&mut batch);
            }
            self.maintain();
        }
        if let Err(error) = self.appender.close() {
            tracing::warn!(%error, "closing the telemetry store failed; it is repaired at the next start");
        }
    }

    /// Waits for a submission, takes all there are. False at the end; an empty batch when it is time to tend.
    fn gather(&mut self, batch: &mut Vec<Submission>) -> bool {
        if self.submissions.is_empty() {
            let (submissions, closing) = (&mut self.submissions, &self.closing);
            let first = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    first = submissions.recv() => Some(first),
                    () = closing.cancelled() => None,
                    () = tokio::time::sleep(IDLE) => None,
                }
            });
            match first {
                Some(Some(first)) => batch.push(first),
                Some(None) => return false,
                None if self.closing.is_cancelled() => self.submissions.close(),
                None => {}
            }
        }
        let bytes_of = |submission: &Submission| submission.entries.iter().map(Entry::bytes).sum::<usize>();
        let mut entries: usize = batch.iter().map(|submission| submission.entries.len()).sum();
        let mut bytes: usize = batch.iter().map(bytes_of).sum();
        while batch.len() < MAX_BATCH
            && entries < MAX_ENTRIES
            && bytes < MAX_BYTES
            && let Ok(next) = self.submissions.try_recv()
        {
            entries += next.entries.len();
            bytes += bytes_of(&next);
            batch.push(next);
        }
        true
    }

    fn commit(&mut self, batch: &mut Vec<Submission>) {
        let mut entries = Vec::with_capacity(batch.len());
        for submission in &mut *batch {
            entries.append(&mut submission.entries);
        }
        let Some(appended) = self.append(&entries) else {
            // Not stored, not acknowledged: receipts and requests are dropped, and their senders keep the messages.
            batch.clear();
            return;
        };
        let stored_at = Timestamp::now();
        self.count(batch.len(), &appended);
        let mut receipts = Vec::with_capacity(batch.len());
        for submission in batch.drain(..) {
            match submission.waiting {
                Waiting::Publisher(receipt, outcome) => receipts.push((receipt, outcome)),
                Waiting::Request(stored) => drop(stored.send(())),
                // Not tried again when the disk is full: the letters are where they were, and the operator is told.
                Waiting::Replay(replays, answer) => drop(answer.send(self.appender.replay(&replays))),
                Waiting::Nobody => {}
            }
        }
        Receipt::resolve_all(receipts);
        if self.live.receiver_count() > 0 {
            self.show(entries, &appended, stored_at);
        }
    }

    /// Appends, again and again while the store cannot. `None` only when the platform ends before it can again.
    fn append(&mut self, entries: &[Entry]) -> Option<Appended> {
        let mut wait = RETRY.0;
        loop {
            let started = Instant::now();
            match self.appender.append(entries) {
                Ok(appended) => {
                    self.counters.latency.record(started.elapsed());
                    self.counters.failing.store(false, Ordering::Relaxed);
                    if wait > RETRY.0 {
                        tracing::info!("the telemetry store commits again");
                    }
                    return Some(appended);
                }
                Err(error) => {
                    self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
                    self.counters.failing.store(true, Ordering::Relaxed);
                    if wait == RETRY.0 {
                        tracing::warn!(%error, "the telemetry store cannot commit; nothing is acknowledged meanwhile");
                    }
                    if self.closing.is_cancelled() {
                        tracing::error!(%error, "messages that were not acknowledged could not be stored");
                        return None;
                    }
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }

    fn count(&self, messages: usize, appended: &Appended) {
        let duplicates = appended.outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.counters.values.fetch_add(appended.values, Ordering::Relaxed);
        self.counters.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
    }

    fn show(&self, entries: Vec<Entry>, appended: &Appended, stored_at: Timestamp) {
        for (entry, outcome) in entries.into_iter().zip(&appended.outcomes) {
            if let (Entry::Sample { device, kind, received_at, sample }, Outcome::Stored) = (entry, outcome) {
                // An error says that the last watcher left just now.
                let _ = self.live.send(Arc::new(Stored { device, kind, received_at, stored_at, sample }));
            }
        }
    }

    /// Tends the store: a little after each commit, more when nobody waits.
    fn maintain(&mut self) {
        loop {
            match self.appender.maintain() {
                Ok(done) if done.more && self.submissions.is_empty() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "tending the telemetry store failed; nothing is lost, it is tried again");
                    return;
                }
            }
        }
    }
}
