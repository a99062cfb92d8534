//! Bringing a connection back: attempts with jittered back-off until one succeeds.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::{ConnectError, Connected, Options, connect};
use crate::backoff::Backoff;

/// Opens the stream below a connection: TCP and TLS, or whatever carries the bytes.
pub trait Open: Send {
    /// The stream.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Why it could not be opened.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Opens a fresh stream.
    fn open(&mut self) -> impl Future<Output = Result<Self::Stream, Self::Error>> + Send;
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError<E: std::error::Error + 'static> {
    /// The stream could not be opened.
    #[error(transparent)]
    Open(E),
    /// The broker could not be spoken to, or refused.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connects again and again, with the same options, waiting longer after each failure.
#[derive(Debug)]
pub struct Reconnect<O> {
    open: O,
    backoff: Backoff,
    /// How each attempt connects.
    pub options: Options,
}

impl<O: Open> Reconnect<O> {
    /// Waits `first`, twice that, … up to `limit` between attempts, with jitter.
    pub fn new(open: O, options: Options, first: Duration, limit: Duration) -> Self {
        Self { open, options, backoff: Backoff::new(first, limit) }
    }

    /// One attempt.
    pub async fn attempt(&mut self) -> Result<Connected, AttemptError<O::Error>> {
        let stream = self.open.open().await.map_err(AttemptError::Open)?;
        let connected = connect(stream, self.options.clone()).await?;
        self.backoff.reset();
        Ok(connected)
    }

    /// Attempts until connected. `failed` hears of every failure and of the wait before the next attempt.
    pub async fn connected(&mut self, mut failed: impl FnMut(&AttemptError<O::Error>, Duration)) -> Connected {
        loop {
            match self.attempt().await {
                Ok(connected) => return connected,
                Err(error) => {
                    let delay = self.backoff.next_delay(random());
                    failed(&error, delay);
                    sleep(delay).await;
                }
            }
        }
    }
}

/// Jitter needs no secrecy: the seed of the standard library's hash maps is random enough.
fn random() -> u32 {
    (RandomState::new().hash_one(0u8) >> 32) as u32
}
