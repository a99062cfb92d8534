//! How far long work is, on one line of the terminal that is gone when the work is done.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tesaiot_store::telemetry::Progress;

/// Between two lines: often enough to see that it lives.
const EVERY: Duration = Duration::from_millis(100);

/// Says nothing where nobody watches: when stderr is no terminal.
pub(crate) struct Meter {
    on: bool,
    last: Option<Instant>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { on: io::stderr().is_terminal(), last: None }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        if !self.on || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let Progress { what, done, total } = progress;
        let share = done.saturating_mul(100).checked_div(total).map(|share| format!(" {share} %")).unwrap_or_default();
        // A closed stderr has nobody to tell.
        let _ = write!(io::stderr().lock(), "\r\u{1b}[K{what}:{share}");
        let _ = io::stderr().flush();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}
