//! The configuration file of `tesaiot up`: the long names of its flags, in TOML.
//!
//! ```toml
//! host = ["iot.example.org", "192.0.2.7"]
//! retain = "400d"
//! publish-rate = "100/s,5000"
//! ```
//!
//! It is read as words of the command line, by the same rules and with the same complaints: there is one list of settings,
//! and one meaning of each. A flag on the command line wins over the file. Every mistake is listed, not the first.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, Parser};
use toml::{Table, Value};

use super::UpArgs;
use crate::cli::{self, Cli};

/// Flags that are of one call and not of a platform.
const NOT_SETTINGS: [&str; 3] = ["config", "json", "help"];

/// Why a configuration file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// It cannot be read.
    #[error("the configuration {} cannot be read", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// It has mistakes: all of them.
    #[error("the configuration {} has mistakes:\n  {}", path.display(), mistakes.join("\n  "))]
    Mistakes {
        /// The file
        path: PathBuf,
        /// One line each
        mistakes: Vec<String>,
    },
}

impl SettingsError {
    /// What to do now.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path, and that this user may read it",
            Self::Mistakes { .. } => {
                "settings are the long names of the flags in `tesaiot up --help`: retain = \"400d\""
            }
        }
    }
}

/// What the command line says, over what the file says.
pub(super) fn merged(path: &Path, words: &[OsString]) -> anyhow::Result<UpArgs> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.into(), source })?;
    let mistakes = |mistakes| SettingsError::Mistakes { path: path.into(), mistakes };
    let table: Table = text.parse().map_err(|error: toml::de::Error| mistakes(vec![said(&error.to_string())]))?;
    // The command line was understood once already: it is understood again.
    let matches = Cli::command().try_get_matches_from(words)?;
    let explicit = matches.subcommand_matches("up").cloned().unwrap_or_default();
    let settings = settings(table, &explicit).map_err(mistakes)?;
    let up = words.iter().position(|word| word == "up").map_or(words.len(), |at| at + 1);
    let all = words[..up].iter().cloned().chain(settings).chain(words[up..].iter().cloned());
    match Cli::try_parse_from(all)?.command {
        cli::Command::Up(arguments) => Ok(*arguments),
        _ => anyhow::bail!("`up` is not where it was"),
    }
}

/// The words that say what the file says, without those that `explicit` says itself.
fn settings(table: Table, explicit: &ArgMatches) -> Result<Vec<OsString>, Vec<String>> {
    let command = UpArgs::augment_args(Command::new("up")).no_binary_name(true);
    let (mut words, mut mistakes) = (Vec::new(), Vec::new());
    for (name, value) in table {
        let known = command.get_arguments().find(|argument| argument.get_long() == Some(name.as_str()));
        let Some(argument) = known.filter(|_| !NOT_SETTINGS.contains(&name.as_str())) else {
            mistakes.push(format!("{name}: there is no such setting"));
            continue;
        };
        match setting(&command, argument, value) {
            Ok(setting) if explicit.value_source(argument.get_id().as_str()) != Some(ValueSource::CommandLine) => {
                words.extend(setting);
            }
            Ok(_) => {}
            Err(mistake) => mistakes.push(format!("{name}: {mistake}")),
        }
    }
    if mistakes.is_empty() { Ok(words) } else { Err(mistakes) }
}

fn setting(command: &Command, argument: &Arg, value: Value) -> Result<Vec<OsString>, String> {
    let name = argument.get_long().unwrap_or_default();
    let word = |value: Value| match value {
        Value::String(text) => Ok(OsString::from(format!("--{name}={text}"))),
        Value::Integer(number) => Ok(OsString::from(format!("--{name}={number}"))),
        other => Err(format!("{} is not what belongs here", other.type_str())),
    };
    let words = match value {
        Value::Boolean(wanted) if !argument.get_action().takes_values() => {
            Vec::from_iter(wanted.then(|| OsString::from(format!("--{name}"))))
        }
        _ if !argument.get_action().takes_values() => return Err("true or false belongs here".into()),
        Value::Array(values) => values.into_iter().map(word).collect::<Result<_, _>>()?,
        other => vec![word(other)?],
    };
    // Alone, so that every setting is complained about.
    command.clone().try_get_matches_from(&words).map_err(|error| said(&error.to_string()))?;
    Ok(words)
}

/// The first line of a complaint, which says it.
fn said(complaint: &str) -> String {
    let line = complaint.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, explicit: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let explicit = UpArgs::augment_args(Command::new("up")).no_binary_name(true).get_matches_from(explicit);
        let words = settings(text.parse().unwrap(), &explicit)?;
        Ok(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn a_file_says_what_flags_say_and_flags_win() {
        let text = r#"
            host = ["iot.example.org", "192.0.2.7"]
            mqtt-port = 1883
            require-client-certificate = true
            publish-rate = "100/s,5000"
        "#;
        let all = ["--host=iot.example.org", "--host=192.0.2.7", "--mqtt-port=1883", "--publish-rate=100/s,5000"];
        let mut found = words(text, &[]).unwrap();
        assert!(found.contains(&"--require-client-certificate".to_owned()));
        found.retain(|word| word != "--require-client-certificate");
        assert_eq!(found, all);
        let found = words(text, &["--host", "other", "--mqtt-port", "8883", "--require-client-certificate"]).unwrap();
        assert_eq!(found, ["--publish-rate=100/s,5000"]);
        assert_eq!(words("require-client-certificate = false", &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_mistake_is_listed() {
        let text = r#"
            publish-rat = "100/s"
            publish-rate = "100"
            mqtt-port = 70000
            require-client-certificate = "yes"
            json = true
            retain = 1.5
            [limits]
        "#;
        let mistakes = words(text, &[]).unwrap_err();
        assert_eq!(mistakes.len(), 7, "{mistakes:#?}");
        assert!(mistakes.iter().any(|mistake| mistake.contains("publish-rate") && mistake.contains("100/s or")));
        assert!(mistakes.iter().any(|mistake| mistake.contains("mqtt-port") && mistake.contains("70000")));
    }
}
