//! The words of the command line: nouns, then verbs. Each command is a plain struct that runs.

#[cfg(all(feature = "device", unix))]
pub(crate) mod agent;
#[cfg(feature = "platform")]
mod backup;
#[cfg(feature = "platform")]
mod broker;
#[cfg(feature = "platform")]
pub(crate) mod client;
#[cfg(feature = "platform")]
pub(crate) mod command;
#[cfg(feature = "completions")]
mod completions;
#[cfg(all(feature = "device", feature = "platform"))]
mod demo;
#[cfg(feature = "platform")]
mod device;
#[cfg(feature = "device")]
pub(crate) mod doctor;
mod language;
#[cfg(feature = "platform")]
mod limit;
#[cfg(feature = "platform")]
mod logging;
#[cfg(any(feature = "man", test))]
mod man;
#[cfg(feature = "platform")]
mod progress;
#[cfg(feature = "device")]
pub(crate) mod publish;
#[cfg(feature = "platform")]
mod rate;
#[cfg(feature = "platform")]
mod retain;
#[cfg_attr(not(unix), path = "cli/console.rs")]
mod signal;
#[cfg(feature = "platform")]
mod size;
#[cfg(feature = "platform")]
mod span;
#[cfg(feature = "platform")]
mod store;
#[cfg(feature = "platform")]
pub(crate) mod telemetry;
#[cfg(feature = "platform")]
mod token;
#[cfg(feature = "platform")]
pub(crate) mod up;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use language::Language;

#[cfg(feature = "platform")]
use crate::exit;

/// Secure IoT in one program: the device and the platform.
#[derive(Parser)]
#[command(name = "tesaiot", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The language of the help; read before the rest is ([`Language::wanted`])
    #[arg(long = "lang", value_name = "LANGUAGE", value_enum, global = true, hide = true)]
    _language: Option<Language>,
}

#[cfg(feature = "platform")]
const EXAMPLES: &str = "\
Examples:
  tesaiot demo --for 30s                  see everything at work
  tesaiot up                              a platform on this machine
  tesaiot device add pump-7               a device, and its credentials in ./pump-7
  tesaiot publish --certs-dir ./pump-7    one sample, as that device
  tesaiot doctor --certs-dir ./pump-7     what of it works, what does not, and what to do
  tesaiot telemetry get pump-7            what is stored

Every command has --help with examples and exit codes. Data goes to stdout, everything else to stderr. \
NO_COLOR turns emphasis off; RUST_LOG (default: info) says how much the platform logs. \
--lang th, or LANG=th_TH.UTF-8, shows the help of the main commands in Thai: ภาษาไทย";

#[cfg(not(feature = "platform"))]
const EXAMPLES: &str = "\
Examples:
  tesaiot publish --certs-dir ./pump-7
  tesaiot agent --certs-dir ./pi-kitchen --sensor environment

Every command has --help with examples and exit codes. Data goes to stdout, everything else to stderr. \
NO_COLOR turns emphasis off. --lang th, or LANG=th_TH.UTF-8, shows the help of the main commands in Thai: ภาษาไทย";

#[derive(Subcommand)]
enum Command {
    /// Run the platform
    #[cfg(feature = "platform")]
    Up(Box<up::UpArgs>),
    /// Watch a platform at work, with real devices
    #[cfg(all(feature = "device", feature = "platform"))]
    Demo(demo::DemoArgs),
    /// Register devices, hand out their credentials, take them back
    #[cfg(feature = "platform")]
    Device(device::DeviceArgs),
    /// Read what devices sent, and watch it arrive
    #[cfg(feature = "platform")]
    Telemetry(telemetry::TelemetryArgs),
    /// Send commands to devices, and see what became of them
    #[cfg(feature = "platform")]
    #[command(name = "command")]
    Tell(command::CommandArgs),
    /// See who is connected, and which sessions there are
    #[cfg(feature = "platform")]
    Broker(broker::BrokerArgs),
    /// Make tokens for programs, and take them back
    #[cfg(feature = "platform")]
    Token(token::TokenArgs),
    /// Back up the platform of this machine while it runs, or restore a backup
    #[cfg(feature = "platform")]
    Backup(backup::BackupArgs),
    /// Check, measure and compact the telemetry store of this machine's platform
    #[cfg(feature = "platform")]
    Store(store::StoreArgs),
    /// Publish simulated telemetry, once or for a while
    #[cfg(feature = "device")]
    Publish(publish::PublishArgs),
    /// Check a bundle and a connection step by step, and say which level of security they meet
    #[cfg(feature = "device")]
    Doctor(doctor::DoctorArgs),
    /// Run as a device: read a sensor, deliver every sample, answer commands
    #[cfg(all(feature = "device", unix))]
    Agent(agent::AgentArgs),
    /// Print what a shell needs to complete commands, flags and their values
    #[cfg(feature = "completions")]
    Completions(completions::CompletionsArgs),
    /// Write a manual page for each command
    #[cfg(feature = "man")]
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// The command that is run once per sample, alone.
#[cfg(feature = "device")]
#[derive(Parser)]
#[command(name = "tesaiot", version)]
struct PublishAlone {
    #[command(subcommand)]
    command: OnlyPublish,
}

#[cfg(feature = "device")]
#[derive(Subcommand)]
enum OnlyPublish {
    Publish(publish::PublishArgs),
}

impl Cli {
    /// What the command line says. Help, the version and a misunderstanding end the program here, in the language of
    /// the person.
    pub(crate) fn read() -> Self {
        // Building the words of all commands takes longer than a sample takes to sign. Whatever is not plainly this
        // one command, help and mistakes included, is left to the whole.
        #[cfg(feature = "device")]
        if std::env::args_os().nth(1).is_some_and(|word| word == "publish")
            && let Ok(PublishAlone { command: OnlyPublish::Publish(arguments) }) = PublishAlone::try_parse()
        {
            return Self { command: Command::Publish(arguments), _language: None };
        }
        let language = Language::wanted(std::env::args_os(), |name| std::env::var(name).ok());
        if language == Language::English {
            return Self::parse();
        }
        let matches = language.of(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// Whatever went wrong, to be printed by [`failure`](crate::output::failure()).
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            #[cfg(feature = "platform")]
            Command::Up(arguments) => arguments.run(),
            #[cfg(all(feature = "device", feature = "platform"))]
            Command::Demo(arguments) => arguments.run(),
            #[cfg(feature = "platform")]
            Command::Device(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Telemetry(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Tell(arguments) => arguments.run(),
            #[cfg(feature = "platform")]
            Command::Broker(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Token(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Backup(arguments) => arguments.run().map(|()| exit::code(exit::OK)),
            #[cfg(feature = "platform")]
            Command::Store(arguments) => arguments.run(),
            #[cfg(feature = "device")]
            Command::Publish(arguments) => arguments.run(),
            #[cfg(all(feature = "device", unix))]
            Command::Agent(arguments) => arguments.run(),
            #[cfg(feature = "device")]
            Command::Doctor(arguments) => arguments.run(),
            #[cfg(feature = "completions")]
            Command::Completions(arguments) => arguments.run(),
            #[cfg(feature = "man")]
            Command::Man(arguments) => arguments.run(),
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

/// A word as a shell reads it back: quoted when it needs to be.
#[cfg(feature = "platform")]
pub(crate) fn quoted(word: &str) -> std::borrow::Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[cfg(feature = "platform")]
    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["/tmp/plain-1.0", "two words", "it's $HOME `x` \"y\"", "", "~", "*"] {
            let script = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("/tmp/plain-1.0"), "/tmp/plain-1.0");
    }
}
