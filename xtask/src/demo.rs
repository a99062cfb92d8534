//! `demo`: the demonstration, built for speed.

use anyhow::Result;

use crate::command::{cargo, step};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--package", "tesaiot", "--", "demo"]);
    step("demo", command.args(arguments))
}
