//! Nothing that is answered is lost: bodies that are no batch, bodies that are too large, messages that come twice.

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::wire::{Connect, VERSIONS, Wire, publish};

fn scene() -> (TestPlatform, Device) {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    (platform, device)
}

fn letter(platform: &TestPlatform, number: &Value) -> Value {
    platform.operator().get(&format!("/dead-letters/{number}")).expect(200)
}

#[test]
fn a_body_that_is_no_batch_is_kept_whole_and_never_read_as_something_else() {
    let (platform, device) = scene();
    let own = platform.rest_of(&device);
    let bodies: [(&[u8], &str); 5] = [
        (br#"{"telemetry":{"n":1}}"#, "not_a_batch"),
        (br#"{"samples":[{"n":1}]}"#, "not_a_batch"),
        (br#"[{"n":1}]"#, "not_a_batch"),
        (br#"{"telemetry":[{"n":1}]"#, "not_json"),
        (b"", "not_json"),
    ];
    for (body, code) in bodies {
        own.post("/telemetry/batch", body).expect_problem(400, code);
    }
    let letters = platform.dead_letters();
    assert_eq!(letters.len(), bodies.len());
    for ((body, code), found) in bodies.iter().rev().zip(&letters) {
        assert_eq!((&found["code"], &found["payload_bytes"]), (&json!(code), &json!(body.len())), "{found}");
    }
    assert_eq!(letter(&platform, &letters[4]["number"])["payload"], json!({"telemetry": {"n": 1}}));
    // Read as a message it would be a metric `telemetry_n`.
    let path = format!("/dead-letters/{}/replay", letters[4]["number"]);
    platform.operator().post(&path, b"").expect_problem(422, "not_a_batch");
    assert_eq!(own.get("/devices/pump-7/telemetry").expect(200)["points"], json!([]));
}

#[test]
fn of_a_body_that_is_too_large_the_size_and_the_beginning_are_kept() {
    let (platform, device) = scene();
    let own = platform.rest_of(&device);
    const SIZE: usize = 5_000_000;
    let mut body = br#"{"telemetry":[{"note":"the beginning "#.to_vec();
    body.resize(SIZE, b'x');
    for (path, headers) in [("/telemetry", false), ("/telemetry/batch", false), ("/devices/pump-7/telemetry", true)] {
        // With its length announced, and without.
        let rest = if headers { own.clone().with_header("Transfer-Encoding", "chunked") } else { own.clone() };
        rest.post(path, &body).expect_problem(413, "too_large_to_keep");
    }
    let letters = platform.dead_letters();
    assert_eq!(letters.len(), 3);
    for found in &letters {
        assert_eq!((&found["code"], &found["payload_bytes"]), (&json!("too_large_to_keep"), &json!(65536)));
        let reason = found["reason"].as_str().expect("a reason");
        assert!(reason.contains("5000000 bytes") && reason.contains("first 65536 are kept"), "{reason}");
        let kept = letter(&platform, &found["number"])["payload_text"].as_str().expect("text").to_owned();
        assert!(kept.as_bytes() == &body[..65536]);
        let path = format!("/dead-letters/{}/replay", found["number"]);
        platform.operator().post(&path, b"").expect_problem(422, "too_large_to_keep");
    }
}

#[test]
fn a_refused_message_that_comes_again_is_kept_once() {
    let (platform, device) = scene();
    for (version, refused) in VERSIONS.into_iter().zip([0, 0x99]) {
        let before = platform.dead_letters().len();
        let connect = Connect { session_expiry: 600, ..Connect::of(version, &device) };
        let topic = device.topic("telemetry");
        let (mut wire, _) = Wire::session(platform.mqtt_tls(), &device, &connect);
        assert_eq!(wire.acknowledged(1, &topic, b"not json"), refused);
        drop(wire);
        let (mut wire, resumed) = Wire::session(platform.mqtt_tls(), &device, &connect);
        assert!(resumed);
        wire.send(&publish(version, 1, true, &topic, b"not json"));
        assert_eq!(wire.acknowledgement(1), refused);
        assert_eq!(platform.dead_letters().len(), before + 1, "{version:?}");
        // The same words in a new message are another message.
        assert_eq!(wire.acknowledged(1, &topic, b"not json"), refused);
        assert_eq!(platform.dead_letters().len(), before + 2, "{version:?}");
        // The session ends, so that the other version begins its own.
        drop(Wire::session(platform.mqtt_tls(), &device, &Connect { session_expiry: 0, ..connect }));
    }
}

#[test]
fn samples_of_one_message_that_say_they_are_the_same_are_refused_together() {
    let (platform, device) = scene();
    let own = platform.rest_of(&device);
    let twins = r#"[{"boot":"a","seq":7,"data":{"n":1}},{"boot":"a","seq":7,"data":{"n":2}}]"#;
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), twins.as_bytes()), 0x99);
    let batch = format!(r#"{{"telemetry":{twins}}}"#);
    own.post("/telemetry/batch", batch.as_bytes()).expect_problem(400, "duplicate_sequence");
    let letters = platform.dead_letters();
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter["payload_bytes"] == twins.len()), "{letters:?}");
    assert!(letters[0]["reason"].as_str().is_some_and(|reason| reason.contains("seq 7")), "{letters:?}");
    assert_eq!(own.get("/devices/pump-7/telemetry").expect(200)["points"], json!([]), "and none of them half");
    // Without a number each is stored.
    own.post("/telemetry/batch", br#"{"telemetry":[{"n":1},{"n":2}]}"#).expect(201);
    assert_eq!(own.get("/devices/pump-7/telemetry").expect(200)["points"].as_array().map(Vec::len), Some(2));
}
