//! A private key in memory: wiped when dropped, `***` in debug output.

use std::fmt;

use pkcs8::LineEnding;
use pkcs8::der::pem;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// A P-256 key pair.
pub(crate) struct SecretKey(Zeroizing<KeyPair>);

impl SecretKey {
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(|key| Self(Zeroizing::new(key)))
    }

    /// Reads an unencrypted PKCS #8 key; none when the text is no P-256 key.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let (label, document) = pkcs8::SecretDocument::from_pem(text).ok()?;
        if label != "PRIVATE KEY" {
            return None;
        }
        let der = PrivatePkcs8KeyDer::from(document.as_bytes());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).ok()?;
        Some(Self(Zeroizing::new(key)))
    }

    /// PKCS #8, unencrypted.
    pub(crate) fn der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// PKCS #8, unencrypted, as PEM.
    pub(crate) fn to_pem(&self) -> Result<Zeroizing<String>, rcgen::Error> {
        pem::encode_string("PRIVATE KEY", LineEnding::LF, self.der())
            .map(Zeroizing::new)
            .map_err(|_| rcgen::Error::CouldNotParseKeyPair)
    }
}

impl PublicKeyData for SecretKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&*self.0)
    }
}

impl SigningKey for SecretKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(***)")
    }
}
