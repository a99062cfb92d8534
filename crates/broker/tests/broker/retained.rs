//! Retained messages: set, replaced, cleared, handed out at subscribe.

use tesaiot_broker::{Config, Outcome};
use tesaiot_mqtt::packet::{Publish, RetainHandling, SubscriptionOptions};
use tesaiot_mqtt::{Message, QoS, Version};

use crate::host::Mode;
use crate::peer::{BOTH, Bench, publish};

fn retained(topic: &str, packet_id: u16) -> Publish {
    Publish { retain: true, ..publish(topic, packet_id) }
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_handed_out_at_subscribe_until_it_is_cleared() {
    for version in BOTH {
        let bench = Bench::new();
        let mut device = bench.connect(version, "d").await;
        for packet_id in 1..=2 {
            device.publish(retained("d/status", packet_id)).await;
            device.expect_puback(packet_id).await;
        }
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("+/status", QoS::AtMostOnce).await;
        let message = reader.expect_publish().await;
        assert_eq!((&*message.payload, message.retain, message.qos), (&b"payload 2"[..], true, QoS::AtMostOnce));
        reader.expect_silence().await;
        // A live subscriber sees it as any other message.
        device.publish(retained("d/status", 3)).await;
        assert!(!reader.expect_publish().await.retain);

        device.expect_puback(3).await;
        device.publish(Publish { payload: "".into(), ..retained("d/status", 4) }).await;
        device.expect_puback(4).await;
        let mut reader = bench.connect(version, "app2").await;
        reader.subscribe("d/#", QoS::AtMostOnce).await;
        reader.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_retained_before_it_is_stored() {
    let bench = Bench::new();
    bench.host.set(Mode::Hold);
    let mut device = bench.connect(Version::V5, "d").await;
    device.publish(retained("d/status", 1)).await;
    bench.host.accepted(1).await;
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("d/#", QoS::AtLeastOnce).await;
    reader.expect_silence().await;
    bench.host.resolve(&[0], Outcome::Stored);
    reader.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_chooses_when_retained_messages_come() {
    let bench = Bench::new();
    bench.broker.publish(&Message::new("d/status", "on", QoS::AtLeastOnce).retained());
    let mut reader = bench.connect(Version::V5, "app").await;
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..SubscriptionOptions::default() };
    reader.subscribe_with("d/#", with(RetainHandling::NoAtSubscribe)).await;
    reader.expect_silence().await;
    reader.subscribe_with("d/#", with(RetainHandling::AtSubscribeNew)).await;
    reader.expect_silence().await;
    reader.subscribe_with("d/+", with(RetainHandling::AtSubscribeNew)).await;
    reader.expect_publish().await;
    reader.subscribe_with("d/#", with(RetainHandling::AtSubscribe)).await;
    reader.expect_publish().await;
}

/// An application that follows a fleet: more retained messages than a queue holds, and none is lost.
#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_more_retained_messages_than_its_queue_holds() {
    for version in BOTH {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let bench = Bench::with(Config { max_queued: 10, max_in_flight: 5, ..Config::default() });
            for number in 0..500 {
                bench.broker.publish(&Message::new(format!("{number}/status"), "on", QoS::AtLeastOnce).retained());
            }
            let mut reader = bench.connect(version, "app").await;
            reader.subscribe("+/status", qos).await;
            let mut topics = std::collections::HashSet::new();
            for _ in 0..500 {
                let message = reader.expect_publish().await;
                topics.insert(message.topic);
                if let Some(packet_id) = message.packet_id {
                    reader.acknowledge(packet_id).await;
                }
            }
            assert_eq!(topics.len(), 500);
            reader.ping().await;
            assert_eq!(bench.broker.counters().messages_dropped, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retained_messages_are_bounded() {
    let bench = Bench::with(Config { max_retained: 3, ..Config::default() });
    for number in 0..5 {
        bench.broker.publish(&Message::new(format!("{number}/status"), "on", QoS::AtLeastOnce).retained());
    }
    let mut reader = bench.connect(Version::V3, "app").await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    for _ in 0..3 {
        reader.expect_publish().await;
    }
    reader.expect_silence().await;
    assert_eq!(bench.broker.counters().messages_dropped, 2);
}
