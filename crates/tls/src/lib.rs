//! rustls configurations from bundles and server identities, hot swap, and typed diagnosis of handshake failures.
