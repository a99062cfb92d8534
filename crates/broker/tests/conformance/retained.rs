//! Section 3.3.1.3: retained messages.

use crate::lab::{BOTH, Client, Connect, Lab, V5};

const AT_SUBSCRIBE: u8 = 0x00;
const IF_NEW: u8 = 0x10;
const NEVER: u8 = 0x20;
const AS_PUBLISHED: u8 = 0x08;

async fn retain(client: &mut Client, topic: &str, payload: &[u8]) {
    client.say(3, 1, topic, payload).await;
    client.acknowledged(0x40, 1).await;
}

/// 3.1.1: MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-7, MQTT-3.3.1-8
/// 5: MQTT-3.3.1-5, MQTT-3.3.1-9
#[tokio::test(start_paused = true)]
async fn the_last_message_is_kept_with_its_quality_and_sent_to_new_subscribers() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        retain(&mut client, "t", b"1").await;
        retain(&mut client, "t", b"2").await;
        // Quality 0 replaces what was there as well.
        client.say(3, 1, "zero", b"old").await;
        client.acknowledged(0x40, 1).await;
        client.say(1, 0, "zero", b"new").await;
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 2), ("zero", 2)]).await;
        let found = [reader.publish().await, reader.publish().await];
        let found: Vec<_> = found.iter().map(|found| (&*found.topic, &*found.payload, found.flags)).collect();
        assert_eq!(found, [("t", &b"2"[..], 0b0011), ("zero", b"new", 0b0001)]);
        reader.silent().await;
    }
}

/// 3.1.1: MQTT-3.3.1-10, MQTT-3.3.1-11
/// 5: MQTT-3.3.1-6, MQTT-3.3.1-7
#[tokio::test(start_paused = true)]
async fn an_empty_message_removes_and_is_not_kept() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        retain(&mut client, "t", b"1").await;
        let mut live = lab.client(level, "l").await;
        live.subscribe(&[("t", 0)]).await;
        live.publish().await;
        retain(&mut client, "t", b"").await;
        assert_eq!(live.publish().await.payload, b"", "processed as normal");
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 0)]).await;
        reader.silent().await;
    }
}

/// 3.1.1: MQTT-3.3.1-12
/// 5: MQTT-3.3.1-8
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_retained_changes_nothing_retained() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        retain(&mut client, "t", b"1").await;
        for payload in [&b"2"[..], b""] {
            client.say(2, 1, "t", payload).await;
            client.acknowledged(0x40, 1).await;
        }
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 0)]).await;
        assert_eq!(reader.publish().await.payload, b"1");
    }
}

/// 3.1.1: MQTT-3.3.1-9
/// 5: MQTT-3.3.1-12, MQTT-3.3.1-13
#[tokio::test(start_paused = true)]
async fn a_live_message_is_retained_for_those_who_want_it_as_published() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let mut plain = lab.client(level, "p").await;
        plain.subscribe(&[("t", 0)]).await;
        let mut faithful = lab.client(V5, "f").await;
        faithful.subscribe(&[("t", AS_PUBLISHED)]).await;
        for retained in [true, false] {
            client.say(u8::from(retained), 0, "t", b"m").await;
            assert!(!plain.publish().await.is_retained());
            assert_eq!(faithful.publish().await.is_retained(), retained);
        }
    }
}

/// 5: MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11, MQTT-3.8.4-4
#[tokio::test(start_paused = true)]
async fn retain_handling_says_when_retained_messages_come() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    retain(&mut client, "t", b"1").await;
    let (mut reader, _) = lab.lasting(V5, "r").await;
    for (handling, comes) in [(NEVER, false), (IF_NEW, false), (AT_SUBSCRIBE, true), (AT_SUBSCRIBE, true)] {
        reader.subscribe(&[("t", handling)]).await;
        if comes {
            assert!(reader.publish().await.is_retained());
        }
        reader.silent().await;
    }
    reader.subscribe(&[("+", IF_NEW)]).await;
    reader.publish().await;
    // A subscription of a resumed session is not new.
    drop(reader);
    lab.gone("r").await;
    let (mut reader, present) = lab.lasting(V5, "r").await;
    assert!(present);
    reader.subscribe(&[("+", IF_NEW)]).await;
    reader.silent().await;
}

/// 3.1.1: MQTT-3.1.2-7
#[tokio::test(start_paused = true)]
async fn retained_messages_outlive_the_session_of_their_publisher() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        retain(&mut client, "t", b"1").await;
        drop(client);
        lab.gone("c").await;
        let (_, connack) = lab.connect(&Connect::new(level, "c")).await;
        assert_eq!(connack[2], 0);
        let mut reader = lab.client(level, "r").await;
        reader.subscribe(&[("t", 0)]).await;
        assert_eq!(reader.publish().await.payload, b"1");
    }
}
