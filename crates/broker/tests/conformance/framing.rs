//! Sections 1.5 and 2: strings, lengths, flags, packet identifiers.

use crate::lab::{BOTH, Connect, Lab, V3, V5, packet, properties, text};

/// Bytes that are no text.
const NOT_TEXT: [&[u8]; 4] = [&[0xC3, 0x28], &[0xED, 0xA0, 0x80], &[0xED, 0xBF, 0xBF], &[0xF5, 0x80, 0x80, 0x80]];
const NUL: &[u8] = b"a\0b";

/// 3.1.1: MQTT-1.5.3-1, MQTT-1.5.3-2, MQTT-3.3.2-1, MQTT-4.7.3-2
/// 5: MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.3.2-1, MQTT-4.7.3-2
#[tokio::test(start_paused = true)]
async fn topic_names_are_text_without_null() {
    for level in BOTH {
        for name in NOT_TEXT.into_iter().chain([NUL]) {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.send(&packet(0x30, &[&text(name), &properties(level, &[])])).await;
            client.closed(&[0x81, 0x90]).await;
        }
    }
}

/// 3.1.1: MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.7.3-2
/// 5: MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.7.3-2
#[tokio::test(start_paused = true)]
async fn topic_filters_are_text_without_null() {
    for level in BOTH {
        for filter in NOT_TEXT.into_iter().chain([NUL]) {
            let lab = Lab::new();
            let none = properties(level, &[]);
            let mut client = lab.client(level, "c").await;
            client.send(&packet(0x82, &[&[0, 1], &none, &text(filter), &[0]])).await;
            client.closed(&[0x81]).await;
            let mut client = lab.client(level, "c").await;
            client.send(&packet(0xA2, &[&[0, 1], &none, &text(filter)])).await;
            client.closed(&[0x81]).await;
        }
    }
}

/// 3.1.1: MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11
/// 5: MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12
#[tokio::test(start_paused = true)]
async fn what_connect_says_is_text_without_null() {
    let lab = Lab::new();
    for level in BOTH {
        for content in NOT_TEXT.into_iter().chain([NUL]) {
            let good = Connect::new(level, "c");
            let none = properties(level, &[]);
            let will = [text("c"), none, text(content), text("m")].concat();
            for connect in [
                Connect { payload: text(content), ..good.clone() },
                Connect { flags: 0x06, payload: will, ..good.clone() },
                Connect { flags: 0x82, payload: [text("c"), text(content)].concat(), ..good },
            ] {
                let answer = lab.answer(level, &connect.bytes()).await;
                // 3.1.1 closes without a word (MQTT-3.1.4-1), 5 may say that it was malformed.
                let expected: &[u8] = if level == V5 { &[0x20, 3, 0, 0x81, 0] } else { &[] };
                assert_eq!(answer, expected, "{content:02x?}");
            }
        }
    }
}

/// 5: MQTT-1.5.7-1, MQTT-3.3.2-13, MQTT-3.3.2-19
#[tokio::test(start_paused = true)]
async fn text_in_properties_is_text_without_null() {
    for content in NOT_TEXT.into_iter().chain([NUL]) {
        let (good, bad) = (text("x"), text(content));
        for given in [
            [&[0x26][..], &bad, &good].concat(),
            [&[0x26][..], &good, &bad].concat(),
            [&[0x08][..], &bad].concat(),
            [&[0x03][..], &bad].concat(),
        ] {
            let lab = Lab::new();
            let mut client = lab.client(V5, "c").await;
            client.say_with(0, 0, "t", &given, b"").await;
            client.closed(&[0x81, 0x82]).await;
        }
    }
}

/// 3.1.1: MQTT-1.5.3-3, MQTT-4.7.3-4
/// 5: MQTT-1.5.4-3, MQTT-4.7.3-4
#[tokio::test(start_paused = true)]
async fn text_is_taken_as_it_is() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        // A byte order mark, a composed and a decomposed letter, cases and spaces: all of them different topics.
        let names = ["\u{feff}t", "t", "T", " t", "\u{e9}", "e\u{301}"];
        for (index, name) in names.into_iter().enumerate() {
            client.subscribe(&[(name, 0)]).await;
            client.say(0, 0, name, &[index as u8]).await;
            assert_eq!(client.publish().await.topic, name);
            let unsubscribe = packet(0xA2, &[&[0, 1], &properties(level, &[]), &text(name)]);
            client.send(&unsubscribe).await;
            client.packet().await;
        }
        client.subscribe(&[("t", 0)]).await;
        for name in names {
            client.say(0, 0, name, b"").await;
        }
        assert_eq!(client.publish().await.topic, "t");
        client.silent().await;
    }
}

