//! What devices send, durably and compactly, in `telemetry.db`.

mod entry;
mod options;
mod query;

use std::path::Path;

pub use entry::{Appended, Entry, Outcome};
pub use options::Options;
pub use query::{
    BootGaps, Corruption, Counts, DeadLetter, Latest, Maintained, MessageQuery, Point, RangeQuery, Report,
    StoredMessage,
};
use tesaiot_contract::DeviceId;

use crate::error::StoreError;

/// Reads the store. A clone is another handle to the same open store.
#[derive(Debug, Clone)]
pub struct Telemetry {}

/// Writes the store. There is one, and the thread that receives data owns it.
#[derive(Debug)]
pub struct Appender {}

const NOT_YET: StoreError = StoreError::Invalid { what: "the telemetry store", reason: "is not written yet" };

impl Telemetry {
    /// Opens the store, creating it when it is not there.
    pub fn open(_path: &Path, _options: Options) -> Result<(Self, Appender), StoreError> {
        Err(NOT_YET)
    }

    /// The newest value of every metric of a device, by metric name.
    pub fn latest(&self, _device: &DeviceId) -> Vec<Latest> {
        Vec::new()
    }

    /// The points of a device in a span of time, in the order of their times.
    pub fn range(&self, _device: &DeviceId, _query: &RangeQuery) -> Result<Vec<Point>, StoreError> {
        Err(NOT_YET)
    }

    /// Messages, newest first.
    pub fn messages(&self, _query: &MessageQuery) -> Result<Vec<StoredMessage>, StoreError> {
        Err(NOT_YET)
    }

    /// The newest dead letters.
    pub fn dead_letters(&self, _limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Err(NOT_YET)
    }

    /// What is missing of the sequence numbers of a device.
    pub fn gaps(&self, _device: &DeviceId) -> Vec<BootGaps> {
        Vec::new()
    }

    /// Totals of the store.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Err(NOT_YET)
    }

    /// Reads everything once and reports what is damaged.
    pub fn check(&self) -> Result<Report, StoreError> {
        Err(NOT_YET)
    }
}

impl Appender {
    /// Stores entries in one durable commit.
    pub fn append(&mut self, _entries: &[Entry]) -> Result<Appended, StoreError> {
        Err(NOT_YET)
    }

    /// Seals and trims what is due.
    pub fn maintain(&mut self) -> Result<Maintained, StoreError> {
        Err(NOT_YET)
    }

    /// Ends writing.
    pub fn close(self) -> Result<(), StoreError> {
        Err(NOT_YET)
    }
}
