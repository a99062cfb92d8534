//! The authority from outside: its files, its certificates and its refusals, judged by rustls and
//! by the `openssl` program.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod chain;
mod files;
mod openssl;
mod requests;
mod support;
