//! Who may what: credentials at CONNECT, topics afterwards.

use tesaiot_broker::Action;
use tesaiot_mqtt::packet::{Connect, ConnectAckReason, DisconnectReasonCode, PublishAckReason, SubscribeAckReason};
use tesaiot_mqtt::{QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::Seen;
use crate::peer::{BOTH, Bench, connect, publish, publish_2};

async fn refused(version: Version, connect: Connect) -> ConnectAckReason {
    let bench = Bench::new();
    let mut peer = bench.peer(version);
    let reason = peer.connect(connect).await.reason_code;
    peer.expect_end().await;
    bench.host.until("a refusal", |inner| !inner.seen.is_empty()).await;
    assert_eq!(bench.broker.counters().connects_refused, 1);
    assert!(matches!(&bench.host.seen()[..], [Seen::Refused { .. }]));
    reason
}

#[tokio::test(start_paused = true)]
async fn bad_credentials_are_refused_alike() {
    for version in BOTH {
        let wrong = Connect { password: Some("wrong".into()), ..connect("d") };
        assert_eq!(refused(version, wrong).await, ConnectAckReason::BadUserNameOrPassword);
        let none = Connect { username: None, password: None, ..connect("d") };
        assert_eq!(refused(version, none).await, ConnectAckReason::BadUserNameOrPassword);
        let banned = Connect { username: Some("banned".into()), ..connect("d") };
        assert_eq!(refused(version, banned).await, ConnectAckReason::NotAuthorized);
        let nameless = Connect { client_id: "".into(), ..connect("d") };
        assert_eq!(refused(version, nameless).await, ConnectAckReason::ClientIdentifierNotValid);
    }
}

/// The return codes as bytes: what clients in the field look at.
#[tokio::test(start_paused = true)]
async fn refusals_as_bytes() {
    let bench = Bench::new();
    let v3 = |username: u8| {
        let mut bytes = vec![0x10, 16, 0, 4];
        bytes.extend(*b"MQTT\x04\x82\x00\x00\x00\x01d\x00\x01");
        bytes.push(username);
        bytes
    };
    let mut stream = bench.stream(1024);
    stream.write_all(&v3(b'd')).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 4]);

    for (username, expected) in [("d", 0x86), ("banned", 0x87)] {
        let mut peer = bench.peer(Version::V5);
        let refused = Connect { username: Some(username.into()), password: None, ..connect("d") };
        let reason = peer.connect(refused).await.reason_code;
        assert_eq!(u8::from(reason), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_the_topic_of_another_ends_a_3_1_1_connection() {
    for message in [publish("other/t", 0), publish("other/t", 1), publish_2("other/t", 1), publish("d", 1)] {
        let bench = Bench::new();
        let mut device = bench.connect(Version::V3, "d").await;
        device.publish(message.clone()).await;
        device.expect_end().await;
        bench.host.disconnected("d").await;
        let denied = Seen::Denied { client_id: "d".into(), action: Action::Publish, topic: message.topic.to_string() };
        assert!(bench.host.seen().contains(&denied));
        assert_eq!(bench.host.topics().len(), 0);
        assert_eq!(bench.broker.counters().denied, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_the_topic_of_another_is_refused_to_mqtt_5() {
    let bench = Bench::new();
    let mut device = bench.connect(Version::V5, "d").await;
    device.publish(publish("other/t", 1)).await;
    assert_eq!(device.acknowledged().await, (QoS::AtLeastOnce, 1, PublishAckReason::NotAuthorized));
    device.publish(publish_2("other/t", 2)).await;
    assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 2, PublishAckReason::NotAuthorized));
    device.publish(publish("d/t", 2)).await;
    device.expect_puback(2).await;
    device.publish(publish("other/t", 0)).await;
    device.expect_goodbye(DisconnectReasonCode::NotAuthorized).await;
    assert_eq!(bench.host.topics(), ["d/t"]);
    assert_eq!(bench.broker.counters().denied, 3);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_to_the_topics_of_another_is_refused() {
    for (version, expected) in
        [(Version::V3, SubscribeAckReason::UnspecifiedError), (Version::V5, SubscribeAckReason::NotAuthorized)]
    {
        let bench = Bench::new();
        let mut device = bench.connect(version, "d").await;
        for filter in ["#", "+/t", "other/#", "d+/t", "d"] {
            let reason = device.subscribe(filter, QoS::AtLeastOnce).await;
            assert!(u8::from(reason) >= 0x80, "{filter}: {reason:?}");
        }
        assert_eq!(device.subscribe("other/#", QoS::AtLeastOnce).await, expected);
        assert_eq!(device.subscribe("d/#", QoS::ExactlyOnce).await, SubscribeAckReason::GrantedQos2);
        // The refused ones deliver nothing.
        let mut other = bench.connect(version, "other").await;
        other.publish(publish("other/t", 1)).await;
        other.expect_puback(1).await;
        device.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_filters_are_refused_one_by_one() {
    let bench = Bench::new();
    let mut reader = bench.connect(Version::V5, "app").await;
    let deep = "a/".repeat(100);
    for (filter, expected) in [
        ("a/#/b", SubscribeAckReason::TopicFilterInvalid),
        (&*deep, SubscribeAckReason::TopicFilterInvalid),
        ("$share/group/a/#/b", SubscribeAckReason::TopicFilterInvalid),
        ("$share/group", SubscribeAckReason::TopicFilterInvalid),
        ("$share//a", SubscribeAckReason::TopicFilterInvalid),
        ("$share/gr+up/a", SubscribeAckReason::TopicFilterInvalid),
        ("$share/group/a", SubscribeAckReason::GrantedQos1),
        ("a/#", SubscribeAckReason::GrantedQos1),
    ] {
        assert_eq!(reader.subscribe(filter, QoS::AtLeastOnce).await, expected, "{filter}");
    }
    reader.ping().await;
    // A share of the messages of another is still the messages of another.
    let mut device = bench.connect(Version::V5, "d").await;
    assert_eq!(device.subscribe("$share/group/e/#", QoS::AtMostOnce).await, SubscribeAckReason::NotAuthorized);
    assert_eq!(device.subscribe("$share/group/d/#", QoS::AtMostOnce).await, SubscribeAckReason::GrantedQos0);
}
