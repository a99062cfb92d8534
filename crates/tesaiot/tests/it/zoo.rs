//! A zoo of broken servers, and what `tesaiot publish` says of each: the message, the hint, the exit code.
//!
//! Every animal is real: a real socket, real TLS where it gets that far, real MQTT packets, and the real program. What
//! it says is a snapshot, because a person will read exactly that.

mod acknowledgements;
mod certificates;
mod client_certificates;
mod connect;
pub(crate) mod forge;
mod network;
mod platform;
pub(crate) mod raw;
mod silence;
mod unexpected;

use std::path::Path;

use crate::publish::place::tesaiot;
use crate::support::PATIENCE;
use crate::support::process::{Outcome, run};

/// Runs `tesaiot publish` with a bundle, and returns what a person sees of a failure, without what changes from run to
/// run.
#[track_caller]
fn publish(bundle: &Path, port: u16, arguments: &[&str]) -> String {
    let outcome = run(tesaiot(bundle, "publish").args(arguments), PATIENCE);
    said(&outcome, bundle, port)
}

/// Exit code and the error with its causes and its hint: the summary of a run and warnings have tests of their own.
#[track_caller]
fn said(outcome: &Outcome, bundle: &Path, port: u16) -> String {
    assert!(!outcome.timed_out, "it hangs: {outcome:#?}");
    let begin = |word: &str| outcome.stderr.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((begin("error: "), begin("hint: ")), (1, 1), "{outcome:#?}");
    let code = outcome.code.expect("an exit code");
    assert_ne!(code, 0, "{outcome:#?}");
    let told = |line: &&str| ["error: ", "  cause: ", "hint: "].iter().any(|word| line.starts_with(word));
    let told: Vec<&str> = outcome.stderr.lines().filter(told).collect();
    let text = without_times(&told.join("\n"));
    let text = text.replace(&format!(":{port}"), ":PORT").replace(&bundle.display().to_string(), "BUNDLE");
    format!("exit {code}\n{text}")
}

/// Replaces every `2026-11-22T07:41:56Z` by TIME.
pub(crate) fn without_times(text: &str) -> String {
    let pattern = b"0000-00-00T00:00:00";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let is_time = rest.len() >= pattern.len()
            && pattern.iter().zip(rest.bytes()).all(|(expected, byte)| match expected {
                b'0' => byte.is_ascii_digit(),
                expected => byte == *expected,
            });
        if is_time {
            let after = &rest[pattern.len()..];
            rest = after.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
            rest = rest.strip_prefix('Z').unwrap_or(rest);
            shown.push_str("TIME");
        } else {
            shown.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    shown
}
