//! Looking at an outbox without working with it: nothing is opened for writing, repaired or locked.

use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::segment::{MAGIC, SegmentReader, list};

/// What lies in an outbox that nobody need be working with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Messages that can be read. Some of them may be delivered already: only who works with it knows which.
    pub messages: u64,
    /// Messages that are named and cannot be read any more
    pub missing: u64,
    /// Segments with bytes that are no message
    pub damaged: u64,
    /// Bytes of the segments
    pub bytes: u64,
    /// When the oldest readable message was made
    pub oldest: Option<Timestamp>,
}

/// Reads every message of the outbox in `directory`.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub fn inspect(directory: &Path) -> io::Result<Inspection> {
    let mut seen = Inspection::default();
    for segment in list(directory)?.segments {
        let path = segment.path(directory);
        // Its owner may be done with it between listing and reading.
        if File::open(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        seen.bytes += segment.bytes;
        let mut count = 0;
        let mut valid_to = MAGIC.len() as u64;
        // A file shorter than its beginning is the rest of a cut.
        if segment.bytes > valid_to {
            let mut reader = SegmentReader::open(&path, segment.first)?;
            while let Some(stored) = reader.next(segment.bytes)? {
                seen.oldest = Some(seen.oldest.map_or(stored.time, |oldest| oldest.min(stored.time)));
                count += 1;
            }
            valid_to = reader.valid_to;
        }
        seen.messages += count;
        if segment.is_closed {
            seen.missing += segment.count.saturating_sub(count);
            seen.damaged += u64::from(valid_to != segment.bytes || count != segment.count);
        }
    }
    Ok(seen)
}
