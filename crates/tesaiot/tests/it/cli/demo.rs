//! `tesaiot demo` as a process: it ends by itself, tells the truth, and its lines work as printed.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{tesaiot, tesaiot_run};
use crate::support::PATIENCE;
use crate::support::process::{Running, run};

#[test]
fn it_ends_by_itself_and_says_what_was_stored() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let outcome = tesaiot_run(home.path(), &["demo", "--for", "5s", "--json"]).expect_success();
    let summary: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&summary["ok"], &summary["problems"]), (&true.into(), &serde_json::json!([])));
    let devices = summary["devices"].as_array().expect("devices");
    let auths: Vec<_> = devices.iter().map(|device| (&device["client"], &device["auth"])).collect();
    assert_eq!(auths, [(&"agent".into(), &"server-tls".into()), (&"publisher".into(), &"mtls".into())]);
    for device in devices {
        let number = |name: &str| device[name].as_u64().expect("a number");
        assert!(number("sampled") >= 4, "one each second: {device}");
        assert_eq!((number("acknowledged"), number("stored")), (number("sampled"), number("sampled")), "{device}");
    }
    // The lines to copy name the directory, and it is gone.
    let words = outcome.stderr.split_whitespace();
    let directory = words.skip_while(|word| *word != "--certs-dir").nth(1).expect("a line to copy");
    assert!(!PathBuf::from(directory).exists(), "{directory}");
}

#[test]
fn the_lines_to_copy_work_as_printed() {
    let home = tempfile::tempdir().expect("a temporary directory");
    // A path that a shell would take apart.
    let temporary = home.path().join("it's a \"temporary\" directory");
    std::fs::create_dir(&temporary).expect("a directory");
    let running = Running::start(tesaiot(home.path(), &["demo"]).env("TMPDIR", &temporary));
    let program = |line: &str| {
        let is_one =
            line.starts_with("mosquitto_pub ") || line.starts_with("curl ") || line.contains("tesaiot publish ");
        is_one.then(|| line.to_owned())
    };
    let lines = running.stdout.wait_for(3, PATIENCE, program);
    let lines =
        lines.unwrap_or_else(|| panic!("no lines to copy: {}\n{}", running.stdout.text(), running.stderr.text()));
    for line in &lines {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(home.path());
        let outcome = run(&mut shell, PATIENCE);
        assert_eq!(outcome.code, Some(0), "{line}\n{outcome:#?}");
    }
    // What they sent is shown, and comes from the device of each.
    for shown in ["demo-you  weight = 12.5 kg  ", "demo-agent  door_open = true  ", "demo-you  spo2 = "] {
        let seen = |line: &str| line.starts_with(shown).then_some(());
        assert!(running.stdout.wait_for(1, PATIENCE, seen).is_some(), "{shown}: {}", running.stdout.text());
    }
    running.signal("INT");
    let outcome = running.wait(PATIENCE).expect_success();
    assert!(outcome.stdout.contains("Every sample was acknowledged, and is in the store."), "{outcome:#?}");
    assert_eq!(std::fs::read_dir(&temporary).expect("a directory").count(), 0, "nothing is left");
}
