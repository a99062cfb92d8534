//! A run whose messages are on disk before they leave: what is not acknowledged waits for the next run, or for the agent.
//!
//! The spool is an [`outbox`](crate::outbox), the one of an agent with the same data directory. Every message of a run
//! goes into it first and is numbered there (`boot` and `seq` of the wire contract, section 5), so that a platform stores
//! it once however often it is sent. A payload that is no JSON object, or has numbers of its own, stays as it is.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use tesaiot_mqtt::client::Published;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Plan, Source, SourceError};
use crate::outbox::{Durability, Entry, NewMessage, Options, Outbox, OutboxError, WhenFull};
use crate::random::Random;

/// Messages on disk until they are acknowledged.
#[derive(Debug)]
pub struct Spool {
    outbox: Outbox,
    next_seq: u64,
    /// What waited when it was opened
    found: u64,
    /// Messages of this run that it had no room for
    lost: u64,
    /// An acknowledgement says that a message is stored
    is_confirmed_by_acknowledgement: bool,
    /// Acknowledged, and kept all the same
    unconfirmed: u64,
}

/// What became of a run with a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Messages that waited from earlier runs
    pub found: u64,
    /// Messages of this run that were kept
    pub kept: u64,
    /// Messages of this run that there was no room for
    pub lost: u64,
    /// Messages that wait for the next run
    pub waiting: u64,
    /// Whether all of them are on disk
    pub is_safe: bool,
}

impl Spool {
    /// Opens the spool of this data directory, or makes one. What is in it is sent again from its beginning.
    ///
    /// # Errors
    /// The directory cannot be used, or an agent or another run works with it; or it is that of an agent that confirms
    /// by receipts, which a run does not wait for.
    pub fn open(data_directory: &Path) -> Result<Self, OutboxError> {
        // Every message is on the disk before it may leave: a run is short, and may be the last thing before a power cut.
        // What was promised to be kept is not given up for what comes later: who sends that is told.
        let when_full = WhenFull::DropNewest;
        let options = Options { durability: Durability::Every, when_full, ..Options::default() };
        let boot = format!("{:016x}", Random::from_system().bits());
        let path = data_directory.join("outbox");
        let mut outbox = Outbox::open(&path, options, &boot, Instant::now().into_std())?;
        if outbox.needs_receipts() {
            outbox.close(Instant::now().into_std());
            return Err(OutboxError::NeedsReceipts { path });
        }
        outbox.rewind();
        let found = outbox.waiting();
        Ok(Self { outbox, next_seq: 1, found, lost: 0, is_confirmed_by_acknowledgement: true, unconfirmed: 0 })
    }

    /// Puts a message into it. False when there was no room.
    fn keep(&mut self, topic: &str, payload: &[u8]) -> Result<bool, SourceError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let numbered = numbered(payload, self.outbox.boot(), seq);
        let message =
            NewMessage { seq, time: Timestamp::now(), topic, payload: numbered.as_deref().unwrap_or(payload) };
        let kept = self.outbox.append(Instant::now().into_std(), &message);
        let is_kept = kept.map_err(|source| SourceError::NotKept { number: seq, source })?;
        self.lost += u64::from(!is_kept);
        Ok(is_kept)
    }

    /// Ends in good order.
    pub fn close(self) -> Spooled {
        let (waiting, lost) = (self.outbox.waiting(), self.lost);
        let kept = self.next_seq - 1 - lost;
        let is_safe = self.outbox.close(Instant::now().into_std());
        Spooled { found: self.found, kept, lost, waiting, is_safe }
    }
}

