//! The log: on stderr, because stdout is for data.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Writes events to stderr: those that `RUST_LOG` asks for, or from `default` on.
pub(crate) fn start(default: LevelFilter) {
    let filter = EnvFilter::builder().with_default_directive(default.into()).from_env_lossy();
    let colour = io::stderr().is_terminal() && crate::output::emphasis_wanted();
    let log = tracing_subscriber::fmt().compact().with_env_filter(filter).with_ansi(colour).with_writer(io::stderr);
    // Only the second call of a process fails, and there is one.
    let _ = log.try_init();
}
