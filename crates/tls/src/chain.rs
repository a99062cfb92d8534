//! Where a chain of certificates ends that leads to no trust anchor.
//!
//! webpki says "unknown issuer" for four different mistakes, each with a remedy of its own. Which one it was is read
//! here from the names in the certificates. It explains a refusal that is already certain and decides nothing.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::summary::printable;

/// Longer than any chain that is accepted: a peer that sends a circle is not followed around it.
const MAX_STEPS: usize = 8;

/// The end of a path that does not reach an anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainEnd {
    /// The certificate names itself as its issuer
    SelfSigned,
    /// The certificate came alone, and nothing here is of that issuer's name
    Alone { issuer: String },
    /// The issuers that were sent lead to this one, which nobody here trusts
    Stranger { issuer: String },
    /// An anchor has this name, and another key
    OtherKey { issuer: String },
}

/// Follows the issuers' names from `leaf` through `issuers`. None when a certificate on the way cannot be read.
pub(crate) fn end_of(
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    roots: &RootCertStore,
) -> Option<ChainEnd> {
    let issuers: Vec<X509Certificate<'_>> = issuers.iter().filter_map(|der| read(der)).collect();
    let leaf = read(leaf)?;
    let mut top = &leaf;
    for _ in 0..MAX_STEPS {
        match issuers.iter().find(|issuer| issuer.subject().as_raw() == top.issuer().as_raw()) {
            Some(issuer) if !is_self_issued(top) => top = issuer,
            _ => break,
        }
    }
    let issuer = printable(&top.issuer().to_string());
    let came_alone = std::ptr::eq(top, &leaf);
    Some(if came_alone && is_self_issued(top) {
        ChainEnd::SelfSigned
    // An anchor keeps its name without the header that the certificate's has.
    } else if roots.roots.iter().any(|root| top.issuer().as_raw().ends_with(&root.subject)) {
        ChainEnd::OtherKey { issuer }
    } else if came_alone {
        ChainEnd::Alone { issuer }
    } else {
        ChainEnd::Stranger { issuer }
    })
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}
