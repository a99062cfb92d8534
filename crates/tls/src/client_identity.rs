//! The certificate a client shows.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::error::ConfigError;
use crate::observe::{self, Shown};
use crate::pem;
use crate::provider::provider;
use crate::summary::CertificateSummary;

/// A client's chain (leaf first) and private key, known to belong together. Cheap to clone.
#[derive(Clone)]
pub struct ClientIdentity {
    pub(crate) certified: Arc<CertifiedKey>,
    summary: Arc<CertificateSummary>,
}

impl ClientIdentity {
    /// Reads chain and key from PEM and checks that they belong together.
    ///
    /// # Errors
    /// [`ConfigError::KeyMismatch`] when they do not; others for unreadable input. Validity dates
    /// are not checked: see [`CertificateSummary::is_valid_at`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, ConfigError> {
        let certified = pem::certified_key("the client certificate", chain, key, &provider())?;
        let leaf =
            certified.end_entity_cert().map_err(|_| ConfigError::NoCertificate { what: "the client certificate" })?;
        Ok(Self { summary: Arc::new(CertificateSummary::from_der(leaf)?), certified: Arc::new(certified) })
    }

    /// The chain that is sent: the leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// What the leaf says.
    pub fn summary(&self) -> &CertificateSummary {
        &self.summary
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientIdentity").field("subject", &self.summary.subject).field("key", &"***").finish()
    }
}

/// Shows the one identity, or none, when the server asks, and notes that it asked: an alert that follows means
/// something else then.
#[derive(Debug)]
pub(crate) struct OnRequest(pub(crate) Option<ClientIdentity>);

impl ResolvesClientCert for OnRequest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certified = self.0.as_ref().map(|identity| Arc::clone(&identity.certified));
        observe::client_certificate_requested(if certified.is_some() { Shown::Certificate } else { Shown::Nothing });
        certified
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
