//! `tesaiot agent config`: the configuration file, before it is used.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tesaiot_device::Config;
use tesaiot_device::config::EXAMPLE;

use crate::output;

/// Show an example of the configuration file, or check one.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a configuration with every setting explained
    #[command(after_help = "Examples:\n  tesaiot agent config example > agent.toml")]
    Example,
    /// Check a configuration; every mistake is named
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

const CHECK_HELP: &str = "\
Examples:
  tesaiot agent config check /etc/tesaiot/agent.toml

Exit codes:
  0    the file is good
  2    it holds mistakes, or cannot be read";

impl ConfigArgs {
    /// Prints the example, or what a file says.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Example => output::line(EXAMPLE.trim_end())?,
            Verb::Check { file } => {
                let config = Config::load(&file)?;
                for sensor in &config.sensors {
                    let plan = &sensor.plan;
                    let name = output::plain(&plan.name);
                    output::line(format_args!("{name}: telemetry/{}, every {:?}", plan.kind, plan.interval))?;
                }
                let (sensors, commands) = (config.sensors.len(), config.commands.programs.len());
                output::say(format_args!("good: {sensors} sensors, {commands} commands of your own"));
            }
        }
        Ok(())
    }
}
