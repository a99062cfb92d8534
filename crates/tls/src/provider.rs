//! The one cryptography provider of the program.
//!
//! It is named explicitly wherever rustls asks for one: a process-wide default could be another
//! one, or none, depending on which crate was linked first.

use std::sync::{Arc, LazyLock};

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The ring provider: TLS 1.3 suites and the ECDHE suites of TLS 1.2, all of them AEAD.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

static OF_SERVER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !is_preferred(suite.suite()));
    Arc::new(provider)
});

/// The same, in the order in which a server chooses: AES-128-GCM with SHA-256 first. It is as strong as the P-256 keys
/// and the X25519 exchange beside it. SHA-384 alone, for which ring uses no instructions of the processor on
/// x86, is a tenth of what a handshake costs.
pub(crate) fn provider_of_server() -> Arc<CryptoProvider> {
    Arc::clone(&OF_SERVER)
}

fn is_preferred(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_an_aead_suite_with_ephemeral_keys() {
        for suite in &provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"), "{name} is not AEAD");
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name} has no forward secrecy");
        }
        assert!(!provider().cipher_suites.is_empty());
    }

    #[test]
    fn a_server_offers_the_same_suites_and_prefers_sha_256() {
        let names = |provider: &CryptoProvider| -> Vec<_> {
            provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect()
        };
        let (mut all, mut of_server) = (names(&provider()), names(&provider_of_server()));
        assert!(of_server[..3].iter().all(|name| name.ends_with("AES_128_GCM_SHA256")), "{of_server:?}");
        all.sort();
        of_server.sort();
        assert_eq!(all, of_server);
    }
}
