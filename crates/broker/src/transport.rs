//! Everything between a socket that was accepted and the CONNECT packet.
//!
//! ```text
//! TCP ──▶ [PROXY header] ──▶ TLS ──▶ [WebSocket upgrade] ──▶ connection::serve(stream, peer)
//!         └──────────────── one deadline for all of it ────┘
//! ```
//!
//! # The seam
//! The session layer knows a transport by two values only: a stream of bytes (`AsyncRead + AsyncWrite`) and a
//! [`Peer`] (address, listener, certificates that TLS has verified). A transport is a function that makes these two
//! within the handshake deadline. Another one, MQTT over QUIC say, is an accept loop of its own beside
//! [`listener::run`](crate::listener): take a place in `Shared::places` and of the handshakes for each connection,
//! finish the handshake under the deadline, and call `connection::serve` with the first bidirectional stream as the
//! bytes and the certificates of the QUIC handshake in the peer. Nothing above this line changes.
//!
//! | Module | Is |
//! |---|---|
//! | [`proxy`] | PROXY protocol version 2: the address a load balancer speaks for |
//! | [`network`] | from which addresses that is believed |
//! | [`websocket`] | MQTT in binary WebSocket messages |

pub(crate) mod network;
mod proxy;
mod websocket;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::counters::increment;
use crate::handshakes::Handshakes;
use crate::host::{Event, Host, Peer};
use crate::limits::Admission;
use crate::{Shared, connection};
use network::Network;

/// How the bytes of MQTT travel on a listener, inside TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// As they are.
    #[default]
    Stream,
    /// In binary WebSocket messages, subprotocol `mqtt` (MQTT 5 section 6).
    WebSocket {
        /// The one path that is served: `/mqtt`.
        path: Arc<str>,
    },
}

/// What all connections of a listener have in common.
pub(crate) struct Terms {
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) transport: Transport,
    pub(crate) handshakes: Handshakes,
}

