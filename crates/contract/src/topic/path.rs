//! The free levels at the end of a topic, as types: what a device may choose itself.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest free part of a topic, in bytes. Types become metric names and rows; MQTT's own 65,535 would be a weapon.
pub const MAX_PATH_BYTES: usize = 256;

/// Names that stand directly under `commands/` with a meaning of their own, so that no command can have them.
const RESERVED_COMMANDS: [&str; 3] = ["ack", "csr", "certificate"];

/// Text that cannot stand at the end of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// More than [`MAX_PATH_BYTES`].
    #[error("at most {MAX_PATH_BYTES} bytes are accepted, not {0}")]
    Length(usize),
    /// Nothing at all, or nothing between two slashes.
    #[error("a level is empty")]
    EmptyLevel,
    /// A wildcard (MQTT-3.3.2-2), NUL (MQTT-1.5.4-2) or another control character.
    #[error("byte {0} is a wildcard or a control character")]
    Character(usize),
    /// A command's name is one level.
    #[error("a command name is one level")]
    SeveralLevels,
    /// `ack`, `csr` and `certificate` mean something else under `commands/`.
    #[error("ack, csr and certificate are no command names")]
    Reserved,
}

/// Whether `text` is one or more plain levels.
pub(super) fn check_path(text: &str) -> Result<(), InvalidPath> {
    if text.len() > MAX_PATH_BYTES {
        return Err(InvalidPath::Length(text.len()));
    }
    let refused = |byte: u8| matches!(byte, b'+' | b'#') || byte.is_ascii_control();
    if let Some(position) = text.bytes().position(refused) {
        return Err(InvalidPath::Character(position));
    }
    if text.split('/').any(str::is_empty) {
        return Err(InvalidPath::EmptyLevel);
    }
    Ok(())
}

/// Whether `text` is the name of a command.
pub(super) fn check_command_name(text: &str) -> Result<(), InvalidPath> {
    check_path(text)?;
    if text.contains('/') {
        return Err(InvalidPath::SeveralLevels);
    }
    if RESERVED_COMMANDS.contains(&text) {
        return Err(InvalidPath::Reserved);
    }
    Ok(())
}

macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $check:path) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidPath> {
                $check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidPath;

            fn from_str(text: &str) -> Result<Self, InvalidPath> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

checked_text! {
    /// One or more levels: none empty, no wildcard, no control character, at most [`MAX_PATH_BYTES`].
    TopicPath, check_path
}

checked_text! {
    /// The type of a telemetry message: the levels after `telemetry/`, by the rule of [`TopicPath`]. It is stored.
    TelemetryType, check_path
}

checked_text! {
    /// The name of a command: one level, by the rule of [`TopicPath`], and none of the words that already mean
    /// something under `commands/`.
    CommandName, check_command_name
}

impl CommandName {
    /// The name as the levels of a topic. A name is a path, so nothing is checked again.
    pub(super) fn to_path(&self) -> TopicPath {
        TopicPath(self.0.clone())
    }
}
