//! What is asked of every store, in the words of this benchmark.

use anyhow::Result;

use super::data::Message;

/// One series over a span of time, in milliseconds since 1970: from the first, up to but without the second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    pub(crate) device: usize,
    pub(crate) metric: usize,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// What an answer came to. Two stores with the same data must agree on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Digest {
    /// Points, buckets or devices in the answer.
    pub(crate) count: usize,
    /// The sum of its values.
    pub(crate) sum: f64,
}

impl Digest {
    /// Sums the values of an answer.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        values.into_iter().fold(Self { count: 0, sum: 0.0 }, |digest, value| Self {
            count: digest.count + 1,
            sum: digest.sum + value,
        })
    }

    /// Sums of floats depend on the order of adding, which is the store's own affair.
    pub(crate) fn agrees(self, other: Self) -> bool {
        self.count == other.count && (self.sum - other.sum).abs() <= self.sum.abs() * 1e-9
    }
}

/// Bytes on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    /// Bytes that are in use.
    pub(crate) used: u64,
    /// Bytes of the files, with what was freed and waits to be used again.
    pub(crate) file: u64,
}

/// A store under test. Every error ends the benchmark.
pub(crate) trait Engine {
    /// Takes much data by the store's fastest way; it need not be safe on the disk.
    fn load(&mut self, messages: &[Message]) -> Result<()>;

    /// After the last `load`: brings the store into the state in which it is used.
    fn loaded(&mut self) -> Result<()>;

    /// What `commit` will be given, in the form in which a program has it. Not timed.
    fn prepare(&mut self, _messages: &[Message]) {}

    /// Stores messages in one commit. When it returns they are on the disk.
    fn commit(&mut self, messages: &[Message]) -> Result<()>;

    /// What the writer does between two commits.
    fn between(&mut self) -> Result<()> {
        Ok(())
    }

    /// Does what was put off, as a writer does that has nothing else to do.
    fn catch_up(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends all work that goes on behind the commits, and returns what the values take on the disk.
    fn settle(&mut self) -> Result<Disk>;

    /// Every point of a series, in memory.
    fn points(&mut self, series: Series) -> Result<Digest>;

    /// The averages of a series in buckets of five minutes.
    fn buckets(&mut self, series: Series) -> Result<Digest>;

    /// The average of one metric over all usual devices, as a digest with one value.
    fn average(&mut self, series: Series) -> Result<Digest>;

    /// The newest value of every metric of every device.
    fn latest(&mut self) -> Result<Digest>;
}

/// The width of a bucket, in milliseconds.
pub(crate) const BUCKET: i64 = 300_000;
