//! What is looked at before anything is sent, beyond what makes logging in impossible ([`crate::credentials`]): things
//! that work today and will not tomorrow, or work and should not. Nothing here needs a network.
//!
//! The chain is followed by names. Checking its signatures is the broker's work, and takes as long as signing in does;
//! `tesaiot doctor` does it.

use std::fmt;

use jiff::Timestamp;

use crate::credentials::Credentials;
use crate::settings::Settings;

/// A certificate that has less time left is worth a word.
const SOON_DAYS: i64 = 30;
const SECONDS_A_DAY: i64 = 86_400;

/// Something to be put right before it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Others than the owner may use the private key.
    ExposedKey {
        /// The file's mode
        mode: u32,
    },
    /// The certificate is about to expire.
    ExpiresSoon {
        /// Last moment of validity
        not_after: Timestamp,
        /// Whole days until then
        days: i64,
    },
    /// The certificates sent do not lead to one that the bundle trusts.
    Incomplete {
        /// Whose certificate is missing
        issuer: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExposedKey { mode } => write!(f, "client_key.pem may be read by others (mode {mode:o})"),
            Self::ExpiresSoon { not_after, days } => {
                let days = match days {
                    0 => "within a day".to_owned(),
                    1 => "in 1 day".to_owned(),
                    days => format!("in {days} days"),
                };
                write!(f, "client_cert.pem expires {days}, at {not_after}")
            }
            Self::Incomplete { issuer } => {
                write!(f, "client_cert.pem does not lead to ca-chain.pem: the certificate of \"{issuer}\" is missing")
            }
        }
    }
}

impl Warning {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ExposedKey { .. } => "chmod 600 client_key.pem",
            Self::ExpiresSoon { .. } => "renew the device's certificate",
            Self::Incomplete { .. } => "put the intermediate certificate behind the device's own in client_cert.pem",
        }
    }
}

/// Everything there is to say about this bundle now.
pub fn warnings(settings: &Settings, credentials: &Credentials, now: Timestamp) -> Vec<Warning> {
    let Some(identity) = credentials.identity() else { return Vec::new() };
    let exposed = settings.exposed_key_mode().map(|mode| Warning::ExposedKey { mode });
    let not_after = identity.summary().not_after;
    let left = not_after.as_second() - now.as_second();
    let soon =
        (left < SOON_DAYS * SECONDS_A_DAY).then_some(Warning::ExpiresSoon { not_after, days: left / SECONDS_A_DAY });
    let incomplete = credentials.trust().missing_issuer(identity).map(|issuer| Warning::Incomplete { issuer });
    [exposed, soon, incomplete].into_iter().flatten().collect()
}
