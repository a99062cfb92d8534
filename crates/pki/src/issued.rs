//! What comes out of issuing.

use std::fmt;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::serial::Serial;

/// A certificate and the private key that was made for it. The key is kept nowhere else.
#[derive(Clone)]
pub struct Issued {
    /// Leaf, then intermediate, as PEM
    pub chain_pem: String,
    /// PKCS #8, unencrypted, as PEM; wiped when dropped
    pub key_pem: Zeroizing<String>,
    /// Names the certificate: to be recorded before it is handed out
    pub serial: Serial,
    /// First moment of validity
    pub not_before: Timestamp,
    /// Last moment of validity
    pub not_after: Timestamp,
    /// SHA-256 of the leaf's DER
    pub fingerprint_sha256: [u8; 32],
    /// SHA-256 of the public key (SubjectPublicKeyInfo)
    pub key_fingerprint: [u8; 32],
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Issued")
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .field("key_pem", &"***")
            .finish_non_exhaustive()
    }
}

/// A certificate for a key that its owner made.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Leaf, then intermediate, as PEM
    pub chain_pem: String,
    /// Names the certificate: to be recorded before it is handed out
    pub serial: Serial,
    /// First moment of validity
    pub not_before: Timestamp,
    /// Last moment of validity
    pub not_after: Timestamp,
    /// SHA-256 of the leaf's DER
    pub fingerprint_sha256: [u8; 32],
    /// SHA-256 of the public key (SubjectPublicKeyInfo)
    pub key_fingerprint: [u8; 32],
}

impl Signed {
    pub(crate) fn with_key(self, key_pem: Zeroizing<String>) -> Issued {
        Issued {
            chain_pem: self.chain_pem,
            key_pem,
            serial: self.serial,
            not_before: self.not_before,
            not_after: self.not_after,
            fingerprint_sha256: self.fingerprint_sha256,
            key_fingerprint: self.key_fingerprint,
        }
    }
}
