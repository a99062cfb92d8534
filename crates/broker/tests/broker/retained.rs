//! Retained messages: set, replaced, cleared, handed out at subscribe.

use tesaiot_broker::{Config, Outcome};
use tesaiot_mqtt::packet::{Publish, PublishAck2Reason, PublishAckReason, RetainHandling, SubscriptionOptions};
use tesaiot_mqtt::{Message, QoS, Version};

use crate::host::{Mode, Seen};
use crate::peer::{BOTH, Bench, persistent, publish};

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

/// One client takes its share of the room and no more; it hears of it, and what it says is stored and delivered.
#[tokio::test(start_paused = true)]
async fn one_client_cannot_take_the_room_of_all() {
    for version in BOTH {
        for bounds in [
            Config { max_retained_per_client: 3, ..Config::default() },
            Config { max_retained_bytes_per_client: 3 * 150, ..Config::default() },
        ] {
            let bench = Bench::with(bounds);
            let mut live = bench.connect(version, "app").await;
            live.subscribe("#", QoS::AtMostOnce).await;
            let mut device = bench.connect_as(version, persistent("d")).await.0;
            let retained = |name: &str, packet_id, qos| Publish {
                retain: true,
                qos,
                payload: "on".into(),
                ..publish(&format!("{name}/{packet_id}"), packet_id)
            };
            for packet_id in 1..=3 {
                device.publish(retained("d", packet_id, QoS::AtLeastOnce)).await;
                device.expect_puback(packet_id).await;
            }
            let told = if version == Version::V5 { PublishAckReason::QuotaExceeded } else { PublishAckReason::Success };
            for (packet_id, qos) in [(4, QoS::AtLeastOnce), (5, QoS::ExactlyOnce)] {
                let message = retained("d", packet_id, qos);
                device.publish(message.clone()).await;
                assert_eq!(device.acknowledged().await, (qos, packet_id, told));
                // An answer that was lost on the way is the same the second time, and nothing is stored twice.
                device.publish(Publish { dup: true, ..message }).await;
                assert_eq!(device.acknowledged().await, (qos, packet_id, told));
            }
            if version == Version::V5 {
                assert_eq!(device.release(5).await, PublishAck2Reason::PacketIdNotFound, "the exchange is over");
            }
            // What it has it may change, and a place that it gives back it may use.
            device.publish(retained("d", 1, QoS::AtLeastOnce)).await;
            device.expect_puback(1).await;
            device.publish(Publish { payload: "".into(), ..retained("d", 2, QoS::AtLeastOnce) }).await;
            device.expect_puback(2).await;
            device.publish(retained("d", 6, QoS::AtLeastOnce)).await;
            device.expect_puback(6).await;
            let mut neighbour = bench.connect(version, "e").await;
            neighbour.publish(retained("e", 1, QoS::AtLeastOnce)).await;
            neighbour.expect_puback(1).await;

            let delivered = [1, 2, 3, 4, 5, 1, 2, 6].map(|number| format!("d/{number}"));
            for topic in delivered.into_iter().chain(["e/1".into()]) {
                assert_eq!(&*live.expect_publish().await.topic, topic);
            }
            live.expect_silence().await;
            let mut late = bench.connect(version, "app-2").await;
            late.subscribe("#", QoS::AtMostOnce).await;
            let mut kept = Vec::new();
            for _ in 0..4 {
                kept.push(late.expect_publish().await.topic.to_string());
            }
            late.expect_silence().await;
            kept.sort();
            assert_eq!(kept, ["d/1", "d/3", "d/6", "e/1"]);
            assert_eq!(bench.broker.counters().dropped_retained_full, 2);
            let seen = bench.host.seen().into_iter().filter(|seen| matches!(seen, Seen::NotRetained { .. }));
            assert_eq!(seen.count(), 2);
        }
    }
}
