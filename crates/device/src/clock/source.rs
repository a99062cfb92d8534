//! Where the time comes from.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The folder of systemd-timesyncd, and the file it makes when a server has told the time.
const TIMESYNC: &str = "/run/systemd/timesync";

/// The clocks of a machine.
pub trait Source: Send {
    /// What the system says the time is.
    fn wall(&self) -> Timestamp;

    /// Time that passed since some moment; it never jumps.
    fn monotonic(&self) -> Duration;

    /// Whether a server has told the system the time; `None` where nothing here can say.
    fn is_synchronised(&self) -> Option<bool>;
}

/// This machine's.
#[derive(Debug)]
pub struct System {
    started: Instant,
}

impl System {
    /// The machine's clocks.
    #[expect(clippy::new_without_default, reason = "an instant is no default")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Source for System {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_synchronised(&self) -> Option<bool> {
        let folder = Path::new(TIMESYNC);
        folder.is_dir().then(|| folder.join("synchronized").exists())
    }
}
