//! The client of this workspace against the broker, over TCP, in real time.

use std::sync::Arc;
use std::time::Duration;

use tesaiot_broker::{Config, Listener, Transport};
use tesaiot_mqtt::client::{Options, connect};
use tesaiot_mqtt::packet::PublishProperties;
use tesaiot_mqtt::{Message, QoS, Version};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::host::Seen;
use crate::peer::{BOTH, Bench};

async fn listen(bench: &Bench) -> std::net::SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    bench.broker.listen(Listener { name: "loopback".into(), socket, tls: None, transport: Transport::Stream });
    address
}

fn options(version: Version, client_id: &str) -> Options {
    let mut options = Options::new(client_id.to_owned());
    options.version = version;
    options.username = Some(client_id.to_owned().into());
    options.password = Some("secret".into());
    options
}

#[tokio::test]
async fn a_client_publishes_ten_thousand_and_a_subscriber_sees_them_in_order() {
    for version in BOTH {
        // The reader may fall behind by all of it.
        let bench = Bench::with(Config { max_queued: 10_000, ..Config::default() });
        let address = listen(&bench).await;
        let mut reader = connect(TcpStream::connect(address).await.unwrap(), options(version, "app")).await.unwrap();
        reader.client.subscribe([("d/#".to_owned(), QoS::AtLeastOnce)]).await.unwrap();
        let device = connect(TcpStream::connect(address).await.unwrap(), options(version, "d")).await.unwrap();
        let publisher = device.client.clone();
        let sent = tokio::spawn(async move {
            let mut pending = std::collections::VecDeque::new();
            for number in 0u32..10_000 {
                let message = Message::new("d/t", number.to_be_bytes().to_vec(), QoS::AtLeastOnce);
                pending.push_back(publisher.publish(message).await.unwrap());
                if pending.len() >= 200 {
                    assert!(pending.pop_front().unwrap().outcome().await.is_acknowledged());
                }
            }
            for pending in pending {
                assert!(pending.outcome().await.is_acknowledged());
            }
        });
        for number in 0u32..10_000 {
            let incoming = reader.messages.recv().await.unwrap();
            assert_eq!(&*incoming.message.payload, number.to_be_bytes());
            incoming.acknowledgement.unwrap().accept().await.unwrap();
        }
        sent.await.unwrap();
        device.client.disconnect().await;
        let (clean, ..) = bench.host.disconnected("d").await;
        assert!(clean);
        assert!(bench.broker.drain(Duration::from_secs(10)).await);
        let counters = bench.broker.counters();
        assert_eq!((counters.messages_received, counters.messages_acknowledged), (10_000, 10_000));
        assert_eq!((counters.messages_sent, counters.messages_dropped), (10_000, 0));
        assert_eq!((counters.connections, counters.connections_total), (0, 2));
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}

/// TLS without a certificate: enough for clients that never get that far.
fn tls() -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let nobody = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
    Arc::new(builder.with_no_client_auth().with_cert_resolver(nobody))
}

#[tokio::test]
async fn a_tls_handshake_that_fails_or_does_not_come_is_counted_and_makes_room() {
    let config = Config { max_handshakes: 1, handshake_timeout: Duration::from_millis(100), ..Config::default() };
    let bench = Bench::with(config);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    bench.broker.listen(Listener { name: "tls".into(), socket, tls: Some(tls()), transport: Transport::Stream });
    // Silent ones, one after the other, then one that speaks plain MQTT.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let plain = connect(TcpStream::connect(address).await.unwrap(), options(Version::V3, "d")).await;
    assert!(plain.is_err());
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed");
    }
    // Counted after the client has heard of it.
    bench.host.until("the incidents", |inner| inner.seen == [const { Seen::HandshakeFailed }; 4]).await;
    let counters = bench.broker.counters();
    assert_eq!((counters.handshakes_failed, counters.connections_total, counters.connections), (4, 4, 0));
}

#[tokio::test]
async fn a_connection_too_many_is_closed() {
    let bench = Bench::with(Config { max_connections: 1, ..Config::default() });
    let address = listen(&bench).await;
    let first = connect(TcpStream::connect(address).await.unwrap(), options(Version::V3, "d")).await.unwrap();
    let second = connect(TcpStream::connect(address).await.unwrap(), options(Version::V3, "e")).await;
    assert!(second.is_err());
    assert_eq!(bench.broker.counters().connections_over_limit, 1);
    first.client.disconnect().await;
}

/// Request and response as a program of others does it: the response topic and the correlation data go there and back.
#[tokio::test]
async fn mosquitto_rr_gets_its_answer() {
    let bench = Bench::new();
    let address = listen(&bench).await;
    let mut asking = tokio::process::Command::new("mosquitto_rr");
    asking.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &address.port().to_string(), "-i", "d", "-q", "1"]);
    asking.args(["-u", "d", "-P", "secret", "-t", "d/questions", "-e", "d/answers", "-m", "how warm?", "-W", "30"]);
    asking.args(["-D", "publish", "correlation-data", "17"]);
    let asking = asking.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("mosquitto-clients");
    bench.host.accepted(1).await;
    let question = bench.host.accepted_messages().remove(0);
    assert_eq!(&*question.payload, b"how warm?");
    let asked = question.properties.unwrap();
    assert_eq!(
        (asked.response_topic.as_deref(), asked.correlation_data.as_deref()),
        (Some("d/answers"), Some(&b"17"[..]))
    );
    let mut answer = Message::new(asked.response_topic.unwrap(), "21 degrees", QoS::AtLeastOnce);
    let correlation_data = asked.correlation_data;
    answer.properties = Some(Box::new(PublishProperties { correlation_data, ..PublishProperties::default() }));
    assert_eq!(bench.broker.publish(&answer), 1);
    let said = asking.wait_with_output().await.unwrap();
    assert_eq!((said.status.code(), &*said.stdout), (Some(0), &b"21 degrees\n"[..]));
}
