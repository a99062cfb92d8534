//! The files of messages: their names, and reading one front to back in a window of memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::record::{Found, Record, decode};

/// The first bytes of every segment.
pub(super) const MAGIC: &[u8; 8] = b"TESSEGM\x01";
/// Bytes read at once.
const WINDOW: usize = 64 << 10;

/// What is known of a segment without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first message
    pub(super) first: u64,
    /// Messages in it: their numbers follow each other
    pub(super) count: u64,
    /// How often it was thinned
    pub(super) level: u32,
    /// Its length
    pub(super) bytes: u64,
    /// Nothing is added to it any more
    pub(super) is_closed: bool,
    /// Messages of it that are not done with
    pub(super) left: u64,
}

impl Segment {
    /// The number after its last message.
    pub(super) fn end(&self) -> u64 {
        self.first + self.count
    }

    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        match self.is_closed {
            true => directory.join(format!("{:020}-{}-{}.segment", self.first, self.count, self.level)),
            false => directory.join(format!("{:020}.tail", self.first)),
        }
    }
}

/// Where a segment that takes the place of others lies until it does.
pub(super) fn replacement_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.replacement"))
}

/// What lies in the directory of an outbox.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Segments in the order of their numbers. Those that were open have no count yet.
    pub(super) segments: Vec<Segment>,
    /// Half-made files
    pub(super) replacements: Vec<PathBuf>,
}

/// Lists a directory. Files of other names are not touched.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((stem, kind)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        let mut numbers = stem.split('-').map(str::parse::<u64>);
        let mut number = || numbers.next().and_then(Result::ok);
        let Some(first) = number() else { continue };
        let bytes = entry.metadata()?.len();
        let segment = Segment { first, count: 0, level: 0, bytes, is_closed: false, left: 0 };
        match kind {
            "replacement" => listing.replacements.push(entry.path()),
            "tail" => listing.segments.push(segment),
            "segment" => {
                let (Some(count), Some(level)) = (number(), number()) else { continue };
                let level = u32::try_from(level).unwrap_or(u32::MAX);
                listing.segments.push(Segment { count, level, is_closed: true, ..segment });
            }
            _ => {}
        }
    }
    listing.segments.sort_by_key(|segment| segment.first);
    Ok(listing)
}

/// A message read from a segment.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) number: u64,
    pub(super) boot: Arc<str>,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) settles: Option<u64>,
}

/// Reads a segment front to back. Bytes that are no record are passed over, one after the other, until a record stands
/// there again: one bad sector costs the messages that it held, not those behind it.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: File,
    pub(super) first: u64,
    boot: Arc<str>,
    topic: Arc<str>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read
    start: usize,
    /// Where the end of the buffer lies in the file
    offset: u64,
    /// Where the last record ended
    pub(super) valid_to: u64,
}

impl SegmentReader {
    pub(super) fn open(path: &Path, first: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let offset = MAGIC.len() as u64;
        file.seek(SeekFrom::Start(offset))?;
        let (buffer, boot, topic) = (Vec::new(), "".into(), "".into());
        Ok(Self { file, first, boot, topic, buffer, start: 0, offset, valid_to: offset })
    }

    /// The next message within the first `limit` bytes of the file.
    pub(super) fn next(&mut self, limit: u64) -> io::Result<Option<Stored>> {
        loop {
            let bytes = &self.buffer[self.start..];
            let skipped = match decode(bytes, self.first) {
                Found::Record(record, length) => {
                    let message = match record {
                        Record::Boot(name) => {
                            self.boot = name.into();
                            None
                        }
                        Record::Message(message) => {
                            if *self.topic != *message.topic {
                                self.topic = message.topic.into();
                            }
                            Some(Stored {
                                number: message.number,
                                boot: Arc::clone(&self.boot),
                                seq: message.seq,
                                time: message.time,
                                topic: Arc::clone(&self.topic),
                                payload: Bytes::copy_from_slice(message.payload),
                                settles: message.settles,
                            })
                        }
                    };
                    self.start += length;
                    self.valid_to = self.offset - (self.buffer.len() - self.start) as u64;
                    match message {
                        Some(message) => return Ok(Some(message)),
                        None => continue,
                    }
                }
                Found::Incomplete if self.offset < limit => {
                    self.fill(limit)?;
                    0
                }
                Found::Incomplete if bytes.is_empty() => return Ok(None),
                // A damaged length may reach beyond the end: what lies before the end is still worth a look.
                Found::Incomplete | Found::Damaged => 1,
            };
            self.start += skipped;
        }
    }

    fn fill(&mut self, limit: u64) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = (limit - self.offset).min(WINDOW as u64);
        let before = self.buffer.len();
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.buffer);
        self.offset += (self.buffer.len() - before) as u64;
        read?;
        if self.buffer.len() == before {
            // Somebody made it shorter: what is missing there will not come.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
