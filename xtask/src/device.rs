//! `cargo xtask device`: the program as it is shipped to a device, small.
//!
//! One place knows how it is built, so that what is measured, packaged and documented is the same program. The flags of
//! `.cargo/device.toml` must not reach what runs on the building machine, build scripts and macros: cargo keeps them
//! apart when the target is named, even when it is this machine (docs/decisions/0021).

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, quiet, step, target};

/// Builds for the target that `arguments` name with `--target`, else for this machine, and prints where the program is.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let program = build(arguments)?;
    let length = program.metadata().with_context(|| program.display().to_string())?.len();
    writeln!(std::io::stdout(), "{} ({length} bytes)", program.display())?;
    Ok(())
}

/// As [`run`]; returns where the program is.
pub(crate) fn build(arguments: &[String]) -> Result<PathBuf> {
    let named = arguments.iter().position(|word| word == "--target").and_then(|at| arguments.get(at + 1));
    let system = match named {
        Some(system) => system.clone(),
        None => this_machine()?,
    };
    let words = ["build", "--profile", "device", "--package", "tesaiot", "--no-default-features"];
    let mut build = cargo(words);
    build.args(["--features", "device", "--config", ".cargo/device.toml"]);
    if named.is_none() {
        build.args(["--target", &system]);
    }
    step("the program of a device", build.args(arguments))?;
    Ok(target().join(system).join("device/tesaiot"))
}

fn this_machine() -> Result<String> {
    let said = quiet(Command::new("rustc").arg("-vV")).context("rustc does not say what it is")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it runs on")?.to_owned())
}
