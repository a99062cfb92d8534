//! The help of every command, as a snapshot: a change of it is a decision.

use super::{tesaiot, tesaiot_run};
use crate::support::PATIENCE;
use crate::support::process::run;

const COMMANDS: [&str; 40] = [
    "",
    "up",
    "demo",
    "device",
    "device add",
    "device list",
    "device show",
    "device bundle",
    "device enroll-token",
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
    "command",
    "command send",
    "command list",
    "broker",
    "broker clients",
    "broker sessions",
    "token",
    "token add",
    "token list",
    "token revoke",
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
    let agent = [
        "agent",
        "agent status",
        "agent config",
        "agent config example",
        "agent config check",
        "agent enroll",
        "agent renew",
    ];
    for command in COMMANDS.iter().chain(&agent).chain(&["doctor", "completions"]) {
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

/// The main commands, in Thai; asked for, and by the locale.
#[test]
fn help_in_thai() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let main = ["", "up", "demo", "device", "device add", "telemetry", "telemetry get", "publish", "agent", "doctor"];
    for command in main {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.extend(["--help", "--lang", "th"]);
        let asked = tesaiot_run(home.path(), &arguments).expect_success();
        arguments.truncate(arguments.len() - 2);
        let locale = run(tesaiot(home.path(), &arguments).env("LANG", "th_TH.UTF-8"), PATIENCE).expect_success();
        assert_eq!((&asked.stdout, asked.stderr.as_str()), (&locale.stdout, ""), "{command}");
        let name = format!("thai {command}").trim_end().replace(' ', "_");
        insta::assert_snapshot!(name, asked.stdout);
    }
}

/// What a shell reads it as: a program that completes our words.
#[test]
fn help_of_a_shell_to_complete_commands_and_flags() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = tesaiot_run(home.path(), &["completions", shell]).expect_success();
        assert!(script.stdout.contains("doctor") && script.stdout.contains("certs-dir"), "{shell}");
        std::fs::write(home.path().join(shell), script.stdout).expect("a script");
    }
    let completed = |words: &str, last: &str| {
        let script = format!(
            "source ./bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _tesaiot tesaiot {last} x; echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        run(bash.current_dir(home.path()).args(["--norc", "-c", &script]), PATIENCE).expect_success().stdout
    };
    assert_eq!(completed("tesaiot doct", "doct").trim(), "doctor");
    assert_eq!(completed("tesaiot publish --mqtt-v", "--mqtt-v").trim(), "--mqtt-version");
}

#[test]
fn the_version_is_the_package_s() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let outcome = tesaiot_run(home.path(), &["--version"]).expect_success();
    assert_eq!(outcome.stdout, concat!("tesaiot ", env!("CARGO_PKG_VERSION")));
}
