//! `curl` with an API key and the bundle's trust anchor.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tesaiot_store::registry::AuthMode;

use super::stored;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::rest::Rest;

/// Requests of a device with what its bundle says: key, address, trust anchor.
fn rest(device: &Device) -> Rest {
    let endpoints = std::fs::read(device.file("endpoints.json")).expect("endpoints.json");
    let endpoints: Value = serde_json::from_slice(&endpoints).expect("JSON");
    let base = endpoints["api_base_url"].as_str().expect("an address");
    Rest::new(base, &device.file("ca-chain.pem")).with_header("x-api-key", device.api_key())
}

#[test]
fn a_sample_is_sent_and_read_back_with_the_same_key() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-kitchen", AuthMode::ServerTls);
    let device_rest = rest(&device);
    let before = Timestamp::now();
    let sample =
        json!({"timestamp": "2025-12-09T10:30:45.5Z", "data": {"temperature": 36.85, "temperature_unit": "°C"}});
    for path in ["/telemetry", "/devices/pi-kitchen/telemetry", "/external/telemetry"] {
        let answer = device_rest.post(path, sample.to_string().as_bytes()).expect(201);
        assert_eq!((&answer["success"], &answer["device_id"]), (&json!(true), &json!("pi-kitchen")), "{path}");
        assert_eq!(answer["metrics_stored"], json!(["temperature"]), "{path}");
        assert_eq!(answer["timestamp"], "2025-12-09T10:30:45.5Z", "{path}");
        assert!(answer["telemetry_id"].is_string(), "{answer}");
    }
    let latest = device_rest.get("/devices/pi-kitchen/telemetry/latest").expect(200);
    let found = &latest["latest"][0];
    assert_eq!((&found["metric"], &found["value"]), (&json!("temperature"), &json!(36.85)));
    assert_eq!((&found["unit"], &found["type"]), (&json!("°C"), &Value::Null));
    assert_eq!(found["time"], "2025-12-09T10:30:45.5Z");
    let received: Timestamp = found["received_at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!(received > before - SignedDuration::from_millis(1) && received <= Timestamp::now(), "{found}");
    assert_eq!(device_rest.get("/devices/pi-kitchen").expect(200)["device_id"], "pi-kitchen");
}

#[test]
fn a_batch_is_stored_together_or_not_at_all() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-kitchen", AuthMode::ServerTls);
    let device_rest = rest(&device);
    let batch = |samples: Vec<Value>| json!({"telemetry": samples}).to_string();
    let time = |second: usize| format!("2025-12-09T10:{:02}:{:02}Z", second / 60, second % 60);
    let samples = |count| (0..count).map(|n| json!({"timestamp": time(n), "data": {"n": n}})).collect::<Vec<_>>();

    device_rest.post("/telemetry/batch", batch(samples(1000)).as_bytes()).expect(201);
    let points = device_rest.get("/devices/pi-kitchen/telemetry?metric=n&limit=2000").expect(200)["points"].clone();
    let values: Vec<u64> =
        points.as_array().expect("points").iter().filter_map(|point| point["value"].as_u64()).collect();
    assert_eq!(values, (0..1000).collect::<Vec<_>>());

    device_rest.post("/telemetry/batch", batch(samples(1001)).as_bytes()).expect_problem(400, "too_many_samples");
    let poisoned = batch(vec![json!({"data": {"m": 1}}), json!({"device_id": "another", "data": {"m": 2}})]);
    device_rest.post("/telemetry/batch", poisoned.as_bytes()).expect_problem(400, "wrong_device");
    device_rest.post("/telemetry/batch", br#"{"telemetry":{}}"#).expect_problem(400, "not_a_batch");
    let latest = device_rest.get("/devices/pi-kitchen/telemetry/latest").expect(200)["latest"].clone();
    assert_eq!(latest.as_array().map(Vec::len), Some(1), "nothing of the poisoned batch: {latest}");
    assert_eq!(platform.dead_letters().len(), 3, "and what was refused is kept");
}

#[test]
fn refusals_are_problem_details_that_old_clients_read_too() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-kitchen", AuthMode::ServerTls);
    let other = platform.device("pi-cellar", AuthMode::ServerTls);
    let (own, nobody, operator) = (rest(&device), platform.anonymous(), platform.operator());
    let sample = br#"{"data":{"t":1}}"#;

    nobody.post("/telemetry", sample).expect_problem(401, "unauthorized");
    let wrong = format!("{}0", &device.api_key()[..device.api_key().len() - 1]);
    let wrong = if wrong == device.api_key() { wrong.replace('0', "1") } else { wrong };
    nobody.clone().with_header("X-API-KEY", &wrong).post("/telemetry", sample).expect_problem(401, "unauthorized");
    own.post("/devices/pi-cellar/telemetry", sample).expect_problem(403, "forbidden");
    own.get("/devices/pi-cellar/telemetry/latest").expect_problem(403, "forbidden");
    own.get("/devices").expect_problem(403, "forbidden");
    operator.post("/telemetry", sample).expect_problem(403, "forbidden");
    operator.get("/devices/no-such-device").expect_problem(404, "no_such_device");
    operator.get("/devices/no-such-device/telemetry/latest").expect_problem(404, "no_such_device");
    nobody.get("/no/such/path").expect_problem(404, "no_such_path");
    nobody.delete("/health").expect_problem(405, "method_not_allowed");
    own.post("/telemetry", b"{").expect_problem(400, "not_json");
    own.post("/telemetry", b"").expect_problem(400, "payload_empty");
    let large = format!(r#"{{"data":{{"t":"{}"}}}}"#, "x".repeat(300 * 1024));
    own.post("/telemetry", large.as_bytes()).expect_problem(413, "payload_too_large");
    own.post("/telemetry", &vec![b' '; 5 * 1024 * 1024]).expect_problem(413, "too_large_to_keep");
    operator.get("/devices/pi-kitchen/telemetry?since=soon").expect_problem(400, "invalid_request");

    let codes: Vec<Value> = platform.dead_letters().iter().map(|letter| letter["code"].clone()).collect();
    let expected = ["too_large_to_keep", "payload_too_large", "payload_empty", "not_json"];
    assert_eq!(codes, expected.map(|code| json!(code)), "newest first");
    own.post("/telemetry", sample).expect(201);
    stored(&platform, &device, "t", &json!(1));
    assert_eq!(operator.get("/devices/pi-cellar/telemetry/latest").expect(200)["latest"], json!([]));
    drop(other);
}

#[test]
fn health_and_the_trust_anchor_are_for_everybody() {
    let platform = TestPlatform::start();
    let health = platform.anonymous().get("/health").expect(200);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["broker"]["connections"], 0);
    let anchor = platform.anonymous().get("/certificates/public/ca-certificate");
    assert_eq!(anchor.status, 200);
    let file = std::fs::read_to_string(platform.trust_chain()).expect("ca-chain.pem");
    assert_eq!(anchor.text.trim_end(), file.trim_end());
}
