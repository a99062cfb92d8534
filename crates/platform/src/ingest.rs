//! From a received message to a durable commit, and only then to its acknowledgement.
//!
//! ```text
//! connection task ── parse ──▶ bounded queue ──▶ writer thread: take all there is ─▶ append (one fsync)
//!        ▲                                                                              │ committed
//!        └───────────── receipts resolved, all of a commit at once ◀────────────────────┤
//!                                                     live feed ◀───────────────────────┘
//! ```
//!
//! The queue *is* the group commit: while one commit waits for the disk, the next batch gathers. A lone message is
//! committed at once; under load a commit carries thousands.
//!
//! While the store cannot commit (disk full), the batch is tried again and nothing is acknowledged; the queue fills
//! and connections stop being read. Nothing that was accepted is thrown away.

mod entries;
pub(crate) mod latency;
pub(crate) mod replay;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tesaiot_broker::{Outcome, Receipt, Verdict};
use tesaiot_contract::telemetry::{Limits, PayloadError};
use tesaiot_contract::{DeviceId, DeviceTopic, Sample};
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_store::telemetry::{Appended, Entry, Replay};
use tesaiot_store::{Appender, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::incidents::Incidents;
use latency::Latency;

/// Messages that may wait for the writer.
const QUEUED_MESSAGES: usize = 16 * 1024;
/// Payload bytes that may wait for the writer, in KiB.
const QUEUED_KIB: usize = 64 * 1024;
/// How long a request waits for its commit before it is told to come back.
const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// Committed samples a slow watcher may be behind before it misses some.
const LIVE_BACKLOG: usize = 4096;

/// A sample that is on disk.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Who sent it.
    pub device: DeviceId,
    /// The telemetry type, when the topic had one.
    pub kind: Option<Box<str>>,
    /// When the platform received it.
    pub received_at: Timestamp,
    /// When its commit returned.
    pub stored_at: Timestamp,
    /// What it says.
    pub sample: Sample,
}

/// Who waits for a message to be stored.
pub(crate) enum Waiting {
    /// Nobody (QoS 0).
    Nobody,
    /// An MQTT publisher, and what it is told once the message is safe.
    Publisher(Receipt, Outcome),
    /// An HTTP request.
    Request(oneshot::Sender<()>),
    /// An operator, for dead letters that are understood now.
    Replay(Vec<Replay>, oneshot::Sender<Result<Vec<Option<Appended>>, StoreError>>),
}

/// One message on its way to the store.
pub(crate) struct Submission {
    pub(crate) entries: Vec<Entry>,
    pub(crate) waiting: Waiting,
    /// Room in the queue, given back once the message is committed.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
    /// Counted as waiting until then.
    pub(crate) _pending: Option<Pending>,
}

/// A message whose sender waits for its commit, counted until dropped.
pub(crate) struct Pending(Arc<IngestCounters>);

impl Pending {
    fn new(waiting: &Waiting, counters: &Arc<IngestCounters>) -> Option<Self> {
        if matches!(waiting, Waiting::Nobody) {
            return None;
        }
        counters.pending.fetch_add(1, Ordering::Relaxed);
        Some(Self(Arc::clone(counters)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happened in the ingest path, in numbers.
#[derive(Debug, Default)]
pub(crate) struct IngestCounters {
    pub(crate) commits: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) values: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
    /// Messages that wait for their commit, and senders for their acknowledgement.
    pub(crate) pending: AtomicU64,
    /// How long commits take that succeed.
    pub(crate) latency: Latency,
    /// Whether the last attempt to commit failed.
    pub(crate) failing: AtomicBool,
}

impl IngestCounters {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "commits": read(&self.commits),
            "messages": read(&self.messages),
            "values": read(&self.values),
            "duplicates": read(&self.duplicates),
            "dead_letters": read(&self.dead_letters),
            "failed_commits": read(&self.failed_commits),
        })
    }
}

/// The store cannot take a message now, and nothing was stored.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot take messages now")]
pub(crate) struct Unavailable;

/// The body of an HTTP request with telemetry.
pub(crate) enum Body {
    /// What a device would send to its topic.
    Message(bytes::Bytes),
    /// `{"telemetry":[…]}`.
    Batch(bytes::Bytes),
    /// More than is read.
    TooLarge {
        /// Bytes that the client announced, or sent.
        actual: u64,
        /// Bytes that are read at most.
        limit: usize,
        /// What is kept of it.
        start: bytes::Bytes,
    },
}

