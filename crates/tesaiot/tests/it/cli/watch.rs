//! `tesaiot telemetry watch`: what arrives, and what happens when the platform goes away.

use std::path::Path;

use serde_json::Value;

use super::up::Up;
use super::{tesaiot, tesaiot_run};
use crate::support::PATIENCE;
use crate::support::process::Running;

/// Watching, its subscription confirmed.
#[track_caller]
fn watch(home: &Path, arguments: &[&str]) -> Running {
    let running = Running::start(&mut tesaiot(home, &[&["telemetry", "watch"], arguments].concat()));
    let begun = |line: &str| line.starts_with("Watching ").then_some(());
    assert!(running.stderr.wait_for(1, PATIENCE, begun).is_some(), "{}", running.stderr.text());
    running
}

#[track_caller]
fn publish(home: &Path, device: &str) {
    tesaiot_run(home, &["publish", "--certs-dir", device]).expect_success();
}

#[test]
fn what_is_stored_is_shown_and_ctrl_c_is_a_good_end() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    for device in ["pump-7", "pump-8"] {
        tesaiot_run(home, &["device", "add", device]).expect_success();
    }
    let all = watch(home, &[]);
    let one = watch(home, &["pump-8", "--json"]);
    publish(home, "pump-7");
    publish(home, "pump-8");

    let seen = |device: &'static str| move |line: &str| line.contains(&format!("  {device}  spo2 = ")).then_some(());
    all.stdout.wait_for(1, PATIENCE, seen("pump-7")).expect("the first device's reading");
    all.stdout.wait_for(1, PATIENCE, seen("pump-8")).expect("the second device's reading");
    let json = |line: &str| serde_json::from_str::<Value>(line).ok();
    let sample = one.stdout.wait_for(1, PATIENCE, json).expect("a sample").remove(0);
    assert_eq!((&sample["deviceId"], &sample["units"]["spo2"]), (&"pump-8".into(), &"%".into()), "{sample}");

    for running in [all, one] {
        running.signal("INT");
        let outcome = running.wait(PATIENCE);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn it_connects_again_and_says_so() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let platform = Up::start(home);
    tesaiot_run(home, &["device", "add", "pump-7"]).expect_success();
    let watching = watch(home, &[]);
    let ports = platform.ports();
    assert_eq!(platform.stop("TERM").code, Some(0), "a watcher does not hold up a drain");
    let lost = |line: &str| line.contains("connecting again").then_some(());
    watching.stderr.wait_for(1, PATIENCE, lost).expect("a word about the loss");

    let platform = Up::start_on(home, ports);
    let back = |line: &str| line.starts_with("Connected again").then_some(());
    watching.stderr.wait_for(1, PATIENCE, back).expect("a word about the return");
    publish(home, "pump-7");
    let seen = |line: &str| line.contains("  pump-7  spo2 = ").then_some(());
    watching.stdout.wait_for(1, PATIENCE, seen).expect("a reading after the return");
    watching.signal("TERM");
    assert_eq!(watching.wait(PATIENCE).code, Some(0));
    assert_eq!(platform.stop("TERM").code, Some(0));
}
