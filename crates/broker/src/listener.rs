//! Accepting sockets: limits, TLS with a deadline, then a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::counters::increment;
use crate::handshakes::Handshakes;
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
    let handshakes = Arc::new(Handshakes::new(shared.config.max_handshakes));
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = shared.draining.cancelled() => return,
            accepted = accept(&listener.socket) => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer was gone already: neither ends the listener.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(listener = %listener.name, %error, "accepting connections fails; it is tried again");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        failing = false;
        increment(&shared.counters.connections_total);
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            increment(&shared.counters.connections_over_limit);
            continue;
        };
        let peer = Peer { address, listener: Arc::clone(&listener.name), certificates: Vec::new() };
        let (tls, handshakes) = (listener.tls.clone(), Arc::clone(&handshakes));
        let shared_by_task = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            establish(shared_by_task, stream, peer, tls, &handshakes).await;
            drop(place);
        });
    }
}

async fn accept(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, address) = socket.accept().await?;
    // On a socket for both versions of IP an IPv4 peer shows as ::ffff:192.0.2.7: it is called by its own name.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    // Acknowledgements are small: without this each waits for the peer's delayed ACK, 40 ms.
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

async fn establish<H: Host>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    mut peer: Peer,
    tls: Option<Arc<rustls::ServerConfig>>,
    handshakes: &Handshakes,
) {
    let Some(tls) = tls else {
        return connection::serve(shared, stream, peer).await;
    };
    let deadline = Instant::now() + shared.config.handshake_timeout;
    let handshake = async {
        // A socket that says nothing waits here, and takes no place from those that speak.
        match timeout_at(deadline, stream.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
        let place = timeout_at(deadline, handshakes.place(peer.address.ip())).await.ok()?;
        let outcome = tesaiot_tls::accept(&tls, stream, deadline).await;
        drop(place);
        Some(outcome)
    };
    let handshake = tokio::select! {
        () = shared.draining.cancelled() => return,
        handshake = handshake => handshake,
    };
    let Some(handshake) = handshake else {
        increment(&shared.counters.handshakes_failed);
        let cause = "nothing was said in time";
        shared.host.observe(Event::Refused { peer: &peer, client_id: None, cause });
        return;
    };
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
