//! MQTT over WebSocket, by a client that cuts and joins messages as it likes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tesaiot_broker::{Config, Listener, Transport};
use tesaiot_mqtt::packet::{Packet, PublishAckReason};
use tesaiot_mqtt::{Codec, Message as Publication, QoS, Version};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, http};

use crate::peer::{BOTH, Bench, connect, publish};

const PATIENCE: Duration = Duration::from_secs(10);

async fn listen(bench: &Bench) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let transport = Transport::WebSocket { path: "/mqtt".into() };
    bench.broker.listen(Listener { name: "websocket".into(), socket, tls: None, transport });
    address
}

type Opened = Result<WebSocketStream<TcpStream>, Error>;

async fn open(address: SocketAddr, path: &str, subprotocols: Option<&'static str>) -> Opened {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("Origin", http::HeaderValue::from_static("https://elsewhere.example"));
    if let Some(subprotocols) = subprotocols {
        request.headers_mut().insert("Sec-WebSocket-Protocol", http::HeaderValue::from_static(subprotocols));
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    Ok(socket)
}

fn encoded(version: Version, packets: impl IntoIterator<Item = Packet>) -> Bytes {
    let mut codec = Codec::client(version, 1024 * 1024);
    let mut bytes = BytesMut::new();
    for packet in packets {
        codec.encode(packet, &mut bytes).unwrap();
    }
    bytes.freeze()
}

/// A client and what it has received of the MQTT stream.
struct Client {
    socket: WebSocketStream<TcpStream>,
    codec: Codec,
    received: BytesMut,
}

impl Client {
    fn new(socket: WebSocketStream<TcpStream>, version: Version) -> Self {
        Self { socket, codec: Codec::client(version, 1024 * 1024), received: BytesMut::new() }
    }

    async fn packet(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.received).unwrap() {
                return packet;
            }
            match timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap() {
                Message::Binary(bytes) => self.received.extend_from_slice(&bytes),
                Message::Pong(_) => {}
                other => panic!("{other:?} instead of binary"),
            }
        }
    }
}

#[tokio::test]
async fn packets_may_be_split_and_joined_by_messages_in_both_versions() {
    for version in BOTH {
        let bench = Bench::new();
        let address = listen(&bench).await;
        let socket = open(address, "/mqtt", Some("chat, mqtt")).await.unwrap();
        let mut client = Client::new(socket, version);
        let hello = encoded(version, [Packet::Connect(Box::new(connect("d")))]);
        // One byte a message, with a ping and an empty message between.
        for (index, byte) in hello.iter().enumerate() {
            client.socket.send(Message::Binary(Bytes::copy_from_slice(&[*byte]))).await.unwrap();
            if index == 3 {
                client.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
                client.socket.send(Message::Binary(Bytes::new())).await.unwrap();
            }
        }
        assert!(matches!(client.packet().await, Packet::ConnectAck(_)));
        // Forty packets in one message.
        let many = (1..=40).map(|number| Packet::Publish(Box::new(publish("d/t", number))));
        client.socket.send(Message::Binary(encoded(version, many))).await.unwrap();
        for number in 1..=40 {
            match client.packet().await {
                Packet::PublishAck(ack) => {
                    assert_eq!((ack.packet_id.get(), ack.reason_code), (number, PublishAckReason::Success));
                }
                other => panic!("{other:?}"),
            }
        }
        client.socket.close(None).await.unwrap();
        bench.host.disconnected("d").await;
    }
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let bench = Bench::new();
    let address = listen(&bench).await;
    let mut reader = Client::new(open(address, "/mqtt", Some("mqtt")).await.unwrap(), Version::V5);
    reader
        .socket
        .send(Message::Binary(encoded(Version::V5, [Packet::Connect(Box::new(connect("app")))])))
        .await
        .unwrap();
    reader.packet().await;
    let mut subscriber = tesaiot_mqtt::packet::Subscribe {
        packet_id: crate::peer::id(1),
        id: None,
        user_properties: Vec::new(),
        topic_filters: Vec::new(),
    };
    subscriber.topic_filters.push(("#".into(), tesaiot_mqtt::packet::SubscriptionOptions::default()));
    reader.socket.send(Message::Binary(encoded(Version::V5, [Packet::Subscribe(subscriber)]))).await.unwrap();
    reader.packet().await;
    let payload: Vec<u8> = (0..300_000).map(|n: u32| n.to_le_bytes()[1]).collect();
    assert_eq!(bench.broker.publish(&Publication::new("d/t", payload.clone(), QoS::AtMostOnce)), 1);
    match reader.packet().await {
        Packet::Publish(publish) => assert!(publish.payload == payload),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn text_is_refused() {
    let bench = Bench::new();
    let address = listen(&bench).await;
    let mut socket = open(address, "/mqtt", Some("mqtt")).await.unwrap();
    socket.send(Message::Binary(encoded(Version::V3, [Packet::Connect(Box::new(connect("d")))]))).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
    socket.send(Message::text("hello")).await.unwrap();
    match timeout(PATIENCE, socket.next()).await.unwrap() {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Unsupported),
        other => panic!("{other:?}"),
    }
    let (clean, ..) = bench.host.disconnected("d").await;
    assert!(!clean);
}

#[tokio::test]
async fn another_path_or_no_subprotocol_is_refused() {
    let bench = Bench::new();
    let address = listen(&bench).await;
    let cases =
        [("/", Some("mqtt"), 404), ("/mqtt/", Some("mqtt"), 404), ("/mqtt", None, 400), ("/mqtt", Some("stomp"), 400)];
    for (path, subprotocols, status) in cases {
        match open(address, path, subprotocols).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status, "{path} {subprotocols:?}"),
            other => panic!("{path} {subprotocols:?}: {other:?}"),
        }
    }
    assert_eq!(bench.broker.counters().handshakes_failed, 4);
}

/// A frame that claims to be larger than any packet is not waited for.
#[tokio::test]
async fn a_frame_beyond_every_bound_closes_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::with(Config { max_packet_size: 10_000, ..Config::default() });
    let address = listen(&bench).await;
    let mut socket = open(address, "/mqtt", Some("mqtt")).await.unwrap();
    let stream = socket.get_mut();
    stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();
    let mut said = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_upgrade_that_does_not_come_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::with(Config { handshake_timeout: Duration::from_millis(100), ..Config::default() });
    let address = listen(&bench).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /mqtt HTTP/1.1\r\n").await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0, "closed");
}
