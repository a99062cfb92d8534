//! Silence, and clients that do not read.

use std::time::Duration;

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{Connect, DisconnectReasonCode, Packet};
use tesaiot_mqtt::{Codec, Link, QoS, Version};
use tokio::time::{Instant, sleep};

use crate::host::{Mode, Seen};
use crate::peer::{BOTH, Bench, Peer, connect, publish};

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, Connect { keep_alive: 10, ..connect("d") }).await;
        sleep(Duration::from_secs(14)).await;
        device.ping().await;
        let before = Instant::now();
        device.expect_goodbye(DisconnectReasonCode::KeepAliveTimeout).await;
        let silence = before.elapsed();
        assert!(silence >= Duration::from_secs(15) && silence < Duration::from_secs(16), "{silence:?}");
        bench.host.disconnected("d").await;
        assert_eq!(bench.broker.counters().keep_alive_timeouts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_no_keep_alive_may_be_silent() {
    let bench = Bench::new();
    let mut device = bench.connect(Version::V3, "d").await;
    sleep(Duration::from_secs(100_000)).await;
    device.ping().await;
    // MQTT 5 can be told that this broker wants one.
    let (_, ack) = bench.connect_as(Version::V5, connect("e")).await;
    assert_eq!(ack.server_keepalive_sec, Some(3600));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_is_not_called_silent() {
    let bench =
        Bench::with(Config { receive_maximum: 1, acknowledge_timeout: Duration::from_secs(3600), ..Config::default() });
    bench.host.set(Mode::Hold);
    let (mut device, _) = bench.connect_as(Version::V3, Connect { keep_alive: 10, ..connect("d") }).await;
    device.publish(publish("d/t", 1)).await;
    bench.host.accepted(1).await;
    device.send(Packet::PingRequest).await;
    sleep(Duration::from_secs(100)).await;
    bench.host.resolve(&[0], tesaiot_broker::Outcome::Stored);
    device.expect_puback(1).await;
    assert!(matches!(device.receive().await, Packet::PingResponse));
}

#[tokio::test(start_paused = true)]
async fn silence_before_connect_ends_with_the_handshake_timeout() {
    let bench = Bench::new();
    let mut stranger = bench.peer(Version::V3);
    let before = Instant::now();
    stranger.expect_end().await;
    assert_eq!(before.elapsed().as_secs(), 10);
    bench.host.until("a refusal", |inner| !inner.seen.is_empty()).await;
    let expected = Seen::Refused { client_id: None, cause: "no CONNECT in time".into() };
    assert_eq!(bench.host.seen(), [expected]);
}

/// A subscriber with a small buffer in front of it.
async fn narrow_reader(bench: &Bench, version: Version) -> Peer {
    let link = Link::new(bench.stream(1024), Codec::client(version, 1024 * 1024));
    let mut reader = Peer { link, version };
    reader.connect(connect("app")).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    reader
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed() {
    for version in BOTH {
        let bench = Bench::new();
        let _reader = narrow_reader(&bench, version).await;
        let mut device = bench.connect(version, "d").await;
        let mut message = publish("d/t", 0);
        message.payload = vec![0; 4000].into();
        device.publish(message).await;
        let (clean, _, cause) = bench.host.disconnected("app").await;
        assert_eq!((clean, &*cause), (false, "the client reads too slowly"));
    }
}

/// A thin line is not a dead one: what counts is whether the client takes anything.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_closed() {
    let bench = Bench::new();
    let mut reader = narrow_reader(&bench, Version::V3).await;
    let mut device = bench.connect(Version::V3, "d").await;
    for packet_id in 0..30 {
        let mut message = publish("d/t", 0);
        message.payload = vec![packet_id; 8000].into();
        device.publish(message).await;
    }
    for _ in 0..30 {
        sleep(Duration::from_secs(20)).await;
        reader.expect_publish().await;
    }
    assert!(bench.broker.is_connected("app"));
}
