//! `check`: what must hold before a commit, without running the product.

use anyhow::Result;

use crate::command::{cargo, has_cargo_subcommand, step};
use crate::systems;

pub(crate) fn run() -> Result<()> {
    style()?;
    step("direction of imports", &mut cargo(["test", "--quiet", "--package", "xtask", "--test", "rooms"]))?;
    systems::run()?;
    dependencies()
}

/// Formatting and lints; a warning is a failure.
pub(crate) fn style() -> Result<()> {
    step("formatting", &mut cargo(["fmt", "--all", "--check"]))?;
    step("lints", &mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Licences, bans, sources and advisories, by `deny.toml`.
fn dependencies() -> Result<()> {
    if !has_cargo_subcommand("deny") {
        eprintln!("==> dependencies: skipped, cargo-deny is not installed");
        eprintln!("    hint: cargo install --locked cargo-deny");
        return Ok(());
    }
    step("dependencies", &mut cargo(["deny", "check"]))
}
