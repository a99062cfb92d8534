//! The help of every command, as a snapshot: a change of it is a decision.

use super::tesaiot_run;

const COMMANDS: [&str; 32] = [
    "",
    "up",
    "demo",
    "device",
    "device add",
    "device list",
    "device show",
    "device bundle",
    "device enable",
    "device disable",
    "device revoke",
    "device rotate-key",
    "device remove",
    "telemetry",
    "telemetry get",
    "telemetry watch",
    "telemetry events",
    "telemetry gaps",
    "telemetry dead-letters",
    "telemetry dead-letters list",
    "telemetry dead-letters show",
    "telemetry dead-letters replay",
    "broker",
    "broker clients",
    "broker sessions",
    "backup",
    "backup restore",
    "store",
    "store check",
    "store stats",
    "store compact",
    "publish",
];

#[test]
fn help_of_every_command() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let agent = ["agent", "agent status", "agent config", "agent config example", "agent config check"];
    for command in COMMANDS.iter().chain(&agent).chain(&["doctor"]) {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let outcome = tesaiot_run(home.path(), &arguments).expect_success();
        assert_eq!(outcome.stderr, "", "{command}");
        let name = format!("help {command}").trim_end().replace(' ', "_");
        insta::assert_snapshot!(name, outcome.stdout);
        let widest = outcome.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{command}: {widest:?} columns");
    }
}

#[test]
fn the_version_is_the_package_s() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let outcome = tesaiot_run(home.path(), &["--version"]).expect_success();
    assert_eq!(outcome.stdout, concat!("tesaiot ", env!("CARGO_PKG_VERSION")));
}
