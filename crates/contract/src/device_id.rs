//! Device identifiers.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shortest device identifier, in characters.
pub const MIN_LENGTH: usize = 3;
/// Longest device identifier, in characters.
pub const MAX_LENGTH: usize = 64;

/// A device identifier: `^[A-Za-z0-9_-]{3,64}$`. It is the MQTT client identifier, the common name of the device's
/// certificate and a level of its topics, so it can contain nothing that any of them would read as more than text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

/// Text that is not a device identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeviceId {
    /// Shorter than 3 or longer than 64 characters.
    #[error("a device id has 3 to 64 characters, not {0}")]
    Length(usize),
    /// A character outside `A-Z a-z 0-9 _ -`.
    #[error("a device id consists of A-Z, a-z, 0-9, '_' and '-'; position {0} holds something else")]
    Character(usize),
}

/// Whether `text` is a device identifier, without making one.
pub fn check(text: &str) -> Result<(), InvalidDeviceId> {
    if let Some(position) = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')))
    {
        return Err(InvalidDeviceId::Character(position));
    }
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&text.len()) {
        return Err(InvalidDeviceId::Length(text.len()));
    }
    Ok(())
}

impl DeviceId {
    /// Parses an identifier.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidDeviceId> {
        check(text.as_ref())?;
        Ok(Self(text.as_ref().into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceId> {
        Self::new(text)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_stated_characters_and_lengths() {
        for good in ["abc", "05f8968a-b400-4727-9678-b53cb0889fce", "A_b-9", &"x".repeat(64)] {
            assert_eq!(DeviceId::new(good).unwrap().as_str(), good);
        }
        assert_eq!(DeviceId::new("ab"), Err(InvalidDeviceId::Length(2)));
        assert_eq!(DeviceId::new(""), Err(InvalidDeviceId::Length(0)));
        assert_eq!(DeviceId::new("x".repeat(65)), Err(InvalidDeviceId::Length(65)));
        for bad in ["a/b", "a+b", "a#b", "a b", "a.b", "a\0b", "ไทย", "abc\n"] {
            assert!(matches!(DeviceId::new(bad), Err(InvalidDeviceId::Character(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn print_then_parse_is_identity(text in "[A-Za-z0-9_-]{3,64}") {
            let id = DeviceId::new(&text).unwrap();
            prop_assert_eq!(id.to_string().parse::<DeviceId>().unwrap(), id);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = DeviceId::new(text);
        }
    }
}
