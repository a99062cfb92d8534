//! The payload, seen without a broker.

use std::fs;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde_json::Value;
use tesaiot_contract::bundle::Bundle;

use super::place::{DEVICE, Place, publish, tesaiot};
use crate::support::PATIENCE;
use crate::support::process::run;

/// The members of `data`, in the order in which they are written.
const MEMBERS: [&str; 13] = [
    "spo2",
    "spo2_unit",
    "temperature",
    "temperature_unit",
    "heart_rate",
    "heart_rate_bpm",
    "perfusion_index",
    "motion",
    "signal_quality",
    "rhythm",
    "rr_interval_ms",
    "qt_interval_ms",
    "site",
];

/// Fails unless `payload` is a sample of the medical profile (the wire contract, section 8).
#[track_caller]
pub(super) fn check_payload(payload: &str) {
    let value: Value = serde_json::from_str(payload).expect("the payload is JSON");
    let data = &value["data"];
    let (head, members) = payload.split_once(r#","data":{"#).expect("a data object");
    assert!(head.starts_with(&format!(r#"{{"device_id":"{DEVICE}","timestamp":""#)), "{payload}");
    let name = |member: &str| member.split('"').nth(1).map(str::to_owned);
    // No value of the profile holds a comma.
    let members: Vec<String> = members.split(',').filter_map(name).collect();
    assert_eq!(members, MEMBERS, "{payload}");

    let timestamp = value["timestamp"].as_str().expect("a timestamp");
    assert!(timestamp.len() == "2025-12-09T10:30:45+00:00".len() && timestamp.ends_with("+00:00"), "{timestamp}");
    let age = Timestamp::now().as_second() - timestamp.parse::<Timestamp>().expect("RFC 3339").as_second();
    assert!((0..120).contains(&age), "{timestamp}");

    let whole = |name: &str, range: RangeInclusive<i64>| {
        let number = data[name].as_i64().unwrap_or_else(|| panic!("{name} is no integer: {payload}"));
        assert!(range.contains(&number), "{name}: {payload}");
        number
    };
    let decimal = |name: &str, range: RangeInclusive<f64>| {
        let number = data[name].as_f64().unwrap_or_else(|| panic!("{name} is no number: {payload}"));
        assert!(range.contains(&number), "{name}: {payload}");
        assert!((number * 100.0 - (number * 100.0).round()).abs() < 1e-6, "{name} has two decimals: {payload}");
    };
    whole("spo2", 94..=99);
    assert_eq!(whole("heart_rate", 65..=95), whole("heart_rate_bpm", 65..=95));
    whole("signal_quality", 85..=100);
    decimal("temperature", 36.2..=37.5);
    decimal("perfusion_index", 2.5..=6.5);
    decimal("rr_interval_ms", 600.0..=950.0);
    decimal("qt_interval_ms", 320.0..=420.0);
    assert!(data["motion"].is_boolean());
    assert!(["sinus", "afib", "svt", "vt", "unknown"].contains(&data["rhythm"].as_str().expect("text")));
    assert!(["temporal", "oral", "core"].contains(&data["site"].as_str().expect("text")));
    assert_eq!((data["spo2_unit"].as_str(), data["temperature_unit"].as_str()), (Some("%"), Some("°C")));
}

#[test]
fn it_prints_the_payload_and_needs_neither_key_nor_network() {
    let place = Place::new();
    let bundle = place.bundle(1, None);
    fs::remove_file(bundle.join("ca-chain.pem")).expect("it is there");
    let outcome = publish(&bundle, &["--dry-run"]).expect_success();
    assert_eq!((outcome.stdout.lines().count(), outcome.stderr.as_str()), (1, ""), "{outcome:#?}");
    check_payload(&outcome.stdout);
}

#[test]
fn it_prints_as_many_as_would_be_sent_at_the_times_they_would_be() {
    let place = Place::new();
    let outcome = publish(&place.bundle(1, None), &["--dry-run", "--count", "3", "--interval", "2"]).expect_success();
    let seconds = |line: &str| -> i64 {
        let value: Value = serde_json::from_str(line).expect("JSON");
        value["timestamp"].as_str().expect("a timestamp").parse::<Timestamp>().expect("RFC 3339").as_second()
    };
    let times: Vec<_> = outcome.stdout.lines().map(seconds).collect();
    assert_eq!(times, [times[0], times[0] + 2, times[0] + 4]);
}

#[test]
fn the_device_comes_from_flag_environment_or_bundle() {
    let place = Place::new();
    let bundle = place.bundle(1, None);
    let device = |command: &mut std::process::Command| {
        let outcome = run(command.arg("--dry-run"), PATIENCE).expect_success();
        serde_json::from_str::<Value>(&outcome.stdout).expect("JSON")["device_id"].as_str().expect("text").to_owned()
    };
    assert_eq!(device(&mut tesaiot(&bundle, "publish")), DEVICE);
    assert_eq!(device(tesaiot(&bundle, "publish").env("TESAIOT_DEVICE_ID", "from-env")), "from-env");
    let both = device(tesaiot(&bundle, "publish").env("DEVICE_ID", "from-env").args(["--device-id", "from-flag"]));
    assert_eq!(both, "from-flag");
    assert_eq!(Bundle::read_device_id(&bundle).expect("a device id").as_str(), DEVICE);
}

#[test]
fn without_a_device_the_missing_file_is_named() {
    let place = Place::new();
    let nowhere = place.directory.path().join("nowhere");
    let outcome = publish(&nowhere, &["--dry-run"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    let expected = format!("error: File not readable: {}\n", nowhere.join("device_id.txt").display());
    assert!(outcome.stderr.starts_with(&expected), "{outcome:#?}");
}

/// What has no code of its own: the output goes to a disk that is full.
#[test]
fn an_output_that_cannot_be_written_ends_with_1() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    let bundle = place.certificate_bundle(1);
    let output = tesaiot(&bundle, "publish").arg("--dry-run").stdout(full).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    insta::assert_snapshot!(said, @r"
    error: the output cannot be written
      cause: No space left on device (os error 28)
    ");
}
