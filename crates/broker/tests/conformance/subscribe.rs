//! Sections 3.8 to 3.12: SUBSCRIBE, UNSUBSCRIBE, PINGREQ.

use crate::lab::{BOTH, Client, Lab, V3, V5, packet, properties, text};

async fn unsubscribe(client: &mut Client, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(text).collect();
    client.send(&packet(0xA2, &[&[0x43, 0x21], &properties(client.level, &[]), &filters])).await;
    let unsuback = client.packet().await.expect("UNSUBACK");
    assert_eq!((unsuback[0], &unsuback[2..4]), (0xB0, &[0x43, 0x21][..]));
    if client.level == V5 { unsuback[5..].to_vec() } else { unsuback[4..].to_vec() }
}

/// 3.1.1: MQTT-3.8.3-3, MQTT-3.10.3-2
/// 5: MQTT-3.8.3-2, MQTT-3.10.3-2
#[tokio::test(start_paused = true)]
async fn there_is_at_least_one_filter() {
    for level in BOTH {
        for first in [0x82, 0xA2] {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.send(&packet(first, &[&[0, 1], &properties(level, &[])])).await;
            client.closed(&[0x81, 0x82]).await;
        }
    }
}

/// 3.1.1: MQTT-3.8.3-4
/// 5: MQTT-3.8.3-5
#[tokio::test(start_paused = true)]
async fn reserved_bits_of_a_subscription_are_zero() {
    for level in BOTH {
        let bad: &[u8] = if level == V3 { &[0x03, 0x04, 0x08, 0x10, 0x80] } else { &[0x03, 0x30, 0x40, 0x80] };
        for options in bad {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.send(&packet(0x82, &[&[0, 1], &properties(level, &[]), &text("t"), &[*options]])).await;
            client.closed(&[0x81, 0x82]).await;
        }
    }
}

/// 5: MQTT-3.8.3-3
#[tokio::test(start_paused = true)]
async fn no_local_spares_the_client_its_own_messages() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.subscribe(&[("t", 0x04)]).await;
    client.say(0, 0, "t", b"own").await;
    client.silent().await;
    lab.client(V5, "d").await.say(0, 0, "t", b"other").await;
    assert_eq!(client.publish().await.payload, b"other");
}

/// 3.1.1: MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-4, MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-3.9.3-2
/// 5: MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-5, MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1, MQTT-3.9.3-2
#[tokio::test(start_paused = true)]
async fn every_filter_is_answered_in_its_place() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let wanted = [("a", 2), ("denied/t", 1), ("b", 0), ("a/#/b", 1), ("c", 1)];
        let granted = client.subscribe(&wanted).await;
        let expected = if level == V3 { [2, 0x80, 0, 0x80, 1] } else { [2, 0x87, 0, 0x8F, 1] };
        assert_eq!(granted, expected);
        for topic in ["a", "denied/t", "b", "c"] {
            lab.say(topic, 0);
        }
        for topic in ["a", "b", "c"] {
            assert_eq!(client.publish().await.topic, topic);
        }
        client.silent().await;
    }
}

/// 3.1.1: MQTT-3.8.4-3
/// 5: MQTT-3.8.4-3, MQTT-3.8.4-4
#[tokio::test(start_paused = true)]
async fn the_same_filter_replaces_its_subscription() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let mut publisher = lab.client(level, "p").await;
        publisher.say(3, 1, "t", b"kept").await;
        publisher.acknowledged(0x40, 1).await;
        for qos in [2, 0, 1] {
            client.subscribe(&[("t", qos)]).await;
            let retained = client.publish().await;
            assert_eq!((retained.is_retained(), retained.qos()), (true, qos.min(1)), "sent again");
            lab.say("t", 2);
            assert_eq!(client.publish().await.qos(), qos);
            client.silent().await;
        }
    }
}

/// 3.1.1: MQTT-3.8.4-6
/// 5: MQTT-3.8.4-8
#[tokio::test(start_paused = true)]
async fn the_lower_quality_counts() {
    for level in BOTH {
        for granted in 0..3 {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.subscribe(&[("t", granted)]).await;
            for published in 0..3 {
                lab.say("t", published);
                assert_eq!(client.publish().await.qos(), granted.min(published));
            }
        }
    }
}

/// 3.1.1: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6
/// 5: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6, MQTT-3.11.3-1, MQTT-3.11.3-2
#[tokio::test(start_paused = true)]
async fn exactly_that_filter_is_unsubscribed() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("a/#", 0), ("a/+", 0), ("A/b", 0), ("d", 0)]).await;
        // A filter that matches the same topics, and cases, are not the same filter.
        let codes = unsubscribe(&mut client, &["a/b", "a/B", "+/#", "a/b/"]).await;
        let expected: &[u8] = if level == V5 { &[0x11; 4] } else { &[] };
        assert_eq!(codes, expected);
        lab.say("a/b", 0);
        client.publish().await;
        let codes = unsubscribe(&mut client, &["a/#", "never", "a/+", "a/#"]).await;
        let expected: &[u8] = if level == V5 { &[0, 0x11, 0, 0x11] } else { &[] };
        assert_eq!(codes, expected);
        for topic in ["a/b", "d"] {
            lab.say(topic, 0);
        }
        assert_eq!(client.publish().await.topic, "d");
        client.silent().await;
    }
}

/// 3.1.1: MQTT-3.10.4-3
/// 5: MQTT-3.10.4-3
#[tokio::test(start_paused = true)]
async fn what_was_begun_is_delivered_after_unsubscribe() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.lasting(level, "c").await;
        client.subscribe(&[("t", 2)]).await;
        lab.say("t", 1);
        lab.say("t", 2);
        let (first, second) = (client.publish().await, client.publish().await);
        unsubscribe(&mut client, &["t"]).await;
        drop(client);
        lab.gone("c").await;
        let (mut client, _) = lab.lasting(level, "c").await;
        assert_eq!((client.publish().await.id, client.publish().await.id), (first.id, second.id));
        client.acknowledge(0x50, second.id).await;
        client.acknowledged(0x62, second.id).await;
    }
}

/// 3.1.1: MQTT-3.12.4-1
/// 5: MQTT-3.12.4-1
#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_and_has_no_body() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.ping().await;
        client.send(&[0xC0, 1, 0]).await;
        client.closed(&[0x81]).await;
    }
}
