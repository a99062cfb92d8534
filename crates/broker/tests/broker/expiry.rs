//! Message Expiry Interval: what waited too long is not sent, and what is sent says how long it has left.

use std::num::NonZeroU32;
use std::time::Duration;

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{Publish, PublishProperties, Version};
use tesaiot_mqtt::{Message, QoS};
use tokio::time::sleep;

use crate::host::Mode;
use crate::peer::{BOTH, Bench, persistent, publish};

fn mortal(topic: &str, seconds: u32) -> Message {
    let properties =
        PublishProperties { message_expiry_interval: NonZeroU32::new(seconds), ..PublishProperties::default() };
    Message { properties: Some(Box::new(properties)), ..Message::new(topic.to_owned(), "m", QoS::AtLeastOnce) }
}

fn left(publish: &Publish) -> Option<u32> {
    publish.properties.as_ref().unwrap().message_expiry_interval.map(NonZeroU32::get)
}

async fn absent(bench: &Bench, version: Version) {
    let (mut device, _) = bench.connect_as(version, persistent("d")).await;
    device.subscribe("d/#", QoS::AtLeastOnce).await;
    drop(device);
    bench.host.disconnected("d").await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_it_lives_is_not_sent() {
    for version in BOTH {
        let bench = Bench::new();
        absent(&bench, version).await;
        for seconds in [10, 100] {
            bench.broker.publish(&mortal("d/t", seconds));
        }
        sleep(Duration::from_millis(30_500)).await;
        let (mut device, _) = bench.connect_as(version, persistent("d")).await;
        let message = device.expect_publish().await;
        if version == Version::V5 {
            assert_eq!(left(&message), Some(70), "30 whole seconds of 100 went by");
        }
        device.expect_silence().await;
        assert_eq!(bench.broker.counters().messages_expired, 1);
        assert_eq!(bench.broker.counters().messages_dropped, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_makes_room() {
    let bench = Bench::with(Config { max_queued: 3, ..Config::default() });
    absent(&bench, Version::V5).await;
    for _ in 0..3 {
        bench.broker.publish(&mortal("d/old", 10));
    }
    assert_eq!(bench.broker.publish(&mortal("d/new", 10)), 0, "full");
    sleep(Duration::from_secs(11)).await;
    for _ in 0..3 {
        assert_eq!(bench.broker.publish(&mortal("d/new", 10)), 1);
    }
    let counters = bench.broker.counters();
    assert_eq!((counters.messages_expired, counters.messages_dropped), (3, 1));
}

/// Time at the store counts: the message waited in the server.
#[tokio::test(start_paused = true)]
async fn the_wait_for_the_store_counts() {
    let bench = Bench::new();
    bench.host.set(Mode::Hold);
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    let mut device = bench.connect(Version::V5, "d").await;
    let properties = mortal("d/t", 60).properties.map(|properties| *properties);
    device.publish(Publish { properties, ..publish("d/t", 1) }).await;
    bench.host.accepted(1).await;
    sleep(Duration::from_secs(20)).await;
    bench.host.resolve(&[0], tesaiot_broker::Outcome::Stored);
    assert_eq!(left(&reader.expect_publish().await), Some(40));
}

#[tokio::test(start_paused = true)]
async fn a_retained_message_expires() {
    let bench = Bench::with(Config { max_retained: 1, ..Config::default() });
    bench.broker.publish(&mortal("d/t", 100).retained());
    sleep(Duration::from_secs(40)).await;
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    assert_eq!(left(&reader.expect_publish().await), Some(60));
    sleep(Duration::from_secs(70)).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    reader.expect_silence().await;
    // The place is free again.
    bench.broker.publish(&mortal("d/other", 100).retained());
    reader.expect_publish().await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    assert!(reader.expect_publish().await.retain);
}

/// What was sent and not acknowledged is sent again, however late: its delivery has begun.
#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_delivered() {
    let bench = Bench::new();
    let (mut device, _) = bench.connect_as(Version::V5, persistent("d")).await;
    device.subscribe("d/#", QoS::AtLeastOnce).await;
    bench.broker.publish(&mortal("d/t", 10));
    assert_eq!(left(&device.expect_publish().await), Some(10));
    drop(device);
    bench.host.disconnected("d").await;
    sleep(Duration::from_secs(60)).await;
    let (mut device, _) = bench.connect_as(Version::V5, persistent("d")).await;
    let again = device.expect_publish().await;
    assert!(again.dup);
    assert_eq!(left(&again), Some(1));
}
