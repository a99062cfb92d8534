//! Opening an outbox, and repairing what a crash left. The parent module says what that can be.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Instant;

use super::append::sync_directory;
use super::room::carry_out;
use super::segment::{Segment, SegmentReader, list};
use super::state::{Removal, StateFile, Unreadable};
use super::{Disk, Durability, Options, Outbox, OutboxError, PreviousRun};

impl Outbox {
    /// Opens the outbox in `directory`, or makes one. `boot` names this run of the program: no other run has had it.
    /// With [`Durability::Memory`] nothing is touched: what an earlier run left stays where it is.
    ///
    /// # Errors
    /// The directory cannot be used, another process works with it, or a later version of the program wrote it.
    pub fn open(directory: &Path, options: Options, boot: &str, now: Instant) -> Result<Self, OutboxError> {
        let mut outbox = Self::in_memory(options, boot, now)?;
        if options.durability == Durability::Memory {
            return Ok(outbox);
        }
        let fail = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| OutboxError::Disk { operation, path, source }
        };
        create(directory).map_err(fail("create", directory))?;
        let lock = lock(directory)?;
        let path = StateFile::path(directory);
        let (state_file, state) = StateFile::open(&path).map_err(|error| match error {
            Unreadable::Io(operation, source) => OutboxError::Disk { operation, path: path.clone(), source },
            Unreadable::Later(format) => OutboxError::Later { path: path.clone(), format },
        })?;
        if let Some(removal) = &state.removal {
            redo(directory, removal).map_err(fail("repair", directory))?;
        }
        let listing = list(directory).map_err(fail("read", directory))?;
        for path in &listing.replacements {
            fs::remove_file(path).map_err(fail("delete", path))?;
        }
        outbox.done = state.done;
        outbox.done.insert_range(0, state.floor);
        outbox.ledger = state.ledger;
        outbox.delivered = state.delivered;
        outbox.needs_receipts = state.needs_receipts;
        for mut segment in listing.segments {
            if !segment.is_closed {
                let path = segment.path(directory);
                let Some((closed, settled)) = repair(directory, &segment).map_err(fail("repair", &path))? else {
                    continue;
                };
                segment = closed;
                if let Some(generation) = settled.filter(|generation| *generation >= outbox.ledger.generation) {
                    outbox.ledger.generation = generation;
                    outbox.ledger.settle();
                }
            }
            let end = segment.end();
            segment.left = segment.count - outbox.done.count_within(segment.first, end);
            if segment.left == 0 {
                let path = segment.path(directory);
                fs::remove_file(&path).map_err(fail("delete", &path))?;
                continue;
            }
            outbox.bytes += segment.bytes;
            outbox.next_number = outbox.next_number.max(end);
            outbox.segments.push_back(segment);
        }
        // Above everything that was ever named: what comes must not be taken for something done with.
        outbox.next_number = outbox.next_number.max(state.next_number).max(outbox.done.end());
        outbox.previous = (!state.run.boot.is_empty())
            .then_some(PreviousRun { boot: state.run.boot, is_closed: state.run.is_closed });
        outbox.disk = Some(Disk { directory: directory.to_owned(), state: state_file, tail: None, _lock: lock });
        let floor = outbox.floor();
        outbox.done.remove_range(0, floor);
        outbox.save(now);
        Ok(outbox)
    }
}

/// Messages may be about a person's health: nobody else's business.
fn create(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn lock(directory: &Path) -> Result<File, OutboxError> {
    let path = directory.join("lock");
    let disk = |source| OutboxError::Disk { operation: "lock", path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(disk)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(disk(source)),
    }
}

/// Carries out a removal that may have been cut short.
fn redo(directory: &Path, removal: &Removal) -> io::Result<()> {
    let new = removal.replacement.map(|(count, level)| {
        let first = removal.first;
        Segment { first, count, level, bytes: 0, is_closed: true, left: count }
    });
    let goes = |segment: &Segment| (removal.first..removal.end).contains(&segment.first);
    let old: Vec<Segment> = list(directory)?.segments.into_iter().filter(goes).collect();
    carry_out(directory, &old, new.as_ref())
}

/// Cuts a tail after its last whole record and closes it. None when there was no record, or it is gone. With it comes
/// the highest generation of the ledger that one of its messages settles.
fn repair(directory: &Path, tail: &Segment) -> io::Result<Option<(Segment, Option<u64>)>> {
    let path = tail.path(directory);
    let mut reader = SegmentReader::open(&path, tail.first)?;
    let (mut end, mut settled) = (tail.first, None);
    while let Some(stored) = reader.next(tail.bytes)? {
        end = end.max(stored.number + 1);
        settled = settled.max(stored.settles);
    }
    if end == tail.first {
        fs::remove_file(&path)?;
        return Ok(None);
    }
    let count = end - tail.first;
    let closed = Segment { count, bytes: reader.valid_to, is_closed: true, left: count, ..*tail };
    if closed.bytes < tail.bytes {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(closed.bytes)?;
        file.sync_all()?;
    }
    fs::rename(&path, closed.path(directory))?;
    sync_directory(directory)?;
    Ok(Some((closed, settled)))
}
