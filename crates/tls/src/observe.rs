//! What was seen during one handshake, for the diagnosis of a failed one.
//!
//! A rustls verifier belongs to a configuration that many connections share, and its error says
//! what was wrong but not with which certificate. rustls calls it while the handshake future is
//! polled, so a task-local value around that future is a slot of exactly one connection. Outside
//! of such a scope (a configuration handed to an HTTP library) nothing is recorded.

use std::cell::RefCell;
use std::future::Future;

use rustls::pki_types::CertificateDer;

/// What one handshake showed.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The end-entity certificate that the peer presented, whatever became of it
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The server had no certificate to show
    pub(crate) identity_missing: bool,
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

pub(crate) fn identity_missing() {
    let _ = OBSERVED.try_with(|observed| observed.borrow_mut().identity_missing = true);
}
