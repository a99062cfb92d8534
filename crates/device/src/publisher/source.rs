//! Where the payloads of a run come from.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_mqtt::client::Published;
use tokio::sync::mpsc;

use crate::outbox::OutboxError;
use crate::profile::Generator;

/// Gives one payload after the other.
pub trait Source {
    /// Appends the next payload to `payload`, which is empty; `false` when there is none any more.
    ///
    /// # Errors
    /// [`SourceError`]: there is none, and that is not the end that was expected.
    fn poll_next(&mut self, context: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>>;

    /// How many were not sent, of a run of `count` at most of which `sent` were.
    fn remaining(&self, count: u64, sent: u64) -> u64 {
        count - sent
    }

    /// Where the payload that was given last goes, when that is not the run's topic.
    fn topic(&self) -> Option<&str> {
        None
    }

    /// Hears what became of a message; they are counted from 0 in the order in which they were given.
    fn answered(&mut self, _number: u64, _outcome: &Published) {}
}

/// A source that failed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input cannot be read.
    #[error("the input cannot be read")]
    NotReadable(#[source] io::Error),
    /// A message is longer than any MQTT packet.
    #[error("message {number} of the input is longer than {limit} bytes")]
    TooLong {
        /// Which message, from 1
        number: u64,
        /// Bytes a message may have
        limit: usize,
    },
    /// A message cannot be kept in the spool.
    #[error("message {number} cannot be kept in the spool")]
    NotKept {
        /// Which message, from 1
        number: u64,
        /// Why
        source: OutboxError,
    },
    /// The input is not JSON.
    #[error("value {number} of the input is not JSON: {reason}")]
    NotJson {
        /// Which value, from 1
        number: u64,
        /// Where and why; never what stands there
        reason: String,
    },
}

/// Samples of a profile, each of the moment at which it is handed over, in whole seconds.
#[derive(Debug)]
pub struct Generated(pub Generator);

impl Source for Generated {
    fn poll_next(&mut self, _: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        self.0.write(Timestamp::now(), payload);
        Poll::Ready(Ok(true))
    }
}

/// What a function makes of each message's number, counted from zero.
#[derive(Debug)]
pub struct Made<F>(pub F, u64);

impl<F: FnMut(u64) -> String> Made<F> {
    /// Asks `make` for one after the other.
    pub fn new(make: F) -> Self {
        Self(make, 0)
    }
}

impl<F: FnMut(u64) -> String> Source for Made<F> {
    fn poll_next(&mut self, _: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        payload.extend_from_slice((self.0)(self.1).as_bytes());
        self.1 += 1;
        Poll::Ready(Ok(true))
    }
}

/// The same bytes again and again.
#[derive(Debug)]
pub struct Repeated(pub Bytes);

impl Source for Repeated {
    fn poll_next(&mut self, _: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        payload.extend_from_slice(&self.0);
        Poll::Ready(Ok(true))
    }
}

/// What somebody else reads: messages in batches, then nothing or an error.
#[derive(Debug)]
pub struct Stream {
    batches: mpsc::Receiver<Result<Vec<Bytes>, SourceError>>,
    batch: std::vec::IntoIter<Bytes>,
    ended: bool,
}

impl Stream {
    /// Ends when the sender is dropped.
    pub fn new(batches: mpsc::Receiver<Result<Vec<Bytes>, SourceError>>) -> Self {
        Self { batches, batch: Vec::new().into_iter(), ended: false }
    }
}

impl Source for Stream {
    fn poll_next(&mut self, context: &mut Context<'_>, payload: &mut Vec<u8>) -> Poll<Result<bool, SourceError>> {
        loop {
            if let Some(message) = self.batch.next() {
                payload.extend_from_slice(&message);
                return Poll::Ready(Ok(true));
            }
            match std::task::ready!(self.batches.poll_recv(context)) {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    self.ended = true;
                    return Poll::Ready(Ok(false));
                }
            }
        }
    }

    /// Only what was read is known.
    fn remaining(&self, count: u64, sent: u64) -> u64 {
        if self.ended { 0 } else { (self.batch.len() as u64).min(count - sent) }
    }
}
