//! What can be wrong with the certificates, keys and settings a configuration is built from.

use rustls::pki_types::pem;

/// A configuration that could not be built. Nothing was sent to anyone yet.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A PEM text has a broken section: cut off, or not base64.
    #[error("{what} is not valid PEM")]
    MalformedPem {
        /// Which input: "the certificate chain", "the private key", "the trust anchors"
        what: &'static str,
        /// What the PEM reader found
        #[source]
        source: pem::Error,
    },
    /// A PEM text was read and holds no `CERTIFICATE` section.
    #[error("{what} holds no certificate")]
    NoCertificate {
        /// Which input
        what: &'static str,
    },
    /// A PEM text holds more certificates than any real chain has.
    #[error("{what} holds more than {limit} certificates")]
    TooManyCertificates {
        /// Which input
        what: &'static str,
        /// The largest number accepted
        limit: usize,
    },
    /// A certificate is not X.509, or is damaged.
    #[error("{what} holds a certificate that cannot be read as X.509")]
    MalformedCertificate {
        /// Which input
        what: &'static str,
    },
    /// The key file holds no private key.
    #[error("the private key file holds no private key")]
    NoPrivateKey,
    /// The key file is protected by a passphrase; a server or device cannot ask for one.
    #[error("the private key is encrypted with a passphrase")]
    EncryptedPrivateKey,
    /// The key is damaged, or of a type that is not spoken (P-256, P-384, Ed25519, RSA from 2048 bits are).
    #[error("the private key cannot be used")]
    UnusablePrivateKey(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
    /// The trust anchors cannot verify anyone.
    #[error("the trust anchors cannot be used")]
    UnusableTrustAnchors(#[source] rustls::server::VerifierBuilderError),
    /// rustls refused the settings.
    #[error("the TLS settings were refused")]
    Settings(#[source] rustls::Error),
}

impl ConfigError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::MalformedPem { .. }
            | Self::NoCertificate { .. }
            | Self::TooManyCertificates { .. }
            | Self::MalformedCertificate { .. } => {
                "fetch the credential bundle again: the file is damaged or is another file"
            }
            Self::NoPrivateKey | Self::UnusablePrivateKey(_) => {
                "the key must be an unencrypted PEM private key: P-256, P-384, Ed25519 or RSA from 2048 bits"
            }
            Self::EncryptedPrivateKey => {
                "remove the passphrase (openssl pkey -in KEY -out NEW) and protect the file by its mode, 600"
            }
            Self::KeyMismatch => "take certificate and key from the same bundle: one of the two was replaced alone",
            Self::UnusableTrustAnchors(_) => {
                "ca-chain.pem must hold the certificate of the authority that signed the other end"
            }
            Self::Settings(_) => "check the TLS settings of the configuration",
        }
    }
}
