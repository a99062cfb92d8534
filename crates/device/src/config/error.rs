//! A configuration that cannot be used.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("File not readable: {}", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("{} has {length} bytes; at most {limit} are read", path.display())]
    TooLong {
        /// The file
        path: PathBuf,
        /// Its length in bytes
        length: u64,
        /// Bytes read
        limit: u64,
    },
    /// It holds mistakes.
    #[error("{} holds mistakes:\n{mistakes}", path.display())]
    Mistakes {
        /// The file
        path: PathBuf,
        /// All of them
        mistakes: Mistakes,
    },
    /// A change of it cannot be kept.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
}

impl ConfigError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check --config, and who may read the file",
            Self::TooLong { .. } => "is it the agent's configuration?",
            Self::Mistakes { .. } => "`tesaiot agent config example` prints one with every setting explained",
            Self::Write { .. } => "check who may write the state directory, and its room",
        }
    }
}

/// Mistakes in a configuration, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl Mistakes {
    pub(super) fn add(&mut self, mistake: &str) {
        self.0.push(mistake.to_owned());
    }

    /// The value, or `None` and a mistake at `place`.
    pub(super) fn keep<T, E: fmt::Display>(&mut self, place: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{place}: {}", error.to_string().trim_end()))).ok()
    }

    /// The value, or `None` and all of its mistakes at `place`.
    pub(super) fn keep_all<T>(&mut self, place: &str, result: Result<T, Mistakes>) -> Option<T> {
        result.map_err(|mistakes| self.0.extend(mistakes.0.iter().map(|mistake| format!("{place}: {mistake}")))).ok()
    }

    /// `value`, when there is no mistake.
    pub(super) fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            write!(f, "{}  {mistake}", if number > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
