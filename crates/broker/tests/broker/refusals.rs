//! Strangers and broken clients: each is closed, counted, and the broker serves on.

use tesaiot_broker::Config;
use tesaiot_mqtt::packet::{DisconnectReasonCode, Packet, Publish, publish_ack};
use tesaiot_mqtt::packet::{PublishAckReason, PublishProperties};
use tesaiot_mqtt::{QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::Seen;
use crate::peer::{BOTH, Bench, connect, id, publish};

/// Sends bytes to a fresh connection and returns what comes back until it ends.
async fn answer(bench: &Bench, bytes: &[u8]) -> Vec<u8> {
    let mut stream = bench.stream(64 * 1024);
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn strangers_are_closed_and_counted() {
    let bench = Bench::new();
    let strangers: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        // A TLS ClientHello where plain MQTT is spoken.
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
        &[0; 64],
        &[0xFF; 64],
        // A first packet that is not CONNECT: PINGREQ, PUBLISH.
        &[0xC0, 0],
        &[0x30, 3, 0, 1, b't'],
    ];
    for bytes in strangers {
        assert_eq!(answer(&bench, bytes).await, b"", "{bytes:?}");
    }
    bench.host.until("refusals", |inner| inner.seen.len() == strangers.len()).await;
    assert_eq!(bench.broker.counters().protocol_errors, strangers.len() as u64);
    assert_eq!(bench.broker.counters().connections, 0);
    bench.connect(Version::V3, "d").await.ping().await;
}

#[tokio::test(start_paused = true)]
async fn ten_megabytes_are_refused_when_they_are_announced() {
    let bench = Bench::new();
    // Before CONNECT: a CONNECT and a PUBLISH that announce 10,000,000 bytes.
    for first in [0x10, 0x30] {
        assert_eq!(answer(&bench, &[first, 0x80, 0xAD, 0xE2, 0x04]).await, b"");
    }
    for version in BOTH {
        let mut stream = bench.raw(version, connect("d")).await;
        stream.write_all(&[0x32, 0x80, 0xAD, 0xE2, 0x04]).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        match version {
            Version::V3 => assert_eq!(answer, b""),
            Version::V5 => assert_eq!(&answer[..1], &[0xE0], "DISCONNECT"),
        }
    }
    assert_eq!(bench.broker.counters().protocol_errors, 4);
}

#[tokio::test(start_paused = true)]
async fn half_a_packet_waits_and_half_a_connection_ends() {
    let bench = Bench::new();
    let mut whole = Vec::from(*b"\x10\x15\x00\x04MQTT\x04\xC2\x00\x00\x00\x01d\x00\x01d\x00\x06secret");
    whole[1] = (whole.len() - 2) as u8;
    // Byte by byte it is a connection all the same.
    let mut stream = bench.stream(64);
    for byte in &whole {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    // Half of it, and then nothing: closed at the deadline, or at once when the stream ends.
    assert_eq!(answer(&bench, &whole[..9]).await, b"");
    let mut stream = bench.stream(64);
    stream.write_all(&whole[..9]).await.unwrap();
    drop(stream);
    let refusal = |seen: &Seen| matches!(seen, Seen::Refused { client_id: None, .. });
    bench.host.until("refusals", |inner| inner.seen.iter().filter(|seen| refusal(seen)).count() == 2).await;
}

async fn goodbye(version: Version, reason: DisconnectReasonCode, packets: &[Packet]) {
    let bench = Bench::new();
    let mut device = bench.connect(version, "d").await;
    for packet in packets {
        device.send(packet.clone()).await;
    }
    device.expect_goodbye(reason).await;
    bench.host.disconnected("d").await;
    assert_eq!(bench.broker.counters().protocol_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn packets_that_have_no_business_here_end_the_connection() {
    for version in BOTH {
        let second_connect = Packet::Connect(Box::new(connect("d")));
        goodbye(version, DisconnectReasonCode::ProtocolError, &[second_connect]).await;
        goodbye(version, DisconnectReasonCode::ProtocolError, &[Packet::PingResponse]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rules_broken_in_a_publish_end_the_connection() {
    for version in BOTH {
        let wildcard = Packet::Publish(Box::new(publish("d/#", 1)));
        goodbye(version, DisconnectReasonCode::TopicNameInvalid, &[wildcard]).await;
    }
    let alias = |number, topic| {
        let properties = PublishProperties { topic_alias: Some(id(number)), ..PublishProperties::default() };
        Packet::Publish(Box::new(Publish { properties: Some(properties), ..publish(topic, 1) }))
    };
    // CONNACK announces ten (MQTT-3.3.2-9).
    goodbye(Version::V5, DisconnectReasonCode::TopicAliasInvalid, &[alias(11, "d/t")]).await;
    goodbye(Version::V5, DisconnectReasonCode::ProtocolError, &[alias(10, "")]).await;
}

#[tokio::test(start_paused = true)]
async fn reserved_bits_end_the_connection() {
    let bench = Bench::new();
    // SUBSCRIBE without its reserved bit, PUBREL likewise, QoS 3.
    for bytes in [&[0x80, 6, 0, 1, 0, 1, b'd', 0][..], &[0x60, 2, 0, 1], &[0x36, 5, 0, 1, b'd', 0, 1]] {
        let mut stream = bench.raw(Version::V3, connect("d")).await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
    }
    bench.host.until("the ends", |inner| inner.seen.len() == 6).await;
    assert_eq!(bench.broker.counters().protocol_errors, 3);
}

/// MQTT-3.8.3-3, MQTT-3.10.3-2: at least one filter.
#[tokio::test(start_paused = true)]
async fn an_empty_subscription_ends_the_connection() {
    for (version, kind) in BOTH.into_iter().flat_map(|version| [(version, 0x82), (version, 0xA2)]) {
        let bench = Bench::new();
        let mut stream = bench.raw(version, connect("d")).await;
        let empty: &[u8] = if version == Version::V5 { &[kind, 3, 0, 1, 0] } else { &[kind, 2, 0, 1] };
        stream.write_all(empty).await.unwrap();
        bench.host.disconnected("d").await;
        assert_eq!(bench.broker.counters().protocol_errors, 1, "{version} {kind:#x}");
    }
}

/// Acknowledgements of messages that were never sent change nothing.
#[tokio::test(start_paused = true)]
async fn acknowledgements_of_nothing_are_ignored() {
    for version in BOTH {
        let bench = Bench::new();
        let mut device = bench.connect(version, "d").await;
        device.acknowledge(id(77)).await;
        device.send(Packet::PublishReceived(publish_ack(id(78), PublishAckReason::Success))).await;
        assert!(matches!(device.receive().await, Packet::PublishRelease(_)));
        device.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn random_bytes_after_connect_never_stop_the_broker() {
    let bench = Bench::with(Config { max_packet_size: 1024, ..Config::default() });
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..200u16 {
        let version = BOTH[usize::from(round % 2)];
        let mut stream = bench.raw(version, connect("d")).await;
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .collect();
        stream.write_all(&bytes).await.unwrap();
        drop(stream);
    }
    let mut device = bench.connect(Version::V5, "d").await;
    device.publish(publish("d/t", 1)).await;
    device.expect_puback(1).await;
    assert_eq!(device.subscribe("d/#", QoS::AtMostOnce).await as u8, 0);
}
