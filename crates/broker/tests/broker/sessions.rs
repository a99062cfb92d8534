//! What outlives a connection, and for how long.

use std::time::Duration;

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{
    Connect, Disconnect, DisconnectReasonCode, Packet, PublishAck2Reason, PublishAckReason, Version, publish_ack,
    publish_ack2,
};
use tesaiot_mqtt::{Message, QoS};
use tokio::time::sleep;

use crate::peer::{BOTH, Bench, connect, persistent};

fn message(name: &str, qos: QoS) -> Message {
    Message::new(format!("d/{name}"), name.to_owned(), qos)
}

async fn leave(bench: &Bench, version: Version, connect: Connect, qos: QoS) {
    let (mut device, _) = bench.connect_as(version, connect).await;
    device.subscribe("d/#", qos).await;
    drop(device);
    bench.host.disconnected("d").await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_persistent_session() {
    for version in BOTH {
        let bench = Bench::new();
        leave(&bench, version, persistent("d"), QoS::ExactlyOnce).await;
        assert!(!bench.broker.is_connected("d"));
        for (name, qos) in [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            bench.broker.publish(&message(name, qos));
        }
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        let first = device.expect_publish().await;
        assert_eq!((&*first.topic, first.qos, first.dup), ("d/1", QoS::AtLeastOnce, false));
        let second = device.expect_publish().await;
        assert_eq!((&*second.topic, second.qos), ("d/2", QoS::ExactlyOnce));
        device.expect_silence().await;
        assert_eq!(bench.broker.counters().messages_dropped, 1, "QoS 0 does not wait");
    }
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_messages_are_sent_again_in_order_and_marked() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.subscribe("d/#", QoS::ExactlyOnce).await;
        for (name, qos) in [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("c", QoS::ExactlyOnce)] {
            bench.broker.publish(&message(name, qos));
        }
        let a = device.expect_publish().await;
        let b = device.expect_publish().await;
        let c = device.expect_publish().await;
        // The second exchange is half done.
        device.send(Packet::PublishReceived(publish_ack(b.packet_id.unwrap(), PublishAckReason::Success))).await;
        assert!(matches!(device.receive().await, Packet::PublishRelease(_)));
        drop(device);
        bench.host.disconnected("d").await;

        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        let again = device.expect_publish().await;
        assert!(again.dup);
        assert_eq!((again.packet_id, again.topic), (a.packet_id, a.topic));
        match device.receive().await {
            Packet::PublishRelease(release) => assert_eq!(Some(release.packet_id), b.packet_id),
            other => panic!("{other:?} instead of PUBREL"),
        }
        let again = device.expect_publish().await;
        assert!(again.dup);
        assert_eq!(again.packet_id, c.packet_id);
        // All three end here.
        device.acknowledge(a.packet_id.unwrap()).await;
        let complete = |id| Packet::PublishComplete(publish_ack2(id, PublishAck2Reason::Success));
        device.send(complete(b.packet_id.unwrap())).await;
        device.send(Packet::PublishReceived(publish_ack(c.packet_id.unwrap(), PublishAckReason::Success))).await;
        assert!(matches!(device.receive().await, Packet::PublishRelease(_)));
        device.send(complete(c.packet_id.unwrap())).await;
        device.ping().await;
        drop(device);
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.expect_silence().await;
    }
}

