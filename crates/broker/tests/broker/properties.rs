//! What MQTT 5 says beside the message: identifiers, aliases, properties passed on, reasons in words.

use std::num::NonZeroU32;

use tesaiot_mqtt::packet::{
    Connect, ConnectAckReason, Disconnect, DisconnectReasonCode, Packet, Publish, PublishAckReason, PublishProperties,
    Subscribe, SubscriptionOptions, Version,
};
use tesaiot_mqtt::{Message, QoS};

use crate::host::Mode;
use crate::peer::{Bench, Peer, connect, id, persistent, publish, will};

async fn subscribe_as(peer: &mut Peer, number: u32, filter: &str) {
    let topic_filters = vec![(filter.to_owned().into(), SubscriptionOptions::default())];
    let (packet_id, user_properties) = (id(9), Vec::new());
    let id = NonZeroU32::new(number);
    peer.send(Packet::Subscribe(Subscribe { packet_id, id, user_properties, topic_filters })).await;
    assert!(matches!(peer.receive().await, Packet::SubscribeAck(_)));
}

fn identifiers(publish: &Publish) -> Vec<u32> {
    let mut found: Vec<_> =
        publish.properties.as_ref().unwrap().subscription_ids.iter().map(|number| number.get()).collect();
    found.sort_unstable();
    found
}

