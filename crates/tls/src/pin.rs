//! Believing one authority by its fingerprint, before its certificate is there.
//!
//! A server sends its chain: leaf and intermediate. The intermediate whose SHA-256 was told beforehand becomes the one
//! trust anchor of that handshake, and webpki judges the leaf by it, name and dates included. Nothing is believed that
//! was not pinned: a chain without that certificate is refused, and there is no first use on trust.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::client_identity::OnRequest;
use crate::error::ConfigError;
use crate::observe;
use crate::provider::provider;
use crate::version::Versions;

/// Builds the configuration of a connecting end that believes the authority with this SHA-256 (of its certificate's DER)
/// and nobody else, and shows no certificate.
///
/// # Errors
/// The settings were refused by rustls.
pub fn pinned_client_config(authority: [u8; 32]) -> Result<Arc<ClientConfig>, ConfigError> {
    let algorithms = provider().signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(Versions::Both.supported())
        .map_err(ConfigError::Settings)?
        // "dangerous" names the door: what goes through it is webpki with one anchor.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { authority, algorithms }))
        .with_client_cert_resolver(Arc::new(OnRequest(None)));
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

struct Pinned {
    authority: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pinned")
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        observe::certificate_presented(end_entity);
        let is_pinned = |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == self.authority;
        let authority = intermediates.iter().find(is_pinned).ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| CertificateError::UnknownIssuer)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
