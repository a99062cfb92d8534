//! Revocation takes effect now.

use std::time::Duration;

use tesaiot_mqtt::packet::{ConnectAckReason, DisconnectReasonCode, Packet, Version};
use tesaiot_mqtt::{Codec, Link, Message, QoS};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, Peer, connect, persistent, publish};

const REVOKED: DisconnectReasonCode = DisconnectReasonCode::NotAuthorized;

#[tokio::test(start_paused = true)]
async fn an_evicted_client_is_closed_at_once_and_its_session_discarded() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.subscribe("d/#", QoS::AtLeastOnce).await;
        let before = tokio::time::Instant::now();
        assert!(bench.broker.disconnect("d", REVOKED));
        device.expect_goodbye(REVOKED).await;
        bench.host.disconnected("d").await;
        assert!(before.elapsed() < Duration::from_millis(10));
        assert_eq!(bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce)), 0);
        assert!(!bench.broker.disconnect("d", REVOKED), "it is gone");
        let (_, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(!ack.session_present);
    }
}

#[tokio::test(start_paused = true)]
async fn an_absent_session_is_discarded_too() {
    for version in BOTH {
        let bench = Bench::new();
        drop(bench.connect_as(version, persistent("d")).await);
        bench.host.disconnected("d").await;
        assert!(!bench.broker.disconnect("d", REVOKED));
        assert!(!bench.broker.disconnect("never-seen", REVOKED));
        let (_, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(!ack.session_present);
    }
}

/// The message is in the host's hands; the client is not let in meanwhile.
#[tokio::test(start_paused = true)]
async fn a_client_with_messages_in_hand_is_closed_at_once() {
    for mode in [Mode::Hold, Mode::Full] {
        let bench = Bench::new();
        bench.host.set(mode);
        let mut device = bench.connect(Version::V5, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.expect_silence().await;
        let before = tokio::time::Instant::now();
        bench.broker.disconnect("d", REVOKED);
        device.expect_goodbye(REVOKED).await;
        assert!(before.elapsed() < Duration::from_millis(10), "{mode:?}");
    }
}

/// A client that does not even read its farewell cannot stay by not reading.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_gone_in_seconds() {
    let bench = Bench::new();
    let link = Link::new(bench.stream(256), Codec::client(Version::V5, 1024));
    let mut reader = Peer { link, version: Version::V5 };
    reader.connect(connect("app")).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    bench.broker.publish(&Message::new("d/t", vec![0; 10_000], QoS::AtMostOnce));
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    assert!(bench.broker.disconnect("app", REVOKED));
    bench.host.disconnected("app").await;
    assert!(before.elapsed() <= Duration::from_secs(3));
    assert_eq!(bench.broker.counters().connections, 0);
}

/// Credentials checked a moment before they were revoked are not good enough.
#[tokio::test(start_paused = true)]
async fn a_client_revoked_while_it_connects_is_refused() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.close_gate();
        let mut device = bench.peer(version);
        device.send(Packet::Connect(Box::new(connect("d")))).await;
        bench.host.until("the check", |inner| inner.authenticating == 1).await;
        bench.host.revoke("d");
        bench.broker.disconnect("d", REVOKED);
        bench.host.open_gate();
        match device.receive().await {
            Packet::ConnectAck(ack) => assert_eq!(ack.reason_code, ConnectAckReason::BadUserNameOrPassword),
            other => panic!("{other:?} instead of CONNACK"),
        }
        device.expect_end().await;
        assert!(!bench.broker.is_connected("d"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_revoked_while_it_waits_for_its_old_connection_is_refused() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut old = bench.connect(version, "d").await;
        old.publish(publish("d/t", 1)).await;
        bench.host.accepted(1).await;
        let mut new = bench.peer(version);
        new.send(Packet::Connect(Box::new(connect("d")))).await;
        new.expect_silence().await;
        bench.host.revoke("d");
        bench.broker.disconnect("d", REVOKED);
        bench.host.resolve(&[0], tesaiot_broker::Outcome::Stored);
        match new.receive().await {
            Packet::ConnectAck(ack) => assert_eq!(ack.reason_code, ConnectAckReason::BadUserNameOrPassword),
            other => panic!("{other:?} instead of CONNACK"),
        }
        assert!(!bench.broker.is_connected("d"));
    }
}

/// The eviction of one client does not refuse the others that connect at that moment.
#[tokio::test(start_paused = true)]
async fn others_that_connect_meanwhile_are_let_in() {
    let bench = Bench::new();
    bench.host.close_gate();
    let mut other = bench.peer(Version::V5);
    other.send(Packet::Connect(Box::new(connect("other")))).await;
    bench.host.until("the check", |inner| inner.authenticating == 1).await;
    bench.host.revoke("d");
    bench.broker.disconnect("d", REVOKED);
    bench.host.open_gate();
    assert!(matches!(other.receive().await, Packet::ConnectAck(ack) if ack.reason_code == ConnectAckReason::Success));
    other.ping().await;
}
