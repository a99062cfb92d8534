//! `tesaiot doctor` from outside: what it finds at our platform, at mosquitto, and where something is broken.

mod broken;
mod healthy;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::publish::place::tesaiot;
use crate::support::PATIENCE;
use crate::support::process::{Outcome, run};

/// Runs it with a bundle and these arguments.
#[track_caller]
fn doctor(bundle: &Path, arguments: &[&str]) -> Outcome {
    let outcome = run(tesaiot(bundle, "doctor").args(arguments), PATIENCE);
    assert!(!outcome.timed_out, "it hangs: {outcome:#?}");
    outcome
}

/// The report as a program reads it, and the exit code.
#[track_caller]
fn report(bundle: &Path, arguments: &[&str]) -> (Value, i32) {
    let outcome = doctor(bundle, &[arguments, &["--json"]].concat());
    let report = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"));
    (report, outcome.code.expect("an exit code"))
}

/// The outcome of one check.
#[track_caller]
fn outcome<'a>(report: &'a Value, id: &str) -> &'a str {
    check(report, id)["outcome"].as_str().expect("an outcome")
}

#[track_caller]
fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id} in {report:#}"))
}

/// A bundle whose REST interface is at this port, where no such thing answers.
fn without_rest(bundle: PathBuf, port: u16) -> PathBuf {
    let endpoints = format!(
        r#"{{"mqtt_host":"127.0.0.1","mqtt_mtls_port":{port},"mqtt_tls_port":{port},"api_base_url":"https://127.0.0.1:{port}"}}"#
    );
    std::fs::write(bundle.join("endpoints.json"), endpoints).expect("endpoints.json");
    bundle
}

/// A readable report without what changes from run to run: times, serial numbers, names drawn by lot.
fn masked(report: &str) -> String {
    let mask = |line: &str, before: &str, shown: &str| match line.split_once(before) {
        Some((start, rest)) => {
            let end = rest.find([' ', ',', '"']).unwrap_or(rest.len());
            format!("{start}{before}{shown}{}", &rest[end..])
        }
        None => line.to_owned(),
    };
    let lines = report.lines().map(|line| {
        let masks = [("answered in ", "TIME"), ("serial ", "SERIAL"), ("Intermediate CA ", "NAME"), (", in ", "SOME")];
        masks.iter().fold(line.to_owned(), |line, (before, shown)| mask(&line, before, shown))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The checks with this outcome.
fn with<'a>(report: &'a Value, outcome: &str) -> Vec<&'a str> {
    let checks = report["checks"].as_array().expect("checks").iter();
    checks.filter(|check| check["outcome"] == outcome).filter_map(|check| check["id"].as_str()).collect()
}
