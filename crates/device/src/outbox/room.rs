//! Making room: dropping the oldest segment, or thinning the oldest that was thinned least.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use super::append::sync_directory;
use super::loss::{Loss, LossReason};
use super::record::{Message, Record, encode};
use super::segment::{MAGIC, Segment, SegmentReader, Stored, replacement_path};
use super::state::Removal;
use super::{Outbox, WhenFull};

/// Bytes of a replacement that are gathered before they are written.
const GATHER: usize = 64 << 10;

impl Outbox {
    /// Makes room for `needed` bytes. False when the policy, or what is being sent, forbids it.
    pub(super) fn make_room(&mut self, now: Instant, needed: u64) -> bool {
        while self.bytes + needed > self.options.max_bytes {
            let is_freed = match self.options.when_full {
                WhenFull::DropNewest => false,
                WhenFull::DropOldest => self.drop_oldest(now),
                WhenFull::Thin { keep_every } => self.thin(now, keep_every) || self.drop_oldest(now),
            };
            if !is_freed {
                return false;
            }
        }
        true
    }

    fn drop_oldest(&mut self, now: Instant) -> bool {
        if self.closed_segments() == 0 {
            self.close_tail(now);
        }
        let Some(index) = (0..self.closed_segments()).find(|&index| self.may_go(index)) else { return false };
        let segment = self.segments[index];
        let mut losses = Losses::exact(LossReason::DroppedOldest);
        let read = self.for_each_left(&segment, |stored| losses.add(stored));
        if read.is_err() {
            losses = Losses::unknown(LossReason::DroppedOldest, segment.left);
        }
        self.replace(now, index..index + 1, losses.found, None);
        true
    }

    /// Of the oldest segment that was thinned least keeps every n-th message. It takes a neighbour along: the next one,
    /// to be thinned too, or the one before, as it is, when both fit into one segment. So the files do not grow in
    /// number as they shrink.
    fn thin(&mut self, now: Instant, keep_every: u32) -> bool {
        if self.closed_segments() < 2 {
            self.close_tail(now);
        }
        // The newest quarter stays as it is.
        let closed = self.closed_segments();
        let older = (closed - closed / 4).max(1).min(closed);
        let thinnest = (0..older).filter(|&index| self.may_go(index)).min_by_key(|&index| self.segments[index].level);
        let Some(index) = thinnest else { return false };
        let segment = self.segments[index];
        let alike = |other: usize| other < older && self.segments[other].level == segment.level && self.may_go(other);
        let takes = |before: &usize| {
            let before = *before;
            let fits = self.segments[before].bytes + segment.bytes / u64::from(keep_every);
            self.segments[before].level == segment.level.saturating_add(1)
                && fits <= self.options.segment_bytes()
                && self.may_go(before)
        };
        let (indices, whole) = match (alike(index + 1), index.checked_sub(1).filter(takes)) {
            (_, Some(before)) => (before..index + 1, 1),
            (true, None) => (index..index + 2, 0),
            (false, None) => (index..index + 1, 0),
        };
        match self.thinned(indices.clone(), whole, keep_every) {
            Ok(Some((segment, losses))) => {
                self.replace(now, indices, losses, Some(segment));
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.note("thin segments", &error, false);
                false
            }
        }
    }

