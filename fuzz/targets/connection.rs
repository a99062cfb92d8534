//! See `bodies/connection.rs`.
#![no_main]

#[path = "../bodies/connection.rs"]
mod connection;

libfuzzer_sys::fuzz_target!(|data: &[u8]| connection::run(data));
