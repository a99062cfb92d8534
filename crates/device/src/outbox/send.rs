//! Giving messages out, and being told that they arrived.
//!
//! Two lanes read the outbox: one what waited when the connection came about, oldest first, the other what was made
//! since. They take turns, so that a live message waits for one old one and not for a million.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::loss::{Loss, LossReason};
use super::ranges::Ranges;
use super::segment::{Segment, SegmentReader, Stored};
use super::{Entry, Outbox, Ticket};

/// Runs whose messages may be unconfirmed on disk: the platform remembers eight, the present one among them.
const MAX_BOOTS: usize = 6;
/// Ranges of sequence numbers that may be unconfirmed on disk: the platform remembers 64 of each run.
const MAX_BREAKS: usize = 48;
/// Parts of the set of what is done with, beyond which messages leave in order alone.
const MAX_PARTS: usize = 500;
/// Attempts to read a segment before the rest of it is given up.
const READ_ATTEMPTS: u32 = 5;
/// Time between two of them.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What is being sent.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Given out over the present connection and not confirmed
    pub(super) handed: Ranges,
    /// Not for the present connection; what becomes of them is for another one
    aside: Ranges,
    backlog: Lane,
    /// None until a connection begins, and while order matters more
    live: Option<Lane>,
    /// The live lane has its turn
    live_is_next: bool,
    span: Span,
    /// A segment could not be read: not tried again before this
    paused: Option<Instant>,
}

/// A place in the outbox.
#[derive(Debug, Default)]
struct Lane {
    /// Messages below this number were given out, or are done with
    next: u64,
    reader: Option<SegmentReader>,
    /// The message that the reader gave last
    last: Option<Seen>,
    failures: u32,
}

#[derive(Clone, Debug)]
struct Seen {
    number: u64,
    boot: Arc<str>,
    seq: u64,
    time: Timestamp,
}

impl Sending {
    /// Whether this message is not to be given out, as it was already.
    fn is_out(&self, number: u64) -> bool {
        self.handed.contains(number) || self.aside.contains(number)
    }

    /// Messages of this range have new numbers, from the lowest on, and none of them was given out.
    pub(super) fn renumbered(&mut self, first: u64, end: u64) {
        self.aside.remove_range(first, end);
        for lane in [Some(&mut self.backlog), self.live.as_mut()].into_iter().flatten() {
            if (first..end).contains(&lane.next) {
                lane.next = first;
            }
            if lane.reader.as_ref().is_some_and(|reader| (first..end).contains(&reader.first)) {
                lane.reader = None;
            }
        }
    }
}

/// How far apart the messages lie that were given out since the state was last on the disk.
#[derive(Debug, Default)]
struct Span {
    boots: Vec<Arc<str>>,
    breaks: usize,
    /// The last message of each lane: backlog, live
    last: [Option<(Arc<str>, u64)>; 2],
}

impl Span {
    fn note(&mut self, lane: usize, boot: &Arc<str>, seq: u64) {
        if !self.boots.contains(boot) {
            self.boots.push(Arc::clone(boot));
        }
        let follows = self.last[lane].as_ref().is_some_and(|(last, number)| last == boot && *number + 1 == seq);
        self.breaks += usize::from(!follows);
        self.last[lane] = Some((Arc::clone(boot), seq));
    }

    fn is_full(&self) -> bool {
        self.boots.len() >= MAX_BOOTS || self.breaks >= MAX_BREAKS
    }
}

impl Outbox {
    /// Whether whoever worked with it last confirms by receipts alone: then an acknowledgement says too little, to
    /// another program too.
    pub fn needs_receipts(&self) -> bool {
        self.needs_receipts
    }

    /// Says what confirms a message, durably when that changes.
    pub fn set_needs_receipts(&mut self, needs_receipts: bool, now: Instant) {
        if needs_receipts != self.needs_receipts {
            self.needs_receipts = needs_receipts;
            self.touch();
            self.save(now);
        }
    }

    /// A new connection: everything that is not confirmed is given out again, oldest first, in turns with what is
    /// appended from now on.
    pub fn rewind(&mut self) {
        let sending = &mut self.sending;
        sending.handed.clear();
        sending.aside.clear();
        sending.backlog = Lane::default();
        let in_order = self.done.parts() > MAX_PARTS;
        sending.live = (!in_order).then(|| Lane { next: self.next_number, ..Lane::default() });
    }

