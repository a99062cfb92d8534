//! What the platform changed of the configuration: a file of its own, over the owner's.
//!
//! `remote.toml` in the state directory is in force; `remote.toml.trial` is on trial. A change begins as a trial and
//! takes the place of the file in force only once the platform was reached with it. A trial that is found at the start
//! of the program was interrupted, by a crash that it may have caused: it is taken back. So no change can make a device
//! unreachable for longer than the time of a trial.
//!
//! A change may hold `interval_seconds`, `intervals`, `sensor`, `disabled`, `durability` and `connection`. It cannot bring commands, programs or
//! another root: what runs on the device is its owner's to say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, ConfigError, Mistakes, Read, read_table};
use crate::state_file;

const IN_FORCE: &str = "remote.toml";
const ON_TRIAL: &str = "remote.toml.trial";
/// What a change may hold.
const OPEN: [&str; 6] = ["interval_seconds", "intervals", "sensor", "disabled", "durability", "connection"];

/// The platform's part of the configuration.
#[derive(Debug)]
pub struct Remote {
    in_force: PathBuf,
    on_trial: PathBuf,
    table: Table,
}

/// What was found at the start.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing unusual.
    Order,
    /// A trial was interrupted, and is taken back.
    InterruptedTrial,
    /// The file was damaged, and is set aside: the owner's configuration is in force alone.
    Damaged,
}

impl Remote {
    /// Reads what is in force in the state directory.
    ///
    /// # Errors
    /// A file cannot be read, removed or set aside.
    pub fn open(directory: &Path) -> Result<(Self, Found), ConfigError> {
        let in_force = directory.join(IN_FORCE);
        let on_trial = directory.join(ON_TRIAL);
        let mut found = Found::Order;
        if on_trial.exists() {
            state_file::remove(&on_trial).map_err(|source| write_error(&on_trial, source))?;
            found = Found::InterruptedTrial;
        }
        let table = match read_table(&in_force) {
            Ok(table) => table,
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Table::new(),
            Err(error @ ConfigError::Read { .. }) => return Err(error),
            Err(_) => {
                let aside = in_force.with_added_extension("damaged");
                fs::rename(&in_force, &aside).map_err(|source| write_error(&aside, source))?;
                found = Found::Damaged;
                Table::new()
            }
        };
        Ok((Self { in_force, on_trial, table }, found))
    }

    /// The owner's configuration with what is in force over it. When both no longer fit together, the owner's alone and
    /// the reason.
    pub fn over(&self, owner: &Config) -> (Config, Option<Mistakes>) {
        match merged(owner, &self.table) {
            Ok(config) => (config, None),
            Err(mistakes) => (owner.clone(), Some(mistakes)),
        }
    }

    /// Begins the trial of a change: it replaces what the platform changed before. `change` is JSON or TOML.
    ///
    /// # Errors
    /// The change holds mistakes, or cannot be kept.
    pub fn begin_trial(&self, owner: &Config, change: &Table) -> Result<Config, ConfigError> {
        let config = merged(owner, change)
            .map_err(|mistakes| ConfigError::Mistakes { path: self.on_trial.clone(), mistakes })?;
        write(&self.on_trial, change)?;
        Ok(config)
    }

    /// The trial was a success: it is in force from now on.
    ///
    /// # Errors
    /// It cannot be put in force; the trial goes on.
    pub fn promote(&mut self) -> Result<(), ConfigError> {
        let table = read_table(&self.on_trial)?;
        state_file::rename(&self.on_trial, &self.in_force).map_err(|source| write_error(&self.in_force, source))?;
        self.table = table;
        Ok(())
    }

    /// The trial failed: what was in force is again.
    ///
    /// # Errors
    /// It cannot be removed; the next start of the program takes it back.
    pub fn roll_back(&self) -> Result<(), ConfigError> {
        state_file::remove(&self.on_trial).map_err(|source| write_error(&self.on_trial, source))
    }

    /// Keeps the interval of a sensor. It is in force at once: no interval keeps a device from the platform.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn keep_interval(&mut self, sensor: &str, seconds: f64) -> Result<(), ConfigError> {
        let mut table = self.table.clone();
        let intervals = table.entry("intervals").or_insert_with(|| Value::Table(Table::new()));
        if let Some(intervals) = intervals.as_table_mut() {
            intervals.insert(sensor.to_owned(), Value::Float(seconds));
        }
        write(&self.in_force, &table)?;
        self.table = table;
        Ok(())
    }
}

/// `change` over the owner's configuration, checked.
fn merged(owner: &Config, change: &Table) -> Result<Config, Mistakes> {
    let mut mistakes = Mistakes::default();
    let mut table = owner.table().clone();
    for (name, value) in change {
        if !OPEN.contains(&name.as_str()) {
            mistakes.add(&format!("{name} can only be changed on the device"));
        }
        table.insert(name.clone(), value.clone());
    }
    let config = match Config::from_table(table) {
        Ok(config) => config,
        Err(more) => {
            mistakes.0.extend(more.0);
            return Err(mistakes);
        }
    };
    for sensor in &config.sensors {
        let name = &sensor.plan.name;
        let known = owner.sensors.iter().any(|own| own.read == sensor.read);
        if sensor.read.runs_a_program() && !known {
            mistakes.add(&format!("sensor {name}: a program can only be chosen on the device"));
        }
        if let Read::Serial { path, .. } = &sensor.read
            && !known
            && (!path.starts_with("/dev") || path.components().any(|part| part.as_os_str() == ".."))
        {
            mistakes.add(&format!("sensor {name}: a file outside of /dev can only be chosen on the device"));
        }
    }
    if config.sensors.is_empty() {
        mistakes.add("an agent without a sensor has nothing to do");
    }
    mistakes.none_or(config)
}

fn write(path: &Path, table: &Table) -> Result<(), ConfigError> {
    let text = toml::to_string(table).map_err(io::Error::other);
    text.and_then(|text| state_file::replace(path, text.as_bytes())).map_err(|source| write_error(path, source))
}

fn write_error(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Write { path: path.to_owned(), source }
}