/// The client that comes back takes less at a time than the one that left.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_keeps_within_the_new_window() {
    let bench = Bench::new();
    let (mut device, _) = bench.connect_as(Version::V5, persistent("d")).await;
    device.subscribe("d/#", QoS::AtLeastOnce).await;
    for number in 0..10 {
        bench.broker.publish(&message(&number.to_string(), QoS::AtLeastOnce));
        device.expect_publish().await;
    }
    drop(device);
    bench.host.disconnected("d").await;
    bench.broker.publish(&message("10", QoS::AtLeastOnce));

    let narrow = Connect { receive_max: Some(crate::peer::id(2)), ..persistent("d") };
    let (mut device, _) = bench.connect_as(Version::V5, narrow).await;
    let mut in_flight = std::collections::VecDeque::new();
    for number in 0..11 {
        if in_flight.len() == 2 {
            device.expect_silence().await;
            device.acknowledge(in_flight.pop_front().unwrap()).await;
        }
        let again = device.expect_publish().await;
        assert_eq!((&*again.topic, again.dup), (&*format!("d/{number}"), number < 10));
        in_flight.push_back(again.packet_id.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_the_client_that_comes_back_holds_up_nothing() {
    let bench = Bench::new();
    let (mut device, _) = bench.connect_as(Version::V5, persistent("d")).await;
    device.subscribe("d/#", QoS::AtLeastOnce).await;
    bench.broker.publish(&Message::new("d/large", vec![0; 1000], QoS::AtLeastOnce));
    device.expect_publish().await;
    drop(device);
    bench.host.disconnected("d").await;
    bench.broker.publish(&message("small", QoS::AtLeastOnce));
    let (receive_max, max_packet_size) = (Some(crate::peer::id(1)), std::num::NonZeroU32::new(100));
    let narrow = Connect { receive_max, max_packet_size, ..persistent("d") };
    let (mut device, _) = bench.connect_as(Version::V5, narrow).await;
    assert_eq!(device.expect_publish().await.topic, "d/small");
}

#[tokio::test(start_paused = true)]
async fn a_clean_start_forgets_everything() {
    for version in BOTH {
        let bench = Bench::new();
        leave(&bench, version, persistent("d"), QoS::AtLeastOnce).await;
        bench.broker.publish(&message("a", QoS::AtLeastOnce));
        let (mut device, ack) = bench.connect_as(version, connect("d")).await;
        assert!(!ack.session_present);
        assert_eq!(bench.broker.publish(&message("b", QoS::AtLeastOnce)), 0);
        device.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_session_ends_with_its_connection() {
    for version in BOTH {
        let bench = Bench::new();
        leave(&bench, version, connect("d"), QoS::AtLeastOnce).await;
        assert_eq!(bench.broker.publish(&message("a", QoS::AtLeastOnce)), 0);
        let (_, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(!ack.session_present);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_at_its_expiry() {
    for (version, config, wait) in [
        (Version::V5, Config::default(), 3601),
        // The broker's own limit, which 3.1.1 clients cannot name.
        (Version::V3, Config { max_session_expiry: Duration::from_secs(600), ..Config::default() }, 601),
    ] {
        let bench = Bench::with(config);
        leave(&bench, version, persistent("d"), QoS::AtLeastOnce).await;
        sleep(Duration::from_secs(wait - 20)).await;
        assert_eq!(bench.broker.publish(&message("a", QoS::AtLeastOnce)), 1);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(bench.broker.publish(&message("b", QoS::AtLeastOnce)), 0, "nothing of it is left");
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(!ack.session_present);
        device.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_is_told_the_expiry_it_gets_and_may_change_it_when_it_leaves() {
    let config = Config { max_session_expiry: Duration::from_secs(600), ..Config::default() };
    let bench = Bench::with(config);
    let (mut device, ack) = bench.connect_as(Version::V5, persistent("d")).await;
    assert_eq!(ack.session_expiry_interval_secs, Some(600));
    let reason_code = DisconnectReasonCode::NormalDisconnection;
    let disconnect = Disconnect { reason_code, session_expiry_interval_secs: Some(0), ..Disconnect::default() };
    device.send(Packet::Disconnect(disconnect)).await;
    device.expect_end().await;
    bench.host.disconnected("d").await;
    let (_, ack) = bench.connect_as(Version::V5, persistent("d")).await;
    assert!(!ack.session_present);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_an_absent_session_is_bounded() {
    for version in BOTH {
        let bench = Bench::with(Config { max_queued: 5, ..Config::default() });
        leave(&bench, version, persistent("d"), QoS::AtLeastOnce).await;
        for number in 0..20 {
            bench.broker.publish(&message(&number.to_string(), QoS::AtLeastOnce));
        }
        assert_eq!(bench.broker.counters().messages_dropped, 15);
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        for number in 0..5 {
            assert_eq!(device.expect_publish().await.topic, format!("d/{number}"));
        }
        device.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn absent_sessions_are_bounded() {
    let bench = Bench::with(Config { max_offline_sessions: 2, ..Config::default() });
    for client_id in ["a", "b", "c"] {
        drop(bench.connect_as(Version::V5, persistent(client_id)).await);
        bench.host.disconnected(client_id).await;
    }
    let mut present = Vec::new();
    for client_id in ["a", "b", "c"] {
        present.push(bench.connect_as(Version::V5, persistent(client_id)).await);
    }
    let resumed: Vec<_> = present.iter().map(|(_, ack)| ack.session_present).collect();
    assert_eq!(resumed, [true, true, false]);
}
