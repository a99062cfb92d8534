//! The words of the command line: help, errors, and every operator command against a platform that runs.

mod demo;
mod failures;
mod help;
mod letters;
mod operator;
mod up;
mod watch;

use std::path::Path;
use std::process::Command;

use crate::support::PATIENCE;
use crate::support::process::{Outcome, run};

/// The program with these arguments, a home without a platform, and nothing of ours in the environment.
fn tesaiot(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
    command.args(arguments).env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(home);
    command
}

/// Runs it to its end.
#[track_caller]
fn tesaiot_run(home: &Path, arguments: &[&str]) -> Outcome {
    run(&mut tesaiot(home, arguments), PATIENCE)
}
