//! Secrets and their formats.

use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::DeviceId;

/// Prefix of a device's API key.
pub const DEVICE_API_KEY_PREFIX: &str = "tesa_dak_";
/// Prefix of a key to the REST interface.
pub const REST_KEY_PREFIX: &str = "tesa_ak_";
/// Prefix of an application's MQTT token.
pub const MQTT_TOKEN_PREFIX: &str = "tesa_mqtt_";

/// A secret in memory: printed as `***`, overwritten when dropped, never serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret itself. Every caller of this is a place where it leaves its protection.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What kind of key a text looks like. It says nothing about whether the key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `tesa_dak_…`: a device's API key.
    Device,
    /// `tesa_ak_…`: a key to the REST interface.
    Rest,
    /// `tesa_mqtt_…`: an application's MQTT token.
    Mqtt,
}

impl KeyKind {
    /// The kind, by prefix.
    pub fn of(key: &str) -> Option<Self> {
        [(DEVICE_API_KEY_PREFIX, Self::Device), (REST_KEY_PREFIX, Self::Rest), (MQTT_TOKEN_PREFIX, Self::Mqtt)]
            .into_iter()
            .find_map(|(prefix, kind)| key.starts_with(prefix).then_some(kind))
    }
}

/// A device's API key: `tesa_dak_<first 8 of the id, dashes removed, lower case>_<32 hex>`, 128 random bits.
pub fn device_api_key(device: &DeviceId, random: [u8; 16]) -> Secret {
    let start: String = device.as_str().chars().filter(|c| *c != '-').take(8).collect();
    Secret::new(format!("{DEVICE_API_KEY_PREFIX}{}_{}", start.to_lowercase(), hex(&random).as_str()))
}

/// A key to the REST interface: `tesa_ak_<32 hex>`.
pub fn rest_key(random: [u8; 16]) -> Secret {
    Secret::new(format!("{REST_KEY_PREFIX}{}", hex(&random).as_str()))
}

/// An application's MQTT token: `tesa_mqtt_<org>_<32 hex>`.
pub fn mqtt_token(organization: &str, random: [u8; 16]) -> Secret {
    Secret::new(format!("{MQTT_TOKEN_PREFIX}{organization}_{}", hex(&random).as_str()))
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_the_contract() {
        let device = DeviceId::new("05F8-968a-b400-4727").unwrap();
        let key = device_api_key(&device, [0xAB; 16]);
        assert_eq!(key.expose(), "tesa_dak_05f8968a_abababababababababababababababab");
        assert_eq!(KeyKind::of(key.expose()), Some(KeyKind::Device));
        assert_eq!(KeyKind::of(rest_key([1; 16]).expose()), Some(KeyKind::Rest));
        assert_eq!(mqtt_token("ward", [0; 16]).expose(), format!("tesa_mqtt_ward_{}", "0".repeat(32)));
        assert_eq!(KeyKind::of("hello"), None);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