    /// After [`Outbox::rewind`]: these are with the broker and are not given out, until they are confirmed or given out
    /// [again](Outbox::give_again).
    pub fn hold(&mut self, tickets: impl Iterator<Item = Ticket>) {
        for Ticket(number) in tickets {
            let is_there = self.segment_of(number).is_some() || self.memory.contains(number);
            if is_there && !self.done.contains(number) {
                self.sending.handed.insert(number);
            }
        }
    }

    /// The present connection is not the one for this message: it is given out again over the next, and nothing waits
    /// for it until then. It was not sent.
    pub fn set_aside(&mut self, Ticket(number): Ticket) {
        if self.sending.handed.contains(number) {
            self.sending.handed.remove_range(number, number + 1);
            self.sending.aside.insert(number);
        }
    }

    /// These are on their way no longer, and not confirmed: they are given out again, before what comes after them.
    pub fn give_again(&mut self, tickets: &[Ticket]) {
        for &Ticket(number) in tickets {
            let backlog = &mut self.sending.backlog;
            self.sending.handed.remove_range(number, number + 1);
            if number < backlog.next {
                backlog.next = number;
                backlog.reader = None;
                backlog.last = None;
            }
        }
    }

    /// The next message to send; none when all were given out, or when too much is unconfirmed (the
    /// [module](super) says why).
    pub fn next(&mut self, now: Instant) -> Option<Entry> {
        if self.sending.paused.is_some_and(|until| now < until) {
            return None;
        }
        if self.sending.span.is_full() {
            if !self.sending.handed.is_empty() {
                return None;
            }
            if self.unsynced > 0 {
                self.save(now);
            }
            self.sending.span = Span::default();
        }
        self.sending.live_is_next = !self.sending.live_is_next && self.sending.live.is_some();
        let found = match self.sending.live_is_next {
            true => self.advance_live(now).or_else(|| self.advance_backlog(now)),
            false => self.advance_backlog(now).or_else(|| self.advance_live(now)),
        };
        let (lane, stored) = found?;
        self.sending.span.note(lane, &stored.boot, stored.seq);
        self.sending.handed.insert(stored.number);
        let Stored { number, boot, seq, time, topic, payload, .. } = stored;
        Some(Entry { ticket: Ticket(number), boot, seq, time, topic, payload })
    }

    /// The message arrived: it is not given out again. False when it was not on its way.
    pub fn confirm(&mut self, ticket: Ticket) -> bool {
        let is_handed = self.finish(ticket);
        self.delivered += u64::from(is_handed);
        is_handed
    }

    /// The platform does not take this message: it is not given out again, and counted as lost. False when it was not
    /// on its way.
    pub fn refuse(&mut self, entry: &Entry) -> bool {
        let is_handed = self.finish(entry.ticket);
        if is_handed {
            let Entry { ref boot, seq, time, .. } = *entry;
            let (reason, boot) = (LossReason::Refused, boot.as_ref().into());
            self.ledger.add(Loss { boot, reason, first_seq: seq, last_seq: seq, count: 1, from: time, to: time });
        }
        is_handed
    }

    fn finish(&mut self, Ticket(number): Ticket) -> bool {
        if !self.sending.handed.contains(number) {
            return false;
        }
        self.sending.handed.remove_range(number, number + 1);
        self.touch();
        if self.memory.remove(number).is_none() {
            self.done_with(number, number + 1);
        }
        true
    }

    /// Messages `start..end`, all of one segment, are done with. Returns how many of them were not before.
    fn done_with(&mut self, start: u64, end: u64) -> u64 {
        let new = end - start - self.done.count_within(start, end);
        self.done.insert_range(start, end);
        let Some(index) = self.segment_of(start) else { return new };
        let is_tail = index + 1 == self.segments.len() && self.disk.as_ref().is_some_and(|disk| disk.tail.is_some());
        let segment = &mut self.segments[index];
        segment.left = segment.left.saturating_sub(new);
        if segment.left == 0 && !is_tail {
            self.delete_segment(index);
        }
        new
    }

    fn segment_of(&self, number: u64) -> Option<usize> {
        let after = self.segments.partition_point(|segment| segment.first <= number);
        after.checked_sub(1).filter(|&index| number < self.segments[index].end())
    }

    fn advance_backlog(&mut self, now: Instant) -> Option<(usize, Stored)> {
        let mut lane = std::mem::take(&mut self.sending.backlog);
        let found = self.advance(&mut lane, now);
        // Caught up: from here on there is one lane.
        if self.sending.live.as_ref().is_some_and(|live| lane.next > live.next) {
            self.sending.live = None;
        }
        self.sending.backlog = lane;
        found.map(|stored| (0, stored))
    }

