//! The words of the command line: nouns, then verbs. Each command is a plain struct that runs.

#[cfg(feature = "platform")]
pub(crate) mod client;
#[cfg(feature = "platform")]
mod device;
#[cfg(feature = "platform")]
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "platform")]
use crate::exit;

/// Secure IoT in one program: the device and the platform.
#[derive(Parser)]
#[command(name = "tesaiot", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Every command has --help with examples and exit codes. Data goes to stdout, everything else to stderr.
NO_COLOR turns emphasis off; RUST_LOG (default: info) says how much the platform logs.";

#[derive(Subcommand)]
enum Command {
    /// Register devices, hand out their credentials, take them back
    #[cfg(feature = "platform")]
    Device(device::DeviceArgs),
    /// Read what devices sent, and watch it arrive
    #[cfg(feature = "platform")]
    Telemetry(telemetry::TelemetryArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Whatever went wrong, to be printed by [`failure`](crate::output::failure()).
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            #[cfg(feature = "platform")]
            Command::Device(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Telemetry(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
        }
    }
}

/// Where the platform keeps its data unless told otherwise: `tesaiot` in the user's data directory
/// (`$XDG_DATA_HOME`, else `$HOME/.local/share`; the XDG Base Directory Specification). None for a user without a home.
#[cfg(feature = "platform")]
pub(crate) fn data_directory() -> Option<std::path::PathBuf> {
    let absolute = |name: &str| {
        let path = std::path::PathBuf::from(std::env::var_os(name)?);
        // The specification: a relative path is to be ignored.
        path.is_absolute().then_some(path)
    };
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(base.join("tesaiot"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }
}
