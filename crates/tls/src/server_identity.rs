//! The certificate a server shows, published through a watch channel.
//!
//! A listener holds the receiving end and reads it once per handshake, so a renewed certificate is
//! used by the next handshake with no restart. Before the first identity is published there is
//! nothing to show and every handshake is refused: a listener fails closed.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::error::ConfigError;
use crate::observe;
use crate::pem;
use crate::provider::provider;
use crate::summary::CertificateSummary;

/// A server's chain (leaf first) and private key, known to belong together.
#[derive(Clone)]
pub struct ServerIdentity {
    certified: Arc<CertifiedKey>,
    summary: Arc<CertificateSummary>,
}

impl ServerIdentity {
    /// Reads chain and key from PEM and checks that they belong together.
    ///
    /// # Errors
    /// [`ConfigError::KeyMismatch`] when they do not; others for unreadable input.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, ConfigError> {
        let certified = pem::certified_key("the server certificate", chain, key, &provider())?;
        let leaf =
            certified.end_entity_cert().map_err(|_| ConfigError::NoCertificate { what: "the server certificate" })?;
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

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerIdentity").field("subject", &self.summary.subject).field("key", &"***").finish()
    }
}

/// Makes a publisher and the handle that listeners read. No identity is published yet.
pub fn server_identity_channel() -> (ServerIdentityPublisher, ServerIdentityHandle) {
    let (sender, receiver) = watch::channel(None);
    (ServerIdentityPublisher { sender }, ServerIdentityHandle { receiver })
}

/// The writing end: held by whoever issues and renews the server's certificate.
#[derive(Debug)]
pub struct ServerIdentityPublisher {
    sender: watch::Sender<Option<ServerIdentity>>,
}

impl ServerIdentityPublisher {
    /// Shows `identity` from the next handshake on. Connections that stand are not touched.
    pub fn publish(&self, identity: ServerIdentity) {
        self.sender.send_replace(Some(identity));
    }
}

/// The reading end: cheap to clone, one per listener. It keeps the last identity when the
/// publisher is gone.
#[derive(Debug, Clone)]
pub struct ServerIdentityHandle {
    receiver: watch::Receiver<Option<ServerIdentity>>,
}

impl ServerIdentityHandle {
    /// A handle whose identity never changes.
    pub fn fixed(identity: ServerIdentity) -> Self {
        let (_, receiver) = watch::channel(Some(identity));
        Self { receiver }
    }

    /// The identity the next handshake would show; none before the first was published.
    pub fn current(&self) -> Option<ServerIdentity> {
        self.receiver.borrow().clone()
    }

    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver(self.clone()))
    }
}

#[derive(Debug)]
struct Resolver(ServerIdentityHandle);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.0.receiver.borrow();
        match identity.as_ref() {
            Some(identity) => Some(Arc::clone(&identity.certified)),
            None => {
                observe::identity_missing();
                None
            }
        }
    }
}
