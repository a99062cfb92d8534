//! Real handshakes: what is negotiated, and how every failure is named on both ends.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod client_certificate;
mod files;
mod identity;
mod negotiation;
mod resumption;
mod server_certificate;
mod summary;
mod support;
mod transport;
