//! See `bodies/topics.rs`.
#![no_main]

#[path = "../bodies/topics.rs"]
mod topics;

libfuzzer_sys::fuzz_target!(|data: &[u8]| topics::run(data));
