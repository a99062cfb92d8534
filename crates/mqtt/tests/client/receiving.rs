//! Messages from the broker: held acknowledgements and back-pressure.

use std::num::NonZeroU16;

use tesaiot_mqtt::client::Lost;
use tesaiot_mqtt::packet::{
    ConnectAck, Disconnect, DisconnectReasonCode, Packet, PublishAck2Reason, PublishAckReason, publish_ack2,
};
use tesaiot_mqtt::{QoS, Version};

use crate::server::{BOTH, message, options, pair, pair_with};

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_its_receiver_says_so() {
    for version in BOTH {
        let (mut connected, mut server) = pair(options(version)).await;
        server.publish(7).await;
        let incoming = connected.messages.recv().await.unwrap();
        assert_eq!(&*incoming.message.payload, b"payload");
        server.expect_silence().await;
        incoming.acknowledgement.unwrap().accept().await.unwrap();
        server.expect_puback(7).await;
        // QoS 0 has none.
        server.publish(0).await;
        assert!(connected.messages.recv().await.unwrap().acknowledgement.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_leave_in_the_order_of_the_messages() {
    for version in BOTH {
        let (mut connected, mut server) = pair(options(version)).await;
        let mut held = Vec::new();
        for packet_id in [30, 20, 10] {
            server.publish(packet_id).await;
            held.push(connected.messages.recv().await.unwrap().acknowledgement.unwrap());
        }
        for acknowledgement in held.into_iter().rev() {
            server.expect_silence().await;
            acknowledgement.accept().await.unwrap();
        }
        for packet_id in [30, 20, 10] {
            server.expect_puback(packet_id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_qos_2_message_is_delivered_once() {
    for version in BOTH {
        let (mut connected, mut server) = pair(options(version)).await;
        let packet_id = NonZeroU16::new(5);
        let publish = |dup| {
            Packet::Publish(Box::new(message(QoS::ExactlyOnce).to_publish(QoS::ExactlyOnce, packet_id, dup, false)))
        };
        server.send(publish(false)).await;
        server.send(publish(true)).await;
        let incoming = connected.messages.recv().await.unwrap();
        incoming.acknowledgement.unwrap().accept().await.unwrap();
        assert!(matches!(server.receive().await, Packet::PublishReceived(_)));
        server.send(publish(true)).await;
        assert!(matches!(server.receive().await, Packet::PublishReceived(_)));
        server.send(Packet::PublishRelease(publish_ack2(packet_id.unwrap(), PublishAck2Reason::Success))).await;
        assert!(matches!(server.receive().await, Packet::PublishComplete(_)));
        assert!(connected.messages.try_recv().is_err());
    }
}

/// A receiver that is behind stops the stream: what it has not taken stays with the broker.
#[tokio::test(start_paused = true)]
async fn a_full_channel_stops_reading() {
    for version in BOTH {
        let mut short = options(version);
        short.queue = 4;
        let (mut connected, mut server) = pair_with(short, ConnectAck::default(), 512).await;
        let mut sent = 0;
        let mut flood = async || {
            for _ in 0..200 {
                server.publish(0).await;
                sent += 1;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(1), flood()).await.expect_err("it is held back");
        assert!(sent < 100, "{sent} messages of 16 bytes in 512 bytes of buffers");
        for _ in 0..sent {
            connected.messages.recv().await.unwrap();
        }
    }
}

/// Acknowledgements do not wait behind messages that wait for the broker's.
#[tokio::test(start_paused = true)]
async fn a_full_window_does_not_hold_up_acknowledgements() {
    for version in BOTH {
        let mut narrow = options(version);
        narrow.receive_maximum = 1;
        narrow.queue = 2;
        let ack = ConnectAck { receive_max: NonZeroU16::new(1).unwrap(), ..ConnectAck::default() };
        let (mut connected, mut server) = pair_with(narrow, ack, 64 * 1024).await;
        let mut pending = Vec::new();
        for _ in 0..3 {
            pending.push(connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap());
        }
        let in_flight = server.expect_publish().await.packet_id.unwrap();
        server.publish(9).await;
        let incoming = connected.messages.recv().await.unwrap();
        incoming.acknowledgement.unwrap().accept().await.unwrap();
        server.expect_puback(9).await;
        server.puback(in_flight, PublishAckReason::Success).await;
        server.expect_publish().await;
    }
}

/// A 3.1.1 broker was never told a receive maximum: it cannot exceed it.
#[tokio::test(start_paused = true)]
async fn mqtt_3_1_1_may_send_more_than_this_side_publishes_at_a_time() {
    let mut narrow = options(Version::V3);
    narrow.receive_maximum = 2;
    let (mut connected, mut server) = pair(narrow).await;
    let mut held = Vec::new();
    for packet_id in 1..=10 {
        server.publish(packet_id).await;
        held.push(connected.messages.recv().await.unwrap().acknowledgement.unwrap());
    }
    for acknowledgement in held {
        acknowledgement.accept().await.unwrap();
    }
    for packet_id in 1..=10 {
        server.expect_puback(packet_id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_may_not_exceed_the_receive_maximum() {
    let mut narrow = options(Version::V5);
    narrow.receive_maximum = 2;
    let (connected, mut server) = pair(narrow).await;
    for packet_id in 1..=3 {
        server.publish(packet_id).await;
    }
    assert!(matches!(connected.client.ended().await, Lost::Link(_)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_publishes_may_drop_its_receiver() {
    for version in BOTH {
        let mut narrow = options(version);
        narrow.receive_maximum = 2;
        let (connected, mut server) = pair(narrow).await;
        drop(connected.messages);
        for packet_id in 1..=10 {
            server.publish(packet_id).await;
        }
        let pending = connected.client.publish(message(QoS::AtLeastOnce)).await.unwrap();
        let packet_id = server.expect_publish().await.packet_id.unwrap();
        server.puback(packet_id, PublishAckReason::Success).await;
        assert!(pending.outcome().await.is_acknowledged());
        // Nobody took them: nobody acknowledges them.
        server.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_alias_that_was_not_offered_ends_the_connection() {
    let (connected, mut server) = pair(options(Version::V5)).await;
    let mut publish = message(QoS::AtMostOnce).to_publish(QoS::AtMostOnce, None, false, false);
    publish.topic = "".into();
    publish.properties = Some(tesaiot_mqtt::packet::PublishProperties {
        topic_alias: NonZeroU16::new(1),
        ..tesaiot_mqtt::packet::PublishProperties::default()
    });
    server.send(Packet::Publish(Box::new(publish))).await;
    assert!(matches!(connected.client.ended().await, Lost::Link(_)));
}

#[tokio::test(start_paused = true)]
async fn the_brokers_goodbye_is_reported_with_its_reason() {
    let (mut connected, mut server) = pair(options(Version::V5)).await;
    let reason_code = DisconnectReasonCode::SessionTakenOver;
    server.send(Packet::Disconnect(Disconnect { reason_code, ..Disconnect::default() })).await;
    assert!(matches!(connected.client.ended().await, Lost::ByBroker(DisconnectReasonCode::SessionTakenOver)));
    assert!(connected.messages.recv().await.is_none());
}
