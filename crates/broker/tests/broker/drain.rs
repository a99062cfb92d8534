//! A broker that stops: what is held is acknowledged first, then everybody is told and nobody forgotten.

use std::time::Duration;

use tesaiot_broker::Outcome;
use tesaiot_mqtt::Version;
use tesaiot_mqtt::packet::{Connect, ConnectAckReason, DisconnectReasonCode, Packet};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, connect, publish, will};

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn held_messages_are_acknowledged_before_the_goodbye() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        let mut idle = bench.connect(version, "e").await;
        for packet_id in 1..=3 {
            device.publish(publish("d/t", packet_id)).await;
        }
        bench.host.accepted(3).await;
        let broker = bench.broker.clone();
        let drain = tokio::spawn(async move { broker.drain(GRACE).await });
        idle.expect_goodbye(DisconnectReasonCode::ServerShuttingDown).await;
        device.expect_silence().await;
        assert!(!drain.is_finished(), "it waits for what is held");
        bench.host.resolve(&[0, 1, 2], Outcome::Stored);
        for packet_id in 1..=3 {
            device.expect_puback(packet_id).await;
        }
        device.expect_goodbye(DisconnectReasonCode::ServerShuttingDown).await;
        assert!(drain.await.unwrap());
        assert_eq!(bench.broker.counters().connections, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_outcome_does_not_hold_up_its_elders() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        for packet_id in 1..=2 {
            device.publish(publish("d/t", packet_id)).await;
        }
        bench.host.accepted(2).await;
        let broker = bench.broker.clone();
        let drain = tokio::spawn(async move { broker.drain(GRACE).await });
        tokio::task::yield_now().await;
        bench.host.resolve(&[0], Outcome::Stored);
        device.expect_puback(1).await;
        assert!(!drain.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_with_nobody_drains_at_once() {
    let bench = Bench::new();
    let before = tokio::time::Instant::now();
    assert!(bench.broker.drain(GRACE).await);
    assert!(before.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_holds_a_drain_for_its_grace_only() {
    let bench = Bench::new();
    bench.host.set(Mode::Hold);
    let mut device = bench.connect(Version::V3, "d").await;
    device.publish(publish("d/t", 1)).await;
    bench.host.accepted(1).await;
    let before = tokio::time::Instant::now();
    assert!(!bench.broker.drain(GRACE).await);
    assert_eq!(before.elapsed().as_secs(), GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_connecting_are_not_let_in() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.close_gate();
        let mut device = bench.peer(version);
        device.send(Packet::Connect(Box::new(connect("d")))).await;
        bench.host.until("the check", |inner| inner.authenticating == 1).await;
        // A stranger that has said nothing yet.
        let mut silent = bench.peer(version);
        let broker = bench.broker.clone();
        let drain = tokio::spawn(async move { broker.drain(GRACE).await });
        silent.expect_end().await;
        bench.host.open_gate();
        match device.receive().await {
            Packet::ConnectAck(ack) => assert_eq!(ack.reason_code, ConnectAckReason::ServerUnavailable),
            other => panic!("{other:?} instead of CONNACK"),
        }
        device.expect_end().await;
        assert!(drain.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn wills_are_stored_before_the_drain_returns() {
    let bench = Bench::new();
    let (mut device, _) = bench.connect_as(Version::V5, Connect { last_will: will("d/status"), ..connect("d") }).await;
    assert!(bench.broker.drain(GRACE).await);
    assert_eq!(bench.host.topics(), ["d/status"]);
    device.expect_goodbye(DisconnectReasonCode::ServerShuttingDown).await;
}
