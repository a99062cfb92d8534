//! `tesaiot completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::{exit, output};

/// Print what a shell needs to complete commands, flags and their values.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const HELP: &str = "\
Examples:
  tesaiot completions bash > ~/.local/share/bash-completion/completions/tesaiot
  tesaiot completions zsh > \"${fpath[1]}/_tesaiot\"
  tesaiot completions fish > ~/.config/fish/completions/tesaiot.fish
  tesaiot completions powershell >> $PROFILE

Exit codes:
  0  printed
  2  wrong command line";

impl CompletionsArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tesaiot", &mut script);
        output::data(String::from_utf8_lossy(&script))?;
        Ok(exit::code(exit::OK))
    }
}
