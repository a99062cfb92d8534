//! The encrypted stream of a device.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tesaiot_tls::{ClientStream, TlsVersion, diagnose_io};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TLS connection that reports the peer's reason rather than its symptom.
///
/// A server that refuses us with TLS 1.3 sends an alert and closes; when our next write meets the closed socket
/// first, the operating system says "broken pipe" while the alert that names the reason waits to be read.
#[derive(Debug)]
pub struct TlsStream {
    inner: ClientStream<TcpStream>,
}

impl TlsStream {
    pub(super) fn new(inner: ClientStream<TcpStream>) -> Self {
        Self { inner }
    }

    /// The version both ends agreed on.
    pub fn version(&self) -> Option<TlsVersion> {
        TlsVersion::negotiated(self.inner.get_ref().1.protocol_version())
    }

    fn explained(&mut self, context: &mut Context<'_>, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if !matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted) {
            return error;
        }
        let mut scratch = [0; 256];
        // Application data that came before the alert is of no use any more: the connection is over.
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(reason)) if diagnose_io(&reason).is_some() => return reason,
                _ => return error,
            }
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.explained(context, error))),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.explained(context, error))),
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
