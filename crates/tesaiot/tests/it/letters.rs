//! Dead letters and events over REST: listed in pages, replayed after a fix.

use std::path::Path;

use serde_json::{Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_mqtt::Version;
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Entry, Options};

use crate::support::platform_process::PlatformProcess;
use crate::support::wire::Wire;

/// Puts dead letters into the store of a platform that is not running: what a rule of yesterday refused.
fn refuse(data: &Path, device: &str, payloads: &[&str]) {
    let (_telemetry, mut appender) =
        Telemetry::open(&data.join("telemetry.db"), Options::default()).expect("the store opens");
    let letter = |payload: &&str| Entry::DeadLetter {
        device: Some(DeviceId::new(device).expect("an id")),
        topic: format!("device/{device}/telemetry/vital").into(),
        received_at: "2026-01-31T08:00:00Z".parse().expect("a time"),
        payload: payload.as_bytes().to_vec().into(),
        code: "not_json".into(),
        reason: "a rule of yesterday".into(),
    };
    let letters: Vec<Entry> = payloads.iter().map(letter).collect();
    appender.append(&letters).expect("the letters are stored");
}

fn numbers(page: &Value) -> Vec<u64> {
    let letters = page["dead_letters"].as_array().expect("dead letters");
    letters.iter().map(|letter| letter["number"].as_u64().expect("a number")).collect()
}

#[test]
fn a_dead_letter_is_replayed_once_and_what_is_still_wrong_stays() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let platform = PlatformProcess::start(&data);
    let device = platform.device("pump-7", "server-tls", directory.path());
    assert_eq!(platform.stop("TERM").code, Some(0));
    let good = r#"{"boot":"a","seq":1,"data":{"n":1,"m":2}}"#;
    let batch = r#"[{"boot":"a","seq":2,"data":{"n":2}},{"boot":"a","seq":3,"data":{"n":3}}]"#;
    let same = r#"{"boot":"a","seq":1,"data":{"n":1,"m":2}}"#;
    refuse(&data, "pump-7", &[good, "}{", batch, same]);

    let platform = PlatformProcess::start(&data);
    let operator = platform.operator();
    let first = operator.get("/dead-letters?limit=3").expect(200);
    assert_eq!((numbers(&first), &first["next"], &first["total"]), (vec![4, 3, 2], &json!(2), &json!(4)));
    let second = operator.get("/dead-letters?limit=3&before=2").expect(200);
    assert_eq!((numbers(&second), &second["next"]), (vec![1], &Value::Null));
    assert_eq!(numbers(&operator.get("/dead-letters?device_id=other-1").expect(200)), [0; 0]);
    assert_eq!(operator.get("/dead-letters/2").expect(200)["payload_text"], "}{");
    assert_eq!(operator.get("/dead-letters/1").expect(200)["payload"]["data"]["m"], 2);

    let replayed = operator.post("/dead-letters/1/replay", b"").expect(200);
    assert_eq!((&replayed["entries"], &replayed["duplicates"], &replayed["values"]), (&json!(1), &json!(0), &json!(2)));
    operator.post("/dead-letters/1/replay", b"").expect_problem(404, "not_found");
    operator.post("/dead-letters/2/replay", b"").expect_problem(422, "not_json");
    let rest = operator.post("/dead-letters/replay", b"").expect(200);
    assert_eq!((&rest["replayed"], &rest["refused"]), (&json!(2), &json!(1)));
    assert_eq!((&rest["entries"], &rest["duplicates"], &rest["values"]), (&json!(3), &json!(1), &json!(2)));
    let left = operator.get("/dead-letters").expect(200);
    assert_eq!((numbers(&left), &left["total"]), (vec![2], &json!(1)));

    // As if they had been understood when they came: the time is the time they came.
    let points = operator.get("/devices/pump-7/telemetry?metric=n").expect(200)["points"].clone();
    let points = points.as_array().expect("points");
    assert_eq!(points.iter().map(|point| &point["value"]).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(points.iter().all(|point| point["time"] == "2026-01-31T08:00:00Z" && point["type"] == "vital"));
    // A device replays nothing and reads no letters of others.
    let base = &platform;
    let own = base.rest().with_header("X-API-KEY", device.api_key());
    own.get("/dead-letters").expect_problem(403, "forbidden");
    own.post("/dead-letters/2/replay", b"").expect_problem(403, "forbidden");
    own.post("/dead-letters/replay", b"").expect_problem(403, "forbidden");
    base.rest().get("/dead-letters/2").expect_problem(401, "unauthorized");
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn events_are_listed_in_pages_by_whatever_name_of_the_topic_they_came() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let platform = PlatformProcess::start(&directory.path().join("data"));
    let device = platform.device("pump-7", "server-tls", directory.path());
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    let sent: [(&str, &[u8]); 4] = [
        ("device/pump-7/events/door", br#"{"open":true}"#),
        ("devices/pump-7/events/door", b"knock"),
        ("device/pump-7/status", br#"{"status":"online"}"#),
        ("device/pump-7/events", b"\xff\x01"),
    ];
    for (id, (topic, payload)) in (1..).zip(sent) {
        assert_eq!(wire.acknowledged(id, topic, payload), 0);
    }
    let own = platform.rest().with_header("X-API-KEY", device.api_key());
    let page = own.get("/devices/pump-7/events?limit=2").expect(200);
    assert_eq!(page["events"][0]["payload_hex"], "ff01");
    assert_eq!((&page["events"][1]["payload_text"], &page["events"][1]["topic"]), (&json!("knock"), &json!(sent[1].0)));
    let next = page["next"].as_u64().expect("there is more");
    let page = own.get(&format!("/devices/pump-7/events?limit=2&before={next}")).expect(200);
    assert_eq!((&page["events"][0]["payload"], &page["next"]), (&json!({"open": true}), &Value::Null));
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "a status is no event");
    own.get("/devices/pump-8/events").expect_problem(403, "forbidden");
    platform.operator().get("/devices/pump-8/events").expect_problem(404, "no_such_device");
}
