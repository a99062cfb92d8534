//! The configuration of the connecting end.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::client_identity::{ClientIdentity, OnRequest};
use crate::error::ConfigError;
use crate::provider::provider;
use crate::trust::TrustAnchors;
use crate::verify;
use crate::version::Versions;

/// What a connecting end believes, shows and speaks.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Whom to believe; the operating system's anchors are not consulted
    pub trust: TrustAnchors,
    /// The certificate to show when the server asks for one
    pub identity: Option<ClientIdentity>,
    /// Versions to offer
    pub versions: Versions,
    /// Application protocols to offer, best first; empty offers none
    pub alpn: Vec<Vec<u8>>,
}

impl ClientSettings {
    /// No client certificate, both versions, no application protocol.
    pub fn new(trust: TrustAnchors) -> Self {
        Self { trust, identity: None, versions: Versions::Both, alpn: Vec::new() }
    }
}

/// Builds the configuration of a connecting end.
///
/// Sessions are not resumed: every connection verifies the server's certificate again.
///
/// # Errors
/// The trust anchors or the settings were refused by rustls.
pub fn client_config(settings: ClientSettings) -> Result<Arc<ClientConfig>, ConfigError> {
    let verifier = verify::server_verifier(&settings.trust)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.versions.supported())
        .map_err(ConfigError::Settings)?
        // "dangerous" names the door, not what goes through it: the verifier is webpki's with the
        // presented certificate noted down.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_cert_resolver(Arc::new(OnRequest(settings.identity)));
    config.alpn_protocols = settings.alpn;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