/// The payload with `boot` and `seq` in it. None where they have no place: it is no JSON object, holds nothing, or names
/// them itself.
fn numbered(payload: &[u8], boot: &str, seq: u64) -> Option<Vec<u8>> {
    let fields: HashMap<String, IgnoredAny> = serde_json::from_slice(payload).ok()?;
    if fields.is_empty() || fields.contains_key("boot") || fields.contains_key("seq") {
        return None;
    }
    let start = payload.iter().position(|byte| *byte == b'{')? + 1;
    let id = format!(r#""boot":"{boot}","seq":{seq},"#);
    Some([&payload[..start], id.as_bytes(), &payload[start..]].concat())
}

/// What a spool holds, and the messages of this run, each taken at its time and kept before it is given.
pub struct Numbered<'a, P> {
    spool: &'a mut Spool,
    source: &'a mut P,
    topic: &'a str,
    count: u64,
    interval: Duration,
    taken: u64,
    /// There are more of this run, as far as is known
    more: bool,
    started: Instant,
    clock: Pin<Box<Sleep>>,
    /// On their way, by their number in this run
    handed: HashMap<u64, Entry>,
    given: u64,
    topic_of_last: Option<Arc<str>>,
}

impl<'a, P: Source> Numbered<'a, P> {
    /// The messages of `source`, as `plan` says, to `topic`, and all that waits in `spool`.
    pub fn new(spool: &'a mut Spool, source: &'a mut P, topic: &'a str, plan: &Plan) -> Self {
        let started = Instant::now();
        Self {
            spool,
            source,
            topic,
            count: plan.count,
            interval: plan.interval,
            taken: 0,
            more: plan.count > 0,
            started,
            clock: Box::pin(sleep_until(started)),
            handed: HashMap::new(),
            given: 0,
            topic_of_last: None,
        }
    }

    /// Takes messages without a connection until there are no more, `stop` resolves or `until` has come. False when
    /// some of them were not taken.
    ///
    /// # Errors
    /// The source failed, or a message cannot be kept.
    pub async fn take_all(
        &mut self,
        stop: impl Future<Output = ()>,
        until: Option<Instant>,
    ) -> Result<bool, SourceError> {
        let mut stop = pin!(stop);
        loop {
            let taking = poll_fn(|context| self.poll_take(context));
            tokio::select! {
                biased;
                () = &mut stop => return Ok(false),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(!self.more),
                taken = taking => if !taken? { return Ok(true) },
            }
        }
    }

    /// Takes the first message.
    ///
    /// # Errors
    /// As [`Self::take_all`].
    pub async fn take_one(&mut self) -> Result<bool, SourceError> {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// Messages of this run that were not taken, as far as it is known how many there are.
    pub fn not_taken(&self) -> u64 {
        if self.more { self.source.remaining(self.count, self.taken) } else { 0 }
    }

    /// From now on an acknowledgement does not say that a message is stored: what is acknowledged stays in the spool.
    pub fn keep_acknowledged(&mut self) {
        self.spool.is_confirmed_by_acknowledgement = false;
    }

    /// Whether this run has messages that were not taken yet.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Takes one message of this run into the spool when its time has come. False when there are no more.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, SourceError>> {
        if !self.more {
            return Poll::Ready(Ok(false));
        }
        if !self.interval.is_zero() {
            ready!(self.clock.as_mut().poll(context));
        }
        let mut payload = Vec::new();
        if !ready!(self.source.poll_next(context, &mut payload))? {
            self.more = false;
            return Poll::Ready(Ok(false));
        }
        self.taken += 1;
        self.more = self.taken < self.count;
        // Counted from the first message, so that nothing adds up.
        let nanoseconds = self.interval.as_nanos().saturating_mul(u128::from(self.taken));
        let due = self.started.checked_add(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)));
        self.clock.as_mut().reset(due.unwrap_or(self.started + Duration::from_secs(86_400 * 365)));
        // Without room it is counted as lost, and told at the end: what is in the spool is sent first.
        let _ = self.spool.keep(self.topic, &payload)?;
        Poll::Ready(Ok(true))
    }
}

