//! MQTT over WebSocket over TLS: what a browser speaks, by Paho and byte by byte.

use std::net::TcpStream;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;
use tesaiot_tls::{ClientSettings, client_config};
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::paho::options;
use super::stored;
use crate::support::device::Device;
use crate::support::paho::{Paho, PahoOptions, PahoVersion};
use crate::support::platform::TestPlatform;
use crate::support::wire::{Connect, Wire, packet, publish};

#[test]
fn paho_over_websocket() {
    let platform = TestPlatform::start();
    for (id, version, protocol) in [("ws-one", PahoVersion::One, "3.1.1"), ("ws-two", PahoVersion::Two, "5")] {
        let device = platform.device(id, AuthMode::ServerTls);
        let port = platform.wss().port();
        let options = PahoOptions { websocket: true, port, ..options(&device, protocol) };
        let client = Paho::start(version, &options);
        assert_eq!(client.event("connack")["refused"], false);
        assert_eq!(client.event("suback")["codes"][0], 1);
        client.event("done");
        stored(&platform, &device, "sample", &json!(50));
        client.stop().expect_success();
    }
}

#[test]
fn a_bundle_says_where_websocket_is() {
    let platform = TestPlatform::start();
    let device = platform.device("ws-device", AuthMode::ServerTls);
    let endpoints: serde_json::Value =
        serde_json::from_slice(&std::fs::read(device.file("endpoints.json")).expect("endpoints.json")).expect("JSON");
    assert_eq!(endpoints["mqtt_wss_port"], platform.wss().port());
}

/// A certificate is not asked for here, and an API key of one device is not another's, whatever the request says.
#[test]
fn websocket_authenticates_as_the_password_port_does() {
    let platform = TestPlatform::start();
    let device = platform.device("ws-device", AuthMode::ServerTls);
    let other = platform.device("ws-other", AuthMode::ServerTls);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let good = Connect::of(Version::V3, &device);
        let stolen = Connect { login: Some(("ws-other", device.api_key())), ..Connect::of(Version::V3, &other) };
        let nobody = Connect::new(Version::V3, "ws-device");
        for (connect, expected) in [(&nobody, 4), (&stolen, 4), (&good, 0)] {
            let mut socket = open(&platform, &device).await;
            // In two halves, as a browser's library may.
            let packet = connect.packet();
            let (first, second) = packet.split_at(7);
            for half in [first, second] {
                socket.send(Message::binary(half.to_vec())).await.expect("it takes bytes");
            }
            let connack = next(&mut socket).await;
            assert_eq!((connack[0], connack[3]), (0x20, expected));
            if expected == 0 {
                let topic = device.topic("telemetry");
                let two = [
                    publish(Version::V3, 1, false, &topic, b"{\"one\":1}"),
                    publish(Version::V3, 2, false, &topic, b"{\"two\":2}"),
                ];
                socket.send(Message::binary(two.concat())).await.expect("it takes bytes");
                let mut acknowledged = Vec::new();
                while acknowledged.len() < 8 {
                    acknowledged.extend(next(&mut socket).await);
                }
                assert_eq!(acknowledged, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
            }
        }
    });
    stored(&platform, &device, "two", &json!(2));
}

/// An application is as good here as on the ports for bytes.
#[test]
fn an_application_reads_over_websocket() {
    let platform = TestPlatform::start();
    let device = platform.device("ws-device", AuthMode::ServerTls);
    let body = br#"{"name":"board","topics":["device/+/telemetry"]}"#;
    let made = platform.operator().post("/mqtt-tokens", body).expect(201);
    let token = made["token"].as_str().expect("a token");
    Runtime::new().expect("a runtime").block_on(async {
        let mut socket = open(&platform, &device).await;
        let connect = Connect { login: Some((token, token)), ..Connect::new(Version::V3, "board") };
        socket.send(Message::binary(connect.packet())).await.expect("it takes bytes");
        assert_eq!(next(&mut socket).await, [0x20, 2, 0, 0]);
        let filters = [&[0, 1, 0, 18][..], b"device/+/telemetry", &[1, 0, 8], b"device/#", &[1]].concat();
        socket.send(Message::binary(packet(0x82, &filters))).await.expect("it takes bytes");
        assert_eq!(next(&mut socket).await, [0x90, 4, 0, 1, 1, 0x80], "what it was granted, and no more");
        let mut own = Wire::login(platform.mqtt_tls(), &device, Version::V3);
        assert_eq!(own.acknowledged(1, &device.topic("telemetry"), b"{\"n\":1}"), 0);
        let heard = next(&mut socket).await;
        assert!(heard[0] & 0xf0 == 0x30 && heard.ends_with(b"{\"n\":1}"), "{heard:02x?}");
    });
}

type Socket = WebSocketStream<tesaiot_tls::ClientStream<tokio::net::TcpStream>>;

async fn open(platform: &TestPlatform, device: &Device) -> Socket {
    let tcp: TcpStream = Wire::tcp(platform.wss());
    tcp.set_nonblocking(true).expect("not blocking");
    let tcp = tokio::net::TcpStream::from_std(tcp).expect("a stream");
    let settings = ClientSettings { identity: None, ..device.tls() };
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    let config = client_config(settings).expect("a TLS configuration");
    let tls = tesaiot_tls::connect(&config, "localhost", tcp, deadline).await.expect("a TLS handshake");
    let mut request = "wss://localhost/mqtt".into_client_request().expect("a request");
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "mqtt".parse().expect("a header"));
    headers.insert("Origin", "https://evil.example".parse().expect("a header"));
    headers.insert("X-Forwarded-For", "127.0.0.1".parse().expect("a header"));
    tokio_tungstenite::client_async(request, tls).await.expect("an upgrade").0
}

async fn next(socket: &mut Socket) -> Vec<u8> {
    match socket.next().await {
        Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
        other => panic!("{other:?} instead of bytes"),
    }
}
