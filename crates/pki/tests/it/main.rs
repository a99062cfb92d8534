//! The authority from outside: its files, its certificates and its refusals, judged by rustls and
//! by the `openssl` program.

mod chain;
mod files;
mod openssl;
mod requests;
mod support;
