//! `tesaiot telemetry dead-letters`: what could not be understood, and its way back.

mod list;
mod replay;
mod show;

use clap::{Args, Subcommand};

/// See what could not be understood, and read it again after a fix.
#[derive(Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Subcommand)]
enum Verb {
    /// List them, newest first; also without a verb
    List(list::List),
    /// Show one, with its payload
    Show(show::Show),
    /// Read one, or all, again by the rules of today: what is understood is stored, and no dead letter any more
    Replay(replay::Replay),
}

const HELP: &str = "\
A message that is not what it should be is kept here with the reason, and acknowledged. \
The oldest are dropped for newer ones when there are too many, and that is counted.

Examples:
  tesaiot telemetry dead-letters --device pump-7
  tesaiot telemetry dead-letters show 12
  tesaiot telemetry dead-letters replay --all --code timestamp_too_late

Exit codes: as those of `tesaiot telemetry`";

impl DeadLetters {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            None => self.list.run(),
            Some(Verb::List(list)) => list.run(),
            Some(Verb::Show(show)) => show.run(),
            Some(Verb::Replay(replay)) => replay.run(),
        }
    }
}
