//! Section 3.1: CONNECT.

use std::time::Duration;

use crate::lab::{BOTH, CLEAN, Connect, LASTING, Lab, V3, V5, packet, properties, text};

/// What MQTT 5 may say to a malformed CONNECT. 3.1.1 says nothing.
async fn malformed(level: u8, bytes: &[u8]) {
    let answer = Lab::new().answer(level, bytes).await;
    let expected: &[u8] = if level == V5 { &[0x20, 3, 0, 0x81, 0] } else { &[] };
    assert_eq!(answer, expected, "{bytes:02x?}");
}

/// 3.1.1: MQTT-3.1.0-1, MQTT-3.2.0-1
/// 5: MQTT-3.1.0-1, MQTT-3.2.0-1, MQTT-3.14.0-1
#[tokio::test(start_paused = true)]
async fn the_first_packet_is_connect() {
    let lab = Lab::new();
    for level in BOTH {
        for first in [0x20, 0x30, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0] {
            let bytes = packet(first, &[b"\x00\x01t\x00\x00\x00"]);
            assert_eq!(lab.answer(level, &bytes).await, b"", "{first:#x}: not even CONNACK or DISCONNECT");
        }
    }
}

/// 3.1.1: MQTT-3.1.0-2
/// 5: MQTT-3.1.0-2, MQTT-4.13.1-1, MQTT-4.13.2-1
#[tokio::test(start_paused = true)]
async fn a_second_connect_is_an_error() {
    for level in BOTH {
        let lab = Lab::new();
        let mut client = lab.client(level, "c").await;
        client.send(&Connect::new(level, "c").bytes()).await;
        client.closed(&[0x82]).await;
    }
}

/// 3.1.1: MQTT-3.1.2-1
/// 5: MQTT-3.1.2-1
#[tokio::test(start_paused = true)]
async fn the_protocol_name_is_mqtt() {
    let lab = Lab::new();
    for level in BOTH {
        for name in ["MQTt", "mqtt", "MQTTS", "", "HTTP"] {
            let connect = Connect { protocol: text(name), ..Connect::new(level, "c") };
            assert_eq!(lab.answer(level, &connect.bytes()).await, b"", "{name}");
        }
    }
}

/// 3.1.1: MQTT-3.1.2-2
/// 5: MQTT-3.1.2-2
#[tokio::test(start_paused = true)]
async fn an_unknown_protocol_level_is_refused_by_its_name() {
    let lab = Lab::new();
    for level in [0, 1, 2, 3, 6, 7, 0x84, 255] {
        let connect = Connect { level, ..Connect::new(V3, "c") };
        assert_eq!(lab.answer(V3, &connect.bytes()).await, [0x20, 2, 0, 1], "{level}");
    }
}

/// 3.1.1: MQTT-3.1.2-3, MQTT-3.1.4-1
/// 5: MQTT-3.1.2-3, MQTT-3.1.4-1
#[tokio::test(start_paused = true)]
async fn the_reserved_flag_is_zero() {
    for level in BOTH {
        malformed(level, &Connect { flags: CLEAN | 1, ..Connect::new(level, "c") }.bytes()).await;
    }
}

/// 3.1.1: MQTT-3.1.2-9, MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-14, MQTT-3.1.2-15
/// 5: MQTT-3.1.2-9, MQTT-3.1.2-11, MQTT-3.1.2-12, MQTT-3.1.2-13
#[tokio::test(start_paused = true)]
async fn will_flags_say_what_there_is() {
    for level in BOTH {
        let good = Connect::new(level, "c");
        // Quality or retain without a will, a quality of 3, a will that is not there.
        for flags in [0x08, 0x10, 0x18, 0x20] {
            malformed(level, &Connect { flags: CLEAN | flags, ..good.clone() }.bytes()).await;
        }
        malformed(level, &good.clone().with_will(0x18, &[]).bytes()).await;
        malformed(level, &Connect { flags: CLEAN | 0x04, ..good.clone() }.bytes()).await;
        // A will that no flag speaks of.
        let with_will = good.with_will(0, &[]);
        malformed(level, &Connect { flags: CLEAN, ..with_will }.bytes()).await;
        for quality in [0x00, 0x08, 0x10] {
            let (_, connack) = Lab::new().connect(&Connect::new(level, "c").with_will(quality, &[])).await;
            assert_eq!(connack[3], 0);
        }
    }
}