/// What an HTTP request stored.
pub(crate) struct Accepted {
    /// Names this message in the answer: the receive time in nanoseconds, in hexadecimal.
    pub(crate) id: String,
    /// Names of the metrics that were stored, in order.
    pub(crate) metrics: Vec<String>,
    /// The device's time of the first sample, or the receive time.
    pub(crate) time: Timestamp,
}

/// Why a payload submitted by HTTP was not taken as telemetry. It is in the dead-letter store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The way into the store. Clones share it.
#[derive(Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
    limits: Arc<Limits>,
    live: broadcast::Sender<Arc<Stored>>,
    counters: Arc<IngestCounters>,
    incidents: Incidents,
}

/// The writer thread, to be closed when the platform ends.
pub(crate) struct Writer {
    thread: std::thread::JoinHandle<()>,
    closing: CancellationToken,
}

impl Writer {
    /// Commits everything queued, closes the store, and refuses what comes after. Blocks.
    pub(crate) fn close(self) {
        self.closing.cancel();
        if self.thread.join().is_err() {
            tracing::error!("the telemetry writer ended unexpectedly; what was not acknowledged is with the devices");
        }
    }
}

impl Ingest {
    /// Starts the writer thread on `appender`.
    pub(crate) fn start(appender: Appender, limits: Limits, incidents: Incidents) -> std::io::Result<(Self, Writer)> {
        let (queue, submissions) = mpsc::channel(QUEUED_MESSAGES);
        let live = broadcast::Sender::new(LIVE_BACKLOG);
        let counters = Arc::new(IngestCounters::default());
        let closing = CancellationToken::new();
        let writer = writer::Writer {
            appender,
            submissions,
            live: live.clone(),
            counters: Arc::clone(&counters),
            runtime: tokio::runtime::Handle::current(),
            closing: closing.clone(),
        };
        let thread = std::thread::Builder::new().name("telemetry-writer".into()).spawn(move || writer.run())?;
        let room = Arc::new(Semaphore::new(QUEUED_KIB));
        let limits = Arc::new(limits);
        Ok((Self { queue, room, limits, live, counters, incidents }, Writer { thread, closing }))
    }

    /// Samples as they are stored.
    pub(crate) fn live(&self) -> broadcast::Receiver<Arc<Stored>> {
        self.live.subscribe()
    }

    /// The same, for a holder that must not keep the feed open.
    pub(crate) fn live_sender(&self) -> broadcast::WeakSender<Arc<Stored>> {
        self.live.downgrade()
    }

    /// Whether messages are being stored: the writer lives, and its last commit succeeded.
    pub(crate) fn is_storing(&self) -> bool {
        !self.queue.is_closed() && !self.counters.failing.load(Ordering::Relaxed)
    }

    /// Resolves when the writer thread has ended, for whatever reason.
    pub(crate) async fn writer_ended(&self) {
        self.queue.closed().await;
    }

    /// Messages whose sender waits for the commit.
    pub(crate) fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> &IngestCounters {
        &self.counters
    }

    /// Takes an MQTT message. What it says decides where it goes: samples, verbatim messages, dead letters.
    pub(crate) async fn message(
        &self,
        device: &DeviceId,
        topic: &DeviceTopic,
        payload: bytes::Bytes,
        receipt: Option<Receipt>,
    ) -> Verdict {
        let size = payload.len();
        let (entries, understood) = entries::of_message(device, topic, payload, receive_time(), &self.limits);
        let (outcome, verdict) = match understood {
            Ok(()) => (Outcome::Stored, Verdict::Deliver),
            Err(error) => {
                self.kept_aside(device, &error);
                (Outcome::Refused(entries::answer(&error)), Verdict::Withhold)
            }
        };
        let waiting = receipt.map_or(Waiting::Nobody, |receipt| Waiting::Publisher(receipt, outcome));
        // A queue that is closed drops the receipt: the publisher keeps its message.
        let _ = self.submit(entries, waiting, size).await;
        verdict
    }

