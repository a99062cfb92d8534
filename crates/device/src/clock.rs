//! The time on a machine without a battery for its clock.
//!
//! A Raspberry Pi starts in the past, at the time it was last switched off or at the beginning of 1970, and jumps when
//! the network tells it the time. Three things follow here:
//!
//! - **A floor.** The time is not before the program was built, nor before the last moment the platform was reached:
//!   `clock` in the data directory; nor before what the platform says in a receipt or in an answer over HTTPS. With it a certificate is not "not yet valid" at boot. TLS is given the later of the
//!   system's time and this clock ([`Clock::tls`]): it only ever moves time forward, so that nothing that has expired
//!   becomes valid by it.
//! - **The monotonic clock.** While the system's time is not believed, time goes on from the last that was. It is not
//!   believed below the floor, while systemd-timesyncd runs and has not heard from a server, and after a jump.
//! - **Marks.** A sample taken meanwhile says `"clock":"estimated"`. Once the right time is known, what waits in the
//!   outbox of this run is moved by the difference before it is sent, and says `"clock":"corrected"`.
//!
//! A jump of up to a day is believed after [`PATIENCE`], a greater one only from timesyncd or after a restart: a clock
//! that is years off would have its samples refused.

mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::state_file;
pub use source::{Source, System};

/// More than a slewed clock moves between two looks.
const JUMP: SignedDuration = SignedDuration::from_secs(2);
/// A jump beyond this is no daylight saving and no sleep.
const ABSURD: SignedDuration = SignedDuration::from_hours(24);
/// How long a jump must last until it is believed.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// How long samples of an unsure clock wait for the right time before they are sent as they are.
pub const HOLD: Duration = Duration::from_secs(60);
/// What a platform may say before its word is older than ours: its message took time to arrive.
const LATE: SignedDuration = SignedDuration::from_secs(60);
/// More than a platform can know better: its certificate was good by our time, and lasts no longer.
const FARTHEST: SignedDuration = SignedDuration::from_hours(400 * 24);
/// How often the last good time is written: flash wears out.
const KEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Spans of unsure time whose samples can still be corrected.
const MOST_SPANS: usize = 32;

/// What the time is, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time
    pub time: Timestamp,
    /// The span of unsure time it belongs to; none when it is right
    pub estimated: Option<u64>,
}

/// The clock of an agent. Clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<Inner>>);

struct Inner {
    source: Box<dyn Source>,
    /// Where the last good time is kept
    file: Option<PathBuf>,
    kept: Timestamp,
    floor: Timestamp,
    /// Time minus monotonic time, as far as it is believed
    offset: SignedDuration,
    /// Since when it is not the system's, on the monotonic clock
    unsure: Option<Duration>,
    span: u64,
    /// Spans that ended, and by how much they were wrong
    corrections: Vec<(u64, SignedDuration)>,
}

impl Clock {
    /// This machine's clock, without a file for the last good time.
    pub fn system() -> Self {
        Self::new(Box::new(System::new()), None)
    }

