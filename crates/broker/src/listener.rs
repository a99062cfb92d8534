//! Accepting sockets: so many and no more; what they become is the business of [`transport`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::Shared;
use crate::counters::increment;
use crate::handshakes::Handshakes;
use crate::host::{Host, Peer};
use crate::transport::{self, Terms, Transport};

/// A bound socket and how to speak on it.
pub struct Listener {
    /// Name for the host: it decides by it how a client may authenticate.
    pub name: Arc<str>,
    /// Bound, not yet accepting.
    pub socket: TcpListener,
    /// TLS, with certificates swapped behind its resolver. `None`: plain bytes.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How MQTT travels inside TLS.
    pub transport: Transport,
}

/// Accepts until the broker drains.
pub(crate) async fn run<H: Host>(shared: Arc<Shared<H>>, listener: Listener) {
    let Listener { name, socket, tls, transport } = listener;
    let handshakes = Handshakes::new(shared.config.max_handshakes);
    let terms = Arc::new(Terms { tls, transport, handshakes });
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = shared.draining.cancelled() => return,
            accepted = accept(&socket) => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer was gone already: neither ends the listener.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(listener = %name, %error, "accepting connections fails; it is tried again");
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
        let peer = Peer { address, listener: Arc::clone(&name), certificates: Vec::new() };
        let establishing = Box::pin(transport::establish(Arc::clone(&shared), stream, peer, Arc::clone(&terms)));
        shared.tasks.spawn(async move {
            if let Some((serving, _admission)) = establishing.await {
                serving.await;
            }
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
