//! What an outbox remembers beside its messages: what is done with, what was lost, what is being replaced. The layout
//! is on the format page, in the parent module.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::loss::{Ledger, Loss, LossReason};
use super::numbers::{Reader, text, unsigned};
use super::ranges::Ranges;
use super::record::{unzigzag, zigzag};

const MAGIC: &[u8; 8] = b"TESOUTB\0";
/// The format this program writes and reads: of the slots and of the segments.
const FORMAT: u64 = 1;
/// Bytes of a slot. There are two.
const SLOT: usize = 32 << 10;
/// Magic, generation, length, checksum.
const HEADER: usize = 24;
/// More ranges than this are not written: what is left out is sent again, and the platform knows it.
const MAX_RANGES: usize = 1_000;

/// Segments that go, and what comes in their place. Written before the files change, so that a crash in between is
/// made good by doing it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    /// Messages of `first..end` go
    pub(super) first: u64,
    pub(super) end: u64,
    /// Messages and level of the segment that takes their place; it is written already, under a name of its own
    pub(super) replacement: Option<(u64, u32)>,
}

/// A run of the program, as the outbox saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) boot: Box<str>,
    /// It ended in good order, everything on disk
    pub(super) is_closed: bool,
}

/// The body of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) run: Run,
    /// Messages below this number are done with
    pub(super) floor: u64,
    /// The number of the next message is not below this
    pub(super) next_number: u64,
    /// Messages done with, above the floor
    pub(super) done: Ranges,
    pub(super) removal: Option<Removal>,
    pub(super) ledger: Ledger,
    /// Messages delivered since the outbox was made
    pub(super) delivered: u64,
    /// Messages are done with when a receipt names them, not when a broker acknowledges them
    pub(super) needs_receipts: bool,
}

/// What a slot held.
enum Slot {
    Valid(u64, State),
    Later(u64),
    Invalid,
}

/// The file with both slots. One of them is always whole and on the disk: the other is written until it is there too.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    generation: u64,
    /// The slot that is written next: 0 or 1
    slot: u64,
    unsynced: bool,
}

/// Why a state cannot be read.
pub(super) enum Unreadable {
    Io(&'static str, io::Error),
    Later(u64),
}

impl StateFile {
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join("state")
    }

    /// Opens or makes the file. A file in which neither slot is whole gives the empty state: everything that is still
    /// there is sent again.
    pub(super) fn open(path: &Path) -> Result<(Self, State), Unreadable> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|source| Unreadable::Io("open", source))?;
        let mut bytes = Vec::with_capacity(2 * SLOT);
        (&mut file).take(2 * SLOT as u64).read_to_end(&mut bytes).map_err(|error| Unreadable::Io("read", error))?;
        if bytes.len() < 2 * SLOT {
            // Made to its full size at once: later writes need no room on a disk that is full.
            let fill = |file: &mut File| {
                file.seek(SeekFrom::Start(bytes.len() as u64))?;
                file.write_all(&vec![0; 2 * SLOT - bytes.len()])?;
                file.sync_all()
            };
            fill(&mut file).map_err(|error| Unreadable::Io("write", error))?;
            bytes.resize(2 * SLOT, 0);
        }
        let (left, right) = bytes.split_at(SLOT);
        let (generation, slot, state) = match (decode(left), decode(right)) {
            (Slot::Later(format), _) | (_, Slot::Later(format)) => return Err(Unreadable::Later(format)),
            (Slot::Valid(left, _), Slot::Valid(right, state)) if right > left => (right, 0, state),
            (Slot::Valid(generation, state), _) => (generation, 1, state),
            (Slot::Invalid, Slot::Valid(generation, state)) => (generation, 0, state),
            (Slot::Invalid, Slot::Invalid) => (0, 0, State::default()),
        };
        Ok((Self { file, generation, slot, unsynced: false }, state))
    }

    /// Writes `state`: safe from the end of the process, not from a power cut.
    pub(super) fn write(&mut self, state: &State) -> io::Result<()> {
        let bytes = encode(self.generation + 1, state);
        self.file.seek(SeekFrom::Start(self.slot * SLOT as u64))?;
        self.unsynced = true;
        self.file.write_all(&bytes)?;
        self.generation += 1;
        Ok(())
    }

    /// Makes what was written safe from a power cut.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync_data()?;
            self.unsynced = false;
            self.slot = 1 - self.slot;
        }
        Ok(())
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

