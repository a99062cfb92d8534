//! Bringing a connection back: attempts with jittered back-off until one succeeds.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::{ConnectError, Connected, Options, connect};
use crate::backoff::Backoff;
use crate::link::LinkError;

/// How long a broker may take to answer CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// A connection that lived this long was a good one: the next failure starts from the first wait.
    steady: Duration,
    connected_at: Option<Instant>,
    /// How each attempt connects.
    pub options: Options,
}

impl<O: Open> Reconnect<O> {
    /// Waits `first`, twice that, … up to `limit` between attempts, with jitter.
    pub fn new(open: O, options: Options, first: Duration, limit: Duration) -> Self {
        Self { open, options, backoff: Backoff::new(first, limit), steady: limit, connected_at: None }
    }

    /// One attempt, at once. A broker that does not answer CONNECT within half a minute has failed it.
    pub async fn attempt(&mut self) -> Result<Connected, AttemptError<O::Error>> {
        let stream = self.open.open().await.map_err(AttemptError::Open)?;
        let answer = timeout(CONNECT_TIMEOUT, connect(stream, self.options.clone())).await;
        let silence = || ConnectError::Link(LinkError::Io(ErrorKind::TimedOut.into()));
        let connected = answer.map_err(|_| silence())??;
        self.connected_at = Some(Instant::now());
        Ok(connected)
    }

    /// Attempts until connected. `failed` hears of every failure and of the wait before the next attempt.
    ///
    /// After an earlier connection it waits first: a broker that was restarted is not met by all its clients at
    /// once, and one that ends every connection at once (another client with the same identifier, a message it does
    /// not allow) is not asked again in a hot loop.
    pub async fn connected(&mut self, mut failed: impl FnMut(&AttemptError<O::Error>, Duration)) -> Connected {
        if let Some(connected_at) = self.connected_at.take() {
            if connected_at.elapsed() >= self.steady {
                self.backoff.reset();
            }
            sleep(self.backoff.next_delay(random())).await;
        }
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