    fn advance_live(&mut self, now: Instant) -> Option<(usize, Stored)> {
        let mut lane = self.sending.live.take()?;
        let found = self.advance(&mut lane, now);
        self.sending.live = Some(lane);
        found.map(|stored| (1, stored))
    }

    fn advance(&mut self, lane: &mut Lane, now: Instant) -> Option<Stored> {
        loop {
            let passed = [&self.done, &self.sending.handed, &self.sending.aside];
            if let Some(end) = passed.into_iter().find_map(|numbers| numbers.end_of(lane.next)) {
                lane.next = end;
                continue;
            }
            if lane.next >= self.next_number {
                return None;
            }
            let after = self.segments.partition_point(|segment| segment.end() <= lane.next);
            let Some(&segment) = self.segments.get(after) else {
                lane.reader = None;
                let stored = self.memory.from(lane.next).cloned()?;
                lane.next = stored.number;
                if self.sending.is_out(stored.number) {
                    continue;
                }
                lane.next += 1;
                return Some(stored);
            };
            if lane.next < segment.first {
                lane.next = segment.first;
                continue;
            }
            match self.read(lane, &segment) {
                Ok(Some(stored)) => return Some(stored),
                Ok(None) => {}
                Err(error) => {
                    self.note("read messages", &error, false);
                    lane.reader = None;
                    lane.failures += 1;
                    if lane.failures < READ_ATTEMPTS {
                        self.sending.paused = Some(now + READ_PAUSE);
                        return None;
                    }
                    lane.failures = 0;
                    self.damaged(lane, &segment, segment.end(), None);
                }
            }
        }
    }

    /// The message at the lane's place in this segment. None: the lane was moved on.
    fn read(&mut self, lane: &mut Lane, segment: &Segment) -> std::io::Result<Option<Stored>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        let reader = match &mut lane.reader {
            Some(reader) if reader.first == segment.first => reader,
            place => {
                lane.last = None;
                place.insert(SegmentReader::open(&segment.path(&disk.directory), segment.first)?)
            }
        };
        loop {
            let Some(stored) = reader.next(segment.bytes)? else {
                // All that is known of it was read, and the message was not there.
                self.damaged(lane, segment, segment.end(), None);
                return Ok(None);
            };
            let Stored { number, ref boot, seq, time, .. } = stored;
            let seen = Seen { number, boot: Arc::clone(boot), seq, time };
            if number < lane.next {
                lane.last = Some(seen);
                continue;
            }
            lane.failures = 0;
            if number > lane.next {
                self.damaged(lane, segment, number.min(segment.end()), Some(&seen));
            }
            lane.last = Some(seen);
            if self.done.contains(number) || self.sending.is_out(number) {
                lane.next = number;
                return Ok(None);
            }
            lane.next = number + 1;
            return Ok(Some(stored));
        }
    }

    /// Messages from the lane's place up to `end` are not in their segment any more. Which they were follows from
    /// their neighbours.
    fn damaged(&mut self, lane: &mut Lane, segment: &Segment, end: u64, after: Option<&Seen>) {
        let start = lane.next;
        lane.next = end;
        let mut missing = Ranges::default();
        missing.insert_range(start, end);
        for (handed_from, handed_to) in self.sending.handed.iter() {
            missing.remove_range(handed_from, handed_to);
        }
        let count: u64 = missing.iter().map(|(start, end)| end - start - self.done.count_within(start, end)).sum();
        if count == 0 {
            return;
        }
        let length = end - start;
        let (boot, first_seq, last_seq, from, to) = match (&lane.last, after) {
            (Some(before), Some(after)) if before.boot == after.boot => {
                (&*before.boot, before.seq + 1, after.seq.saturating_sub(1), before.time, after.time)
            }
            (Some(before), _) if segment.level == 0 => {
                let first = before.seq + (start - before.number);
                (&*before.boot, first, first + length - 1, before.time, before.time)
            }
            (_, Some(after)) if segment.level == 0 => {
                let last = after.seq.saturating_sub(after.number - end + 1);
                (&*after.boot, last.saturating_sub(length - 1), last, after.time, after.time)
            }
            _ => ("", 0, 0, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
        };
        let (boot, last_seq) = (boot.into(), last_seq.max(first_seq));
        self.ledger.add(Loss { boot, reason: LossReason::Damaged, first_seq, last_seq, count, from, to });
        self.touch();
        for (start, end) in missing.iter().collect::<Vec<_>>() {
            self.done_with(start, end);
        }
    }
}