    /// Writes the replacement of some segments, the first `whole` of which keep everything. None when it would not be
    /// shorter.
    fn thinned(
        &self,
        indices: std::ops::Range<usize>,
        whole: usize,
        keep_every: u32,
    ) -> io::Result<Option<(Segment, Vec<Loss>)>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        let old: Vec<Segment> = self.segments.range(indices).copied().collect();
        let first = old[0].first;
        let path = replacement_path(&disk.directory, first);
        let mut replacement = Replacement::create(&path, first)?;
        let mut losses = Losses::spanning(LossReason::Thinned);
        let mut seen = 0_u32;
        let mut written = Ok(());
        for (index, segment) in old.iter().enumerate() {
            self.for_each_left(segment, |stored| {
                match index < whole || seen.is_multiple_of(keep_every) {
                    true if written.is_ok() => written = replacement.add(stored),
                    true => {}
                    false => losses.add(stored),
                }
                seen += u32::from(index >= whole);
            })?;
        }
        let (count, bytes) = written.and_then(|()| replacement.finish())?;
        let before: u64 = old.iter().map(|segment| segment.bytes).sum();
        if count == 0 || bytes >= before {
            fs::remove_file(&path)?;
            return Ok(None);
        }
        let level = old[whole].level.saturating_add(1);
        Ok(Some((Segment { first, count, level, bytes, is_closed: true, left: count }, losses.found)))
    }

    /// Puts `new` in the place of some segments, or nothing; what is lost by it is on the disk before.
    fn replace(&mut self, now: Instant, indices: std::ops::Range<usize>, losses: Vec<Loss>, new: Option<Segment>) {
        let old: Vec<Segment> = self.segments.range(indices.clone()).copied().collect();
        let (Some(oldest), Some(newest)) = (old.first(), old.last()) else { return };
        let removal = Removal {
            first: oldest.first,
            end: newest.end(),
            replacement: new.map(|segment| (segment.count, segment.level)),
        };
        for loss in losses {
            self.ledger.add(loss);
        }
        match new {
            // Its messages are numbered anew, and none of them was sent.
            Some(_) => self.done.remove_range(removal.first, removal.end),
            None => self.done.insert_range(removal.first, removal.end),
        }
        self.removal = Some(removal);
        self.touch();
        self.save(now);
        let Some(disk) = &self.disk else { return };
        let directory = disk.directory.clone();
        match carry_out(&directory, &old, new.as_ref()) {
            Ok(()) => self.removal = None,
            // Opening does it again.
            Err(error) => self.note("replace segments", &error, false),
        }
        self.bytes -= old.iter().map(|segment| segment.bytes).sum::<u64>();
        self.segments.drain(indices.clone());
        if let Some(new) = new {
            self.bytes += new.bytes;
            self.segments.insert(indices.start, new);
            self.sending.renumbered(removal.first, removal.end);
        }
        let floor = self.floor();
        self.done.remove_range(0, floor);
        self.touch();
    }

    fn closed_segments(&self) -> usize {
        let has_tail = self.disk.as_ref().is_some_and(|disk| disk.tail.is_some());
        self.segments.len() - usize::from(has_tail)
    }

    /// What may be on its way is not given up: the platform may be storing it just now.
    fn may_go(&self, index: usize) -> bool {
        let segment = &self.segments[index];
        !self.sending.handed.touches(segment.first, segment.end())
    }

    fn for_each_left(&self, segment: &Segment, mut each: impl FnMut(&Stored)) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mut reader = SegmentReader::open(&segment.path(&disk.directory), segment.first)?;
        while let Some(stored) = reader.next(segment.bytes)? {
            if !self.done.contains(stored.number) {
                each(&stored);
            }
        }
        Ok(())
    }
}

/// The files of a removal that the state names already.
pub(super) fn carry_out(directory: &Path, old: &[Segment], new: Option<&Segment>) -> io::Result<()> {
    let target = new.map(|segment| segment.path(directory));
    if let (Some(segment), Some(target)) = (new, &target) {
        let made = replacement_path(directory, segment.first);
        if made.exists() {
            fs::rename(made, target)?;
        }
    }
    for segment in old {
        let path = segment.path(directory);
        if Some(&path) != target.as_ref() && path.exists() {
            fs::remove_file(path)?;
        }
    }
    sync_directory(directory)
}

/// A segment that is written to take the place of others.
struct Replacement {
    file: File,
    first: u64,
    count: u64,
    bytes: u64,
    buffer: Vec<u8>,
    boot: Option<std::sync::Arc<str>>,
}

impl Replacement {
    fn create(path: &Path, first: u64) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self { file, first, count: 0, bytes: 0, buffer: MAGIC.to_vec(), boot: None })
    }

    fn add(&mut self, stored: &Stored) -> io::Result<()> {
        if self.boot.as_ref() != Some(&stored.boot) {
            encode(&Record::Boot(&stored.boot), self.first, &mut self.buffer);
            self.boot = Some(std::sync::Arc::clone(&stored.boot));
        }
        let Stored { seq, time, ref topic, ref payload, settles, .. } = *stored;
        let message = Message { number: self.first + self.count, seq, time, topic, payload, settles };
        encode(&Record::Message(message), self.first, &mut self.buffer);
        self.count += 1;
        if self.buffer.len() >= GATHER { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<(u64, u64)> {
        self.write()?;
        self.file.sync_all()?;
        Ok((self.count, self.bytes))
    }
}

/// Losses as they are found, message by message.
struct Losses {
    found: Vec<Loss>,
    reason: LossReason,
    /// One loss for a run, however its numbers lie
    spans: bool,
}

impl Losses {
    fn exact(reason: LossReason) -> Self {
        Self { found: Vec::new(), reason, spans: false }
    }

    fn spanning(reason: LossReason) -> Self {
        Self { found: Vec::new(), reason, spans: true }
    }

    /// Which messages they were cannot be read any more.
    fn unknown(reason: LossReason, count: u64) -> Self {
        let (from, to) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::UNIX_EPOCH);
        let loss = Loss { boot: "".into(), reason, first_seq: 0, last_seq: 0, count, from, to };
        Self { found: vec![loss], reason, spans: true }
    }

    fn add(&mut self, stored: &Stored) {
        let Stored { ref boot, seq, time, .. } = *stored;
        if let Some(loss) = self.found.last_mut()
            && *loss.boot == **boot
            && (self.spans || loss.last_seq + 1 == seq)
        {
            loss.last_seq = loss.last_seq.max(seq);
            loss.count += 1;
            (loss.from, loss.to) = (loss.from.min(time), loss.to.max(time));
            return;
        }
        let (reason, boot) = (self.reason, boot.as_ref().into());
        self.found.push(Loss { boot, reason, first_seq: seq, last_seq: seq, count: 1, from: time, to: time });
    }
}
