//! One handshake under a deadline, with a typed reason when it fails.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use crate::diagnosis::{self, Diagnosis, Role, Step};
use crate::observe::{Observed, observed};
use crate::{ClientStream, ServerStream};

/// How long a refused peer gets to take our alert before the socket is closed.
const FAREWELL: Duration = Duration::from_millis(500);
/// How much of what a refused peer still sends is read and dropped meanwhile.
const FAREWELL_BYTES: usize = 64 * 1024;

/// A handshake that did not succeed. The stream is closed.
#[derive(Debug, thiserror::Error)]
#[error("{diagnosis}")]
pub struct HandshakeError {
    /// Who refused what
    pub diagnosis: Diagnosis,
    /// Which end we were
    pub role: Role,
    #[source]
    source: Option<io::Error>,
}

impl HandshakeError {
    fn new(role: Role, step: Step, error: io::Error, seen: &Observed) -> Self {
        Self { diagnosis: diagnosis::of_handshake(&error, role, step, seen), role, source: Some(error) }
    }

    fn without_source(role: Role, diagnosis: Diagnosis) -> Self {
        Self { diagnosis, role, source: None }
    }
}

/// Runs the server's side of one handshake on `stream`, to be finished by `deadline`.
///
/// After a refusal the socket is half-closed and what the peer still sends is dropped, for half a
/// second at most and never past the deadline: closing at once would make the operating system
/// answer that data with a reset, and a reset overtakes the alert that names the reason.
///
/// # Errors
/// [`HandshakeError`] with the [`Diagnosis`].
pub async fn accept<S>(
    config: &Arc<ServerConfig>,
    stream: S,
    deadline: Instant,
) -> Result<ServerStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // On the heap: a task is as large as its largest step for all of its life, and a handshake is
    // 11 KB of it, as much as the whole connection afterwards.
    Box::pin(run_accept(config, stream, deadline)).await
}

async fn run_accept<S>(
    config: &Arc<ServerConfig>,
    stream: S,
    deadline: Instant,
) -> Result<ServerStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let start = match timeout_at(deadline, &mut acceptor).await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => {
            farewell(acceptor.take_io(), deadline).await;
            let seen = Observed::default();
            return Err(HandshakeError::new(Role::Server, Step::Hello, error, &seen));
        }
        Err(_) => return Err(timed_out(Role::Server, Step::Hello)),
    };
    // The hello is answered when the handshake is made, not when it is first polled: that has to
    // happen under observation too.
    let handshake = async {
        let rest = start.into_stream(Arc::clone(config)).into_fallible();
        timeout_at(deadline, rest).await
    };
    let (outcome, seen) = observed(handshake).await;
    let step = match seen.certificate {
        Some(_) => Step::ClientCertificate,
        None => Step::ServerCertificate,
    };
    match outcome {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            farewell(Some(stream), deadline).await;
            Err(HandshakeError::new(Role::Server, step, error, &seen))
        }
        Err(_) => Err(timed_out(Role::Server, step)),
    }
}

/// Runs the client's side of one handshake with `host` on `stream`, to be finished by `deadline`.
///
/// `host` is the name the server's certificate must carry: a DNS name, or an IP address with or
/// without the brackets of a URL.
///
/// With TLS 1.3 this returns before the server has judged the client's certificate: its refusal
/// arrives as an error of the first read, which [`diagnose_io`](crate::diagnose_io) explains.
///
/// # Errors
/// [`HandshakeError`] with the [`Diagnosis`].
pub async fn connect<S>(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: S,
    deadline: Instant,
) -> Result<ClientStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Box::pin(run_connect(config, host, stream, deadline)).await.map(|(stream, _)| stream)
}

/// As [`connect`], and whether the server asked for a client certificate: what an examination of it wants to know.
///
/// # Errors
/// As [`connect`].
pub async fn connect_and_look<S>(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: S,
    deadline: Instant,
) -> Result<(ClientStream<S>, bool), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, seen) = Box::pin(run_connect(config, host, stream, deadline)).await?;
    Ok((stream, seen.client_certificate.is_some()))
}

async fn run_connect<S>(
    config: &Arc<ClientConfig>,
    host: &str,
    stream: S,
    deadline: Instant,
) -> Result<(ClientStream<S>, Observed), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(name) = ServerName::try_from(without_brackets(host).to_owned()) else {
        return Err(HandshakeError::without_source(Role::Client, Diagnosis::InvalidHost));
    };
    let connector = TlsConnector::from(Arc::clone(config));
    let handshake = connector.connect(name, stream).into_fallible();
    let (outcome, seen) = observed(timeout_at(deadline, handshake)).await;
    let step = match seen.certificate {
        Some(_) => Step::ClientCertificate,
        None => Step::Hello,
    };
    match outcome {
        Ok(Ok(stream)) => Ok((stream, seen)),
        Ok(Err((error, stream))) => {
            farewell(Some(stream), deadline).await;
            Err(HandshakeError::new(Role::Client, step, error, &seen))
        }
        Err(_) => Err(timed_out(Role::Client, step)),
    }
}

fn timed_out(role: Role, step: Step) -> HandshakeError {
    HandshakeError::without_source(role, Diagnosis::TimedOut { step })
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Lets the peer take the alert that was written to `stream`, then closes it.
async fn farewell<S>(stream: Option<S>, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(mut stream) = stream else { return };
    let drain = async {
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        let mut left = FAREWELL_BYTES;
        while left > 0 {
            match stream.read(&mut scratch).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // The handshake has failed already; how its farewell goes changes nothing.
    let _ = bounded(drain, deadline).await;
}

async fn bounded<F: Future>(future: F, deadline: Instant) -> Option<F::Output> {
    timeout_at(deadline.min(Instant::now() + FAREWELL), future).await.ok()
}
