//! What the tests share: external programs with deadlines, real peers, throw-away certificates.

#[cfg(all(feature = "device", feature = "platform"))]
pub(crate) mod agent;
pub(crate) mod authority;
#[cfg(feature = "platform")]
pub(crate) mod device;
#[cfg(feature = "platform")]
pub(crate) mod https;
pub(crate) mod lines;
#[cfg(feature = "platform")]
pub(crate) mod load;
pub(crate) mod mosquitto;
pub(crate) mod paho;
#[cfg(feature = "platform")]
pub(crate) mod platform;
#[cfg(feature = "platform")]
pub(crate) mod platform_process;
pub(crate) mod process;
#[cfg(all(feature = "device", feature = "platform"))]
pub(crate) mod proxy;
#[cfg(feature = "platform")]
pub(crate) mod rest;
#[cfg(feature = "platform")]
pub(crate) mod wire;

use std::time::{Duration, Instant};

/// Long enough that a loaded machine does not fail a sound test, short enough to hear of a broken one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `ready` again and again until it answers, and fails the test, naming `what`, after [`PATIENCE`].
pub(crate) fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
