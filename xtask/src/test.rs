//! `test`: set-up, then every test of the workspace against the real peers.

use std::process::Command;

use anyhow::Result;

use crate::check;
use crate::command::{cargo, has_cargo_subcommand, on_build_machine, step};
use crate::setup;

/// `arguments` go to the test runner as they are: a filter, `-p NAME`, `--no-fail-fast`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let environment = setup::prepare()?;
    if on_build_machine() {
        eprintln!("CI=true: formatting and lints come first");
        check::style()?;
    }
    // Doc tests run before the others: the last summary on the screen is then the one that counts.
    if arguments.is_empty() {
        let mut examples = cargo(["test", "--quiet", "--doc", "--workspace"]);
        step("doc tests", examples.envs(environment.clone()))?;
    } else {
        eprintln!("==> doc tests: skipped, arguments were given for the test runner");
    }
    let mut tests = runner(arguments);
    step("tests", tests.args(arguments).envs(environment))
}

/// nextest where it is installed: each test in its own process, and a deadline for each.
fn runner(arguments: &[String]) -> Command {
    let mut words = match (has_cargo_subcommand("nextest"), on_build_machine()) {
        (true, true) => vec!["nextest", "run", "--profile", "ci"],
        (true, false) => vec!["nextest", "run"],
        (false, _) => {
            eprintln!("cargo-nextest is not installed: using cargo test");
            vec!["test", "--tests"]
        }
    };
    let names_packages = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    if !arguments.iter().any(names_packages) {
        words.push("--workspace");
    }
    cargo(words)
}
