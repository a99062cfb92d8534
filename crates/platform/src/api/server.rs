//! Accepting HTTPS connections: limits, deadlines, an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{State, router};

/// Connections at a time; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 4096;
/// Time for the TLS handshake, and for the headers of a request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time for requests at work when the platform drains.
const GRACE: Duration = Duration::from_secs(5);

/// The HTTPS listener, bound and not yet serving.
pub(crate) struct Server {
    socket: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
}

impl Server {
    pub(crate) fn new(socket: TcpListener, tls: Arc<rustls::ServerConfig>, state: State) -> Self {
        Self { socket, tls, router: router(state) }
    }

    /// Serves until `stop`, then lets requests at work finish.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await.ok();
                    self.socket.accept().await.map(|(stream, _)| (stream, place))
                } => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (tls, router, stop) = (Arc::clone(&self.tls), self.router.clone(), stop.clone());
                    connections.spawn(async move {
                        serve(stream, tls, router, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting an HTTPS connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections.close();
        let _ = tokio::time::timeout(GRACE, connections.wait()).await;
    }
}

async fn serve(stream: TcpStream, tls: Arc<rustls::ServerConfig>, router: Router, stop: CancellationToken) {
    // Answers are small: each would wait for the peer's delayed ACK otherwise.
    let _ = stream.set_nodelay(true);
    let stream = match tesaiot_tls::accept(&tls, stream, Instant::now() + DEADLINE).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "HTTPS handshake failed");
            return;
        }
    };
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(DEADLINE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
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