/// Why there was no connection to serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("nothing was said in time")]
    Silence,
    #[error(transparent)]
    Proxy(#[from] proxy::ProxyError),
    #[error("a PROXY header from an address that is not a listed load balancer")]
    UnlistedProxy,
    #[error("too many connections of this address, or too often")]
    TooMany,
    #[error("TLS failed")]
    Tls(#[from] tesaiot_tls::HandshakeError),
    #[error(transparent)]
    Upgrade(#[from] websocket::UpgradeError),
}

/// Any stream, for transports on which a virtual call costs nothing beside the rest.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

/// Below WebSocket.
type Boxed = Box<dyn Bytes>;

/// What is served in the end. Apart, because each kind of stream has a connection compiled for it.
enum Established {
    Plain(TcpStream),
    Tls(Box<tesaiot_tls::ServerStream<TcpStream>>),
    WebSocket(Box<websocket::WebSocket<Boxed>>),
}

/// What is left to do for a connection once it is made.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a connection of a socket. Returns what serves it to its end, and its admission to be held until then; `None`
/// when there is nothing to serve. On the heap each, because a task is as large as its largest step for all of its life.
pub(crate) async fn establish<H: Host>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    mut peer: Peer,
    terms: Arc<Terms>,
) -> Option<(Serving, Admission)> {
    let established = tokio::select! {
        () = shared.draining.cancelled() => return None,
        established = handshake(&shared, stream, &mut peer, &terms) => established,
    };
    match established {
        Ok((Established::Plain(stream), admission)) => {
            return Some((Box::pin(connection::serve(shared, stream, peer)), admission));
        }
        Ok((Established::Tls(stream), admission)) => {
            return Some((Box::pin(connection::serve(shared, *stream, peer)), admission));
        }
        Ok((Established::WebSocket(stream), admission)) => {
            return Some((Box::pin(connection::serve(shared, *stream, peer)), admission));
        }
        Err(Failure::TooMany) => {
            increment(&shared.counters.connections_over_limit);
            let cause = Failure::TooMany.to_string();
            shared.host.observe(Event::Refused { peer: &peer, client_id: None, cause: &cause });
        }
        Err(failure) => {
            increment(&shared.counters.handshakes_failed);
            match failure {
                Failure::Tls(error) => shared.host.observe(Event::HandshakeFailed { peer: &peer, error: &error }),
                other => {
                    let cause = other.to_string();
                    shared.host.observe(Event::Refused { peer: &peer, client_id: None, cause: &cause });
                }
            }
        }
    }
    None
}

async fn handshake<H: Host>(
    shared: &Shared<H>,
    mut stream: TcpStream,
    peer: &mut Peer,
    terms: &Terms,
) -> Result<(Established, Admission), Failure> {
    let deadline = Instant::now() + shared.config.handshake_timeout;
    if let Some(source) = speaks_for(&mut stream, peer.address, &shared.config.proxies, deadline).await? {
        peer.address = source;
    }
    let admission = shared.limits.admit(peer.address.ip()).ok_or(Failure::TooMany)?;
    let bytes: Boxed = match (&terms.tls, &terms.transport) {
        (None, Transport::Stream) => return Ok((Established::Plain(stream), admission)),
        (None, Transport::WebSocket { .. }) => Box::new(stream),
        (Some(tls), transport) => {
            // A socket that says nothing waits here, and takes no place from those that speak.
            readable(&stream, deadline).await?;
            let place = timeout_at(deadline, terms.handshakes.place(peer.address.ip())).await;
            let place = place.map_err(|_| Failure::Silence)?;
            let stream = tesaiot_tls::accept(tls, stream, deadline).await?;
            drop(place);
            if let Some(certificates) = stream.get_ref().1.peer_certificates() {
                peer.certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
            }
            acknowledge_now(stream.get_ref().0);
            if *transport == Transport::Stream {
                return Ok((Established::Tls(Box::new(stream)), admission));
            }
            Box::new(stream)
        }
    };
    let Transport::WebSocket { path } = &terms.transport else {
        return Err(Failure::Silence);
    };
    let upgrade = websocket::accept(bytes, path, shared.config.max_packet_size);
    let upgraded = timeout_at(deadline, upgrade).await.map_err(|_| Failure::Silence)??;
    Ok((Established::WebSocket(Box::new(upgraded)), admission))
}

/// The address that a listed load balancer speaks for. `None`: the peer speaks for itself.
async fn speaks_for(
    stream: &mut TcpStream,
    from: SocketAddr,
    proxies: &[Network],
    deadline: Instant,
) -> Result<Option<SocketAddr>, Failure> {
    if proxies.is_empty() {
        return Ok(None);
    }
    if proxies.iter().any(|network| network.contains(from.ip())) {
        return Ok(timeout_at(deadline, proxy::read_header(stream)).await.map_err(|_| Failure::Silence)??);
    }
    // Others speak for themselves, and a header of theirs is no TLS: it would fail below. Here it has a name.
    readable(stream, deadline).await?;
    let mut first = [0; proxy::SIGNATURE.len()];
    let peeked = stream.peek(&mut first).await.unwrap_or(0);
    if peeked > 0 && proxy::SIGNATURE.starts_with(&first[..peeked]) {
        return Err(Failure::UnlistedProxy);
    }
    Ok(None)
}

async fn readable(stream: &TcpStream, deadline: Instant) -> Result<(), Failure> {
    match timeout_at(deadline, stream.readable()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Failure::Silence),
    }
}

/// A server that sends no session tickets has nothing to say after a TLS 1.3 handshake, so the kernel delays its ACK
/// by 40 ms, and a client that does not set `TCP_NODELAY` delays its CONNECT until that ACK comes.
#[cfg(target_os = "linux")]
fn acknowledge_now(stream: &TcpStream) {
    // A hint: when the kernel does not take it, the connection works all the same.
    let _ = stream.set_quickack(true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_now(_: &TcpStream) {}

/// What a peer did that ends its stream, as the error of a read.
fn broken(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}
