//! Section 3.3: PUBLISH.

use std::time::Duration;

use crate::lab::{BOTH, Connect, Lab, V3, V5, packet, properties, text};

/// 3.1.1: MQTT-3.3.1-4, MQTT-4.8.0-1
/// 5: MQTT-3.3.1-4
#[tokio::test(start_paused = true)]
async fn there_is_no_quality_3() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.send(&packet(0x36, &[&text("t"), &[0, 1], &properties(level, &[])])).await;
        client.closed(&[0x81]).await;
    }
}

/// 3.1.1: MQTT-3.3.2-2, MQTT-4.7.1-1, MQTT-4.7.3-1
/// 5: MQTT-3.3.2-2, MQTT-4.7.0-1, MQTT-4.7.3-1
#[tokio::test(start_paused = true)]
async fn topic_names_have_no_wildcards_and_are_not_empty() {
    for level in BOTH {
        for name in ["#", "+", "a/#", "a/+/b", "a+", ""] {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.say(0, 0, name, b"").await;
            client.closed(&[0x90, 0x82, 0x81]).await;
        }
    }
}

/// 3.1.1: MQTT-3.3.2-3
/// 5: MQTT-3.3.2-3
#[tokio::test(start_paused = true)]
async fn what_is_sent_was_asked_for() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("a/+", 0), ("b", 0)]).await;
        for topic in ["a", "a/1", "a/1/2", "b", "b/", "c"] {
            lab.say(topic, 0);
        }
        assert_eq!(client.publish().await.topic, "a/1");
        assert_eq!(client.publish().await.topic, "b");
        client.silent().await;
    }
}

/// 3.1.1: MQTT-3.3.4-1
/// 5: MQTT-3.3.4-1, MQTT-3.4.2-1, MQTT-3.5.2-1
#[tokio::test(start_paused = true)]
async fn a_message_is_answered_by_its_quality() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.say(0, 0, "t", b"").await;
        client.say(2, 1, "t", b"").await;
        client.expect(&[0x40, 2, 0, 1]).await;
        client.say(4, 2, "t", b"").await;
        client.acknowledged(0x50, 2).await;
        client.silent().await;
    }
}

/// 3.1.1: MQTT-3.3.5-1
/// 5: MQTT-3.3.4-2, MQTT-3.3.4-3, MQTT-3.3.4-4
#[tokio::test(start_paused = true)]
async fn overlapping_subscriptions_bring_one_copy_at_the_highest_quality() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let id = |number: u8| if level == V5 { vec![0x0B, number] } else { Vec::new() };
        client.subscribe_with(&id(1), &[("a/#", 2)]).await;
        client.subscribe_with(&id(2), &[("a/+", 1)]).await;
        client.subscribe_with(&[], &[("a/b", 0)]).await;
        client.subscribe_with(&id(4), &[("other", 2)]).await;
        client.say(4, 1, "a/b", b"").await;
        client.acknowledged(0x50, 1).await;
        let publish = client.publish().await;
        assert_eq!(publish.qos(), 2);
        let mut ids: Vec<_> = publish.properties.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        ids.sort_unstable();
        assert_eq!(ids, if level == V5 { vec![(0x0B, 1), (0x0B, 2)] } else { Vec::new() });
        client.silent().await;
    }
}

/// 5: MQTT-3.3.4-6, MQTT-3.3.2-14
#[tokio::test(start_paused = true)]
async fn a_client_may_not_say_what_only_a_server_may() {
    let wildcard = [&[0x08][..], &text("a/+")].concat();
    for given in [&[0x0B, 1][..], &wildcard, &[0x11, 0, 0, 0, 1], &[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1], &[0x01, 2]] {
        let lab = Lab::new();
        let mut client = lab.client(V5, "c").await;
        client.say_with(0, 0, "t", given, b"").await;
        client.closed(&[0x81, 0x82]).await;
    }
}

