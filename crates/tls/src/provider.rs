//! The one cryptography provider of the program.
//!
//! It is named explicitly wherever rustls asks for one: a process-wide default could be another
//! one, or none, depending on which crate was linked first.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The ring provider: TLS 1.3 suites and the ECDHE suites of TLS 1.2, all of them AEAD.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
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
}
