//! Reading certificates and keys out of PEM text, with errors that name the input.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use crate::error::ConfigError;

/// No real chain or trust file comes near it; it bounds what a wrong file can make us hold.
const MAX_CERTIFICATES: usize = 64;

pub(crate) fn certificates(what: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(ConfigError::TooManyCertificates { what, limit: MAX_CERTIFICATES });
        }
        certificates.push(certificate.map_err(|source| ConfigError::MalformedPem { what, source })?);
    }
    if certificates.is_empty() {
        return Err(ConfigError::NoCertificate { what });
    }
    Ok(certificates)
}

fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            Err(ConfigError::EncryptedPrivateKey)
        }
        Err(pem::Error::NoItemsFound) => Err(ConfigError::NoPrivateKey),
        Err(source) => Err(ConfigError::MalformedPem { what: "the private key", source }),
    }
}

/// A chain and its key, checked against each other: a mismatch found here is a message about two
/// files; found in a handshake it is an alert about nothing in particular.
pub(crate) fn certified_key(
    what: &'static str,
    chain: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, ConfigError> {
    let chain = certificates(what, chain)?;
    let key = provider.key_provider.load_private_key(private_key(key)?).map_err(ConfigError::UnusablePrivateKey)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(ConfigError::KeyMismatch),
        Err(Error::InconsistentKeys(unknown)) => Err(ConfigError::UnusablePrivateKey(unknown.into())),
        Err(_) => Err(ConfigError::MalformedCertificate { what }),
    }
}
