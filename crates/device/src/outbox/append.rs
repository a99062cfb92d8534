//! Taking messages: to the tail, or to memory while the disk does not take them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::loss::{Loss, LossReason};
use super::memory::{Memory, shared};
use super::record::{MAX_NAME, MAX_PAYLOAD, Message, PREFIX, Record, encode};
use super::segment::{MAGIC, Segment, Stored};
use super::{Disk, Durability, NewMessage, Outbox, OutboxError, RETRY, Tail, WhenFull};

impl Outbox {
    /// Keeps a message until it is confirmed. False when there was no room for it: it is counted as lost.
    ///
    /// # Errors
    /// The message can never be kept: it is too large. A failing disk is no error; see [`Status::trouble`].
    ///
    /// [`Status::trouble`]: super::Status::trouble
    pub fn append(&mut self, now: Instant, message: &NewMessage<'_>) -> Result<bool, OutboxError> {
        check(message)?;
        Ok(self.keep(now, message, None))
    }

    /// As [`Outbox::append`], for a message that tells all [`losses`](Outbox::losses): once it is kept they are told,
    /// and told once, whatever happens in between. False when it was not kept, for want of room, or because making room
    /// lost more than it tells, or while the disk fails; it is not counted as lost then.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub fn append_report(&mut self, now: Instant, message: &NewMessage<'_>) -> Result<bool, OutboxError> {
        check(message)?;
        if self.disk.is_some() && self.retry.is_some() {
            return Ok(false);
        }
        // Room comes first: what is lost for it is told by the report too, and that is the caller's next attempt.
        let lost_before = self.ledger.totals;
        let has_room = match self.disk.is_some() {
            true => self.make_room(now, estimate(message, &self.boot)),
            false => self.make_room_in_memory(message.payload.len()),
        };
        if !has_room || self.ledger.totals != lost_before {
            return Ok(false);
        }
        let is_kept = self.keep(now, message, Some(self.ledger.generation));
        let is_safe = is_kept && (self.disk.is_none() || self.memory.is_empty());
        if is_kept {
            self.ledger.settle();
            self.touch();
        }
        if is_safe {
            self.save(now);
        }
        Ok(is_kept)
    }

    fn keep(&mut self, now: Instant, message: &NewMessage<'_>, settles: Option<u64>) -> bool {
        if self.retry.is_some_and(|(at, _)| now >= at) {
            self.leave_memory(now);
        }
        if self.disk.is_none() || self.retry.is_some() {
            return self.keep_in_memory(message, settles);
        }
        if !self.make_room(now, estimate(message, &self.boot)) {
            self.lose(message, LossReason::DroppedNewest);
            return false;
        }
        let boot = Arc::clone(&self.boot);
        let NewMessage { seq, time, topic, payload } = *message;
        let record = Message { number: self.next_number, seq, time, topic, payload, settles };
        match self.write(now, &boot, &record) {
            Ok(()) => {
                self.next_number += 1;
                true
            }
            Err(error) => {
                self.fail(now, "write messages", &error);
                self.keep_in_memory(message, settles)
            }
        }
    }

    /// Writes everything that memory holds to the disk, when there is one and it takes it.
    pub(super) fn leave_memory(&mut self, now: Instant) {
        if self.disk.is_none() {
            return;
        }
        while let Some(stored) = self.memory.front().cloned() {
            let message =
                NewMessage { seq: stored.seq, time: stored.time, topic: &stored.topic, payload: &stored.payload };
            if !self.make_room(now, estimate(&message, &stored.boot)) {
                self.memory.pop_front();
                self.lose_stored(&stored, LossReason::DroppedNewest);
                continue;
            }
            let Stored { number, ref boot, seq, time, ref topic, ref payload, settles } = stored;
            let record = Message { number, seq, time, topic, payload, settles };
            if let Err(error) = self.write(now, boot, &record) {
                return self.fail(now, "write messages", &error);
            }
            self.memory.pop_front();
        }
        self.retry = None;
        if let Some(trouble) = &mut self.trouble {
            trouble.goes_on = false;
        }
    }

    /// Makes room in memory for a payload of so many bytes. False when the policy, or what is being sent, forbids it.
    fn make_room_in_memory(&mut self, payload: usize) -> bool {
        let has_disk = self.disk.is_some();
        let limit = if has_disk { self.options.memory_bytes } else { self.options.max_bytes };
        let size = Memory::size(payload);
        while self.memory.bytes() + size > limit {
            let handed = &self.sending.handed;
            let may_go = |stored: &Stored| !handed.contains(stored.number);
            let gone = match self.options.when_full {
                WhenFull::DropNewest => Vec::new(),
                // What goes to the disk later keeps its numbers without gaps: there the oldest go.
                WhenFull::Thin { keep_every } if !has_disk => {
                    let thinned = self.memory.thin(keep_every, may_go);
                    match thinned.is_empty() {
                        true => self.memory.remove_oldest(may_go).into_iter().collect(),
                        false => thinned,
                    }
                }
                _ => self.memory.remove_oldest(may_go).into_iter().collect(),
            };
            let reason = match self.options.when_full {
                WhenFull::Thin { .. } if !has_disk => LossReason::Thinned,
                _ => LossReason::DroppedOldest,
            };
            for stored in &gone {
                self.lose_stored(stored, reason);
            }
            if gone.is_empty() {
                return false;
            }
        }
        true
    }

    fn keep_in_memory(&mut self, message: &NewMessage<'_>, settles: Option<u64>) -> bool {
        if !self.make_room_in_memory(message.payload.len()) {
            self.lose(message, LossReason::DroppedNewest);
            return false;
        }
        let last = self.memory.from(self.next_number.saturating_sub(1));
        let topic = shared(message.topic, last.map(|last| &last.topic));
        self.memory.push(Stored {
            number: self.next_number,
            boot: Arc::clone(&self.boot),
            seq: message.seq,
            time: message.time,
            topic,
            payload: Bytes::copy_from_slice(message.payload),
            settles,
        });
        self.next_number += 1;
        true
    }

    /// Appends a record to the tail; a new tail is begun where the old one is full, or its numbers do not go on.
    fn write(&mut self, now: Instant, boot: &str, record: &Message<'_>) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let tail = disk.tail.as_ref().and_then(|_| self.segments.back());
        if tail.is_some_and(|tail| tail.bytes >= self.options.segment_bytes() || tail.end() != record.number) {
            self.close_tail(now);
        }
        self.begin_tail(record.number)?;
        let Self { disk: Some(Disk { tail: Some(tail), .. }), segments, scratch, bytes, .. } = self else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Some(segment) = segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        scratch.clear();
        if segment.count == 0 {
            scratch.extend(MAGIC);
            encode(&Record::Boot(boot), segment.first, scratch);
        }
        encode(&Record::Message(*record), segment.first, scratch);
        let written = tail.file.write_all(scratch);
        let is_written = written.is_ok();
        let synced = written.and_then(|()| match self.options.durability {
            Durability::Every => tail.file.sync_data(),
            _ => Ok(()),
        });
        if let Err(error) = synced {
            // Half a record at the end would be passed over by every reader; better it is not there. Nor is one that was
            // not made durable: it is written again, and to another file, as this one may not tell of a second failure.
            if tail.file.set_len(segment.bytes).is_err() || segment.count == 0 || is_written {
                self.close_tail(now);
            }
            return Err(error);
        }
        let length = scratch.len() as u64;
        segment.bytes += length;
        segment.count += 1;
        segment.left += 1;
        *bytes += length;
        tail.unsynced |= self.options.durability != Durability::Every;
        // One large message must not hold its memory for ever.
        if scratch.capacity() > 16 * 1024 {
            *scratch = Vec::new();
        }
        match self.options.durability {
            Durability::Interval(interval) if now.duration_since(self.last_sync) >= interval => self.sync_data(now),
            _ => {}
        }
        Ok(())
    }

    fn begin_tail(&mut self, first: u64) -> io::Result<()> {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.tail.is_none()) else { return Ok(()) };
        let segment = Segment { first, count: 0, level: 0, bytes: 0, is_closed: false, left: 0 };
        let path = segment.path(&disk.directory);
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        // A file of that name can only be left from an attempt that failed: it holds nothing that is known.
        file.set_len(0)?;
        sync_directory(&disk.directory)?;
        disk.tail = Some(Tail { file, unsynced: false });
        self.segments.push_back(segment);
        Ok(())
    }

    /// Closes the tail: on the disk, under its closed name; gone when nothing of it is left to send.
    pub(super) fn close_tail(&mut self, now: Instant) {
        if self.disk.as_ref().is_none_or(|disk| disk.tail.is_none()) {
            return;
        }
        let left = self.segments.back().map_or(0, |segment| segment.left);
        if left > 0 {
            self.sync_data(now);
        }
        let Some(disk) = &mut self.disk else { return };
        disk.tail = None;
        if left == 0 {
            self.delete_segment(self.segments.len() - 1);
            return;
        }
        let Some(segment) = self.segments.back_mut() else { return };
        let closed = Segment { is_closed: true, ..*segment };
        match std::fs::rename(segment.path(&disk.directory), closed.path(&disk.directory)) {
            Ok(()) => *segment = closed,
            // It keeps its name; opening closes it.
            Err(error) => self.note("close a segment", &error, false),
        }
    }

    /// Takes a segment out, file and all.
    pub(super) fn delete_segment(&mut self, index: usize) {
        let Some(segment) = self.segments.remove(index) else { return };
        self.bytes -= segment.bytes;
        if let Some(disk) = &self.disk
            && let Err(error) = std::fs::remove_file(segment.path(&disk.directory))
        {
            self.note("delete a segment", &error, false);
        }
        let floor = self.floor();
        self.done.remove_range(0, floor);
    }

    fn fail(&mut self, now: Instant, operation: &'static str, error: &io::Error) {
        let delay = self.retry.map_or(RETRY[0], |(_, delay)| (delay * 2).min(RETRY[1]));
        self.retry = Some((now + delay, delay));
        self.note(operation, error, true);
    }

    fn lose(&mut self, message: &NewMessage<'_>, reason: LossReason) {
        let NewMessage { seq, time, .. } = *message;
        let boot = self.boot.as_ref().into();
        self.ledger.add(Loss { boot, reason, first_seq: seq, last_seq: seq, count: 1, from: time, to: time });
        self.touch();
    }

    pub(super) fn lose_stored(&mut self, stored: &Stored, reason: LossReason) {
        let Stored { ref boot, seq, time, .. } = *stored;
        let boot = boot.as_ref().into();
        self.ledger.add(Loss { boot, reason, first_seq: seq, last_seq: seq, count: 1, from: time, to: time });
        self.touch();
    }
}

fn check(message: &NewMessage<'_>) -> Result<(), OutboxError> {
    let bytes = message.payload.len();
    if bytes > MAX_PAYLOAD {
        return Err(OutboxError::TooLarge { bytes, limit: MAX_PAYLOAD });
    }
    let bytes = message.topic.len();
    if bytes > MAX_NAME {
        return Err(OutboxError::NameTooLong { bytes, limit: MAX_NAME });
    }
    Ok(())
}

/// At most this many bytes go to the disk for a message.
fn estimate(message: &NewMessage<'_>, boot: &str) -> u64 {
    (2 * PREFIX + MAGIC.len() + 64 + boot.len() + message.topic.len() + message.payload.len()) as u64
}

/// Makes a new name durable. Where directories cannot be opened, the file system has no such notion.
pub(super) fn sync_directory(directory: &std::path::Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
