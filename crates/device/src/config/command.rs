//! `[commands]` and `[[command]]`: what the device does when told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tesaiot_contract::topic::CommandName;
use toml::{Table, Value};

use super::{Mistakes, seconds};
use crate::command::BuiltIn;

/// Which commands the device carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandsSettings {
    /// Built-in commands that are carried out
    pub allowed: Vec<BuiltIn>,
    /// A changed configuration is taken back when the platform has acknowledged nothing within this time
    pub rollback: Duration,
    /// Commands of the owner's
    pub programs: Vec<CommandSettings>,
}

/// A command of the owner's: a name and what it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    /// The name
    pub name: CommandName,
    /// The executable; absolute
    pub path: PathBuf,
    /// Its arguments; `{name}` stands for a parameter
    pub arguments: Vec<String>,
    /// What a command may bring
    pub parameters: BTreeMap<String, Parameter>,
    /// How long it may run
    pub timeout: Duration,
    /// Bytes of its output that are answered
    pub output_limit: usize,
}

/// What a parameter may be. There is no free text beyond a length, and no word that begins with a dash: it would be
/// taken for an option.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameter {
    /// An integer of this range, both ends included.
    Integer((i64, i64)),
    /// One of these words.
    OneOf(Vec<String>),
    /// Text of at most this many bytes, without control characters.
    Text(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    allow: Option<Vec<String>>,
    rollback_seconds: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    path: PathBuf,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    timeout_seconds: Option<Value>,
    output_limit_bytes: Option<usize>,
}

impl Default for CommandsSettings {
    /// All that are built in, two minutes to reach the platform, none of the owner's.
    fn default() -> Self {
        Self { allowed: BuiltIn::ALL.to_vec(), rollback: Duration::from_secs(120), programs: Vec::new() }
    }
}

impl CommandsSettings {
    pub(super) fn from_tables(section: Option<Value>, programs: Vec<Table>, mistakes: &mut Mistakes) -> Self {
        let mut settings = Self::default();
        let section = section.map(|value| mistakes.keep("[commands]", value.try_into::<Section>()));
        if let Some(Section { allow, rollback_seconds }) = section.flatten() {
            if let Some(names) = allow {
                settings.allowed = names.iter().filter_map(|name| built_in(name, mistakes)).collect();
            }
            let rollback = rollback_seconds.map(|value| mistakes.keep("[commands] rollback_seconds", seconds(&value)));
            settings.rollback = rollback.flatten().unwrap_or(settings.rollback);
        }
        for (number, table) in programs.into_iter().enumerate() {
            let place = format!("[[command]] number {}", number + 1);
            let Some(command) = mistakes.keep_all(&place, CommandSettings::from_table(table)) else { continue };
            if settings.programs.iter().any(|other| other.name == command.name) {
                mistakes.add(&format!("{place}: another command is called {} too", command.name));
            }
            settings.programs.push(command);
        }
        settings
    }
}

fn built_in(name: &str, mistakes: &mut Mistakes) -> Option<BuiltIn> {
    let found = BuiltIn::named(name);
    if found.is_none() {
        mistakes.add(&format!("[commands] allow: {name:?} is no command of the agent"));
    }
    found
}

impl CommandSettings {
    fn from_table(table: Table) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let entry = match table.try_into::<Entry>() {
            Ok(entry) => entry,
            Err(error) => return Err(Mistakes(vec![error.to_string().trim_end().to_owned()])),
        };
        let name = mistakes.keep("name", CommandName::new(&entry.name));
        if BuiltIn::named(&entry.name).is_some() {
            mistakes.add(&format!("name: {} is built in", entry.name));
        }
        if !entry.path.is_absolute() {
            mistakes.add("path: a program is named by an absolute path, so that no search path decides");
        }
        let timeout = entry.timeout_seconds.map(|value| mistakes.keep("timeout_seconds", seconds(&value)));
        let output_limit = entry.output_limit_bytes.unwrap_or(4096);
        if !(1..=64 * 1024).contains(&output_limit) {
            mistakes.add("output_limit_bytes: expected a number from 1 to 65536");
        }
        for placeholder in entry.arguments.iter().flat_map(|argument| placeholders(argument)) {
            if !entry.parameters.contains_key(placeholder) {
                mistakes.add(&format!("arguments: {{{placeholder}}} is none of the parameters"));
            }
        }
        for (name, parameter) in &entry.parameters {
            check(name, parameter, &mut mistakes);
        }
        let Some(name) = name else { return Err(mistakes) };
        mistakes.none_or(Self {
            name,
            path: entry.path,
            arguments: entry.arguments,
            parameters: entry.parameters,
            timeout: timeout.flatten().unwrap_or(Duration::from_secs(30)),
            output_limit,
        })
    }
}

fn check(name: &str, parameter: &Parameter, mistakes: &mut Mistakes) {
    let good = match parameter {
        Parameter::Integer((low, high)) => low <= high,
        Parameter::OneOf(words) => !words.is_empty(),
        Parameter::Text(bytes) => (1..=4096).contains(bytes),
    };
    if !good {
        mistakes.add(&format!("parameters: {name} allows nothing, or text of more than 4096 bytes"));
    }
}

/// The names in braces.
pub(crate) fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name))
}