fn encode(generation: u64, state: &State) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend(MAGIC);
    out.extend(generation.to_le_bytes());
    out.extend([0; 8]);
    unsigned(&mut out, FORMAT);
    text(&mut out, &state.run.boot);
    unsigned(&mut out, u64::from(state.run.is_closed));
    for number in [state.floor, state.next_number, state.delivered] {
        unsigned(&mut out, number);
    }
    match state.removal {
        None => unsigned(&mut out, 0),
        Some(Removal { first, end, replacement }) => {
            unsigned(&mut out, if replacement.is_some() { 2 } else { 1 });
            unsigned(&mut out, first);
            unsigned(&mut out, end);
            if let Some((count, level)) = replacement {
                unsigned(&mut out, count);
                unsigned(&mut out, u64::from(level));
            }
        }
    }
    encode_ledger(&mut out, &state.ledger);
    unsigned(&mut out, state.done.parts().min(MAX_RANGES) as u64);
    let mut previous = 0;
    for (start, end) in state.done.iter().take(MAX_RANGES) {
        unsigned(&mut out, start - previous);
        unsigned(&mut out, end - start);
        previous = end;
    }
    unsigned(&mut out, u64::from(state.needs_receipts));
    debug_assert!(out.len() <= SLOT, "64 losses and 1,000 ranges fit into a slot");
    let length = (out.len() - HEADER) as u32;
    out[16..20].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(&out[..20], &out[HEADER..]);
    out[20..HEADER].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn encode_ledger(out: &mut Vec<u8>, ledger: &Ledger) {
    unsigned(out, ledger.generation);
    for total in ledger.totals {
        unsigned(out, total);
    }
    unsigned(out, ledger.losses.len() as u64);
    for loss in &ledger.losses {
        text(out, &loss.boot);
        unsigned(out, loss.reason.index() as u64);
        for number in [loss.first_seq, loss.last_seq, loss.count] {
            unsigned(out, number);
        }
        for time in [loss.from, loss.to] {
            unsigned(out, zigzag(time.as_millisecond()));
        }
    }
}

fn decode(slot: &[u8]) -> Slot {
    let Some((header, rest)) = slot.split_at_checked(HEADER) else { return Slot::Invalid };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let generation = u64::from(word(8)) | u64::from(word(12)) << 32;
    let Some(body) = rest.get(..word(16) as usize) else { return Slot::Invalid };
    if &header[..8] != MAGIC || checksum(&header[..20], body) != word(20) {
        return Slot::Invalid;
    }
    let mut reader = Reader::new(body);
    match reader.unsigned() {
        Some(FORMAT) => parse(&mut reader).map_or(Slot::Invalid, |state| Slot::Valid(generation, state)),
        Some(format) if format > FORMAT => Slot::Later(format),
        _ => Slot::Invalid,
    }
}

fn parse(reader: &mut Reader<'_>) -> Option<State> {
    let run = Run { boot: reader.text()?.into(), is_closed: reader.unsigned()? == 1 };
    let (floor, next_number, delivered) = (reader.unsigned()?, reader.unsigned()?, reader.unsigned()?);
    let removal = match reader.unsigned()? {
        0 => None,
        kind => {
            let (first, end) = (reader.unsigned()?, reader.unsigned()?);
            let replacement = match kind {
                1 => None,
                _ => Some((reader.unsigned()?, u32::try_from(reader.unsigned()?).ok()?)),
            };
            Some(Removal { first, end, replacement })
        }
    };
    let ledger = parse_ledger(reader)?;
    let mut done = Ranges::default();
    let mut previous = 0_u64;
    for _ in 0..reader.unsigned()? {
        let start = previous.checked_add(reader.unsigned()?)?;
        let end = start.checked_add(reader.unsigned()?)?;
        done.insert_range(start, end);
        previous = end;
    }
    // An outbox of an earlier version ends here.
    let needs_receipts = reader.unsigned() == Some(1);
    Some(State { run, floor, next_number, done, removal, ledger, delivered, needs_receipts })
}

fn parse_ledger(reader: &mut Reader<'_>) -> Option<Ledger> {
    let mut ledger = Ledger { generation: reader.unsigned()?, ..Ledger::default() };
    for total in &mut ledger.totals {
        *total = reader.unsigned()?;
    }
    for _ in 0..reader.unsigned()? {
        let boot = reader.text()?.into();
        let reason = *LossReason::ALL.get(usize::try_from(reader.unsigned()?).ok()?)?;
        let (first_seq, last_seq, count) = (reader.unsigned()?, reader.unsigned()?, reader.unsigned()?);
        let mut time = || Timestamp::from_millisecond(unzigzag(reader.unsigned()?)).ok();
        let (from, to) = (time()?, time()?);
        ledger.losses.push(Loss { boot, reason, first_seq, last_seq, count, from, to });
    }
    Some(ledger)
}