    /// Keeps a message that was understood and refused as a dead letter, and answers its publisher `answer` then.
    pub(crate) async fn refused(
        &self,
        device: &DeviceId,
        topic: &DeviceTopic,
        payload: bytes::Bytes,
        why: (&str, &str),
        answer: PublishAckReason,
        receipt: Option<Receipt>,
    ) {
        self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        let size = payload.len();
        let (code, reason) = why;
        let entry = Entry::DeadLetter {
            device: Some(device.clone()),
            topic: topic.to_string().into(),
            received_at: receive_time(),
            payload,
            code: code.into(),
            reason: reason.into(),
        };
        let waiting = receipt.map_or(Waiting::Nobody, |receipt| Waiting::Publisher(receipt, Outcome::Refused(answer)));
        let _ = self.submit(vec![entry], waiting, size).await;
    }

    /// Takes telemetry that came by HTTP, and resolves when it is stored.
    pub(crate) async fn request(&self, device: &DeviceId, body: Body, limits: &Limits) -> Result<Accepted, Rejected> {
        let received_at = receive_time();
        let topic = DeviceTopic::telemetry(device, None).to_string();
        let (payload, samples) = match body {
            Body::Message(payload) => (payload.clone(), Ok((payload, Vec::new()))),
            Body::Batch(payload) => {
                let samples = entries::of_batch(&payload);
                // What is wrong with a sample is told of the array, which can be replayed alone.
                (samples.as_ref().map_or(payload, |(samples, _)| samples.clone()), samples)
            }
            Body::TooLarge { actual, limit, start } => {
                let (limit, kept) = (limit as u64, start.len());
                (start, Err(PayloadError::TooLargeToKeep { actual, limit, kept }))
            }
        };
        let size = payload.len();
        let understood = samples.and_then(|(samples, types)| {
            let (mut entries, accepted) = entries::samples(device, None, &samples, received_at, limits)?;
            entries::give_types(&mut entries, types);
            Ok((entries, accepted))
        });
        let (entries, result) = match understood {
            Ok((entries, accepted)) => (entries, Ok(accepted)),
            Err(error) => {
                self.kept_aside(device, &error);
                (vec![entries::dead_letter(device, &topic, payload, received_at, &error)], Err(error))
            }
        };
        let (stored, committed) = oneshot::channel();
        let storing = async {
            self.submit(entries, Waiting::Request(stored), size).await?;
            committed.await.map_err(|_| Unavailable)
        };
        // A client that is told to come back may find its sample stored when there is space again: at least once.
        tokio::time::timeout(REQUEST_PATIENCE, storing).await.map_err(|_| Unavailable)??;
        Ok(result?)
    }

    /// Notes a message that was too large to be read: counted, and a dead letter that names its size. Its sender heard
    /// no acknowledgement and sends it again for ever, so that the same size of the same device is kept once in a
    /// while. Does not wait: where the queue is full the message is a number.
    pub(crate) fn too_large_to_keep(&self, device: &DeviceId, actual: u64, limit: u64) {
        self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        let error = PayloadError::TooLargeToKeep { actual, limit, kept: 0 };
        if !self.incidents.packet_refused(device, actual) {
            return;
        }
        // The topic was not read.
        let entries = vec![entries::dead_letter(device, "", bytes::Bytes::new(), receive_time(), &error)];
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let submission = Submission { entries, waiting: Waiting::Nobody, _room: Some(room), _pending: None };
        if self.queue.try_send(submission).is_err() {
            tracing::debug!(%device, "no room for the dead letter of a packet that was too large");
        }
    }

    /// A dead letter: counted, and news once.
    fn kept_aside(&self, device: &DeviceId, error: &PayloadError) {
        self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        self.incidents.payload_refused(device, error);
    }

    async fn submit(&self, entries: Vec<Entry>, waiting: Waiting, size: usize) -> Result<(), Unavailable> {
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX).min(QUEUED_KIB as u32);
        let pending = Pending::new(&waiting, &self.counters);
        // Neither the semaphore nor the queue closes before the last user of this handle is gone.
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| Unavailable)?;
        let submission = Submission { entries, waiting, _room: Some(room), _pending: pending };
        self.queue.send(submission).await.map_err(|_| Unavailable)
    }
}

/// Now, in whole milliseconds: finer than the network says anything about, and noise in the digits below costs
/// bytes in every chunk.
fn receive_time() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
