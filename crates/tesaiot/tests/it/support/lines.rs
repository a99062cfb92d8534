//! The output of a running program, line by line, to wait on and to show when a test fails.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines kept of one stream; a program that says more is still read, so that it never blocks on us.
const MOST: usize = 200_000;

/// Collected output. Clones look at the same lines.
#[derive(Clone)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    collected: Mutex<Collected>,
    changed: Condvar,
}

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Shared {
    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Reads `source` to its end on a thread of its own, which ends with the program that writes.
    pub(crate) fn read(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                line.clear();
                let mut collected = writer.collected();
                if collected.lines.len() < MOST {
                    collected.lines.push(text);
                }
                writer.changed.notify_all();
            }
            writer.collected().ended = true;
            writer.changed.notify_all();
        });
        Self { shared }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.shared.collected().lines.join("\n")
    }

    /// Waits for the stream to end; false when `patience` ran out first.
    pub(crate) fn wait_for_end(&self, patience: Duration) -> bool {
        let unfinished = |collected: &mut Collected| !collected.ended;
        let collected = self.shared.collected();
        let waited = self.shared.changed.wait_timeout_while(collected, patience, unfinished);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Waits until `count` lines were accepted by `pick`, in order from the first line on.
    /// `None` when the stream ended or `patience` ran out before that.
    pub(crate) fn wait_for<T>(
        &self,
        count: usize,
        patience: Duration,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let deadline = Instant::now() + patience;
        let mut picked = Vec::new();
        let mut seen = 0;
        let mut collected = self.shared.collected();
        loop {
            for line in &collected.lines[seen..] {
                picked.extend(pick(line));
                if picked.len() >= count {
                    return Some(picked);
                }
            }
            seen = collected.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if collected.ended || left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(collected, left);
            collected = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
