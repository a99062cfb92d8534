//! Publishing: which message was acknowledged, refused or lost.

use std::num::NonZeroU16;

use tesaiot_mqtt::client::{Lost, Published};
use tesaiot_mqtt::packet::{ConnectAck, Packet, PublishAckReason, SubscribeAck, SubscribeAckReason};
use tesaiot_mqtt::{Message, QoS, Version};
use tokio::io::AsyncWriteExt;

use crate::server::{BOTH, message, options, pair, pair_with};

const STORED: PublishAckReason = PublishAckReason::Success;

#[tokio::test(start_paused = true)]
async fn publishes_are_pipelined_up_to_the_window_and_no_further() {
    let narrow = ConnectAck { receive_max: NonZeroU16::new(3).unwrap(), ..ConnectAck::default() };
    let mut v3 = options(Version::V3);
    v3.receive_maximum = 3;
    for (options, ack) in [(options(Version::V5), narrow), (v3, ConnectAck::default())] {
        let (connected, mut server) = pair_with(options, ack, 64 * 1024).await;
        let mut pending = Vec::new();
        for _ in 0..5 {
            pending.push(connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap());
        }
        let mut identifiers = Vec::new();
        for _ in 0..3 {
            identifiers.push(server.expect_publish().await.packet_id.unwrap());
        }
        server.expect_silence().await;
        server.puback(identifiers[1], STORED).await;
        let fourth = server.expect_publish().await;
        server.expect_silence().await;
        for packet_id in [identifiers[0], identifiers[2], fourth.packet_id.unwrap()] {
            server.puback(packet_id, STORED).await;
        }
        let fifth = server.expect_publish().await;
        server.puback(fifth.packet_id.unwrap(), STORED).await;
        for pending in pending {
            assert!(pending.outcome().await.is_acknowledged());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_out_of_order_resolve_the_right_publish() {
    for version in BOTH {
        let (connected, mut server) = pair(options(version)).await;
        let mut pending = Vec::new();
        let mut identifiers = Vec::new();
        for _ in 0..3 {
            pending.push(connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap());
            identifiers.push(server.expect_publish().await.packet_id.unwrap());
        }
        let third = pending.pop().unwrap();
        // An acknowledgement of something never sent resolves nothing.
        server.puback(NonZeroU16::new(999).unwrap(), STORED).await;
        server.puback(identifiers[2], STORED).await;
        assert!(third.outcome().await.is_acknowledged());
        drop(server);
        for pending in pending {
            assert!(matches!(pending.outcome().await, Published::Lost(_)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_refused_and_its_neighbours_are_not() {
    let (connected, mut server) = pair(options(Version::V5)).await;
    let refused = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
    let refused_2 = connected.client.publish(message(QoS::ExactlyOnce)).await.unwrap();
    let stored = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
    let mut identifiers = Vec::new();
    for _ in 0..3 {
        identifiers.push(server.expect_publish().await.packet_id.unwrap());
    }
    server.puback(identifiers[0], PublishAckReason::PayloadFormatInvalid).await;
    server.pubrec(identifiers[1], PublishAckReason::NotAuthorized).await;
    // A success with a word to it is a success.
    server.puback(identifiers[2], PublishAckReason::NoMatchingSubscribers).await;
    assert!(matches!(refused.outcome().await, Published::Refused(PublishAckReason::PayloadFormatInvalid)));
    assert!(matches!(refused_2.outcome().await, Published::Refused(PublishAckReason::NotAuthorized)));
    assert!(stored.outcome().await.is_acknowledged());
    server.expect_silence().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_reports_every_message_lost() {
    for version in BOTH {
        let mut narrow = options(version);
        narrow.receive_maximum = 2;
        let ack = ConnectAck { receive_max: NonZeroU16::new(2).unwrap(), ..ConnectAck::default() };
        let (connected, mut server) = pair_with(narrow, ack, 64 * 1024).await;
        let mut pending = Vec::new();
        for _ in 0..10 {
            pending.push(connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap());
        }
        // Two are in flight, eight still queued.
        server.expect_publish().await;
        drop(server);
        for pending in pending {
            assert!(matches!(pending.outcome().await, Published::Lost(Lost::Link(_))));
        }
        assert!(matches!(connected.client.ended().await, Lost::Link(_)));
        assert!(connected.client.publish(message(QoS::AtLeastOnce)).await.is_err());
        assert!(connected.client.subscribe([("a".to_owned(), QoS::AtMostOnce)]).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn qos_2_is_acknowledged_when_it_is_complete() {
    for version in BOTH {
        let (connected, mut server) = pair(options(version)).await;
        let pending = connected.client.publish(message(QoS::ExactlyOnce)).await.unwrap();
        let publish = server.expect_publish().await;
        let packet_id = publish.packet_id.unwrap();
        assert_eq!(publish.qos, QoS::ExactlyOnce);
        let outcome = tokio::spawn(pending.outcome());
        // Twice received, twice released.
        for _ in 0..2 {
            server.pubrec(packet_id, STORED).await;
            assert!(
                matches!(server.receive().await, Packet::PublishRelease(release) if release.packet_id == packet_id)
            );
        }
        assert!(!outcome.is_finished());
        server.pubcomp(packet_id).await;
        assert!(outcome.await.unwrap().is_acknowledged());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_too_large_for_the_broker_is_refused_here_and_the_connection_lives() {
    let ack = ConnectAck { max_packet_size: Some(100), ..ConnectAck::default() };
    let (connected, mut server) = pair_with(options(Version::V5), ack, 64 * 1024).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let large = connected.client.publish(Message::new("d/t", vec![0; 1000], qos)).await.unwrap();
        assert!(matches!(large.outcome().await, Published::TooLarge { .. }), "{qos:?}");
    }
    let small = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
    let packet_id = server.expect_publish().await.packet_id.unwrap();
    server.puback(packet_id, STORED).await;
    assert!(small.outcome().await.is_acknowledged());
}

#[tokio::test(start_paused = true)]
async fn disconnect_waits_for_acknowledgements() {
    for version in BOTH {
        let (connected, mut server) = pair(options(version)).await;
        let pending = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
        let client = connected.client.clone();
        let disconnected = tokio::spawn(async move { client.disconnect().await });
        let packet_id = server.expect_publish().await.packet_id.unwrap();
        server.expect_silence().await;
        assert!(!disconnected.is_finished());
        server.puback(packet_id, STORED).await;
        assert!(matches!(server.receive().await, Packet::Disconnect(_)));
        assert!(matches!(disconnected.await.unwrap(), Lost::Disconnected));
        assert!(pending.outcome().await.is_acknowledged());
        assert!(server.next().await.is_err(), "the stream is closed");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_says_goodbye() {
    let (connected, mut server) = pair(options(Version::V3)).await;
    let pending = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
    drop(connected);
    let packet_id = server.expect_publish().await.packet_id.unwrap();
    server.puback(packet_id, STORED).await;
    assert!(pending.outcome().await.is_acknowledged());
    assert!(matches!(server.receive().await, Packet::Disconnect(_)));
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_grants_is_returned_in_order() {
    let (connected, mut server) = pair(options(Version::V5)).await;
    let granted = [SubscribeAckReason::GrantedQos1, SubscribeAckReason::NotAuthorized];
    let filters = [("a/#".to_owned(), QoS::AtLeastOnce), ("b".to_owned(), QoS::AtMostOnce)];
    let client = connected.client.clone();
    let subscribed = tokio::spawn(async move { client.subscribe(filters).await });
    match server.receive().await {
        Packet::Subscribe(subscribe) => {
            let names: Vec<_> = subscribe.topic_filters.iter().map(|(filter, _)| &**filter).collect();
            assert_eq!(names, ["a/#", "b"]);
            let (packet_id, status) = (subscribe.packet_id, granted.to_vec());
            let ack = SubscribeAck { packet_id, properties: Vec::new(), reason_string: None, status };
            server.send(Packet::SubscribeAck(ack)).await;
        }
        other => panic!("{other:?} instead of SUBSCRIBE"),
    }
    assert_eq!(subscribed.await.unwrap().unwrap(), granted);
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_the_connection_and_reports_what_was_in_flight_lost() {
    for bytes in [&[0xFF; 32][..], b"HTTP/1.1 400 Bad Request\r\n", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], &[0x10, 0]] {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let connecting = tokio::spawn(tesaiot_mqtt::client::connect(ours, options(Version::V3)));
        theirs.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        let connected = connecting.await.unwrap().unwrap();
        let pending = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
        theirs.write_all(bytes).await.unwrap();
        assert!(matches!(pending.outcome().await, Published::Lost(Lost::Link(_))), "{bytes:?}");
    }
}
