//! Behind a load balancer that speaks PROXY protocol version 2.

use std::net::SocketAddr;
use std::time::Duration;

use tesaiot_broker::{Config, Listener, Transport};
use tesaiot_mqtt::Version;
use tesaiot_mqtt::client::{Options, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::host::Seen;
use crate::peer::Bench;

const PATIENCE: Duration = Duration::from_secs(10);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn listen(proxies: &[&str]) -> (Bench, SocketAddr) {
    let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let config = Config { proxies, handshake_timeout: Duration::from_millis(500), ..Config::default() };
    let bench = Bench::with(config);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    bench.broker.listen(Listener { name: "balanced".into(), socket, tls: None, transport: Transport::Stream });
    (bench, address)
}

/// A header for a connection from 192.0.2.7:4711.
fn header() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x22, 0xb3]);
    bytes
}

fn options() -> Options {
    let mut options = Options::new("d");
    options.version = Version::V3;
    options.username = Some("d".into());
    options.password = Some("secret".into());
    options
}

#[tokio::test]
async fn the_address_a_listed_balancer_names_is_the_clients() {
    let (bench, address) = listen(&["192.0.2.0/24", "127.0.0.0/8"]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    let connected = connect(stream, options()).await.unwrap();
    assert_eq!(bench.host.addresses(), ["192.0.2.7:4711".parse().unwrap()]);
    connected.client.disconnect().await;
}

#[tokio::test]
async fn a_listed_balancer_that_names_nobody_is_refused() {
    let (bench, address) = listen(&["127.0.0.1"]).await;
    let stream = TcpStream::connect(address).await.unwrap();
    assert!(connect(stream, options()).await.is_err());
    bench.host.until("the refusal", |inner| refused_for(&inner.seen, "no PROXY protocol")).await;
    // Nor may it keep us waiting.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&header()[..20]).await.unwrap();
    assert_eq!(timeout(PATIENCE, slow.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0, "closed");
    // Nor send more than is sensible.
    let mut long = TcpStream::connect(address).await.unwrap();
    long.write_all(&[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat()).await.unwrap();
    assert_eq!(timeout(PATIENCE, long.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0, "closed");
    bench.host.until("the refusal", |inner| refused_for(&inner.seen, "65535 bytes")).await;
}

#[tokio::test]
async fn a_header_from_any_other_address_is_refused_and_others_speak_for_themselves() {
    let (bench, address) = listen(&["192.0.2.0/24"]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    assert!(connect(stream, options()).await.is_err());
    bench.host.until("the refusal", |inner| refused_for(&inner.seen, "not a listed load balancer")).await;
    assert_eq!(bench.host.addresses(), []);

    let connected = connect(TcpStream::connect(address).await.unwrap(), options()).await.unwrap();
    assert_eq!(bench.host.addresses()[0].ip(), address.ip());
    connected.client.disconnect().await;
}

#[tokio::test]
async fn without_a_list_no_header_is_believed() {
    let (bench, address) = listen(&[]).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&header()).await.unwrap();
    assert!(connect(stream, options()).await.is_err());
    assert_eq!(bench.host.addresses(), []);
}

fn refused_for(seen: &[Seen], words: &str) -> bool {
    seen.iter().any(|seen| matches!(seen, Seen::Refused { cause, .. } if cause.contains(words)))
}
