//! MQTT in binary WebSocket messages (MQTT 5 section 6, MQTT 3.1.1 section 6).
//!
//! A message carries bytes of the MQTT stream: one packet, several, or a part of one (MQTT-6.0.0-2). Text is refused
//! (MQTT-6.0.0-1). The `Origin` header is not looked at: it proves nothing of anybody but a browser, no cookie or other
//! ambient right is used here, and who the client is says CONNECT, as on every other port.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};

use super::broken;

/// The subprotocol (MQTT-6.0.0-3, MQTT-6.0.0-4).
const SUBPROTOCOL: &str = "mqtt";
/// Allocated for each connection for reading.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Longest message written: the buffer it is written from stays with the connection.
const MAX_WRITTEN_BYTES: usize = 8 * 1024;
/// A message may hold several packets: so much more than the largest single one.
const ROOM_FOR_NEIGHBOURS: usize = 64 * 1024;

/// Why an upgrade failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// Another path than the one that is served.
    #[error("a WebSocket upgrade on another path")]
    Path,
    /// The client does not offer to speak MQTT.
    #[error("a WebSocket upgrade without the subprotocol mqtt")]
    Subprotocol,
    /// Not a WebSocket upgrade, or the stream failed.
    #[error("no WebSocket upgrade: {0}")]
    Handshake(#[source] Box<Error>),
}

/// Answers an upgrade on `path`. Largest message: `max_packet_size` and some room.
pub(super) async fn accept<S>(stream: S, path: &str, max_packet_size: u32) -> Result<WebSocket<S>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let largest = (max_packet_size as usize).saturating_add(ROOM_FOR_NEIGHBOURS);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_WRITTEN_BYTES)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    let mut refusal = None;
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let callback = |request: &Request, mut response: Response| {
        let (status, reason) = if request.uri().path() != path {
            (StatusCode::NOT_FOUND, UpgradeError::Path)
        } else if !offers_mqtt(request.headers()) {
            (StatusCode::BAD_REQUEST, UpgradeError::Subprotocol)
        } else {
            let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
            return Ok(response);
        };
        let mut refused = ErrorResponse::new(Some(format!("{reason}\n")));
        *refused.status_mut() = status;
        refusal = Some(reason);
        Err(refused)
    };
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, callback, Some(config)).await;
    match accepted {
        Ok(stream) => Ok(WebSocket { stream, received: Bytes::new(), close: CloseCode::Normal, closing: false }),
        Err(error) => Err(refusal.unwrap_or_else(|| UpgradeError::Handshake(Box::new(error)))),
    }
}

fn offers_mqtt(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|list| list.split(',')).any(|offer| offer.trim() == SUBPROTOCOL)
}

/// The bytes inside the messages of a WebSocket, in both directions.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// What is left of the message at hand.
    received: Bytes,
    /// Said at the end.
    close: CloseCode,
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.received = bytes,
                Some(Ok(Message::Text(_))) => {
                    self.close = CloseCode::Unsupported;
                    return Poll::Ready(Err(broken("a WebSocket text message")));
                }
                // Answered by the library below; a raw frame is never read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => return Poll::Ready(Ok(())),
                Some(Err(error)) => {
                    self.close =
                        if matches!(error, Error::Capacity(_)) { CloseCode::Size } else { CloseCode::Protocol };
                    return Poll::Ready(Err(into_io(error)));
                }
            }
        }
        let length = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..length]);
        self.received.advance(length);
        if self.received.is_empty() {
            self.received = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Not ready while the message before has not left: nothing piles up in here.
        ready!(Pin::new(&mut self.stream).poll_ready(context)).map_err(into_io)?;
        let length = bytes.len().min(MAX_WRITTEN_BYTES);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..length]));
        Pin::new(&mut self.stream).start_send(message).map_err(into_io)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(Pin::new(&mut self.stream).poll_ready(context)).map_err(into_io)?;
            self.closing = true;
            let frame = CloseFrame { code: self.close, reason: "".into() };
            // Fails when the client closed first: there is nothing left to say then.
            let _ = Pin::new(&mut self.stream).start_send(Message::Close(Some(frame)));
        }
        // Whether it still takes the farewell changes nothing.
        let _ = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => broken(other),
    }
}
