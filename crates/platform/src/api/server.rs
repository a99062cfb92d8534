//! Accepting HTTPS connections: limits, deadlines, an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tesaiot_broker::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::{Address, Shown};
use super::patience::Patient;
use crate::incidents::Incidents;

/// Connections at a time, when there are files for so many; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 4096;
/// Time for the TLS handshake, and for the headers of a request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time for requests at work when the platform drains.
const GRACE: Duration = Duration::from_secs(5);

/// The HTTPS listener, bound and not yet serving.
pub(crate) struct Server {
    name: &'static str,
    socket: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    incidents: Incidents,
    max_connections: usize,
    /// How long a client may read nothing of its answer.
    write_timeout: Duration,
}

impl Server {
    /// `room`: connections there are files for. `write_timeout`: how long a client may read nothing of its answer.
    /// Where `tls` asks for a client certificate, [`Shown`] goes with every request.
    pub(crate) fn new(
        name: &'static str,
        socket: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        router: Router,
        incidents: Incidents,
        room: usize,
        write_timeout: Duration,
    ) -> Self {
        let max_connections = room.min(MAX_CONNECTIONS);
        Self { name, socket, tls, router, incidents, max_connections, write_timeout }
    }

    /// Serves until `stop`, then lets requests at work finish.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let (listener, mut failing) = (Arc::from(self.name), false);
        let places = Arc::new(Semaphore::new(self.max_connections));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await.ok();
                    self.socket.accept().await.map(|(stream, address)| (stream, address, place))
                } => accepted,
            };
            match accepted {
                Ok((stream, address, place)) => {
                    failing = false;
                    let (tls, router, stop) = (Arc::clone(&self.tls), self.router.clone(), stop.clone());
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    let peer = Peer { address, listener: Arc::clone(&listener), certificates: Vec::new() };
                    let incidents = self.incidents.clone();
                    // Answers are small: each would wait for the peer's delayed ACK otherwise.
                    let _ = stream.set_nodelay(true);
                    let stream = Patient::new(stream, self.write_timeout);
                    connections.spawn(async move {
                        serve(stream, &peer, tls, router, &incidents, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "accepting HTTPS connections fails; it is tried again");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections.close();
        let _ = tokio::time::timeout(GRACE, connections.wait()).await;
    }
}

async fn serve(
    stream: Patient<TcpStream>,
    peer: &Peer,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    incidents: &Incidents,
    stop: CancellationToken,
) {
    let stream = match tesaiot_tls::accept(&tls, stream, Instant::now() + DEADLINE).await {
        Ok(stream) => stream,
        Err(error) => {
            incidents.handshake_failed(peer, &error);
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Shown::new(leaf));
    let router = TowerToHyperService::new(router);
    let address = Address(peer.address.ip());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(address);
        if let Some(shown) = &shown {
            request.extensions_mut().insert(shown.clone());
        }
        router.call(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(DEADLINE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "HTTPS connection ended");
    }
}
