//! A profile: what a simulated device measures, said rather than programmed, and the generator that writes it down.
//!
//! Three profiles are built in; others are read from a TOML file ([`Profile::from_toml`]; `docs/profiles` has the built-in
//! ones in that form, with every word explained).
//!
//! A number is drawn among the decimals it may have, as an integer, and written as digits: no value lies outside of its
//! range by rounding, and a run of many samples spends its time on the wire and not on formatting.

mod builtin;
mod file;
mod generator;
mod number;

use std::path::PathBuf;

pub use generator::Generator;
pub use number::{Distribution, Number};

/// Most metrics of a profile.
pub const MAX_METRICS: usize = 256;
/// Longest name, unit or text, in bytes.
pub const MAX_TEXT: usize = 256;

/// What a device measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What it is called
    pub name: Box<str>,
    /// At least one, each name once
    pub metrics: Vec<MetricProfile>,
}

/// One metric of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricProfile {
    /// Name
    pub name: Box<str>,
    /// Unit, when it has one
    pub unit: Option<Box<str>>,
    /// What it may be
    pub values: Values,
}

/// What a metric may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A number of a range.
    Number(Number),
    /// True once in so many samples on average, else false.
    TrueOnceIn(u64),
    /// One of these texts, each as likely; at least one.
    OneOf(Vec<Box<str>>),
    /// What the metric at this place of the list was given; it stands before.
    SameAs(usize),
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file is missing, cannot be read, is not UTF-8 or is larger than a megabyte.
    #[error("File not readable: {}", path.display())]
    NotReadable {
        /// The file
        path: PathBuf,
        /// Why
        source: std::io::Error,
    },
    /// The file is not TOML, or has other members than a profile.
    #[error("{} is not a profile: {reason}", path.display())]
    NotAProfile {
        /// The file
        path: PathBuf,
        /// Where and why
        reason: String,
    },
    /// A metric that cannot be.
    #[error("{}: metric {metric:?}: {reason}", path.display())]
    Metric {
        /// The file
        path: PathBuf,
        /// The metric's name
        metric: String,
        /// What is wrong with it
        reason: &'static str,
    },
    /// No such built-in profile, and no such file.
    #[error("no profile {name:?}: it is neither built in nor a file")]
    Unknown {
        /// What was asked for
        name: String,
    },
}

impl ProfileError {
    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotReadable { .. } => "check the path and who may read the file",
            Self::NotAProfile { .. } | Self::Metric { .. } => {
                "a metric is a name and one of range, choices, true_once_in, same_as; see docs/profiles"
            }
            Self::Unknown { .. } => "the profiles are medical, environment and industrial, or give the path of a file",
        }
    }
}

impl Profile {
    /// A built-in profile by its name, else the file at that path.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn named(name: &str) -> Result<Self, ProfileError> {
        if let Some(profile) = Self::builtin(name) {
            return Ok(profile);
        }
        if !name.contains(['/', '.']) && !std::path::Path::new(name).exists() {
            return Err(ProfileError::Unknown { name: name.to_owned() });
        }
        Self::from_file(name)
    }
}
