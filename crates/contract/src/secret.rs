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
/// Prefix of a one-time token with which a device gets its certificate.
pub const ENROLMENT_TOKEN_PREFIX: &str = "tesa_enr_";

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
    /// `tesa_enr_…`: a device's enrolment token.
    Enrolment,
}

impl KeyKind {
    /// The kind, by prefix.
    pub fn of(key: &str) -> Option<Self> {
        [
            (DEVICE_API_KEY_PREFIX, Self::Device),
            (REST_KEY_PREFIX, Self::Rest),
            (MQTT_TOKEN_PREFIX, Self::Mqtt),
            (ENROLMENT_TOKEN_PREFIX, Self::Enrolment),
        ]
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

/// A device's enrolment token as the platform knows it: `tesa_enr_<device id>.<32 hex>`, 128 random bits.
pub fn enrolment_token(device: &DeviceId, random: [u8; 16]) -> Secret {
    Secret::new(format!("{ENROLMENT_TOKEN_PREFIX}{device}.{}", hex(&random).as_str()))
}

/// An enrolment token taken apart: `tesa_enr_<device id>.<32 hex>`, and behind another dot, where the platform's person
/// hands it out, the SHA-256 of the authority's certificate that signs the platform's own, in 64 hexadecimal digits.
/// One string is then enough to find out who one is and whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Whose certificate it is for
    pub device: DeviceId,
    /// What the platform is sent: without the fingerprint
    pub secret: Secret,
    /// The authority to believe
    pub authority: Option<[u8; 32]>,
}

impl EnrolmentToken {
    /// Reads a token. `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().strip_prefix(ENROLMENT_TOKEN_PREFIX)?.split('.');
        let device = DeviceId::new(parts.next()?).ok()?;
        let random: [u8; 16] = fingerprint_bytes(parts.next()?)?;
        let authority = match parts.next() {
            Some(text) => Some(fingerprint_bytes(text)?),
            None => None,
        };
        let secret = enrolment_token(&device, random);
        parts.next().is_none().then_some(Self { device, secret, authority })
    }

    /// The whole of it, to be handed to the device.
    pub fn to_secret(&self) -> Secret {
        match &self.authority {
            Some(authority) => Secret::new(format!("{}.{}", self.secret.expose(), hex(authority).as_str())),
            None => self.secret.clone(),
        }
    }
}

/// Bytes written in hexadecimal, in either case and with or without colons between them, exactly `N` of them.
pub fn fingerprint_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.trim().chars().filter(|character| *character != ':').map(|digit| digit.to_digit(16));
    for byte in &mut bytes {
        // Two digits of 16 are at most 255.
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(bytes)
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
    fn an_enrolment_token_says_for_whom_it_is_and_whom_to_believe() {
        let device = DeviceId::new("green_house-1").unwrap();
        let known = enrolment_token(&device, [0xAB; 16]);
        assert_eq!(known.expose(), format!("tesa_enr_green_house-1.{}", "ab".repeat(16)));
        assert_eq!(KeyKind::of(known.expose()), Some(KeyKind::Enrolment));
        let token = EnrolmentToken { device, secret: known.clone(), authority: Some([7; 32]) };
        let whole = token.to_secret();
        assert_eq!(whole.expose(), format!("{}.{}", known.expose(), "07".repeat(32)));
        assert_eq!(EnrolmentToken::parse(&format!(" {}\n", whole.expose())), Some(token));
        assert_eq!(EnrolmentToken::parse(known.expose()).unwrap().authority, None);
        for bad in ["", "tesa_enr_", "tesa_enr_ab.00", "tesa_dak_green_house-1.00", &format!("{}.00", known.expose())] {
            assert_eq!(EnrolmentToken::parse(bad), None, "{bad}");
        }
        assert_eq!(EnrolmentToken::parse(&format!("{}.x", whole.expose())), None);
        assert_eq!(fingerprint_bytes::<2>("aB:01"), Some([0xab, 1]));
        assert_eq!(fingerprint_bytes::<2>("aB:0é"), None);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