/// 5: MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20
#[tokio::test(start_paused = true)]
async fn what_belongs_to_the_message_goes_on_unaltered() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.subscribe(&[("t", 0)]).await;
    let pair = |name: &str, value: &str| [&[0x26][..], &text(name), &text(value)].concat();
    let pairs = [pair("z", "1"), pair("a", ""), pair("z", "1"), pair("", "2")].concat();
    let fields = [
        vec![0x01, 1],
        [&[0x03][..], &text("text/plain")].concat(),
        [&[0x08][..], &text("answers/here")].concat(),
        [&[0x09][..], &text([0, 1, 0xFF])].concat(),
    ];
    client.say_with(0, 0, "t", &[fields.concat(), pairs.clone()].concat(), b"payload").await;
    let found = client.publish().await.properties;
    assert_eq!(found.len(), fields.concat().len() + pairs.len());
    for field in fields.iter().chain([&pairs]) {
        assert!(found.windows(field.len()).any(|window| window == field), "{field:02x?} in {found:02x?}");
    }
}

/// 5: MQTT-3.3.2-5, MQTT-3.3.2-6
#[tokio::test(start_paused = true)]
async fn a_message_expires_while_it_waits() {
    let lab = Lab::new();
    let (mut absent, _) = lab.lasting(V5, "c").await;
    absent.subscribe(&[("t", 1)]).await;
    drop(absent);
    lab.gone("c").await;
    let mut publisher = lab.client(V5, "p").await;
    for seconds in [5, 60] {
        publisher.say_with(2, 1, "t", &[0x02, 0, 0, 0, seconds], &[seconds]).await;
        publisher.acknowledged(0x40, 1).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (mut back, present) = lab.lasting(V5, "c").await;
    assert!(present);
    let message = back.publish().await;
    assert_eq!((message.payload, message.properties), (vec![60], vec![0x02, 0, 0, 0, 40]));
    back.silent().await;
}

/// 3.1.1: MQTT-3.3.5-2
/// 5: MQTT-4.13.2-1
#[tokio::test(start_paused = true)]
async fn a_message_that_may_not_be_published_is_refused() {
    let lab = Lab::new();
    let mut client = lab.client(V3, "c").await;
    client.say(2, 1, "denied/t", b"").await;
    client.closed(&[]).await;
    let mut client = lab.client(V5, "c").await;
    for (flags, first) in [(2, 0x40), (4, 0x50)] {
        client.say(flags, 1, "denied/t", b"").await;
        client.expect_code(first, 1, 0x87).await;
    }
    client.say(0, 0, "denied/t", b"").await;
    client.closed(&[0x87]).await;
}

/// 3.1.1: MQTT-3.3.1-3
/// 5: MQTT-3.3.1-3
#[tokio::test(start_paused = true)]
async fn the_publishers_dup_is_not_the_subscribers() {
    for level in BOTH {
        let lab = Lab::new();
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 2)]).await;
        let mut client = lab.client(level, "c").await;
        for (flags, first) in [(0x0A, 0x40), (0x0C, 0x50)] {
            client.say(flags, 1, "t", b"").await;
            client.acknowledged(first, 1).await;
            assert!(!reader.publish().await.is_dup());
        }
    }
}

/// MQTT 5 section 3.3.2.3.2: a payload that is not the text it says it is.
/// 5: MQTT-4.3.3-9
#[tokio::test(start_paused = true)]
async fn a_payload_that_is_not_text_is_refused_and_its_identifier_is_free() {
    let lab = Lab::new();
    let (mut client, _) = lab.connect(&Connect::new(V5, "c").with(&[0x17, 0])).await;
    client.subscribe(&[("t", 0)]).await;
    for (flags, first) in [(2, 0x40), (4, 0x50)] {
        client.say_with(flags, 1, "t", &[0x01, 1], &[0xC3, 0x28]).await;
        client.expect_code(first, 1, 0x99).await;
        client.say_with(flags, 1, "t", &[0x01, 1], b"text").await;
        let mut seen = [client.packet().await.unwrap()[0], client.packet().await.unwrap()[0]];
        seen.sort_unstable();
        assert_eq!(seen, [0x30, first], "delivered once, acknowledged once");
    }
}
