//! `check` for other systems: whether the device build compiles for Windows and macOS.
//!
//! Only what this machine has a standard library for is checked (`rustup target add x86_64-pc-windows-gnu`). Nothing is
//! linked, so no C compiler for those systems is needed: the C code of dependencies is passed over.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, step, target};

const SYSTEMS: [&str; 2] = ["x86_64-pc-windows-gnu", "x86_64-apple-darwin"];

pub(crate) fn run() -> Result<()> {
    for system in SYSTEMS {
        if !is_installed(system) {
            eprintln!("note: {system} is not checked: rustup target add {system}");
            continue;
        }
        let mut command = cargo(["check", "--quiet", "--package", "tesaiot", "--no-default-features"]);
        command.args(["--features", "device", "--target", system]);
        // Products for another system beside the usual ones: neither invalidates the other.
        command.env("CARGO_TARGET_DIR", target().join("systems")).env("RUSTFLAGS", "-D warnings");
        let name = system.replace('-', "_");
        step(system, command.env(format!("CC_{name}"), "true").env(format!("AR_{name}"), "true"))?;
    }
    Ok(())
}

/// Whether the compiler of this tree has that system's standard library.
fn is_installed(system: &str) -> bool {
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", system]).output();
    library.is_ok_and(|output| {
        let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && std::path::Path::new(&directory).is_dir()
    })
}
