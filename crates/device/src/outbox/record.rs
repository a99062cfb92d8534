//! One record of a segment: bytes to and from what it says. The layout is on the format page, in the parent module.

use jiff::Timestamp;

use super::numbers::{Reader, unsigned};

/// Bytes before the body of a record: its length and its checksum.
pub(super) const PREFIX: usize = 8;
/// Longest payload of a message, in bytes: the wire contract's limit, section 4.
pub(super) const MAX_PAYLOAD: usize = 256 * 1024;
/// Longest name of a run, in bytes: many of them fit into the state.
pub(super) const MAX_BOOT: usize = 64;
/// Longest topic, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// Longest body of a record: payload, topic, and six numbers of at most ten bytes.
const MAX_BODY: usize = MAX_PAYLOAD + MAX_NAME + 64;

const MESSAGE: u8 = 1;
const BOOT: u8 = 2;
const REPORT: u8 = 3;

/// What a record says. Borrows from the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// The messages that follow were made in the run of this name.
    Boot(&'a str),
    /// A message.
    Message(Message<'a>),
}

/// A message as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Its place in the outbox; rising by one within a segment
    pub(super) number: u64,
    /// Its number within the run that made it
    pub(super) seq: u64,
    /// When it was made, to the millisecond
    pub(super) time: Timestamp,
    /// Where it goes
    pub(super) topic: &'a str,
    /// What it says
    pub(super) payload: &'a [u8],
    /// For a message that reports losses: the ledger's generation that it settles
    pub(super) settles: Option<u64>,
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A record, and how many bytes it takes.
    Record(Record<'a>, usize),
    /// Nothing that can be told from damage; more bytes may make it a record.
    Incomplete,
    /// Bytes that are no record, whatever follows.
    Damaged,
}

/// Appends a record to `out`. `first` is the number of the segment's first message.
pub(super) fn encode(record: &Record<'_>, first: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; PREFIX]);
    match record {
        Record::Boot(name) => {
            out.push(BOOT);
            out.extend(name.as_bytes());
        }
        Record::Message(message) => {
            out.push(if message.settles.is_some() { REPORT } else { MESSAGE });
            if let Some(generation) = message.settles {
                unsigned(out, generation);
            }
            unsigned(out, message.number - first);
            unsigned(out, message.seq);
            unsigned(out, zigzag(message.time.as_millisecond()));
            unsigned(out, message.topic.len() as u64);
            out.extend(message.topic.as_bytes());
            out.extend(message.payload);
        }
    }
    let length = (out.len() - start - PREFIX) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(first, &length.to_le_bytes(), &out[start + PREFIX..]);
    out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the record at the beginning of `bytes`.
pub(super) fn decode(bytes: &[u8], first: u64) -> Found<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Found::Incomplete };
    let [a, b, c, d, e, f, g, h] = *prefix;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length == 0 || length > MAX_BODY {
        return Found::Damaged;
    }
    let Some(body) = rest.get(..length) else { return Found::Incomplete };
    if checksum(first, &prefix[..4], body) != u32::from_le_bytes([e, f, g, h]) {
        return Found::Damaged;
    }
    match parse(body, first) {
        Some(record) => Found::Record(record, PREFIX + length),
        None => Found::Damaged,
    }
}

fn parse(body: &[u8], first: u64) -> Option<Record<'_>> {
    let (&kind, rest) = body.split_first()?;
    if kind == BOOT {
        return std::str::from_utf8(rest).ok().map(Record::Boot);
    }
    let mut reader = Reader::new(rest);
    let settles = match kind {
        MESSAGE => None,
        REPORT => Some(reader.unsigned()?),
        _ => return None,
    };
    Some(Record::Message(Message {
        settles,
        number: first.checked_add(reader.unsigned()?)?,
        seq: reader.unsigned()?,
        time: Timestamp::from_millisecond(unzigzag(reader.unsigned()?)).ok()?,
        topic: reader.text()?,
        payload: reader.rest(),
    }))
}

/// Seeded with the segment's own number: bytes of another segment are not taken for a record of this one.
fn checksum(first: u64, length: &[u8], body: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&first.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, length), body)
}

/// Small numbers of either sign in few bytes.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
