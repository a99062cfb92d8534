//! Bytes that are not what the port speaks, too many of them, or too few.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::Scene;
use crate::support::wire::{Connect, VERSIONS, Wire, packet};
use crate::support::{PATIENCE, wait_until};

/// Noise that is the same in every run.
fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn garbage_instead_of_tls() {
    let mut scene = Scene::start();
    let inputs =
        [garbage(64), garbage(100_000), b"GET / HTTP/1.1\r\n\r\n".to_vec(), Connect::new(Version::V3, "pump").packet()];
    let count = inputs.len() as u64;
    for input in inputs {
        let mut stream = Wire::tcp(scene.platform.mqtt());
        // The platform may close before it has read it all.
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "nothing but a TLS alert: {answer:02x?}");
    }
    wait_until("all are counted", || (scene.platform.counter("handshakes_failed") == count).then_some(()));
    scene.serves_on();
    scene.platform.stop();
    let named: Vec<_> = scene.platform.audit_log().into_iter().filter(|r| r.event.action == "tls.handshake").collect();
    assert_eq!(named.len(), 1, "the same from the same address is named once: {named:#?}");
}

#[test]
fn garbage_over_tls() {
    let mut scene = Scene::start();
    let inputs = [
        garbage(64),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 1000],
        vec![0xff; 1000],
        packet(0x30, b"\0\x01a"),
        packet(0xc0, b""),
    ];
    let count = inputs.len() as u64;
    for input in &inputs {
        let mut wire = Wire::tls(scene.platform.mqtt_tls(), without_identity(&scene), Version::V3).expect("TLS");
        let _ = wire.try_send(input);
        assert!(wire.rest().is_empty());
    }
    scene.serves_on();
    assert_eq!(scene.platform.counter("protocol_errors"), count);
}

#[test]
fn garbage_in_a_session() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    for (version, malformed) in VERSIONS.into_iter().zip([0, 0x81]) {
        for _ in 0..2 {
            let mut wire = Wire::login(scene.platform.mqtt(), &device, version);
            assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), br#"{"t":1}"#), 0);
            // A PUBLISH at QoS 3 (MQTT-3.3.1-4).
            let _ = wire.try_send(&packet(0x36, b"\0\x01a\0\x01"));
            wire.expect_closed(malformed);
        }
    }
    assert_eq!(scene.platform.counter("protocol_errors"), 4);
    scene.serves_on();
    scene.platform.stop();
    let named: Vec<_> = scene.platform.audit_log().into_iter().filter(|r| r.event.subject == "pump-7").collect();
    let refused: Vec<_> = named.iter().filter(|record| record.event.outcome == "refused").collect();
    assert_eq!(refused.len(), 1, "{named:#?}");
}

#[test]
fn half_a_handshake_is_given_up() {
    // The shortest there is.
    let timeout = Duration::from_secs(1);
    let mut scene = Scene::start_with(move |config| config.broker.handshake_timeout = timeout);
    let started = Instant::now();
    // Half a TLS hello; nothing at all; TLS and no CONNECT; half a CONNECT.
    let mut hello = Wire::tcp(scene.platform.mqtt());
    hello.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]).expect("eleven bytes");
    let mut silent = Wire::tcp(scene.platform.mqtt());
    let tls = |scene: &Scene| Wire::tls(scene.platform.mqtt_tls(), without_identity(scene), Version::V3).expect("TLS");
    let mut mute = tls(&scene);
    let mut half = tls(&scene);
    half.send(&Connect::new(Version::V3, "pump-7").packet()[..10]);
    for stream in [&mut hello, &mut silent] {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert!(mute.rest().is_empty() && half.rest().is_empty());
    let took = started.elapsed();
    assert!(took >= timeout && took < PATIENCE / 2, "{took:?}");
    assert_eq!(scene.platform.counter("handshakes_failed"), 2);
    wait_until("both are counted", || (scene.platform.counter("connects_refused") == 2).then_some(()));
    wait_until("nothing is left open", || (scene.platform.counter("connections") == 0).then_some(()));
    scene.serves_on();
    scene.platform.stop();
    let mut named: Vec<_> = scene.platform.audit_log().into_iter().map(|record| record.event).collect();
    named.retain(|event| event.outcome == "refused");
    named.sort_by(|one, other| one.action.cmp(&other.action));
    let actions: Vec<_> = named.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["mqtt.connect", "tls.handshake"], "each kind once: {named:#?}");
}

#[test]
fn a_packet_of_ten_megabytes_is_not_read() {
    const LENGTH: usize = 10 * 1024 * 1024;
    let mut scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let large = packet(0x32, &vec![b' '; LENGTH]);
    for version in VERSIONS {
        // Its announcement is enough: MQTT 5 hears "packet too large".
        let mut wire = Wire::login(scene.platform.mqtt(), &device, version);
        wire.send(&large[..16]);
        wire.expect_closed(0x95);
        // All of it: closed before the end, and nothing else happens.
        let mut wire = Wire::login(scene.platform.mqtt(), &device, version);
        let _ = wire.try_send(&large);
        wire.rest();
        // Before CONNECT as well.
        let mut wire = Wire::tls(scene.platform.mqtt(), device.tls(), version).expect("TLS");
        let _ = wire.try_send(&packet(0x10, &vec![0; LENGTH]));
        wire.rest();
        scene.serves_on();
    }
    wait_until("all are counted", || (scene.platform.counter("protocol_errors") == 6).then_some(()));
    assert_eq!(scene.platform.counter("packets_too_large"), 4);
    // A device says the same again for ever: it is kept once, without a byte of it.
    assert_eq!(scene.platform.counter("dead_letters"), 4);
    let letters = wait_until("the letter is stored", || {
        Some(scene.platform.dead_letters()).filter(|letters| !letters.is_empty())
    });
    let letter = &letters[0];
    assert_eq!((letters.len(), &letter["code"]), (1, &json!("too_large_to_keep")), "{letters:?}");
    assert_eq!((&letter["device_id"], &letter["payload_bytes"]), (&json!("pump-7"), &json!(0)));
    assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("10485765 bytes")), "{letter}");
    let path = format!("/dead-letters/{}/replay", letter["number"]);
    scene.platform.operator().post(&path, b"").expect_problem(422, "too_large_to_keep");
    scene.platform.stop();
    let audit = scene.platform.audit_log();
    let named = |subject: &str| {
        let about = audit.iter().filter(|record| record.event.subject == subject && record.event.outcome == "refused");
        about.count()
    };
    assert_eq!((named("pump-7"), named("")), (1, 1), "once in a session, once before it: {audit:#?}");
}

/// The TLS settings of somebody who knows the trust anchor and has no certificate.
fn without_identity(scene: &Scene) -> tesaiot_tls::ClientSettings {
    tesaiot_tls::ClientSettings { identity: None, ..scene.good.tls() }
}
