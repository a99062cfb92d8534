//! `man`: the manual pages, from the words of the program's help.

use anyhow::Result;

use crate::command::{cargo, step, target};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let directory = arguments.first().map_or_else(|| target().join("man"), Into::into);
    let mut command = cargo(["run", "--package", "tesaiot", "--features", "man", "--", "man"]);
    step("manual pages", command.arg(&directory))?;
    eprintln!("in {}", directory.display());
    Ok(())
}
