//! The configuration of a listener.
//!
//! # Resumption
//! A resumed session skips the certificates: rustls restores the client's chain from the session
//! state and does not verify it again, so an expired client certificate would go on working for
//! the life of the session. A listener that asks for client certificates therefore keeps no
//! session state and sends no tickets: every handshake verifies. A listener that asks for none has
//! nothing to skip; there a small in-memory cache saves the full handshake to clients for which
//! its arithmetic is slow. Stateless tickets are never used: there is no ticket key to protect.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};

use crate::error::ConfigError;
use crate::provider::provider_of_server;
use crate::server_identity::ServerIdentityHandle;
use crate::trust::TrustAnchors;
use crate::verify;
use crate::version::Versions;

/// Sessions remembered by a listener without client certificates; the oldest are forgotten.
const REMEMBERED_SESSIONS: usize = 1024;

/// Whether a listener asks for client certificates, and whom it believes.
#[derive(Debug, Clone)]
pub enum ClientCertificates {
    /// None is asked for
    NotRequested,
    /// One is asked for; a client may go on without. One that is presented must be good
    Optional(TrustAnchors),
    /// A client without a good one is refused
    Required(TrustAnchors),
}

/// Builds the configuration of a listener. `alpn` lists the application protocols it accepts, best
/// first; an empty list accepts any client.
///
/// # Errors
/// The trust anchors or the settings were refused by rustls.
pub fn server_config(
    identity: &ServerIdentityHandle,
    client_certificates: ClientCertificates,
    versions: Versions,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, ConfigError> {
    let builder = ServerConfig::builder_with_provider(provider_of_server())
        .with_protocol_versions(versions.supported())
        .map_err(ConfigError::Settings)?;
    let (builder, may_resume) = match client_certificates {
        ClientCertificates::NotRequested => (builder.with_no_client_auth(), true),
        ClientCertificates::Optional(trust) => {
            (builder.with_client_cert_verifier(verify::client_verifier(&trust, false)?), false)
        }
        ClientCertificates::Required(trust) => {
            (builder.with_client_cert_verifier(verify::client_verifier(&trust, true)?), false)
        }
    };
    let mut config = builder.with_cert_resolver(identity.resolver());
    // OpenSSL and rustls name AES-256 with SHA-384 first, whatever it costs the other end.
    config.ignore_client_order = true;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    if may_resume {
        config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
        config.send_tls13_tickets = 1;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}
