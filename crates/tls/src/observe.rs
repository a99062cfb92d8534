//! What was seen during one handshake, for the diagnosis of a failed one.
//!
//! A rustls verifier belongs to a configuration that many connections share, and its error says
//! what was wrong but not with which certificate. rustls calls it while the handshake future is
//! polled, so a task-local value around that future is a slot of exactly one connection. Outside
//! of such a scope (a configuration handed to an HTTP library) nothing is recorded.

use std::cell::RefCell;
use std::future::Future;

use rustls::pki_types::CertificateDer;

use crate::chain::ChainEnd;

/// What one handshake showed.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The end-entity certificate that the peer presented, whatever became of it
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Where the chain of that certificate ended, when it reached no anchor
    pub(crate) chain_end: Option<ChainEnd>,
    /// The server asked for a client certificate, and this is whether one was shown
    pub(crate) client_certificate: Option<Shown>,
    /// The server had no certificate to show
    pub(crate) identity_missing: bool,
}

/// What a client answered when it was asked for its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It has one
    Certificate,
    /// It has none
    Nothing,
}

tokio::task_local! {
    static OBSERVED: RefCell<Observed>;
}

/// Runs a handshake and returns what was seen with its result.
pub(crate) async fn observed<F: Future>(handshake: F) -> (F::Output, Observed) {
    OBSERVED
        .scope(RefCell::default(), async {
            let output = handshake.await;
            (output, OBSERVED.with(RefCell::take))
        })
        .await
}

pub(crate) fn certificate_presented(certificate: &CertificateDer<'_>) {
    // Outside of a scope there is no slot, and nobody to read it.
    let _ = OBSERVED.try_with(|observed| {
        observed.borrow_mut().certificate = Some(certificate.clone().into_owned());
    });
}

pub(crate) fn chain_ended(end: ChainEnd) {
    let _ = OBSERVED.try_with(|observed| observed.borrow_mut().chain_end = Some(end));
}

pub(crate) fn client_certificate_requested(shown: Shown) {
    let _ = OBSERVED.try_with(|observed| observed.borrow_mut().client_certificate = Some(shown));
}

pub(crate) fn identity_missing() {
    let _ = OBSERVED.try_with(|observed| observed.borrow_mut().identity_missing = true);
}
