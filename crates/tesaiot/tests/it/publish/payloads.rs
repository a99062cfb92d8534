//! What is sent: profiles, messages, files and stdin, to which topic and how.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::place::{DEVICE, Place, publish, tesaiot};
use crate::support::PATIENCE;
use crate::support::process::{Running, run};

/// Runs the command with `input` on its stdin, which then ends.
fn with_input(command: &mut Command, input: &str) -> crate::support::process::Outcome {
    let mut running = Running::start(command);
    for line in input.lines() {
        running.write_line(line);
    }
    running.wait(PATIENCE)
}

/// What arrived on `topic`, `count` messages in their order.
fn arrived(watcher: &Running, topic: &str, count: usize) -> Vec<String> {
    let start = format!("{topic} ");
    let payload = |line: &str| line.strip_prefix(&start).map(str::to_owned);
    watcher.stdout.wait_for(count, PATIENCE, payload).unwrap_or_else(|| panic!("{}", watcher.stdout.text()))
}

#[test]
fn a_message_a_file_lines_and_values_arrive_as_they_are() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let watcher = place.watcher(broker.port());
    let of_type = |kind: &str| format!("device/{DEVICE}/telemetry/{kind}");

    publish(&bundle, &["--type", "level/tank", "--message", r#"{"level":4.2}"#]).expect_success();
    assert_eq!(arrived(&watcher, &of_type("level/tank"), 1), [r#"{"level":4.2}"#]);

    let file = bundle.join("reading.json");
    fs::write(&file, r#"{"file":true}"#).expect("a file");
    let path = file.to_str().expect("UTF-8");
    publish(&bundle, &["--type", "file", "--file", path, "--count", "2", "--interval", "0"]).expect_success();
    assert_eq!(arrived(&watcher, &of_type("file"), 2), [r#"{"file":true}"#; 2]);

    let mut lines = tesaiot(&bundle, "publish");
    let outcome = with_input(lines.args(["--type", "lines", "--stdin-lines", "--json"]), "one\n\ntwo words\n3");
    let summary: Value = serde_json::from_str(&outcome.expect_success().stdout).expect("JSON");
    assert_eq!((&summary["acknowledged"], &summary["not_sent"]), (&3.into(), &0.into()));
    assert_eq!(arrived(&watcher, &of_type("lines"), 3), ["one", "two words", "3"]);

    let mut values = tesaiot(&bundle, "publish");
    let outcome = with_input(values.args(["--type", "values", "--stdin-json"]), "{\"a\":1} {\"b\":\n[2]}\n3");
    outcome.expect_success();
    assert_eq!(arrived(&watcher, &of_type("values"), 3), ["{\"a\":1}", "{\"b\":", "3"]);
    assert!(watcher.stdout.text().contains("{\"b\":\n[2]}"), "a value is sent as it stands");
}

#[test]
fn lines_are_sent_as_they_come_and_no_more_than_asked_for() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let watcher = place.watcher(broker.port());
    let topic = format!("device/{DEVICE}/telemetry");
    let mut running = Running::start(tesaiot(&bundle, "publish").args(["--stdin-lines", "--count", "2"]));
    running.write_line("first");
    assert_eq!(arrived(&watcher, &topic, 1), ["first"], "it does not wait for the end of its input");
    running.write_line("second");
    running.write_line("third");
    let outcome = running.wait(PATIENCE).expect_success();
    assert!(outcome.stderr.starts_with("2 messages to "), "{outcome:#?}");
    assert_eq!(arrived(&watcher, &topic, 2), ["first", "second"]);
}

#[test]
fn input_that_is_no_json_ends_the_run_after_what_stood_before_it() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let mut values = tesaiot(&bundle, "publish");
    let outcome = with_input(values.args(["--stdin-json", "--json"]), "{\"a\":1}\n{\"secret\" nonsense");
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    let summary: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&summary["acknowledged"], &summary["sent"]), (&1.into(), &1.into()));
    insta::assert_snapshot!(outcome.stderr, @r"
    error: 1 messages were acknowledged; then value 2 of the input is not JSON: line 2, column 11: no value can stand there
    hint: what stood before it was sent: go on behind it
    ");
}

#[test]
fn every_quality_of_service_arrives_and_a_retained_message_stays() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    for (qos, mqtt) in [("0", "3.1.1"), ("1", "5"), ("2", "3.1.1"), ("2", "5")] {
        let topic = format!("device/{DEVICE}/telemetry/qos{qos}-{mqtt}");
        let arguments = ["--topic", &topic, "--qos", qos, "--mqtt-version", mqtt, "--retain", "--message", qos];
        let outcome = publish(&bundle, &[&arguments[..], &["--count", "3", "--interval", "0", "--json"]].concat());
        let summary: Value = serde_json::from_str(&outcome.expect_success().stdout).expect("JSON");
        assert_eq!((&summary["acknowledged"], &summary["topic"]), (&3.into(), &topic.as_str().into()));
    }
    // Who comes later is given what was kept.
    let watcher = place.watcher(broker.port());
    for (qos, mqtt) in [("0", "3.1.1"), ("1", "5"), ("2", "3.1.1"), ("2", "5")] {
        assert_eq!(arrived(&watcher, &format!("device/{DEVICE}/telemetry/qos{qos}-{mqtt}"), 1), [qos]);
    }
}

#[test]
fn profiles_are_built_in_or_files() {
    let place = Place::new();
    let bundle = place.bundle(1, None);
    let metrics = |profile: &str| -> Vec<String> {
        let outcome = publish(&bundle, &["--dry-run", "--profile", profile]).expect_success();
        let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        value["data"].as_object().expect("data").keys().cloned().collect()
    };
    assert!(metrics("environment").contains(&"humidity".to_owned()));
    assert!(metrics("industrial").contains(&"vibration_velocity_rms".to_owned()));
    let file = bundle.join("tank.toml");
    fs::write(&file, "[[metric]]\nname = \"level\"\nunit = \"m\"\nrange = [1, 1]\ndecimals = 1\n").expect("a file");
    let outcome = publish(&bundle, &["--dry-run", "--profile", "bundle/tank.toml"]).expect_success();
    assert!(outcome.stdout.ends_with("\"data\":{\"level\":1.0,\"level_unit\":\"m\"}}"), "{outcome:#?}");

    fs::write(&file, "[[metric]]\nname = \"level\"\n").expect("a file");
    let mut told = String::new();
    for profile in ["bundle/tank.toml", "agricultural", "./nowhere.toml"] {
        let outcome = publish(&bundle, &["--dry-run", "--profile", profile]);
        assert_eq!(outcome.code, Some(3), "{outcome:#?}");
        told += &format!("{}\n", outcome.stderr);
    }
    insta::assert_snapshot!(told, @r#"
    error: bundle/tank.toml: metric "level": it needs one of range, choices, true_once_in and same_as
    hint: a metric is a name and one of range, choices, true_once_in, same_as; see docs/profiles
    error: no profile "agricultural": it is neither built in nor a file
    hint: the profiles are medical, environment and industrial, or give the path of a file
    error: File not readable: ./nowhere.toml
      cause: No such file or directory (os error 2)
    hint: check the path and who may read the file
    "#);
}

#[test]
fn a_key_from_the_command_line_or_a_file_is_used_instead_of_the_certificate() {
    let place = Place::new();
    let broker = place.broker(false);
    let bundle = place.certificate_bundle(broker.port());
    let key = "tesa_dak_bed12_00112233445566778899aabbccddeeff";
    let file = bundle.join("key");
    fs::write(&file, format!("{key}\n")).expect("a file");
    for arguments in [["--api-key", key], ["--api-key-file", "bundle/key"]] {
        let outcome = publish(&bundle, &[&arguments[..], &["--json"]].concat()).expect_success();
        let summary: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!(summary["auth"], "server-tls", "{outcome:#?}");
        assert!(!format!("{outcome:?}").contains(key), "{outcome:#?}");
    }
    fs::write(&file, " \n").expect("a file");
    for path in ["bundle/key", "bundle/none"] {
        let outcome = publish(&bundle, &["--api-key-file", path]);
        assert_eq!(outcome.code, Some(3), "{outcome:#?}");
        assert!(outcome.stderr.starts_with(&format!("error: File not readable: {path}\n")), "{outcome:#?}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let place = Place::new();
    let bundle = place.bundle(1, None);
    for arguments in [
        &["--message", "a", "--stdin-lines"][..],
        &["--profile", "medical", "--file", "x"],
        &["--topic", "a/b", "--type", "c"],
        &["--topic", "a/#"],
        &["--type", "a/+"],
        &["--qos", "3"],
        &["--timeout", "0"],
        &["--api-key", ""],
        &["--api-key", "k", "--api-key-file", "f"],
        &["--wait-stored", "--mqtt-version", "3.1.1"],
        &["--dry-run", "--fix-permissions"],
    ] {
        let outcome = run(tesaiot(&bundle, "publish").args(arguments), PATIENCE);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:#?}");
    }
}
