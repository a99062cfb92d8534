//! What was received and is no sample, and what was not received, from an operator's chair.

use std::path::Path;

use serde_json::{Value, json};

use super::tesaiot_run;
use super::up::Up;
use crate::support::device::Device;
use crate::support::process::Outcome;
use crate::support::wire::Wire;

fn said(home: &Path, line: &str) -> Outcome {
    tesaiot_run(home, &line.split_whitespace().collect::<Vec<_>>())
}

#[track_caller]
fn json_of(home: &Path, line: &str) -> Value {
    let outcome = said(home, line).expect_success();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {outcome:#?}"))
}

#[test]
fn dead_letters_events_and_gaps_of_a_device() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    said(home, "device add pump-7").expect_success();
    let device = Device::new(home.join("pump-7"));
    assert!(said(home, "telemetry dead-letters").expect_success().stderr.contains("No dead letters"));
    assert!(said(home, "telemetry gaps pump-7").expect_success().stderr.contains("no numbered messages"));
    assert!(said(home, "telemetry events pump-7").expect_success().stderr.contains("No events"));

    let [mqtt, ..] = platform.ports();
    let mut wire = Wire::login(([127, 0, 0, 1], mqtt).into(), &device, tesaiot_mqtt::Version::V3);
    let (telemetry, events) = (device.topic("telemetry"), device.topic("events/door"));
    let messages: [(&str, &[u8]); 7] = [
        (&telemetry, b"not json"),
        (&telemetry, br#"{"device_id":"pump-70","n":1}"#),
        (&telemetry, br#"{"boot":"a","seq":1,"n":1}"#),
        (&telemetry, br#"{"boot":"a","seq":2,"n":2}"#),
        (&telemetry, br#"{"boot":"a","seq":6,"n":6}"#),
        (&events, br#"{"open":true}"#),
        (&events, b"knock"),
    ];
    for (id, (topic, payload)) in (1..).zip(messages) {
        assert_eq!(wire.acknowledged(id, topic, payload), 0);
    }

    let letters = json_of(home, "telemetry dead-letters --json");
    let codes = |letters: &Value| {
        let letters = letters.as_array().expect("an array").iter();
        letters.map(|letter| letter["code"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&letters), ["wrong_device", "not_json"]);
    assert_eq!(letters, json_of(home, "telemetry dead-letters list --device pump-7 --json"));
    assert_eq!(codes(&json_of(home, "telemetry dead-letters list --code not_json --json")), ["not_json"]);
    let table = said(home, "telemetry dead-letters --limit 1").expect_success();
    assert_eq!(table.stdout.lines().count(), 2, "{table:#?}");
    assert!(table.stderr.contains("the newest 1, of 2 in all"), "{table:#?}");
    let shown = said(home, "telemetry dead-letters show 1").expect_success().stdout;
    assert!(shown.contains("(not_json)") && shown.ends_with("  not json"), "{shown}");
    assert_eq!(json_of(home, "telemetry dead-letters show 2 --json")["payload"]["device_id"], "pump-70");

    let refused = said(home, "telemetry dead-letters replay 1");
    assert_eq!(refused.code, Some(7), "{refused:#?}");
    assert!(refused.stderr.contains("still not understood"), "{refused:#?}");
    let all = json_of(home, "telemetry dead-letters replay --all --json");
    assert_eq!((&all["replayed"], &all["refused"]), (&json!(0), &json!(2)));
    assert_eq!(said(home, "telemetry dead-letters show 99").code, Some(7));
    for wrong in ["replay", "replay 1 --all", "replay 1 --code x", "--limit 0"] {
        assert_eq!(said(home, &format!("telemetry dead-letters {wrong}")).code, Some(2), "{wrong}");
    }

    assert_eq!(
        json_of(home, "telemetry gaps pump-7 --json"),
        json!([{"boot": "a", "first": 1, "last": 6, "missing": [[3, 5]]}])
    );
    assert!(said(home, "telemetry gaps pump-7").expect_success().stdout.contains("3        3-5"));
    let events = json_of(home, "telemetry events pump-7 --json");
    assert_eq!((&events[0]["payload_text"], &events[1]["payload"]), (&json!("knock"), &json!({"open": true})));
    let newest = said(home, "telemetry events pump-7 --limit 1").expect_success();
    assert!(newest.stdout.ends_with("knock") && newest.stderr.contains("the newest 1"), "{newest:#?}");
    for line in ["gaps nobody", "events nobody"] {
        assert_eq!(said(home, &format!("telemetry {line}")).code, Some(7), "{line}");
    }
    assert_eq!(platform.stop("TERM").code, Some(0));
}