    /// A clock that keeps its last good time in `directory`.
    pub fn new(source: Box<dyn Source>, directory: Option<&Path>) -> Self {
        let file = directory.map(|directory| directory.join("clock"));
        let kept = file.as_ref().and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        let kept = kept.unwrap_or(Timestamp::UNIX_EPOCH);
        let built = env!("TESAIOT_BUILT_AT").parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        let built = built.unwrap_or(Timestamp::UNIX_EPOCH);
        let synchronised = source.is_synchronised();
        // A time that a server has told is believed against a file that a wrong clock may have written.
        let floor = if synchronised == Some(true) { built } else { kept.max(built) };
        let (wall, monotonic) = (source.wall(), source.monotonic());
        let sure = wall >= floor && synchronised != Some(false);
        let offset = since_epoch(wall.max(floor)) - signed(monotonic);
        let unsure = (!sure).then_some(monotonic);
        let inner = Inner { source, file, kept, floor, offset, unsure, span: 1, corrections: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The time now.
    pub fn read(&self) -> Reading {
        self.with(Inner::read)
    }

    /// The time now, however sure.
    pub fn now(&self) -> Timestamp {
        self.read().time
    }

    /// Whether samples should wait for the right time.
    pub fn is_worth_waiting_for(&self) -> bool {
        self.with(|inner| {
            inner.read();
            inner.unsure.is_some_and(|since| inner.source.monotonic().saturating_sub(since) < HOLD)
        })
    }

    /// By how much the times of a span were wrong, once that is known.
    pub fn correction(&self, span: u64) -> Option<SignedDuration> {
        self.with(|inner| inner.corrections.iter().find(|(ended, _)| *ended == span).map(|(_, wrong)| *wrong))
    }

    /// The platform was reached at this moment: a time that is right is kept as the floor of later runs.
    pub fn reached(&self) {
        self.with(|inner| {
            let Reading { time, estimated: None } = inner.read() else { return };
            inner.keep(time);
        });
    }

    /// The platform says what the time is, over a connection whose certificate was good. A clock that is behind is set
    /// forward by it, never back, and the time is kept as the floor of later runs.
    pub fn told(&self, time: Timestamp) {
        self.with(|inner| inner.told(time));
    }

    /// The time that certificates are judged by: the later of the system's and this clock.
    pub fn tls(&self) -> Arc<dyn TimeProvider> {
        Arc::new(self.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        // Nothing in here panics half-way.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let latest = self.with(|inner| inner.read().time.max(inner.source.wall()));
        u64::try_from(latest.as_second()).ok().map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl Inner {
    fn read(&mut self) -> Reading {
        let (wall, monotonic) = (self.source.wall(), self.source.monotonic());
        let seen = since_epoch(wall) - signed(monotonic);
        let wrong = seen - self.offset;
        let synchronised = self.source.is_synchronised();
        let plausible = wall >= self.floor || synchronised == Some(true);
        match self.unsure {
            None if plausible && (wrong.abs() <= JUMP || synchronised == Some(true)) => self.offset = seen,
            None => self.unsure = Some(monotonic),
            Some(since) => {
                let lasted = monotonic.saturating_sub(since) >= PATIENCE && wrong.abs() <= ABSURD;
                // A Pi that started below the floor jumps over it when it hears the time.
                let believed = match synchronised {
                    Some(synchronised) => synchronised,
                    None => wrong.abs() <= JUMP || lasted || self.was_below_floor(),
                };
                if plausible && (believed || (lasted && synchronised == Some(false))) {
                    self.settle(seen, wrong);
                }
            }
        }
        let time = Timestamp::UNIX_EPOCH.checked_add(self.offset.saturating_add(signed(monotonic)));
        Reading { time: time.unwrap_or(wall), estimated: self.unsure.map(|_| self.span) }
    }

    fn told(&mut self, time: Timestamp) {
        let ours = self.read().time;
        let behind = time.duration_since(ours);
        if behind <= LATE || behind > FARTHEST || self.source.is_synchronised() == Some(true) {
            return;
        }
        let monotonic = self.source.monotonic();
        if self.unsure.is_some() {
            // What was stamped by the time before is moved as far.
            self.settle(self.offset + behind, behind);
        }
        self.floor = time;
        self.offset = since_epoch(time) - signed(monotonic);
        self.unsure = Some(monotonic);
        self.keep(time);
    }

    fn keep(&mut self, time: Timestamp) {
        if time.duration_since(self.kept) < KEEP_EVERY {
            return;
        }
        self.kept = time;
        if let Some(file) = &self.file {
            // Without it the next start has an older floor, as the one before had.
            let _ = state_file::replace(file, time.to_string().as_bytes());
        }
    }

    /// Whether this span began with the floor as the only known time.
    fn was_below_floor(&self) -> bool {
        self.unsure.is_some_and(|since| {
            let began = self.offset.saturating_add(signed(since));
            (began - since_epoch(self.floor)).abs() <= JUMP
        })
    }

    fn settle(&mut self, seen: SignedDuration, wrong: SignedDuration) {
        self.offset = seen;
        self.unsure = None;
        if self.corrections.len() >= MOST_SPANS {
            self.corrections.remove(0);
        }
        self.corrections.push((self.span, wrong));
        self.span += 1;
    }
}

fn since_epoch(time: Timestamp) -> SignedDuration {
    time.duration_since(Timestamp::UNIX_EPOCH)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