/// 5: MQTT-1.5.5-1
#[tokio::test(start_paused = true)]
async fn lengths_take_as_few_bytes_as_they_can() {
    let lab = Lab::new();
    let mut client = lab.client(V5, "c").await;
    client.send(&[0xC0, 0x80, 0x00]).await;
    client.closed(&[0x81]).await;
    for level in BOTH {
        let mut client = lab.client(level, "c").await;
        client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]).await;
        client.closed(&[0x81]).await;
    }
}

/// 3.1.1: MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1
/// 5: MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1
#[tokio::test(start_paused = true)]
async fn reserved_flags_are_as_they_are() {
    for level in BOTH {
        for kind in [4, 5, 6, 7, 8, 10, 12, 14, 15_u8] {
            let right = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
            for flags in (0..16).filter(|flags| *flags != right) {
                let lab = Lab::new();
                let mut client = lab.client(level, "c").await;
                let body: &[u8] = match kind {
                    8 if level == V3 => b"\x00\x01\x00\x01t\x00",
                    8 => b"\x00\x01\x00\x00\x01t\x00",
                    10 if level == V3 => b"\x00\x01\x00\x01t",
                    10 => b"\x00\x01\x00\x00\x01t",
                    12 | 14 | 15 => b"",
                    _ => b"\x00\x01",
                };
                client.send(&packet(kind << 4 | flags, &[body])).await;
                client.closed(&[0x81]).await;
            }
        }
    }
}

/// 3.1.1: MQTT-2.3.1-1
/// 5: MQTT-2.2.1-3
#[tokio::test(start_paused = true)]
async fn packet_identifiers_are_not_zero() {
    for level in BOTH {
        let none = properties(level, &[]);
        for bytes in [
            packet(0x32, &[&text("t"), &[0, 0], &none]),
            packet(0x34, &[&text("t"), &[0, 0], &none]),
            packet(0x82, &[&[0, 0], &none, &text("t"), &[0]]),
            packet(0xA2, &[&[0, 0], &none, &text("t")]),
        ] {
            let lab = Lab::new();
            let mut client = lab.client(level, "c").await;
            client.send(&bytes).await;
            client.closed(&[0x81, 0x82]).await;
        }
    }
}

/// 3.1.1: MQTT-2.3.1-5, MQTT-4.3.1-1, MQTT-3.3.1-2
/// 5: MQTT-2.2.1-2, MQTT-4.3.1-1, MQTT-3.3.1-2
#[tokio::test(start_paused = true)]
async fn a_message_of_qos_0_has_no_identifier_and_is_no_duplicate() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("t", 0)]).await;
        client.say(0, 0, "t", b"payload").await;
        let expected = packet(0x30, &[&text("t"), &properties(level, &[]), b"payload"]);
        client.expect(&expected).await;
        client.send(&packet(0x38, &[&text("t"), &properties(level, &[])])).await;
        client.closed(&[0x81]).await;
    }
}

/// 3.1.1: MQTT-2.3.1-6, MQTT-2.3.1-7
/// 5: MQTT-2.2.1-5, MQTT-2.2.1-6, MQTT-2.2.2-1
#[tokio::test(start_paused = true)]
async fn answers_carry_the_identifier_they_answer() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        let none = properties(level, &[]);
        for id in [1_u16, 0x00FF, 0xFF00, 0xFFFF] {
            let bytes = id.to_be_bytes();
            client.say(2, id, "t", b"").await;
            client.expect(&packet(0x40, &[&bytes])).await;
            client.say(4, id, "t", b"").await;
            client.acknowledged(0x50, id).await;
            client.acknowledge(0x62, id).await;
            client.acknowledged(0x70, id).await;
            client.send(&packet(0x82, &[&bytes, &none, &text("t"), &[1]])).await;
            client.expect(&packet(0x90, &[&bytes, &none, &[1]])).await;
            client.send(&packet(0xA2, &[&bytes, &none, &text("t")])).await;
            let code: &[u8] = if level == V5 { &[0] } else { &[] };
            client.expect(&packet(0xB0, &[&bytes, &none, code])).await;
        }
    }
}

/// 3.1.1: MQTT-2.3.1-4
/// 5: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1
#[tokio::test(start_paused = true)]
async fn the_server_uses_free_identifiers() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.subscribe(&[("t", 2)]).await;
        let mut in_use = std::collections::HashSet::new();
        for number in 0..15 {
            lab.say("t", 1 + number % 2);
            let id = client.publish().await.id;
            assert_ne!(id, 0);
            assert!(in_use.insert(id), "{id} is in use");
        }
    }
}
