//! How far a long run is: one line of the terminal, gone when the run is over.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tesaiot_device::publisher::Report;

/// Between two lines: often enough to see that it lives.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// Says nothing unless asked, and where nobody watches: when stderr is no terminal.
pub(super) struct Bar {
    on: bool,
    /// Messages of the whole run; unknown when they come from stdin
    count: Option<u64>,
    started: Instant,
    last: Option<Instant>,
}

impl Bar {
    pub(super) fn new(asked: bool, count: Option<u64>) -> Self {
        Self { on: asked && io::stderr().is_terminal(), count, started: Instant::now(), last: None }
    }

    pub(super) fn show(&mut self, report: &Report) {
        if !self.on || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let line = line(report, self.count, self.started.elapsed());
        // A closed stderr has nobody to tell.
        let _ = write!(io::stderr().lock(), "\r\u{1b}[K{line}");
        let _ = io::stderr().flush();
    }

    /// Takes the line away again.
    pub(super) fn clear(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
        self.on = false;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(report: &Report, count: Option<u64>, elapsed: Duration) -> String {
    let answered = report.answered();
    let mut line = match count {
        Some(count) => {
            let share = |of: u64| u128::from(of) * u128::from(answered) / u128::from(count.max(1));
            let done = share(WIDTH).min(u128::from(WIDTH)) as usize;
            let bar = format!("{}{}", "#".repeat(done), ".".repeat(WIDTH as usize - done));
            format!("[{bar}] {:3} % {} of {count} acknowledged", share(100), report.acknowledged)
        }
        None => format!("{} acknowledged, {} sent", report.acknowledged, report.sent),
    };
    if report.refused > 0 {
        line += &format!(", {} refused", report.refused);
    }
    let seconds = elapsed.as_secs_f64();
    if seconds >= 1.0 {
        line += &format!(", {:.0}/s", answered as f64 / seconds);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let report = Report { sent: 60, acknowledged: 49, refused: 1, ..Report::default() };
        insta::assert_snapshot!(line(&report, Some(200), Duration::from_secs(5)), @"[#######.......................]  25 % 49 of 200 acknowledged, 1 refused, 10/s");
        insta::assert_snapshot!(line(&report, None, Duration::from_millis(5)), @"49 acknowledged, 60 sent, 1 refused");
        assert!(line(&Report::default(), Some(u64::MAX), Duration::ZERO).contains("0 %"));
    }
}
