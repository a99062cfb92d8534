//! The verb *open*: reads the authority's files and checks that they belong together.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rcgen::{Issuer, PublicKeyData};
use ring::rand::SystemRandom;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::authority::{Authority, INTERMEDIATE, INTERMEDIATE_KEY, ROOT};
use crate::error::OpenError;
use crate::files;
use crate::key::SecretKey;

impl Authority {
    /// Opens the authority in `directory`. The root key is not needed and not looked at.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] when there is none; others when its files are unreadable, exposed
    /// or do not belong together.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let root_path = directory.join(ROOT);
        let path = directory.join(INTERMEDIATE);
        if !path.exists() && !root_path.exists() {
            return Err(OpenError::NotFound { path: directory.to_owned() });
        }
        let (root_pem, root_der) = read_certificate(&root_path)?;
        let (intermediate_pem, intermediate_der) = read_certificate(&path)?;
        let key = read_key(&directory.join(INTERMEDIATE_KEY))?;
        let not_after = check(&root_der, &intermediate_der, &key, &root_path, &path)?;
        let issuer = Issuer::from_ca_cert_der(&intermediate_der, key).map_err(|_| OpenError::Malformed { path })?;
        Ok(Self {
            issuer,
            root_der,
            root_pem,
            intermediate_der,
            intermediate_pem,
            not_after,
            random: SystemRandom::new(),
        })
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, OpenError> {
    fs::read_to_string(path).map(Zeroizing::new).map_err(|source| OpenError::Read { path: path.to_owned(), source })
}

fn read_certificate(path: &Path) -> Result<(String, CertificateDer<'static>), OpenError> {
    let text = read(path)?;
    let der =
        CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| OpenError::Malformed { path: path.to_owned() })?;
    Ok((text.to_string(), der))
}

fn read_key(path: &Path) -> Result<SecretKey, OpenError> {
    let exposed = files::mode_open_to_everyone(path)
        .map_err(|source: io::Error| OpenError::Read { path: path.to_owned(), source })?;
    if let Some(mode) = exposed {
        return Err(OpenError::KeyNotPrivate { path: path.to_owned(), mode });
    }
    SecretKey::from_pem(&read(path)?).ok_or_else(|| OpenError::Malformed { path: path.to_owned() })
}

/// Root signs intermediate, key belongs to intermediate; returns the end of the intermediate.
fn check(
    root_der: &[u8],
    intermediate_der: &[u8],
    key: &SecretKey,
    root_path: &Path,
    path: &Path,
) -> Result<Timestamp, OpenError> {
    let root = parse(root_der, root_path)?;
    let intermediate = parse(intermediate_der, path)?;
    if intermediate.issuer().as_raw() != root.subject().as_raw()
        || intermediate.verify_signature(Some(root.public_key())).is_err()
    {
        return Err(OpenError::ForeignIntermediate);
    }
    if intermediate.public_key().raw != key.subject_public_key_info() {
        return Err(OpenError::KeyMismatch);
    }
    Timestamp::from_second(intermediate.validity().not_after.timestamp())
        .map_err(|_| OpenError::Malformed { path: path.to_owned() })
}

fn parse<'a>(der: &'a [u8], path: &Path) -> Result<X509Certificate<'a>, OpenError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) if certificate.is_ca() => Ok(certificate),
        _ => Err(OpenError::Malformed { path: path.to_owned() }),
    }
}
