//! `fuzz`: the targets in `fuzz/`, under libFuzzer, with the stable toolchain.
//!
//! What `cargo fuzz run --sanitizer none` does, without it: coverage comes from flags of the compiler that are stable. Our
//! code has no `unsafe`; what a sanitizer would look for are panics, and libFuzzer's own limits of memory and time.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{cargo, quiet, root, step};

const TARGETS: [&str; 3] = ["connection", "framing", "topics"];

/// libFuzzer sees what code an input reaches by these.
const COVERAGE: [&str; 6] = [
    "--cfg fuzzing",
    "-C passes=sancov-module",
    "-C llvm-args=-sanitizer-coverage-level=4",
    "-C llvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares",
    "-C codegen-units=1",
];

/// `[TARGET [SECONDS]]`: every target for a minute, unless said otherwise. New inputs stay in `fuzz/target/corpus`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let seconds = arguments.get(1).map_or("60", String::as_str);
    let wanted: Vec<&str> = match arguments.first().map(String::as_str) {
        None => TARGETS.to_vec(),
        Some(name) if TARGETS.contains(&name) => vec![name],
        Some(name) => bail!("no target `{name}`: there are {}", TARGETS.join(", ")),
    };
    let Some(triple) = host() else { bail!("rustc does not say which machine this is") };
    let folder = root().join("fuzz");
    // The flags are for what runs on the target; build scripts of dependencies run here, without libFuzzer.
    let mut build = cargo(["build", "--release", "--target", &triple]);
    build.current_dir(&folder).env("RUSTFLAGS", COVERAGE.join(" "));
    step("fuzz targets", &mut build)?;
    for name in wanted {
        let found = folder.join("target/corpus").join(name);
        std::fs::create_dir_all(&found)?;
        let mut target = Command::new(folder.join("target").join(&triple).join("release").join(name));
        target.current_dir(&folder).arg(format!("-max_total_time={seconds}"));
        target.args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        target.arg(&found).arg(Path::new("corpus").join(name));
        step(name, &mut target)?;
    }
    Ok(())
}

/// The triple of this machine.
fn host() -> Option<String> {
    let said = quiet(Command::new("rustc").arg("-vV"))?;
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}
