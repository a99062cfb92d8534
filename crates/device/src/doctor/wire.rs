//! The steps of a connection one at a time, with the errors of a whole one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tesaiot_tls::ClientStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::connect::{Cause, ConnectError, Step};

/// More addresses than any server has.
const MAX_ADDRESSES: usize = 16;

/// Where to.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Place {
    pub(super) fn new((host, port): (String, u16)) -> Self {
        Self { host, port }
    }

    fn error(&self, step: Step, cause: Cause) -> ConnectError {
        ConnectError { step, host: self.host.clone(), port: self.port, proxy: None, cause }
    }

    pub(super) async fn resolve(&self, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let began = Instant::now();
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        let addresses: Vec<_> = match timeout_at(deadline, lookup_host((host, self.port))).await {
            Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
            Ok(Err(error)) => return Err(self.error(Step::Dns, Cause::Io(error))),
            Err(_) => return Err(self.error(Step::Dns, Cause::TimedOut(deadline - began))),
        };
        if addresses.is_empty() { Err(self.error(Step::Dns, Cause::NoAddress)) } else { Ok(addresses) }
    }

    pub(super) async fn dial(&self, address: SocketAddr, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let began = Instant::now();
        let dialled = timeout_at(deadline, TcpStream::connect(address)).await;
        let cause = match dialled.map(|stream| stream.and_then(without_delay)) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Cause::Io(error),
            Err(_) => Cause::TimedOut(deadline - began),
        };
        Err(self.error(Step::Tcp, cause))
    }

    /// A TLS connection, and whether the server asked for a certificate.
    pub(super) async fn handshake(
        &self,
        tls: &Arc<ClientConfig>,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<(ClientStream<TcpStream>, bool), ConnectError> {
        let shaken = tesaiot_tls::connect_and_look(tls, &self.host, stream, deadline).await;
        shaken.map_err(|error| self.error(Step::Tls, Cause::Tls(Box::new(error))))
    }
}

fn without_delay(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
