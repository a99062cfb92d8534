//! Payloads that are not telemetry: kept with the reason, answered, and no harm to their neighbours.

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::Scene;
use crate::support::wire::{VERSIONS, Wire, publish};

/// Bad payloads of the device `pump-7`: the reason they are kept with, and what MQTT 5 answers.
fn bad_payloads() -> Vec<(&'static str, u8, Vec<u8>)> {
    let metrics: serde_json::Map<_, _> = (0..600).map(|n| (format!("m{n}"), json!(n))).collect();
    vec![
        ("not_json", 0x99, b"temperature is 36.6".to_vec()),
        ("not_json", 0x99, br#"{"t":1"#.to_vec()),
        ("not_utf8", 0x99, b"{\"t\":\"\xff\xfe\"}".to_vec()),
        ("payload_empty", 0x99, Vec::new()),
        ("wrong_device", 0x99, br#"{"device_id":"pump-70","data":{"t":1}}"#.to_vec()),
        ("non_finite", 0x99, br#"{"t":1e999}"#.to_vec()),
        ("too_many_metrics", 0x99, json!({"data": metrics}).to_string().into_bytes()),
        ("timestamp_too_early", 0x99, br#"{"timestamp":"1970-01-01T00:00:00Z","t":1}"#.to_vec()),
        ("timestamp_too_late", 0x99, br#"{"timestamp":"2999-01-01T00:00:00Z","t":1}"#.to_vec()),
        ("timestamp_not_rfc3339", 0x99, br#"{"timestamp":"yesterday","t":1}"#.to_vec()),
        ("payload_too_large", 0x83, format!(r#"{{"t":"{}"}}"#, "x".repeat(300 * 1024)).into_bytes()),
    ]
}

#[test]
fn bad_payloads_are_kept_answered_and_harm_nobody() {
    let scene = Scene::start();
    let device = scene.platform.device("pump-7", AuthMode::Mtls);
    let topic = device.topic("telemetry/flow");
    let bad = bad_payloads();
    let mut good = 0;
    for version in VERSIONS {
        let mut wire = Wire::login(scene.platform.mqtt(), &device, version);
        for (code, reason, payload) in &bad {
            // Three messages at once: the one in the middle is bad.
            let neighbours = [good + 1, good + 2].map(|n| json!({"n": n}).to_string().into_bytes());
            good += 2;
            let payloads = [&neighbours[0], payload, &neighbours[1]];
            let packets = (1..).zip(payloads).map(|(id, payload)| publish(version, id, false, &topic, payload));
            wire.send(&packets.collect::<Vec<_>>().concat());
            let expected = match version {
                // 3.1.1 has no word for it: the message is safe, and would be sent for ever otherwise.
                Version::V3 => 0,
                Version::V5 => *reason,
            };
            let answers = [1, 2, 3].map(|id| wire.acknowledgement(id));
            assert_eq!(answers, [0, expected, 0], "{code}");
        }
    }
    let path = "/devices/pump-7/telemetry?metric=n&limit=1000";
    let points = scene.platform.operator().get(path).expect(200)["points"].clone();
    let values: Vec<u64> = points.as_array().expect("points").iter().filter_map(|p| p["value"].as_u64()).collect();
    assert_eq!(values, (1..=good).collect::<Vec<_>>(), "every neighbour is stored");

    let letters = scene.platform.dead_letters();
    let kept: Vec<(Value, Value)> =
        letters.iter().rev().map(|letter| (letter["code"].clone(), letter["payload_bytes"].clone())).collect();
    let twice = bad.iter().chain(&bad).map(|(code, _, payload)| (json!(code), json!(payload.len())));
    assert_eq!(kept, twice.collect::<Vec<_>>());
    assert!(letters.iter().all(|letter| letter["device_id"] == "pump-7" && letter["topic"] == json!(topic)));
    assert_eq!(scene.platform.counter("dead_letters"), 2 * bad.len() as u64);
    assert_eq!(scene.platform.counter("messages_refused"), 2 * bad.len() as u64);

    let mut codes: Vec<&str> = bad.iter().map(|(code, ..)| *code).collect();
    codes.dedup();
    scene.ends_with(&codes.into_iter().map(|code| ("telemetry.refused", "pump-7", code)).collect::<Vec<_>>());
}

#[test]
fn bad_payloads_by_http_are_kept_and_named_too() {
    let mut scene = Scene::start();
    let device = scene.platform.device("pi-kitchen", AuthMode::ServerTls);
    let rest = scene.platform.rest_of(&device);
    for _ in 0..2 {
        rest.post("/telemetry", b"not json").expect_problem(400, "not_json");
        rest.post("/telemetry", br#"{"device_id":"another","t":1}"#).expect_problem(400, "wrong_device");
    }
    assert_eq!(scene.platform.dead_letters().len(), 4);
    scene.serves_on();
    scene.ends_with(&[
        ("telemetry.refused", "pi-kitchen", "not_json"),
        ("telemetry.refused", "pi-kitchen", "wrong_device"),
    ]);
}
