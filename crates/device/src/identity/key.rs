//! A device's key pair: P-256, made by the system's random numbers, kept as PKCS #8.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use tesaiot_contract::Secret;
use zeroize::Zeroizing;

use super::error::IdentityError;
use super::request::pem;

/// A key pair, and its PEM.
pub(crate) struct DeviceKey {
    pair: EcdsaKeyPair,
    pem: Secret,
}

impl DeviceKey {
    /// Makes one.
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| IdentityError::NoRandomNumbers)?;
        let text: Zeroizing<String> = Zeroizing::new(pem("PRIVATE KEY", document.as_ref()));
        Self::from_pem(&Secret::new(text.as_str()))
    }

    /// Reads one.
    pub(crate) fn from_pem(text: &Secret) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.expose().as_bytes());
        let der = der.map_err(|_| IdentityError::KeyKind)?;
        let der = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new())
            .map_err(|_| IdentityError::KeyKind)?;
        Ok(Self { pair, pem: text.clone() })
    }

    /// PKCS #8, unencrypted, as PEM.
    pub(crate) fn pem(&self) -> &Secret {
        &self.pem
    }

    /// The public key: an uncompressed point, 65 octets.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// ECDSA with SHA-256, in DER.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| IdentityError::NoRandomNumbers)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(***)")
    }
}
