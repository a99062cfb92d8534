//! Names for clients that bring none (MQTT-3.1.3-6): unique, and not to be guessed, because who knows a name can take
//! over its session.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out client identifiers. The keys are the process's own, from the operating system.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    keys: [RandomState; 2],
    next: AtomicU64,
}

impl Assigned {
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = [0, 1].map(|half: usize| self.keys[half].hash_one(number));
        format!("auto-{high:016x}{low:016x}")
    }
}