#[tokio::test(start_paused = true)]
async fn a_message_says_which_subscriptions_brought_it() {
    let bench = Bench::new();
    bench.broker.publish(&Message::new("d/old", "m", QoS::AtMostOnce).retained());
    let mut reader = bench.connect(Version::V5, "app").await;
    subscribe_as(&mut reader, 1, "d/+").await;
    assert_eq!(identifiers(&reader.expect_publish().await), [1], "what was retained says so too");
    subscribe_as(&mut reader, 268_435_455, "d/new").await;
    bench.broker.publish(&Message::new("d/new", "m", QoS::AtMostOnce));
    assert_eq!(identifiers(&reader.expect_publish().await), [1, 268_435_455]);
    // A subscription that is made again has its new identifier, or none.
    subscribe_as(&mut reader, 2, "d/new").await;
    reader.subscribe("d/+", QoS::AtMostOnce).await;
    reader.expect_publish().await;
    bench.broker.publish(&Message::new("d/new", "m", QoS::AtMostOnce));
    assert_eq!(identifiers(&reader.expect_publish().await), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_set_aliases() {
    let bench = Bench::new();
    let (mut device, ack) = bench.connect_as(Version::V5, connect("d")).await;
    assert_eq!(ack.topic_alias_max, 10);
    let with_alias = |topic: &str, packet_id| {
        let properties = PublishProperties { topic_alias: Some(id(10)), ..PublishProperties::default() };
        Publish { properties: Some(properties), ..publish(topic, packet_id) }
    };
    for (packet_id, topic) in [(1, "d/first"), (2, ""), (3, "d/second"), (4, "")] {
        device.publish(with_alias(topic, packet_id)).await;
        device.expect_puback(packet_id).await;
    }
    assert_eq!(bench.host.topics(), ["d/first", "d/first", "d/second", "d/second"]);
    // An alias stands for what it stands for: a name that is denied is denied.
    device.publish(with_alias("other/t", 5)).await;
    device.expect_refusal(PublishAckReason::NotAuthorized).await;
    device.publish(with_alias("", 6)).await;
    device.expect_refusal(PublishAckReason::NotAuthorized).await;
    // It ends with its connection.
    let mut again = bench.connect(Version::V5, "d").await;
    again.publish(with_alias("", 7)).await;
    again.expect_goodbye(DisconnectReasonCode::ProtocolError).await;
}

#[tokio::test(start_paused = true)]
async fn the_broker_sets_as_many_aliases_as_the_client_allows() {
    for (allowed, expected) in [(0, 0), (2, 2), (u16::MAX, 10)] {
        let bench = Bench::new();
        let (mut reader, _) =
            bench.connect_as(Version::V5, Connect { topic_alias_max: allowed, ..connect("app") }).await;
        reader.subscribe("#", QoS::AtMostOnce).await;
        let mut names = std::collections::HashMap::new();
        for round in 0..3 {
            for number in 0..12 {
                let name = format!("d/{number}");
                bench.broker.publish(&Message::new(name.clone(), "m", QoS::AtMostOnce));
                let publish = reader.expect_publish().await;
                let alias = publish.properties.as_ref().unwrap().topic_alias;
                if publish.topic.is_empty() {
                    assert_eq!(names[&alias.unwrap()], name);
                } else {
                    assert_eq!(publish.topic, name);
                    assert!(round == 0 || alias.is_none(), "introduced once");
                    names.extend(alias.map(|alias| (alias, name)));
                }
            }
        }
        assert_eq!(names.len(), expected);
    }
}

/// A message with a new alias that is too large to be sent has set nothing.
#[tokio::test(start_paused = true)]
async fn an_alias_that_was_not_sent_is_not_set() {
    let bench = Bench::new();
    let max_packet_size = NonZeroU32::new(100);
    let narrow = Connect { topic_alias_max: 5, max_packet_size, ..connect("app") };
    let (mut reader, _) = bench.connect_as(Version::V5, narrow).await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    for size in [1000, 10] {
        bench.broker.publish(&Message::new("d/t", vec![0; size], QoS::AtMostOnce));
    }
    assert_eq!(reader.expect_publish().await.topic, "d/t");
}

/// MQTT-3.3.2-4, -15, -16, -17, -18, -20: unchanged, and in order.
#[tokio::test(start_paused = true)]
async fn what_a_publisher_says_reaches_the_subscriber() {
    let pairs = [("b", "2"), ("a", "1"), ("b", "2")];
    let said = PublishProperties {
        is_utf8_payload: true,
        content_type: Some("text/plain".into()),
        response_topic: Some("d/answers".into()),
        correlation_data: Some(vec![0, 1, 255].into()),
        user_properties: pairs.map(|(name, value)| (name.into(), value.into())).to_vec(),
        ..PublishProperties::default()
    };
    let bench = Bench::new();
    let (mut absent, _) = bench.connect_as(Version::V5, persistent("app2")).await;
    absent.subscribe("#", QoS::AtLeastOnce).await;
    drop(absent);
    bench.host.disconnected("app2").await;
    let mut reader = bench.connect(Version::V5, "app").await;
    reader.subscribe("#", QoS::AtMostOnce).await;
    let mut old = bench.connect(Version::V3, "app3").await;
    old.subscribe("#", QoS::AtMostOnce).await;
    let mut device = bench.connect(Version::V5, "d").await;
    device.publish(Publish { properties: Some(said.clone()), retain: true, ..publish("d/t", 1) }).await;
    device.expect_puback(1).await;
    assert_eq!(reader.expect_publish().await.properties.unwrap(), said);
    assert_eq!(old.expect_publish().await.properties, None);
    let (mut back, _) = bench.connect_as(Version::V5, persistent("app2")).await;
    assert_eq!(back.expect_publish().await.properties.unwrap(), said, "from the queue");
    back.subscribe("d/+", QoS::AtMostOnce).await;
    assert_eq!(back.expect_publish().await.properties.unwrap(), said, "what was retained");
}

/// A payload that says it is text and is not: kept by the host, told to its publisher, given to nobody.
#[tokio::test(start_paused = true)]
async fn a_payload_that_is_not_the_text_it_says_it_is_is_refused() {
    for mode in [Mode::Store, Mode::Hold] {
        let bench = Bench::new();
        bench.host.set(mode);
        let mut reader = bench.connect(Version::V5, "app").await;
        reader.subscribe("#", QoS::AtMostOnce).await;
        let mut device = bench.connect(Version::V5, "d").await;
        let properties = PublishProperties { is_utf8_payload: true, ..PublishProperties::default() };
        let garbled = |packet_id| {
            let payload = vec![0xC3, 0x28].into();
            Publish { payload, properties: Some(properties.clone()), retain: true, ..publish("d/t", packet_id) }
        };
        device.publish(garbled(0)).await;
        device.publish(garbled(1)).await;
        device.publish(Publish { qos: QoS::ExactlyOnce, ..garbled(2) }).await;
        if mode == Mode::Hold {
            bench.host.accepted(3).await;
            bench.host.resolve(&[1, 0], tesaiot_broker::Outcome::Stored);
        }
        device.expect_refusal(PublishAckReason::PayloadFormatInvalid).await;
        assert_eq!(device.acknowledged().await, (QoS::ExactlyOnce, 2, PublishAckReason::PayloadFormatInvalid));
        assert_eq!(bench.host.topics().len(), 3, "the host has all of them");
        assert_eq!(bench.broker.counters().messages_refused, 3);
        reader.expect_silence().await;
        // The identifiers are free again.
        device.publish(Publish { qos: QoS::ExactlyOnce, ..publish("d/t", 2) }).await;
        if mode == Mode::Store {
            device.expect_pubrec(2).await;
        }
    }
}

/// MQTT-3.1.3-6, MQTT-3.2.2-16.
#[tokio::test(start_paused = true)]
async fn a_client_without_a_name_is_given_one() {
    let nameless = Connect { client_id: "".into(), username: Some("app".into()), password: None, ..Connect::default() };
    let bench = Bench::new();
    let (mut first, ack) = bench.connect_as(Version::V5, nameless.clone()).await;
    let (mut second, other) = bench.connect_as(Version::V5, Connect { clean_start: true, ..nameless.clone() }).await;
    let (mut third, old) = bench.connect_as(Version::V3, Connect { clean_start: true, ..nameless.clone() }).await;
    assert_ne!(ack.assigned_client_id.as_ref().unwrap(), other.assigned_client_id.as_ref().unwrap());
    assert_eq!((ack.session_present, old.assigned_client_id), (false, None));
    for peer in [&mut first, &mut second, &mut third] {
        peer.ping().await;
    }
    // It may come back by that name.
    assert!(bench.broker.is_connected(ack.assigned_client_id.as_ref().unwrap()));
    // 3.1.1 has no way to tell it: a session that is to be kept needs a name.
    let mut kept = bench.peer(Version::V3);
    let ack = kept.connect(nameless).await;
    assert_eq!(ack.reason_code, ConnectAckReason::ClientIdentifierNotValid);
    kept.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn response_information_is_for_those_who_ask() {
    let bench = Bench::new();
    for (asks, expected) in [(true, Some("d/responses")), (false, None)] {
        let asking = Connect { request_response_info: asks, ..connect("d") };
        let (_, ack) = bench.connect_as(Version::V5, asking).await;
        assert_eq!(ack.response_info.as_deref(), expected);
    }
}

/// MQTT-3.1.2-29: reasons in words for those who want them.
#[tokio::test(start_paused = true)]
async fn reasons_are_for_those_who_want_them() {
    for wanted in [true, false] {
        let bench = Bench::new();
        let asking = |client_id| Connect { request_problem_info: wanted, ..connect(client_id) };
        let mut refused = bench.peer(Version::V5);
        let ack = refused.connect(Connect { last_will: will("e/t"), ..asking("d") }).await;
        assert_eq!(ack.reason_string.as_deref(), wanted.then_some("Last Will on a topic of another"));
        let (mut device, _) = bench.connect_as(Version::V5, asking("d")).await;
        device.publish(publish("e/t", 1)).await;
        let words = device.expect_refusal(PublishAckReason::NotAuthorized).await;
        assert_eq!(words.is_some(), wanted);
        device.send(Packet::PingResponse).await;
        match device.receive().await {
            Packet::Disconnect(goodbye) => {
                let expected = wanted.then_some("unexpected PINGRESP packet");
                assert_eq!(goodbye.reason_string.as_deref(), expected);
            }
            other => panic!("{other:?} instead of DISCONNECT"),
        }
    }
}

/// MQTT 5 section 3.14.2.2.2: only a session that was to outlive its connection may change for how long.
#[tokio::test(start_paused = true)]
async fn a_goodbye_may_change_the_expiry_of_a_session_that_has_one() {
    for (asked, later, allowed) in [(0, 100, false), (0, 0, true), (100, 0, true), (100, 3600, true)] {
        let bench = Bench::new();
        let asking = Connect { session_expiry_interval_secs: asked, clean_start: false, ..connect("d") };
        let (mut device, _) = bench.connect_as(Version::V5, asking.clone()).await;
        let session_expiry_interval_secs = Some(later);
        device.send(Packet::Disconnect(Disconnect { session_expiry_interval_secs, ..Disconnect::default() })).await;
        if allowed {
            device.expect_end().await;
        } else {
            device.expect_goodbye(DisconnectReasonCode::ProtocolError).await;
        }
        bench.host.disconnected("d").await;
        tokio::time::sleep(std::time::Duration::from_secs(200)).await;
        let (_, ack) = bench.connect_as(Version::V5, asking).await;
        assert_eq!(ack.session_present, allowed && later > 200, "{asked} {later}");
    }
}
