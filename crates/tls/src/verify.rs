//! The verifiers: rustls's own, with two things around them.
//!
//! They note which certificate the peer presented, so that a refusal can name it, and they offer
//! the intermediates of the trust file to the path building, so that a peer which sends its leaf
//! alone is still judged. Every decision is webpki's: each call is delegated, none is softened.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::chain::{self, ChainEnd};
use crate::error::ConfigError;
use crate::observe;
use crate::provider::provider;
use crate::trust::TrustAnchors;

pub(crate) fn server_verifier(trust: &TrustAnchors) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trust.roots), provider())
        .build()
        .map_err(ConfigError::UnusableTrustAnchors)?;
    Ok(Arc::new(ServerVerifier { inner, trust: trust.clone() }))
}

pub(crate) fn client_verifier(
    trust: &TrustAnchors,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), provider());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    Ok(Arc::new(ClientVerifier {
        inner: builder.build().map_err(ConfigError::UnusableTrustAnchors)?,
        trust: trust.clone(),
    }))
}

/// Why a client's chain is not believed, and where it ends when it leads to no anchor.
type Disbelief = (CertificateError, Option<ChainEnd>);

/// What a server that trusts `trust` says of a client's chain at `now`.
pub(crate) fn judge_client(trust: &TrustAnchors, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Disbelief> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), provider()).build();
    let verifier = verifier.map_err(|_| (CertificateError::UnknownIssuer, None))?;
    let [leaf, sent @ ..] = chain else { return Err((CertificateError::BadEncoding, None)) };
    let issuers = with_known(sent, &trust.intermediates);
    match verifier.verify_client_cert(leaf, &issuers, now) {
        Ok(_) => Ok(()),
        Err(Error::InvalidCertificate(reason)) => Err((reason, chain::end_of(leaf, &issuers, &trust.roots))),
        Err(_) => Err((CertificateError::BadEncoding, None)),
    }
}

/// What the peer sent, and behind it what we know and the peer did not send.
fn with_known<'a>(
    presented: &'a [CertificateDer<'a>],
    known: &'a [CertificateDer<'static>],
) -> Vec<CertificateDer<'a>> {
    let missing = known.iter().filter(|known| !presented.contains(known));
    presented.iter().chain(missing).map(|certificate| CertificateDer::from(certificate.as_ref())).collect()
}

/// Notes where the path ended when there was none to an anchor.
fn explained<T>(
    judged: Result<T, Error>,
    end_entity: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    roots: &RootCertStore,
) -> Result<T, Error> {
    if let Err(Error::InvalidCertificate(_)) = &judged
        && let Some(end) = chain::end_of(end_entity, issuers, roots)
    {
        observe::chain_ended(end);
    }
    judged
}

struct ServerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    trust: TrustAnchors,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServerVerifier")
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        observe::certificate_presented(end_entity);
        let issuers = with_known(intermediates, &self.trust.intermediates);
        let judged = self.inner.verify_server_cert(end_entity, &issuers, server_name, ocsp_response, now);
        explained(judged, end_entity, &issuers, &self.trust.roots)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    trust: TrustAnchors,
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientVerifier")
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        observe::certificate_presented(end_entity);
        let issuers = with_known(intermediates, &self.trust.intermediates);
        let judged = self.inner.verify_client_cert(end_entity, &issuers, now);
        explained(judged, end_entity, &issuers, &self.trust.roots)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