/// 3.1.1: MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.2-20, MQTT-3.1.2-21, MQTT-3.1.2-22, MQTT-3.1.3-1
/// 5: MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.3-1
#[tokio::test(start_paused = true)]
async fn credentials_are_there_when_the_flags_say_so() {
    for level in BOTH {
        let with = |flags: u8, fields: &[&str]| {
            let payload = fields.iter().flat_map(text).collect();
            Connect { flags: CLEAN | flags, payload, ..Connect::new(level, "") }.bytes()
        };
        malformed(level, &with(0x80, &["c"])).await;
        malformed(level, &with(0x00, &["c", "user"])).await;
        malformed(level, &with(0xC0, &["c", "user"])).await;
        malformed(level, &with(0x80, &["c", "user", "password"])).await;
        for (flags, fields) in [(0x80, &["c", "user"][..]), (0xC0, &["c", "user", "password"])] {
            let mut client = Lab::new().open(level);
            client.send(&with(flags, fields)).await;
            assert_eq!(client.packet().await.unwrap()[3], 0);
        }
    }
    // A password alone: MQTT 5 allows it.
    let payload = [text("c"), text("password")].concat();
    malformed(V3, &Connect { flags: CLEAN | 0x40, payload: payload.clone(), ..Connect::new(V3, "") }.bytes()).await;
    let alone = Connect { flags: CLEAN | 0x40, payload, ..Connect::new(V5, "") };
    assert_eq!(Lab::new().connect(&alone).await.1[3], 0);
}

/// 3.1.1: MQTT-3.1.3-3, MQTT-3.1.4-1
/// 5: MQTT-3.1.3-3, MQTT-3.1.4-1
#[tokio::test(start_paused = true)]
async fn a_connect_is_whole_and_nothing_more() {
    for level in BOTH {
        let good = Connect::new(level, "client");
        malformed(level, &Connect { payload: Vec::new(), ..good.clone() }.bytes()).await;
        malformed(level, &Connect { payload: vec![0, 9, b'c'], ..good.clone() }.bytes()).await;
        malformed(level, &Connect { payload: [text("client"), vec![0]].concat(), ..good }.bytes()).await;
    }
    // Properties that no CONNECT has, one that is there twice, one that is cut.
    for given in [&[0x01, 1][..], &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], &[0x21, 0], &[0x7F], &[0x17, 2], &[0x21, 0, 0]]
    {
        malformed(V5, &Connect::new(V5, "c").with(given).bytes()).await;
    }
}

/// 3.1.1: MQTT-3.1.3-5
/// 5: MQTT-3.1.3-5
#[tokio::test(start_paused = true)]
async fn names_of_1_to_23_letters_and_digits_are_good() {
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for level in BOTH {
        let lab = Lab::new();
        for name in ["a", &all[..23], &all[23..46], &all[39..]] {
            lab.client(level, name).await;
        }
    }
}

/// 3.1.1: MQTT-3.1.3-6, MQTT-3.1.3-8
/// 5: MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16
#[tokio::test(start_paused = true)]
async fn a_client_without_a_name_gets_one() {
    let lab = Lab::new();
    let mut names = std::collections::HashSet::new();
    for flags in [0, CLEAN, CLEAN] {
        let (mut client, connack) = lab.connect(&Connect { flags, ..Connect::new(V5, "") }).await;
        assert_eq!(connack[2..4], [0, 0]);
        let name = connack.windows(3).position(|window| window == [0x12, 0, 37]).expect("an assigned identifier");
        assert!(names.insert(connack[name + 3..name + 40].to_vec()));
        client.ping().await;
        let mut client = lab.client(V3, "").await;
        client.ping().await;
    }
    // 3.1.1 could not tell it what to come back as.
    let nameless = Connect { flags: 0, ..Connect::new(V3, "") };
    assert_eq!(lab.answer(V3, &nameless.bytes()).await, [0x20, 2, 0, 2]);
}

/// 3.1.1: MQTT-3.1.3-9, MQTT-3.2.2-4, MQTT-3.2.2-5
/// 5: MQTT-3.1.3-8, MQTT-3.1.4-2, MQTT-3.2.2-6, MQTT-3.2.2-7
#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_accepted_is_refused() {
    let lab = Lab::new();
    assert_eq!(lab.answer(V3, &Connect::lasting(V3, "refused").bytes()).await, [0x20, 2, 0, 2]);
    assert_eq!(lab.answer(V5, &Connect::lasting(V5, "refused").bytes()).await, [0x20, 3, 0, 0x85, 0]);
    let wrong = |level| {
        let payload = [text("c"), text("user"), text("wrong")].concat();
        Connect { flags: CLEAN | 0xC0, payload, ..Connect::new(level, "") }.bytes()
    };
    assert_eq!(lab.answer(V3, &wrong(V3)).await, [0x20, 2, 0, 4]);
    assert_eq!(lab.answer(V5, &wrong(V5)).await, [0x20, 3, 0, 0x86, 0]);
}

/// 3.1.1: MQTT-3.1.4-2
/// 5: MQTT-3.1.4-3
#[tokio::test(start_paused = true)]
async fn a_name_has_one_connection() {
    for (old, new) in [(V3, V3), (V3, V5), (V5, V3), (V5, V5)] {
        let lab = Lab::new();
        let mut first = lab.client(old, "c").await;
        let mut second = lab.client(new, "c").await;
        first.closed(&[0x8E]).await;
        second.ping().await;
    }
}

