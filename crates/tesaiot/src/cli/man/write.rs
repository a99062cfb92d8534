//! `tesaiot man`: writes the pages.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::pages;
use crate::cli::Cli;
use crate::exit;

/// Write a manual page for each command.
#[derive(Args)]
pub(crate) struct ManArgs {
    /// The directory to write them to; created when it is not there
    directory: PathBuf,
}

impl ManArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let directory = self.directory;
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        for (name, page) in pages(Cli::command())? {
            let path = directory.join(format!("{name}.1"));
            fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(exit::code(exit::OK))
    }
}