impl<P: Source> Source for Numbered<'_, P> {
    fn poll_next(&mut self, context: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        let taken = match self.poll_take(context) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        if let Some(entry) = self.spool.outbox.next(Instant::now().into_std()) {
            payload.extend_from_slice(&entry.payload);
            self.topic_of_last = Some(Arc::clone(&entry.topic));
            // What is on its way is read again when it must be sent again: its bytes need not be kept here.
            self.handed.insert(self.given, Entry { payload: Bytes::new(), ..entry });
            self.given += 1;
            return Poll::Ready(Ok(true));
        }
        let waits = self.spool.outbox.waiting() > self.handed.len() as u64;
        match taken {
            // The spool gives more out once some of what it gave is acknowledged; that is a step of the run.
            _ if waits && !self.handed.is_empty() => Poll::Pending,
            Poll::Pending => Poll::Pending,
            // There was no room for the message: it is counted as lost, and the next one has its turn.
            Poll::Ready(()) if self.more => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            // What it cannot give out now, because its disk does not read, waits for the next run.
            Poll::Ready(()) => Poll::Ready(Ok(false)),
        }
    }

    fn remaining(&self, _count: u64, _sent: u64) -> u64 {
        // What was given and not answered is told by the run as lost.
        let answered_or_not = self.handed.len() as u64 + self.spool.unconfirmed;
        let waiting = self.spool.outbox.waiting().saturating_sub(answered_or_not);
        waiting + self.not_taken()
    }

    fn topic(&self) -> Option<&str> {
        self.topic_of_last.as_deref()
    }

    fn answered(&mut self, number: u64, outcome: &Published) {
        let Some(entry) = self.handed.remove(&number) else { return };
        match outcome {
            Published::Acknowledged if self.spool.is_confirmed_by_acknowledgement => {
                self.spool.outbox.confirm(entry.ticket);
            }
            Published::Acknowledged => self.spool.unconfirmed += 1,
            // Nobody will take it another time either.
            Published::Refused(_) | Published::TooLarge { .. } => drop(self.spool.outbox.refuse(&entry)),
            // It may have arrived, and is sent again: the platform knows it by its number.
            Published::Lost(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_that_is_confirmed_by_receipts_is_not_emptied_by_acknowledgements() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now().into_std());
        let open = || Outbox::open(&folder.path().join("outbox"), Options::default(), "agent", now).unwrap();
        let mut outbox = open();
        outbox.set_needs_receipts(true, now);
        // As after kill -9: nothing is closed in good order.
        drop(outbox);
        assert!(matches!(Spool::open(folder.path()), Err(OutboxError::NeedsReceipts { .. })));
        let mut outbox = open();
        assert!(outbox.needs_receipts());
        outbox.set_needs_receipts(false, now);
        drop(outbox);
        assert!(!Spool::open(folder.path()).unwrap().outbox.needs_receipts());
    }

    #[test]
    fn what_a_full_spool_has_no_room_for_is_counted_and_nothing_else_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        let large = vec![b'x'; 200 * 1024];
        let mut kept = 0;
        while spool.keep("a", &large).unwrap() {
            kept += 1;
        }
        assert!(kept > 300, "64 MiB");
        assert!(!spool.keep("a", &large).unwrap());
        let Spooled { kept: told, lost, waiting, is_safe, .. } = spool.close();
        assert_eq!((told, lost, waiting, is_safe), (kept, 2, kept, true));
    }

    fn text(payload: &str) -> Option<String> {
        Some(String::from_utf8(numbered(payload.as_bytes(), "b", 7)?).unwrap())
    }

    #[test]
    fn an_object_is_numbered_and_everything_else_stays_as_it_is() {
        let expected = "  {\"boot\":\"b\",\"seq\":7, \"data\":{\"level\":4.20}}\n";
        assert_eq!(text("  { \"data\":{\"level\":4.20}}\n").as_deref(), Some(expected));
        for other in
            ["", "{}", "21.5", "\"on\"", "[{\"a\":1}]", "{\"a\":1", "{\"seq\":1,\"a\":2}", "{\"boot\":\"x\",\"a\":2}"]
        {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
