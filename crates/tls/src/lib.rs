//! rustls configurations from bundles and server identities, hot swap, and typed diagnosis of handshake failures.
//!
//! Everything TLS of the program goes through here, so that one place decides: TLS 1.2 and 1.3 only,
//! AEAD suites only, one provider (ring) named explicitly, no resumption past a client certificate.
//!
//! - [`server_config`] and [`client_config`] build plain rustls configurations that any listener or
//!   HTTP client can use.
//! - [`ServerIdentityPublisher`] swaps a server's certificate with no restart.
//! - [`accept`] and [`connect`] run one handshake under a deadline, and say in a [`Diagnosis`] who
//!   refused what when it fails.

mod chain;
mod client;
mod client_identity;
mod diagnosis;
mod error;
mod handshake;
mod observe;
mod pem;
mod pin;
mod provider;
mod server;
mod server_identity;
mod summary;
mod trust;
mod verify;
mod version;

pub use client::{ClientSettings, client_config};
pub use client_identity::ClientIdentity;
pub use diagnosis::fault::CertificateFault;
pub use diagnosis::refusal::Refusal;
pub use diagnosis::{Diagnosis, Role, Side, Step, diagnose_error, diagnose_io};
pub use error::ConfigError;
pub use handshake::{HandshakeError, accept, connect, connect_and_look};
pub use pin::pinned_client_config;
pub use provider::provider;
pub use server::{ClientCertificates, server_config};
pub use server_identity::{ServerIdentity, ServerIdentityHandle, ServerIdentityPublisher, server_identity_channel};
pub use summary::{CertificateSummary, peer_summary};
pub use trust::TrustAnchors;
pub use version::{TlsVersion, UnknownTlsVersion, Versions};

/// The stream of an accepted connection.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;
/// The stream of a connection that was opened.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<S>;
