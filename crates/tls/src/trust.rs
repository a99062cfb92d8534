//! Whom an end believes: trust anchors, and the intermediates that came in the same file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client_identity::ClientIdentity;
use crate::diagnosis::fault::CertificateFault;
use crate::error::ConfigError;
use crate::pem;
use crate::summary::words;
use crate::verify;

/// Trust anchors from a `ca-chain.pem` (the wire contract, section 6). Cheap to clone.
///
/// Every self-issued certificate in the file is an anchor. The others help to build a path when
/// the peer sends its leaf alone; they are not trusted by themselves. Only when the file has no
/// self-issued certificate are the ones it has the anchors.
#[derive(Clone)]
pub struct TrustAnchors {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) intermediates: Arc<[CertificateDer<'static>]>,
}

impl TrustAnchors {
    /// Reads a PEM file with one or more certificates; order does not matter.
    pub fn from_pem(text: &str) -> Result<Self, ConfigError> {
        const WHAT: &str = "the trust anchor file";
        let (mut anchors, mut others) = (Vec::new(), Vec::new());
        for certificate in pem::certificates(WHAT, text)? {
            if is_self_issued(&certificate).ok_or(ConfigError::MalformedCertificate { what: WHAT })? {
                anchors.push(certificate);
            } else {
                others.push(certificate);
            }
        }
        if anchors.is_empty() {
            anchors = std::mem::take(&mut others);
        }
        let mut roots = RootCertStore::empty();
        for anchor in anchors {
            roots.add(anchor).map_err(|_| ConfigError::MalformedCertificate { what: WHAT })?;
        }
        Ok(Self { roots: Arc::new(roots), intermediates: others.into() })
    }

    /// The issuer, by name, at which a client's chain stops short of every anchor; `None` when it leads to one. Only
    /// names are compared: nothing is verified.
    pub fn missing_issuer(&self, identity: &ClientIdentity) -> Option<String> {
        let known = || identity.chain().iter().chain(self.intermediates.iter());
        let mut certificate = X509Certificate::from_der(identity.chain().first()?).ok()?.1;
        // A chain of names can go round in a circle.
        for _ in 0..=known().count() {
            let issuer = certificate.issuer();
            // An anchor keeps its name without the bytes that wrap it.
            let is_anchor = |anchor: &rustls::pki_types::TrustAnchor<'_>| issuer.as_raw().ends_with(&anchor.subject);
            if self.roots.roots.iter().any(is_anchor) || certificate.subject().as_raw() == issuer.as_raw() {
                return None;
            }
            let parsed = known().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
            let Some(next) = parsed.into_iter().find(|next| next.subject().as_raw() == issuer.as_raw()) else {
                return Some(words(issuer));
            };
            certificate = next;
        }
        Some(words(certificate.issuer()))
    }

    /// How many anchors there are; at least one.
    pub fn anchor_count(&self) -> usize {
        self.roots.len()
    }
}

impl TrustAnchors {
    /// Judges a client's certificate as a server with these anchors would at `now`. Dates are judged before anything
    /// else: one that is out of its time was not led to an anchor.
    ///
    /// # Errors
    /// What that server would find wrong with it.
    pub fn judge_client(&self, identity: &ClientIdentity, now: Timestamp) -> Result<(), CertificateFault> {
        let since_epoch = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
        verify::judge_client(self, identity.chain(), UnixTime::since_unix_epoch(since_epoch))
            .map_err(|(reason, end)| CertificateFault::new(&reason, Some(identity.summary()), end))
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TrustAnchors")
            .field("anchors", &self.roots.len())
            .field("intermediates", &self.intermediates.len())
            .finish()
    }
}

fn is_self_issued(der: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.subject().as_raw() == certificate.issuer().as_raw())
}
