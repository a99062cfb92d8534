//! At least once on the wire, exactly once in the store (the wire contract, section 5).

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::wire::{Connect, VERSIONS, Wire, publish};

/// All values of the metric `n`, oldest first.
#[track_caller]
fn values(platform: &TestPlatform, device: &Device) -> Vec<Value> {
    let path = format!("/devices/{}/telemetry?metric=n", device.id());
    let answer = platform.operator().get(&path).expect(200);
    answer["points"].as_array().expect("points").iter().map(|point| point["value"].clone()).collect()
}

#[test]
fn a_message_with_boot_and_seq_is_stored_once_whoever_brings_it_and_when() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pi-kitchen", AuthMode::ServerTls);
    let topic = device.topic("telemetry");
    let message = |boot: &str, seq: u64, n: u64| json!({"boot": boot, "seq": seq, "data": {"n": n}}).to_string();
    let first = message("a", 1, 1);
    let send = |platform: &TestPlatform| {
        for version in VERSIONS {
            // Twice on one connection, with packet identifiers of their own, then on the next.
            let mut wire = Wire::login(platform.mqtt_tls(), &device, version);
            assert_eq!(wire.acknowledged(1, &topic, first.as_bytes()), 0);
            assert_eq!(wire.acknowledged(2, &topic, first.as_bytes()), 0);
        }
        // By HTTP, alone and in a batch, as well: it is the message that counts.
        let rest = platform.rest_of(&device);
        rest.post("/telemetry", first.as_bytes()).expect(201);
        rest.post("/telemetry/batch", format!(r#"{{"telemetry":[{first},{first}]}}"#).as_bytes()).expect(201);
    };
    send(&platform);
    assert_eq!(values(&platform, &device), [json!(1)]);
    assert_eq!(platform.counter("duplicates"), 6);
    platform.restart();
    send(&platform);
    assert_eq!(values(&platform, &device), [json!(1)], "also after a restart");
    assert_eq!(platform.counter("duplicates"), 7);

    // Another number, another run, another device: other messages.
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V3);
    for (id, other) in (1..).zip([message("a", 2, 2), message("b", 1, 3)]) {
        assert_eq!(wire.acknowledged(id, &topic, other.as_bytes()), 0);
    }
    assert_eq!(values(&platform, &device), [json!(1), json!(2), json!(3)]);
    let neighbour = platform.device("pi-cellar", AuthMode::ServerTls);
    platform.rest_of(&neighbour).post("/telemetry", first.as_bytes()).expect(201);
    assert_eq!(values(&platform, &neighbour), [json!(1)]);
}

#[test]
fn a_redelivery_within_a_session_adds_no_row() {
    let platform = TestPlatform::start();
    for (version, id) in VERSIONS.into_iter().zip(["version-3", "version-5"]) {
        let device = platform.device(id, AuthMode::Mtls);
        let topic = device.topic("telemetry");
        let connect = Connect { session_expiry: 3600, ..Connect::of(version, &device) };
        let (mut wire, resumed) = Wire::session(platform.mqtt(), &device, &connect);
        assert!(!resumed);
        assert_eq!(wire.acknowledged(7, &topic, br#"{"n":1}"#), 0);
        drop(wire);
        // The acknowledgement got lost on the way, as far as this client knows.
        let (mut wire, resumed) = Wire::session(platform.mqtt(), &device, &connect);
        assert!(resumed, "the session was kept");
        wire.send(&publish(version, 7, true, &topic, br#"{"n":1}"#));
        assert_eq!(wire.acknowledgement(7), 0);
        assert_eq!(values(&platform, &device), [json!(1)], "{version}");

        // Not marked as a redelivery, or with other bytes, it is another message.
        assert_eq!(wire.acknowledged(7, &topic, br#"{"n":1}"#), 0);
        wire.send(&publish(version, 7, true, &topic, br#"{"n":2}"#));
        assert_eq!(wire.acknowledgement(7), 0);
        assert_eq!(values(&platform, &device), [json!(1), json!(1), json!(2)], "{version}");
    }
}
