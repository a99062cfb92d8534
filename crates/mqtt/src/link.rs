//! A codec on a byte stream: the read and write loop both ends of the wire share.
//!
//! Packets are encoded into one output buffer and leave in one write when the owner has nothing else to do
//! ([`Link::poll_flush`]): with many messages in flight, ten acknowledgements cost one system call and one TLS
//! record. Reading goes through a scratch buffer of the thread, so an idle connection holds no read buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::{Codec, PlainPublish, ProtocolError};
use crate::packet::{Packet, PacketId};

/// What one system call may bring: a full TLS record.
const SCRATCH_BYTES: usize = 16 * 1024;
/// An empty output buffer larger than this is given back.
const KEEP_OUTPUT_BYTES: usize = 4 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8; SCRATCH_BYTES]>> = RefCell::new(Box::new([0; SCRATCH_BYTES]));
}

/// A read buffer is larger than this only for a large packet.
const LARGE_BUFFER_BYTES: usize = 64 * 1024;

/// A message shares the buffer it was read into. Where a small one came behind a large packet it is copied out, or one
/// byte that waits in a queue would keep a megabyte alive.
fn detach_small(packet: &mut Packet, buffered: usize) {
    if let Packet::Publish(publish) = packet
        && buffered > LARGE_BUFFER_BYTES
        && publish.payload.len() < buffered / 8
    {
        publish.payload = bytes::Bytes::copy_from_slice(&publish.payload);
        publish.topic = publish.topic.to_string().into();
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The stream failed. TLS failures arrive here too, as the inner error of the I/O error.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The peer closed the stream.
    #[error("connection closed by the peer")]
    Closed,
}

/// A stream that speaks MQTT.
pub struct Link<S> {
    stream: S,
    codec: Codec,
    input: BytesMut,
    output: BytesMut,
    /// Bytes written to the stream so far.
    written: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Puts `codec` on `stream`.
    pub fn new(stream: S, codec: Codec) -> Self {
        Self { stream, codec, input: BytesMut::new(), output: BytesMut::new(), written: 0 }
    }

    /// The codec, to learn the version or to set limits.
    pub fn codec(&mut self) -> &mut Codec {
        &mut self.codec
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Bytes encoded and not yet written. The owner bounds it by not sending while it is large.
    pub fn pending_output(&self) -> usize {
        self.output.len()
    }

    /// Bytes of memory that its buffers take: what was read and is no packet yet, what was encoded and not written.
    pub fn buffers(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Where the next packet will begin, counted in bytes from the first one on.
    pub fn end_of_output(&self) -> u64 {
        self.written + self.output.len() as u64
    }

    /// Forgets what was encoded from the byte `end` on and has not been written.
    pub fn truncate_output(&mut self, end: u64) {
        let keep = end.saturating_sub(self.written).min(self.output.len() as u64);
        self.output.truncate(keep as usize);
    }

    /// Encodes a packet into the output buffer. It leaves with the next flush.
    pub fn send(&mut self, packet: Packet) -> Result<(), ProtocolError> {
        self.codec.encode(packet, &mut self.output)
    }

    /// Encodes a PUBLISH without properties into the output buffer.
    ///
    /// # Errors
    /// As [`Codec::encode_publish`].
    pub fn send_publish(&mut self, publish: PlainPublish<'_>) -> Result<(), ProtocolError> {
        self.codec.encode_publish(publish, &mut self.output)
    }

    /// Encodes a plain PUBACK into the output buffer.
    pub fn send_puback(&mut self, packet_id: PacketId) {
        self.codec.encode_puback(packet_id, &mut self.output);
    }

    /// The next packet: from the buffer when one is complete, otherwise from the stream.
    pub fn poll_packet(&mut self, context: &mut Context<'_>) -> Poll<Result<Packet, LinkError>> {
        loop {
            let buffered = self.input.len();
            if buffered > 0
                && let Some(mut packet) = self.codec.decode(&mut self.input)?
            {
                detach_small(&mut packet, buffered);
                return Poll::Ready(Ok(packet));
            }
            if self.input.is_empty() {
                // Also lets go of memory that messages still share with this buffer.
                self.input = BytesMut::new();
            }
            ready!(self.poll_read(context))?;
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch[..]);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                // A peer that leaves without TLS close_notify; MQTT has its own goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(LinkError::Closed));
                }
                result => result?,
            }
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(LinkError::Closed));
            }
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what is pending. Ready when everything has left.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_until(context, u64::MAX)
    }

    /// Writes what is pending before the byte `end`: what comes after must not leave yet. Ready when that has left.
    pub fn poll_flush_until(&mut self, context: &mut Context<'_>, end: u64) -> Poll<io::Result<()>> {
        loop {
            let length = end.saturating_sub(self.written).min(self.output.len() as u64) as usize;
            if length == 0 {
                break;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output[..length]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.written += written as u64;
        }
        if !self.output.is_empty() {
            return Pin::new(&mut self.stream).poll_flush(context);
        }
        if self.output.capacity() > KEEP_OUTPUT_BYTES {
            self.output = BytesMut::new();
        } else {
            self.output.clear();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Waits for the next packet.
    pub async fn receive(&mut self) -> Result<Packet, LinkError> {
        poll_fn(|context| self.poll_packet(context)).await
    }

    /// Writes everything pending.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Writes everything pending, then closes the stream in good order (TLS close_notify included).
    pub async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await
    }
}
