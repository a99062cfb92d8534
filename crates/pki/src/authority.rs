//! An authority that is ready to issue.
//!
//! # Files
//! ```text
//! root.pem               the trust anchor
//! root.key.pem           its key, PKCS #8 encrypted with a passphrase; absent when kept offline
//! intermediate.pem       what signs servers and devices
//! intermediate.key.pem   its key, PKCS #8, mode 600
//! ```
//! The directory appears complete or not at all: it is written beside its place and renamed.

use std::fmt;

use jiff::Timestamp;
use rcgen::Issuer;
use ring::rand::SystemRandom;
use rustls_pki_types::CertificateDer;

use crate::key::SecretKey;

pub(crate) const ROOT: &str = "root.pem";
pub(crate) const ROOT_KEY: &str = "root.key.pem";
pub(crate) const INTERMEDIATE: &str = "intermediate.pem";
pub(crate) const INTERMEDIATE_KEY: &str = "intermediate.key.pem";

/// A certificate authority, opened: it holds the intermediate's key and not the root's.
///
/// It keeps no record of what it issues; that is the registry's, and the caller's to write.
pub struct Authority {
    pub(crate) issuer: Issuer<'static, SecretKey>,
    pub(crate) root_der: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) intermediate_der: CertificateDer<'static>,
    pub(crate) intermediate_pem: String,
    pub(crate) not_after: Timestamp,
    pub(crate) random: SystemRandom,
}

impl Authority {
    /// What verifies every certificate of this authority: `ca-chain.pem`, intermediate and root
    /// (the wire contract, section 6).
    pub fn trust_chain_pem(&self) -> String {
        format!("{}{}", self.intermediate_pem, self.root_pem)
    }

    /// The root certificate as PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The intermediate certificate as PEM.
    pub fn intermediate_pem(&self) -> &str {
        &self.intermediate_pem
    }

    /// The root certificate.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root_der
    }

    /// The intermediate certificate.
    pub fn intermediate_der(&self) -> &CertificateDer<'static> {
        &self.intermediate_der
    }

    /// The last moment of the intermediate: nothing issued is good for longer.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("not_after", &self.not_after)
            .field("key", &"***")
            .finish_non_exhaustive()
    }
}
