//! The log: on stderr, because stdout is for data.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes events to stderr: those that `RUST_LOG` asks for (`warn`, `info,tesaiot_broker=debug`), or from `default`
/// on when it is not set or says nothing that is understood.
pub(crate) fn start(default: LevelFilter) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(default));
    let colour = io::stderr().is_terminal() && crate::output::emphasis_wanted();
    let log = tracing_subscriber::fmt::layer().compact().with_ansi(colour).with_writer(io::stderr);
    // Only the second call of a process fails, and there is one.
    let _ = tracing_subscriber::registry().with(log).with(filter).try_init();
}
