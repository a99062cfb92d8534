//! `tesaiot telemetry`: what devices sent, from the store and as it arrives.

mod dead_letters;
mod events;
mod feed;
pub(crate) mod format;
mod gaps;
mod get;
mod shape;
mod time;
mod watch;

use clap::{Args, Subcommand};

use crate::exit::OPERATOR_CODES;

/// Read what devices sent, and watch it arrive.
#[derive(Args)]
#[command(after_help = OPERATOR_CODES, arg_required_else_help = true)]
pub(crate) struct TelemetryArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print stored readings of one device, oldest first
    Get(get::Get),
    /// Print readings as they are stored, until Ctrl-C
    Watch(watch::Watch),
    /// Print the events of a device, newest first
    Events(events::EventsArgs),
    /// Print which numbered messages of a device are missing
    Gaps(gaps::Gaps),
    /// See what could not be understood, and read it again after a fix
    DeadLetters(dead_letters::DeadLetters),
}

impl TelemetryArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Get(get) => get.run(),
            Verb::Watch(watch) => watch.run(),
            Verb::Events(events) => events.run(),
            Verb::Gaps(gaps) => gaps.run(),
            Verb::DeadLetters(letters) => letters.run(),
        }
    }
}
