//! QoS 1 redelivered: within a session the host is not handed the same message twice.

use tesaiot_broker::Outcome;
use tesaiot_mqtt::QoS;
use tesaiot_mqtt::packet::{Publish, PublishAckReason, Version};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, persistent, publish, publish_2};

fn again(packet_id: u16) -> Publish {
    Publish { dup: true, ..publish("d/t", packet_id) }
}

#[tokio::test(start_paused = true)]
async fn a_message_stored_before_the_connection_broke_is_acknowledged_and_not_accepted_again() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish("d/t", 1)).await;
        device.expect_puback(1).await;
        drop(device);
        bench.host.disconnected("d").await;
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        device.publish(again(1)).await;
        device.expect_puback(1).await;
        assert_eq!(bench.host.topics().len(), 1);
        // The same identifier with other bytes, or without DUP, is another message.
        device.publish(Publish { payload: "other".into(), ..again(1) }).await;
        device.expect_puback(1).await;
        device.publish(publish("d/t", 1)).await;
        device.expect_puback(1).await;
        assert_eq!(bench.host.topics().len(), 3);
    }
}

/// What the host keeps aside is kept aside once, and hears the same word again.
#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_accepted_again() {
    const REASON: PublishAckReason = PublishAckReason::PayloadFormatInvalid;
    for (version, reason) in BOTH.into_iter().zip([PublishAckReason::Success, REASON]) {
        let bench = Bench::new();
        bench.host.set(Mode::Refuse(REASON));
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish("d/t", 1)).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, reason));
        drop(device);
        bench.host.disconnected("d").await;
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        device.publish(again(1)).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, reason));
        assert_eq!(bench.host.topics().len(), 1);
        device.publish(Publish { payload: "other".into(), ..again(1) }).await;
        assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, reason));
        assert_eq!(bench.host.topics().len(), 2);
    }
}

/// At QoS 2 too: with PUBREC lost, and for 3.1.1, which does not hear of refusals, with PUBREL lost.
#[tokio::test(start_paused = true)]
async fn a_refused_message_of_qos_2_is_not_accepted_again() {
    const REASON: PublishAckReason = PublishAckReason::PayloadFormatInvalid;
    for (version, reason) in BOTH.into_iter().zip([PublishAckReason::Success, REASON]) {
        let bench = Bench::new();
        bench.host.set(Mode::Refuse(REASON));
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish_2("d/t", 1)).await;
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 1, reason));
        for _ in 0..2 {
            drop(device);
            device = bench.connect_as(version, persistent("d")).await.0;
            device.publish(Publish { dup: true, ..publish_2("d/t", 1) }).await;
            assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 1, reason));
        }
        assert_eq!(bench.host.topics().len(), 1);
        if version == Version::V3 {
            device.release(1).await;
        }
        // Without DUP it is another message.
        device.publish(publish_2("d/t", 1)).await;
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 1, reason));
        assert_eq!(bench.host.topics().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_stored_after_the_connection_broke_is_not_accepted_again() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish("d/t", 1)).await;
        bench.host.accepted(1).await;
        drop(device);
        bench.host.resolve(&[0], Outcome::Stored);
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        device.publish(again(1)).await;
        device.expect_puback(1).await;
        assert_eq!(bench.host.topics().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_lost_is_accepted_when_it_comes_again() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Drop);
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish("d/t", 1)).await;
        bench.host.disconnected("d").await;
        bench.host.set(Mode::Store);
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(again(1)).await;
        device.expect_puback(1).await;
        assert_eq!(bench.host.topics().len(), 2);
    }
}

/// MQTT 3.1.1 clients in the field repeat a PUBLISH on the same connection when its PUBACK is late.
#[tokio::test(start_paused = true)]
async fn an_impatient_client_is_answered_once() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        device.publish(again(1)).await;
        device.ping().await;
        assert_eq!(bench.host.topics().len(), 1);
        bench.host.resolve(&[0], Outcome::Stored);
        device.expect_puback(1).await;
        device.expect_silence().await;
    }
}
