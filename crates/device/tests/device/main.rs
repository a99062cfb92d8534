//! The device side against peers that a test controls.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod agent;
mod connect;
mod credentials;
mod outbox;
mod publisher;
mod settings;