/// 3.1.1: MQTT-3.1.4-5
/// 5: MQTT-3.1.4-6
#[tokio::test(start_paused = true)]
async fn what_follows_a_refused_connect_is_not_looked_at() {
    for level in BOTH {
        let lab = Lab::new();
        let mut reader = lab.client(level, "reader").await;
        reader.subscribe(&[("#", 0)]).await;
        let publish = packet(0x30, &[&text("t"), &properties(level, &[]), b"m"]);
        let mut client = lab.open(level);
        client.send(&[Connect::new(level, "refused").bytes(), publish.clone()].concat()).await;
        client.packet().await.expect("CONNACK");
        assert_eq!(client.rest().await, b"");
        reader.silent().await;
        // What follows one that is accepted is, before CONNACK was read.
        let mut client = lab.open(level);
        client.send(&[Connect::new(level, "c").bytes(), publish].concat()).await;
        assert_eq!(reader.publish().await.payload, b"m");
    }
}

/// 3.1.1: MQTT-3.1.2-24
/// 5: MQTT-3.1.2-22, MQTT-3.2.2-22
#[tokio::test(start_paused = true)]
async fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    for level in BOTH {
        let lab = Lab::new();
        let (mut client, _) = lab.connect(&Connect { keep_alive: 10, ..Connect::new(level, "c") }).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(14)).await;
            client.ping().await;
        }
        let silent = tokio::time::Instant::now();
        client.closed(&[0x8D]).await;
        assert_eq!(silent.elapsed().as_secs(), 15);
    }
}

/// 5: MQTT-4.12.0-1, MQTT-4.12.0-4, MQTT-4.12.0-6
#[tokio::test(start_paused = true)]
async fn authentication_methods_are_refused() {
    let lab = Lab::new();
    let method = [&[0x15][..], &text("SCRAM-SHA-1")].concat();
    let quiet = [&method[..], &[0x17, 0]].concat();
    assert_eq!(lab.answer(V5, &Connect::new(V5, "c").with(&quiet).bytes()).await, [0x20, 3, 0, 0x8C, 0]);
    let (_, connack) = lab.connect(&Connect::new(V5, "c").with(&method)).await;
    assert_eq!(connack[3], 0x8C);
    // Data without a method is an error of its own.
    let data = [&[0x16][..], &text("data")].concat();
    assert_eq!(lab.answer(V5, &Connect::new(V5, "c").with(&data).bytes()).await, [0x20, 3, 0, 0x82, 0]);
    // AUTH from a client that named no method (MQTT-4.12.0-7).
    for auth in [&[0xF0, 0][..], &[0xF0, 2, 0x19, 0]] {
        let mut client = lab.client(V5, "c").await;
        client.send(auth).await;
        client.closed(&[0x82]).await;
    }
    // 3.1.1 has no such packet.
    let mut client = lab.client(V3, "c").await;
    client.send(&[0xF0, 0]).await;
    client.closed(&[]).await;
}

/// 5: MQTT-3.1.2-28
#[tokio::test(start_paused = true)]
async fn response_information_comes_when_asked_for() {
    let lab = Lab::new();
    let information = [&[0x1A][..], &text("answers")].concat();
    for (given, expected) in [(&[][..], false), (&[0x19, 0], false), (&[0x19, 1], true)] {
        let (_, connack) = lab.connect(&Connect::new(V5, "c").with(given)).await;
        let found = connack.windows(information.len()).any(|window| window == information);
        assert_eq!(found, expected, "{given:?}");
    }
}

/// 5: MQTT-3.1.2-29
#[tokio::test(start_paused = true)]
async fn reasons_in_words_are_for_those_who_want_them() {
    let lab = Lab::new();
    let (mut client, _) = lab.connect(&Connect::new(V5, "c").with(&[0x17, 0])).await;
    client.say(2, 1, "denied/t", b"").await;
    client.expect(&[0x40, 4, 0, 1, 0x87, 0]).await;
    client.send(&packet(0x82, &[&[0, 2, 0], &text("denied/t"), &[0]])).await;
    client.expect(&[0x90, 4, 0, 2, 0, 0x87]).await;
    let mut client = lab.client(V5, "d").await;
    client.say(2, 1, "denied/t", b"").await;
    let words = client.packet().await.unwrap();
    assert_eq!((&words[2..5], words[6]), (&[0, 1, 0x87][..], 0x1F), "a reason string");
}

/// 3.1.1: MQTT-3.1.3-2
/// 5: MQTT-3.1.3-2
#[tokio::test(start_paused = true)]
async fn a_session_belongs_to_a_name() {
    for level in BOTH {
        let lab = Lab::new();
        assert!(!lab.lasting(level, "c").await.1);
        assert!(!lab.lasting(level, "d").await.1);
        assert!(lab.lasting(level, "c").await.1);
        assert_eq!(LASTING.len(), 5);
    }
}
