//! Acknowledged means stored: an acknowledgement leaves after the host's word, in order, and never without it.

use tesaiot_broker::Outcome;
use tesaiot_mqtt::packet::{Connect, DisconnectReasonCode, Packet, PublishAckReason};
use tesaiot_mqtt::{QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, connect, publish, publish_2};

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_waits_for_the_store() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 7)).await;
        bench.host.accepted(1).await;
        device.expect_silence().await;
        bench.host.resolve(&[0], Outcome::Stored);
        device.expect_puback(7).await;
        assert_eq!(bench.broker.counters().messages_acknowledged, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn outcomes_out_of_order_leave_in_order() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 30)).await;
        device.publish(publish_2("d/t", 20)).await;
        device.publish(publish("d/t", 10)).await;
        bench.host.accepted(3).await;
        bench.host.resolve(&[2], Outcome::Stored);
        device.expect_silence().await;
        bench.host.resolve(&[1], Outcome::Stored);
        device.expect_silence().await;
        bench.host.resolve(&[0], Outcome::Stored);
        device.expect_puback(30).await;
        device.expect_pubrec(20).await;
        device.expect_puback(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_commit_are_acknowledged_in_one_write() {
    let bench = Bench::new();
    bench.host.set(Mode::Hold);
    let mut stream = bench.raw(Version::V3, connect("d")).await;
    for packet_id in 1..=10 {
        stream.write_all(&[0x32, 7, 0, 3, b'd', b'/', b't', 0, packet_id]).await.unwrap();
    }
    bench.host.accepted(10).await;
    bench.host.resolve(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], Outcome::Stored);
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).await.unwrap();
    let expected: Vec<u8> = (1..=10).flat_map(|packet_id| [0x40, 2, 0, packet_id]).collect();
    assert_eq!(&buffer[..count], expected);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receipt_closes_the_connection_without_an_acknowledgement() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Drop);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.expect_goodbye(DisconnectReasonCode::ServerBusy).await;
        bench.host.disconnected("d").await;
        let counters = bench.broker.counters();
        assert_eq!((counters.store_unavailable, counters.messages_acknowledged), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_a_dropped_receipt_is_acknowledged() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        for packet_id in 1..=3 {
            device.publish(publish("d/t", packet_id)).await;
        }
        bench.host.accepted(3).await;
        // Known in the wrong order: the second is stored, then the third is lost, then the first is stored.
        bench.host.resolve(&[1], Outcome::Stored);
        bench.host.resolve(&[0], Outcome::Stored);
        bench.host.drop_receipt(2);
        device.expect_puback(1).await;
        device.expect_puback(2).await;
        device.expect_goodbye(DisconnectReasonCode::ServerBusy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_costs_the_connection_and_nothing_is_acknowledged() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.expect_goodbye(DisconnectReasonCode::ServerBusy).await;
        assert_eq!(bench.broker.counters().messages_acknowledged, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_named_to_mqtt_5_acknowledged_to_3_1_1_and_routed_to_nobody() {
    let refusal = PublishAckReason::PayloadFormatInvalid;
    for (version, expected) in [(Version::V5, refusal), (Version::V3, PublishAckReason::Success)] {
        let bench = Bench::new();
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("#", QoS::AtLeastOnce).await;
        bench.host.set(Mode::Refuse(refusal));
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, expected));
        device.publish(publish_2("d/t", 2)).await;
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 2, expected));
        reader.expect_silence().await;
        // The connection lives on, and its next message is stored.
        bench.host.set(Mode::Store);
        device.publish(publish("d/t", 3)).await;
        device.expect_puback(3).await;
        assert_eq!(&*reader.expect_publish().await.payload, b"payload 3");
        assert_eq!(bench.broker.counters().messages_refused, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_before_it_is_stored() {
    for version in BOTH {
        let bench = Bench::new();
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("d/#", QoS::AtMostOnce).await;
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/first", 1)).await;
        device.publish(publish_2("d/second", 2)).await;
        device.publish(publish("d/third", 3)).await;
        bench.host.accepted(3).await;
        reader.expect_silence().await;
        bench.host.resolve(&[0, 1], Outcome::Stored);
        assert_eq!(reader.expect_publish().await.topic, "d/first");
        assert_eq!(reader.expect_publish().await.topic, "d/second");
        bench.host.drop_receipt(2);
        reader.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_acknowledgements_are_held() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect_as(version, Connect { keep_alive: 5, ..connect("d") }).await.0;
        device.publish(publish("d/t", 1)).await;
        bench.host.accepted(1).await;
        device.ping().await;
        device.send(Packet::PingRequest).await;
        assert!(matches!(device.receive().await, Packet::PingResponse));
    }
}

/// QoS 0 has no outcome: the host says at once that it keeps a message aside.
#[tokio::test(start_paused = true)]
async fn a_qos_0_message_that_is_kept_aside_is_routed_to_nobody() {
    for version in BOTH {
        let bench = Bench::new();
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("#", QoS::AtMostOnce).await;
        let mut device = bench.connect(version, "d").await;
        bench.host.set(Mode::Refuse(PublishAckReason::PayloadFormatInvalid));
        device.publish(tesaiot_mqtt::packet::Publish { retain: true, ..publish("d/t", 0) }).await;
        device.ping().await;
        bench.host.set(Mode::Store);
        reader.expect_silence().await;
        reader.subscribe("d/t", QoS::AtMostOnce).await;
        reader.expect_silence().await;
        assert_eq!((bench.host.topics().len(), bench.broker.counters().messages_refused), (1, 1));
        device.publish(publish("d/t", 0)).await;
        reader.expect_publish().await;
    }
}
