//! The agent's configuration file: which sensors it reads, and which commands it carries out.
//!
//! The file is the owner's, with comments ([`EXAMPLE`]). The platform may change part of it by command; such a change is
//! a file of its own that lies over the owner's ([`remote`]), so that the owner's is never rewritten. Mistakes are
//! reported together, each with its place.

mod command;
mod error;
pub mod remote;
mod sensor;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tesaiot_contract::DeviceId;
use toml::{Table, Value};

use crate::outbox::Durability;
use crate::sampler::Sampler;
use crate::sensor::Tree;
pub use command::{CommandSettings, CommandsSettings, Parameter};
pub use error::{ConfigError, Mistakes};
pub use sensor::{Read, SensorSettings, Simulation};

/// A commented configuration with everything in it.
pub const EXAMPLE: &str = include_str!("config/example.toml");

/// Time between two readings unless the configuration says otherwise (the wire contract, section 9).
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Longest file that is read, in bytes.
const MOST_BYTES: u64 = 256 * 1024;
/// Each sensor that blocks has a thread.
const MOST_SENSORS: usize = 64;

/// A configuration that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where `/sys` and `/proc` are
    pub root: PathBuf,
    /// Host and port that replace the bundle's
    pub connection: Connection,
    /// What is read
    pub sensors: Vec<SensorSettings>,
    /// When a sample is safe from a power cut, if it is said here
    pub durability: Option<Durability>,
    /// What is done when told
    pub commands: CommandsSettings,
    /// As it was written
    table: Table,
}

/// Host and port, as far as they are not those of the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The broker's host
    pub host: Option<String>,
    /// The broker's port
    pub port: Option<u16>,
}

impl Config {
    /// Reads the owner's file.
    ///
    /// # Errors
    /// It cannot be read, or holds mistakes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let table = read_table(path)?;
        Self::from_table(table).map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })
    }

    /// Reads a configuration in TOML.
    ///
    /// # Errors
    /// What is wrong with it, all of it.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let table = text.parse::<Table>().map_err(|error| Mistakes(vec![error.to_string().trim_end().to_owned()]))?;
        Self::from_table(table)
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it, all of it.
    pub fn from_table(table: Table) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut rest = table.clone();
        let mut take = |name: &str| rest.remove(name);
        let interval = match take("interval_seconds") {
            Some(value) => mistakes.keep("interval_seconds", seconds(&value)).unwrap_or(DEFAULT_INTERVAL),
            None => DEFAULT_INTERVAL,
        };
        let root = take("root").map(|root| mistakes.keep("root", root.try_into::<PathBuf>()));
        let connection = take("connection").map(|value| mistakes.keep("[connection]", value.try_into::<Connection>()));
        let intervals = take("intervals").map(|value| mistakes.keep("[intervals]", value.try_into::<Table>()));
        let disabled = take("disabled");
        let durability = take("durability");
        let entries = list(take("sensor"), "sensor", &mut mistakes);
        let commands = take("commands");
        let programs = list(take("command"), "command", &mut mistakes);
        if entries.len() > MOST_SENSORS {
            mistakes.add(&format!("at most {MOST_SENSORS} sensors are read, not {}", entries.len()));
        }
        let mut sensors: Vec<SensorSettings> = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let place = format!("[[sensor]] number {}", number + 1);
            let Some(sensor) = mistakes.keep_all(&place, SensorSettings::from_table(entry, interval)) else { continue };
            if sensors.iter().any(|other| other.plan.name == sensor.plan.name) {
                mistakes.add(&format!("{place}: another sensor is called {} too; give it a name", sensor.plan.name));
            }
            sensors.push(sensor);
        }
        for (name, value) in intervals.flatten().unwrap_or_default() {
            let Some(interval) = mistakes.keep(&format!("[intervals] {name}"), seconds(&value)) else { continue };
            // A sensor that the owner has removed since takes its interval with it.
            for sensor in sensors.iter_mut().filter(|sensor| *sensor.plan.name == *name) {
                sensor.plan.interval = interval;
            }
        }
        let disabled = disabled.map(|value| mistakes.keep("disabled", value.try_into::<Vec<String>>()));
        let disabled = disabled.flatten().unwrap_or_default();
        // A name that no sensor has any more is no mistake: the owner may have removed it since.
        sensors.retain(|sensor| !disabled.iter().any(|name| **name == *sensor.plan.name));
        let durability = durability.and_then(|value| {
            let read = value.as_str().map_or_else(|| Err("expected a word".to_owned()), str::parse::<Durability>);
            let durability = mistakes.keep("durability", read)?;
            if durability == Durability::Memory {
                mistakes.add("durability: memory can only be chosen where the agent is started");
            }
            Some(durability)
        });
        let commands = CommandsSettings::from_tables(commands, programs, &mut mistakes);
        for name in rest.keys() {
            mistakes.add(&format!("{name} is no setting"));
        }
        mistakes.none_or(Self {
            root: root.flatten().unwrap_or_else(|| PathBuf::from("/")),
            connection: connection.flatten().unwrap_or_default(),
            sensors,
            durability,
            commands,
            table,
        })
    }

    /// As it was written, comments aside.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Its sensors, at work.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn sampler(&self, device: &DeviceId) -> Result<Sampler, crate::sampler::SamplerError> {
        let mut sampler = Sampler::new();
        let tree = Tree::new(&self.root);
        for sensor in &self.sensors {
            sensor.add_to(&mut sampler, &tree, device)?;
        }
        Ok(sampler)
    }
}

/// Reads a file of TOML.
fn read_table(path: &Path) -> Result<Table, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MOST_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned(), length, limit: MOST_BYTES });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::Mistakes {
        path: path.to_owned(),
        mistakes: Mistakes(vec![error.to_string().trim_end().to_owned()]),
    })
}

/// `[[name]]` as tables.
fn list(value: Option<Value>, name: &str, mistakes: &mut Mistakes) -> Vec<Table> {
    let Some(value) = value else { return Vec::new() };
    mistakes.keep(&format!("[[{name}]]"), value.try_into::<Vec<Table>>()).unwrap_or_default()
}

/// A length of time: from a hundredth of a second to a week.
fn seconds(value: &Value) -> Result<Duration, String> {
    let number = value.as_float().or_else(|| Some(value.as_integer()? as f64));
    match number {
        Some(number) if (0.01..=604_800.0).contains(&number) => Ok(Duration::from_secs_f64(number)),
        _ => Err("expected a number of seconds from 0.01 to 604800".to_owned()),
    }
}

#[cfg(test)]
mod tests;
