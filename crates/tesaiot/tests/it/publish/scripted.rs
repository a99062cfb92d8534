//! A broker that misbehaves to order: real TLS, real MQTT packets, and a script.

use std::fs;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tesaiot_mqtt::packet::{ConnectAck, ConnectAckReason, Packet};
use tesaiot_mqtt::{Codec, Link};
use tesaiot_tls::{
    ClientCertificates, ServerIdentity, ServerIdentityHandle, ServerStream, Versions, accept, server_config,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::authority::CertificateFiles;

/// An accepted TLS connection that speaks MQTT.
pub(crate) type Peer = Link<ServerStream<TcpStream>>;

/// Listens on a free port of this machine and gives each connection to `script`, one after the other, with its number
/// from zero, until the test ends.
pub(crate) fn broker<F>(server: &CertificateFiles, script: impl Fn(usize, Peer) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()>,
{
    let read = |path| fs::read_to_string(path).expect("a file of the server");
    let identity = ServerIdentity::from_pem(&read(&server.certificate), &read(&server.key)).expect("an identity");
    let config =
        server_config(&ServerIdentityHandle::fixed(identity), ClientCertificates::NotRequested, Versions::Both, &[])
            .expect("a server's configuration");
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let deadline = Instant::now() + Duration::from_secs(5);
                if let Ok(stream) = accept(&config, stream, deadline).await {
                    script(number, Link::new(stream, Codec::server(1024 * 1024))).await;
                }
            }
        });
    });
    port
}

/// Reads CONNECT and answers it. None when the peer went away instead.
pub(crate) async fn welcome(peer: &mut Peer, reason: ConnectAckReason) -> Option<()> {
    let Ok(Packet::Connect(_)) = peer.receive().await else { return None };
    let ack = ConnectAck { reason_code: reason, ..ConnectAck::default() };
    peer.send(Packet::ConnectAck(Box::new(ack))).ok()?;
    peer.flush().await.ok()
}
