//! Accepting sockets: limits, TLS with a deadline, then a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::counters::increment;
use crate::host::{Event, Host, Peer};
use crate::{Shared, connection};

/// A bound socket and how to speak on it.
pub struct Listener {
    /// Name for the host: it decides by it how a client may authenticate.
    pub name: Arc<str>,
    /// Bound, not yet accepting.
    pub socket: TcpListener,
    /// TLS, with certificates swapped behind its resolver. `None`: plain bytes.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Accepts until the broker drains.
pub(crate) async fn run<H: Host>(shared: Arc<Shared<H>>, listener: Listener) {
    let handshakes = Arc::new(Semaphore::new(shared.config.max_handshakes));
    loop {
        let accepted = tokio::select! {
            () = shared.draining.cancelled() => return,
            accepted = accept(&listener.socket, &handshakes) => accepted,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer was gone already: neither ends the listener.
                tracing::warn!(listener = %listener.name, %error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        increment(&shared.counters.connections_total);
        if shared.counters.connections.load(Ordering::Relaxed) >= shared.config.max_connections as u64 {
            increment(&shared.counters.connections_over_limit);
            continue;
        }
        let peer = Peer { address, listener: Arc::clone(&listener.name), certificates: Vec::new() };
        shared.tasks.spawn(establish(Arc::clone(&shared), stream, peer, listener.tls.clone(), permit));
    }
}

/// A connection is taken from the kernel only when there is a place for its handshake.
async fn accept(
    socket: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = Arc::clone(handshakes).acquire_owned().await.ok();
    let (stream, address) = socket.accept().await?;
    // On a socket for both versions of IP an IPv4 peer shows as ::ffff:192.0.2.7: it is called by its own name.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    // Acknowledgements are small: without this each waits for the peer's delayed ACK, 40 ms.
    stream.set_nodelay(true)?;
    Ok((stream, address, permit))
}

async fn establish<H: Host>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    mut peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
    permit: Option<OwnedSemaphorePermit>,
) {
    let Some(tls) = tls else {
        drop(permit);
        return connection::serve(shared, stream, peer).await;
    };
    let deadline = Instant::now() + shared.config.handshake_timeout;
    let handshake = tokio::select! {
        () = shared.draining.cancelled() => return,
        handshake = tesaiot_tls::accept(&tls, stream, deadline) => handshake,
    };
    drop(permit);
    match handshake {
        Ok(stream) => {
            if let Some(certificates) = stream.get_ref().1.peer_certificates() {
                peer.certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
            }
            acknowledge_now(stream.get_ref().0);
            connection::serve(shared, stream, peer).await;
        }
        Err(error) => {
            increment(&shared.counters.handshakes_failed);
            shared.host.observe(Event::HandshakeFailed { peer: &peer, error: &error });
        }
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
