//! QoS 2: one PUBLISH, one acceptance, whatever is said twice.

use tesaiot_broker::Outcome;
use tesaiot_mqtt::QoS;
use tesaiot_mqtt::packet::{PublishAck2Reason, Version};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, persistent, publish, publish_2};

/// MQTT 3.1.1 has no reason codes: a PUBREL that is not known is answered alike.
fn unknown(version: Version) -> PublishAck2Reason {
    match version {
        Version::V5 => PublishAck2Reason::PacketIdNotFound,
        Version::V3 => PublishAck2Reason::Success,
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_publish_is_accepted_once() {
    for version in BOTH {
        let bench = Bench::new();
        bench.host.set(Mode::Hold);
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("#", QoS::AtMostOnce).await;
        let mut device = bench.connect(version, "d").await;
        device.publish(publish_2("d/t", 5)).await;
        let mut again = publish_2("d/t", 5);
        again.dup = true;
        device.publish(again.clone()).await;
        device.ping().await;
        bench.host.resolve(&[0], Outcome::Stored);
        device.expect_pubrec(5).await;
        device.expect_silence().await;
        // After PUBREC: answered again, not accepted again.
        device.publish(again).await;
        device.expect_pubrec(5).await;
        assert_eq!(device.release(5).await, PublishAck2Reason::Success);
        assert_eq!(device.release(5).await, unknown(version));
        assert_eq!(bench.host.topics().len(), 1);
        reader.expect_publish().await;
        reader.expect_silence().await;
        // The identifier is free: the same one now names another message.
        device.publish(publish_2("d/t", 5)).await;
        bench.host.accepted(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_publish_in_a_resumed_session_is_accepted_once() {
    for version in BOTH {
        let bench = Bench::new();
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        device.publish(publish_2("d/t", 5)).await;
        device.expect_pubrec(5).await;
        drop(device);
        bench.host.disconnected("d").await;
        let (mut device, ack) = bench.connect_as(version, persistent("d")).await;
        assert!(ack.session_present);
        let mut again = publish_2("d/t", 5);
        again.dup = true;
        device.publish(again).await;
        device.expect_pubrec(5).await;
        assert_eq!(device.release(5).await, PublishAck2Reason::Success);
        assert_eq!(bench.host.topics().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_two_qualities_have_one_order() {
    let bench = Bench::new();
    let mut device = bench.connect(Version::V5, "d").await;
    device.publish(publish_2("d/t", 1)).await;
    device.publish(publish("d/t", 2)).await;
    device.expect_pubrec(1).await;
    device.expect_puback(2).await;
}
