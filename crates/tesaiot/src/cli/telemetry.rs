//! `tesaiot telemetry`: what devices sent, from the store and as it arrives.

mod feed;
pub(crate) mod format;
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
}

impl TelemetryArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Get(get) => get.run(),
            Verb::Watch(watch) => watch.run(),
        }
    }
}
