//! The one program: device and platform, by the words of its command line.
//!
//! Everything it does is in the crates below it; here are words, flags, output and exit codes.

#[cfg(not(any(feature = "device", feature = "platform")))]
compile_error!("choose at least one of the features `device` and `platform`");

mod cli;
mod exit;
mod output;

use std::process::ExitCode;

/// The platform holds thousands of connections that come and go, and jemalloc is the allocator that
/// gives their memory back. One arena and a short decay are set when it is built (`.cargo/config.toml`).
#[cfg(feature = "platform")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::Cli::read().run().unwrap_or_else(|error| output::failure(&error))
}
