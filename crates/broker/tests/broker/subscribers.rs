//! Subscribers: who gets what, and what a slow one costs.

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{DisconnectReasonCode, Packet, SubscriptionOptions, Unsubscribe, Version};
use tesaiot_mqtt::{Message, QoS};

use crate::peer::{BOTH, Bench, connect, id, publish};

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_those_who_asked_at_the_lower_quality() {
    for version in BOTH {
        let bench = Bench::new();
        let mut readers = Vec::new();
        for (number, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
            let mut reader = bench.connect(version, &format!("app{number}")).await;
            reader.subscribe("d/+", qos).await;
            readers.push(reader);
        }
        let mut device = bench.connect(version, "d").await;
        device.publish(publish("d/t", 1)).await;
        let mut qualities = Vec::new();
        for reader in &mut readers {
            qualities.push(reader.expect_publish().await.qos);
        }
        assert_eq!(qualities, [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce]);
        assert_eq!(bench.broker.counters().messages_sent, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn unsubscribed_means_no_more() {
    for version in BOTH {
        let bench = Bench::new();
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("d/#", QoS::AtMostOnce).await;
        let topic_filters = vec!["d/#".into(), "never".into()];
        reader
            .send(Packet::Unsubscribe(Unsubscribe { packet_id: id(3), user_properties: Vec::new(), topic_filters }))
            .await;
        assert!(matches!(reader.receive().await, Packet::UnsubscribeAck(ack) if ack.packet_id == id(3)));
        assert_eq!(bench.broker.publish(&Message::new("d/t", "m", QoS::AtMostOnce)), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_for_one_is_taken_when_that_one_takes_it() {
    let bench = Bench::new();
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("d/#", QoS::AtLeastOnce).await;
    let mut device = bench.connect(Version::V5, "d").await;
    let message = Message::new("d/t", "m", QoS::AtLeastOnce);
    assert!(!bench.broker.is_subscribed("d", "d/t") && bench.broker.is_subscribed("app", "d/t"));
    assert!(!bench.broker.publish_for("d", &message));
    reader.expect_publish().await;
    device.subscribe("d/t", QoS::AtLeastOnce).await;
    assert!(bench.broker.is_subscribed("d", "d/t") && !bench.broker.is_subscribed("d", "d/u"));
    assert!(bench.broker.publish_for("d", &message));
    device.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn no_local_spares_the_publisher() {
    let bench = Bench::new();
    let mut device = bench.connect(Version::V5, "d").await;
    device.subscribe_with("d/#", SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() }).await;
    device.publish(publish("d/t", 0)).await;
    device.expect_silence().await;
    bench.broker.publish(&Message::new("d/t", "m", QoS::AtMostOnce));
    device.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn the_receive_maximum_of_the_subscriber_holds() {
    let bench = Bench::new();
    let narrow = tesaiot_mqtt::packet::Connect { receive_max: Some(id(2)), ..connect("app") };
    let (mut reader, _) = bench.connect_as(Version::V5, narrow).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    for _ in 0..3 {
        bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce));
    }
    let first = reader.expect_publish().await;
    reader.expect_publish().await;
    reader.expect_silence().await;
    reader.acknowledge(first.packet_id.unwrap()).await;
    reader.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_acknowledge_is_disconnected() {
    for version in BOTH {
        let bench = Bench::with(Config { max_queued: 10, max_in_flight: 5, ..Config::default() });
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("#", QoS::AtLeastOnce).await;
        for _ in 0..5 {
            bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce));
            reader.expect_publish().await;
        }
        let taken: usize = (0..20).map(|_| bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce))).sum();
        assert_eq!(taken, 10, "what the queue holds");
        reader.expect_goodbye(DisconnectReasonCode::QuotaExceeded).await;
        let (_, _, cause) = bench.host.disconnected("app").await;
        assert_eq!(cause, "the client reads too slowly");
        let counters = bench.broker.counters();
        assert_eq!((counters.slow_subscribers, counters.messages_dropped), (1, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn qos_0_for_a_slow_subscriber_is_dropped_and_counted() {
    for version in BOTH {
        let bench = Bench::with(Config { max_queued: 10, ..Config::default() });
        let mut reader = bench.connect(version, "app").await;
        reader.subscribe("#", QoS::AtMostOnce).await;
        // Nobody runs between these: the queue fills.
        let taken: usize = (0..100).map(|_| bench.broker.publish(&Message::new("d/t", "m", QoS::AtLeastOnce))).sum();
        assert_eq!(taken, 10);
        assert_eq!(bench.broker.counters().messages_dropped, 90);
        for _ in 0..10 {
            reader.expect_publish().await;
        }
        reader.ping().await;
        assert!(bench.broker.is_connected("app"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_queue_are_bounded_properties_included() {
    let bench = Bench::with(Config { max_queued_bytes: 10_000, ..Config::default() });
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    let mut message = Message::new("d/t", "m", QoS::AtMostOnce);
    let mut properties = Box::new(tesaiot_mqtt::packet::PublishProperties::default());
    properties.user_properties.push(("key".into(), "x".repeat(4000).into()));
    message.properties = Some(properties);
    let taken: usize = (0..100).map(|_| bench.broker.publish(&message)).sum();
    assert_eq!(taken, 2);
    drop(reader);
}

/// MQTT-3.1.2-25: a message too large for a client is not sent to it, and holds up nothing.
#[tokio::test(start_paused = true)]
async fn a_message_too_large_for_the_subscriber_is_skipped() {
    let bench = Bench::new();
    let narrow = tesaiot_mqtt::packet::Connect { max_packet_size: std::num::NonZeroU32::new(100), ..connect("app") };
    let (mut reader, _) = bench.connect_as(Version::V5, narrow).await;
    reader.subscribe("#", QoS::AtLeastOnce).await;
    for size in [1000, 10] {
        bench.broker.publish(&Message::new("d/t", vec![0; size], QoS::AtLeastOnce));
    }
    assert_eq!(reader.expect_publish().await.payload.len(), 10);
    assert_eq!(bench.broker.counters().messages_dropped, 1);
}
