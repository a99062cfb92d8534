//! Last Wills: published when a client vanishes, or a while later, unless it comes back (Will Delay Interval, MQTT 5
//! section 3.1.3.2.2).
//!
//! A delayed will waits here, by client identifier. The connection that leaves it puts it here before it lets go of
//! the session; the one that resumes the session takes it away, and finds it, because it had to wait for the session.

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tesaiot_mqtt::Message;
use tesaiot_mqtt::inbound::Ticket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Shared;
use crate::fan_out::{Origin, fan_out};
use crate::host::{Event, Host};
use crate::mailbox::Mailbox;
use crate::outcome::Outcome;
use crate::receipt::Receipt;

/// A will and whose it is.
#[derive(Debug)]
pub(crate) struct Will<I> {
    pub(crate) message: Message,
    pub(crate) identity: Arc<I>,
    pub(crate) client_id: Arc<str>,
}

#[derive(Debug)]
struct Inner<I> {
    delayed: HashMap<Arc<str>, (Instant, Will<I>)>,
    /// The same, by time.
    due: BTreeSet<(Instant, Arc<str>)>,
    bytes: usize,
    /// The broker drains: nothing is delayed any more.
    closed: bool,
}

impl<I> Inner<I> {
    fn take(&mut self, client_id: &str) -> Option<Will<I>> {
        let (at, will) = self.delayed.remove(client_id)?;
        self.due.remove(&(at, Arc::clone(&will.client_id)));
        self.bytes -= will.message.size();
        Some(will)
    }
}

/// Wills that wait.
#[derive(Debug)]
pub(crate) struct Wills<I> {
    inner: Mutex<Inner<I>>,
    /// The next one due may be another one.
    changed: Notify,
    max_bytes: usize,
}

impl<I> Wills<I> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let inner = Inner { delayed: HashMap::new(), due: BTreeSet::new(), bytes: 0, closed: false };
        Self { inner: Mutex::new(inner), changed: Notify::new(), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<I>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a will until `at`. It is given back when there is no room or no time to wait: it is due now.
    pub(crate) fn delay(&self, will: Will<I>, at: Instant) -> Option<Will<I>> {
        let mut inner = self.lock();
        let size = will.message.size();
        if inner.closed || inner.bytes + size > self.max_bytes {
            return Some(will);
        }
        inner.take(&will.client_id);
        inner.bytes += size;
        inner.due.insert((at, Arc::clone(&will.client_id)));
        inner.delayed.insert(Arc::clone(&will.client_id), (at, will));
        drop(inner);
        self.changed.notify_one();
        None
    }

    /// The client is back, or its session has ended: its will, if one waits.
    pub(crate) fn take(&self, client_id: &str) -> Option<Will<I>> {
        self.lock().take(client_id)
    }

    fn next_due(&self) -> Option<Instant> {
        self.lock().due.first().map(|(at, _)| *at)
    }

    fn take_due(&self) -> Vec<Will<I>> {
        let now = Instant::now();
        let mut inner = self.lock();
        let names: Vec<_> =
            inner.due.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| Arc::clone(name)).collect();
        names.iter().filter_map(|name| inner.take(name)).collect()
    }

    /// Everything that waits; nothing waits from now on.
    fn close(&self) -> Vec<Will<I>> {
        let mut inner = self.lock();
        inner.closed = true;
        let names: Vec<_> = inner.delayed.keys().cloned().collect();
        names.iter().filter_map(|name| inner.take(name)).collect()
    }
}

/// A will takes the same way as any message: stored, then delivered. It was authorized at CONNECT.
pub(crate) async fn publish<H: Host>(shared: &Shared<H>, will: Will<H::Identity>) {
    let mailbox = Arc::new(Mailbox::new(1, 0));
    let receipt = Receipt::new(Arc::clone(&mailbox), Ticket::default());
    let stored = async {
        shared.host.accept(&will.identity, will.message.clone(), Some(receipt)).await;
        poll_fn(|context| mailbox.poll_resolved(context)).await
    };
    if let Ok(outcomes) = timeout(shared.config.acknowledge_timeout, stored).await
        && outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Stored)
    {
        let origin = Origin { client_id: Some(&will.client_id), received: Instant::now() };
        let mut batch = shared.ledger.batch();
        if fan_out(shared, &will.message, origin, &mut batch, None).not_retained {
            shared.host.observe(Event::NotRetained { identity: &will.identity, topic: &will.message.topic });
        }
        batch.will_gone(&will.client_id);
    }
}

/// Publishes a will in a task of its own: the host may take its time.
pub(crate) fn spawn<H: Host>(shared: &Arc<Shared<H>>, will: Will<H::Identity>) {
    let by_task = Arc::clone(shared);
    shared.tasks.spawn(async move { publish(&by_task, will).await });
}

/// Publishes delayed wills when their time comes. When the broker drains, and no session outlives it, all are due.
pub(crate) async fn publish_when_due<H: Host>(shared: &Arc<Shared<H>>) {
    loop {
        let next = shared.wills.next_due();
        tokio::select! {
            () = shared.draining.cancelled() => break,
            () = shared.wills.changed.notified() => {}
            () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {}
        }
        for will in shared.wills.take_due() {
            spawn(shared, will);
        }
    }
    let left = shared.wills.close();
    if !shared.ledger.is_kept() {
        left.into_iter().for_each(|will| spawn(shared, will));
    }
}
