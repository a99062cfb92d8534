//! Running other programs: where the tree is, which cargo, and what a failed step says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The root of the workspace: the folder above this package.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where build products go; `CARGO_TARGET_DIR` moves it, as for cargo itself.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// True on a build machine, by the usual convention `CI=true`.
pub(crate) fn on_build_machine() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// The cargo that runs us, so that a `+toolchain` stays the same below.
pub(crate) fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// True when `cargo NAME` is there, asked of the subcommand itself.
pub(crate) fn has_cargo_subcommand(name: &str) -> bool {
    quiet(cargo([name, "--version"]).stdin(Stdio::null())).is_some()
}

/// Runs one named step with its output shown, and fails when it fails.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {name}");
    let started = Instant::now();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("{name}: {} did not start", shown(command)))?;
    if !status.success() {
        bail!("{name} failed ({status}): {}", shown(command));
    }
    eprintln!("    {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// What a command printed, or `None` when it is not there or failed.
pub(crate) fn quiet(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Finds a program in `PATH`, or where Debian keeps servers: a user's `PATH` often lacks `/usr/sbin`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
