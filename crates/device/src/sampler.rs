//! Reads several sensors, each on its own time.
//!
//! A read may block: a 1-wire conversion takes 750 ms, a program as long as it likes. Every sensor that may has a thread
//! of its own, so that one which hangs holds up nobody: it is told once, its turns are skipped until it answers, and the
//! others go on. A sensor that fails is asked again later and later, up to [`RETRY_LIMIT`], and at its own interval as
//! soon as it works again.
//!
//! The sampler is no task: [`Sampler::next`] drives it, and may be dropped and called again at any moment.

mod worker;

use std::collections::VecDeque;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::{Sample, TelemetryType};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::sensor::{Bounds, Fault, Feed, Sensor, SensorError, check};
use worker::{Reply, Worker};

/// A sensor that fails is asked again at the latest after this, or at its interval when that is longer.
pub const RETRY_LIMIT: Duration = Duration::from_secs(300);
/// A sensor that has not answered for this long, and for its interval, is said to hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stop waits for reads that are under way.
const GOODBYE: Duration = Duration::from_secs(2);
/// Readings that wait to be fetched. The threads wait beyond it, so a feed that never stops fills nothing.
const WAITING: usize = 64;

/// What a sensor is called and how it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is called in events and commands; unique
    pub name: Arc<str>,
    /// The type of its telemetry: the last levels of `device/{id}/telemetry/{type}`
    pub kind: TelemetryType,
    /// Time between two readings; above zero. A feed speaks when it likes
    pub interval: Duration,
    /// Ranges of its values, where those of their units are too wide
    pub bounds: Vec<Bounds>,
    /// Units that stand in the sample instead of the sensor's own: metric and unit
    pub units: Vec<(Box<str>, Box<str>)>,
}

impl Plan {
    /// A sensor named after its kind, without further bounds and units.
    pub fn new(kind: TelemetryType, interval: Duration) -> Self {
        Self { name: kind.as_str().into(), kind, interval, bounds: Vec::new(), units: Vec::new() }
    }
}

/// A sensor that cannot be taken on.
#[derive(Debug, thiserror::Error)]
pub enum SamplerError {
    /// Its interval is zero.
    #[error("the interval of the sensor {0} must be above zero")]
    Interval(Arc<str>),
    /// Another one has this name.
    #[error("two sensors are called {0}")]
    DuplicateName(Arc<str>),
    /// The system gives no thread.
    #[error("no thread for the sensor {name}")]
    Thread {
        /// Its name
        name: Arc<str>,
        /// Why
        source: std::io::Error,
    },
}

/// What one turn of a sensor gave.
#[derive(Debug)]
pub struct Observation {
    /// The sensor
    pub sensor: Arc<str>,
    /// The type of its telemetry
    pub kind: TelemetryType,
    /// The reading
    pub outcome: Outcome,
}

/// A reading, or why there is none.
#[derive(Debug)]
pub enum Outcome {
    /// It was read.
    Read {
        /// What it said
        sample: Sample,
        /// Values that cannot be, as far as the reading before did not have them: a broken wire is told once. The
        /// sample names them every time
        faults: Vec<(Box<str>, Fault)>,
        /// Whether the turn before this one failed
        recovered: bool,
    },
    /// It could not be read.
    Failed {
        /// Why
        error: SensorError,
        /// It is asked again after this; zero for a feed that goes on
        retry_in: Duration,
    },
}

/// How a sensor is doing.
#[derive(Clone, Debug)]
pub struct Health {
    /// Its name
    pub sensor: Arc<str>,
    /// Readings since the start
    pub read: u64,
    /// Failures since the start
    pub failed: u64,
    /// The last failure, when the last turn failed
    pub error: Option<String>,
    /// Time between two readings
    pub interval: Duration,
}

/// Sensors and their times.
#[derive(Default)]
pub struct Sampler {
    entries: Vec<Entry>,
    replies: Option<mpsc::Receiver<Reply>>,
    sender: Option<mpsc::Sender<Reply>>,
    ready: VecDeque<Observation>,
}

struct Entry {
    plan: Plan,
    source: Source,
    /// When it is asked next; a feed is not asked
    due: Option<Instant>,
    /// Since when an answer is awaited
    asked: Option<Instant>,
    /// Whether it was told that it hangs
    hangs: bool,
    /// Failures in a row
    failures: u32,
    /// What the last reading had wrong
    faults: Vec<(Box<str>, Fault)>,
    read: u64,
    failed: u64,
    error: Option<String>,
}

enum Source {
    Instant(Box<dyn Sensor>),
    Thread(Worker),
}

impl Sampler {
    /// No sensor yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes on a sensor; its first reading is due at once.
    ///
    /// # Errors
    /// [`SamplerError`].
    pub fn add(&mut self, plan: Plan, sensor: Box<dyn Sensor>) -> Result<(), SamplerError> {
        let index = self.admit(&plan)?;
        let source = if sensor.is_instant() {
            Source::Instant(sensor)
        } else {
            let worker = Worker::of_sensor(index, &plan.name, sensor, self.replies());
            Source::Thread(worker.map_err(|source| SamplerError::Thread { name: plan.name.clone(), source })?)
        };
        self.entries.push(Entry::new(plan, source, Some(Instant::now())));
        Ok(())
    }

    /// Takes on a feed; it is listened to at once.
    ///
    /// # Errors
    /// [`SamplerError`].
    pub fn add_feed(&mut self, plan: Plan, feed: Box<dyn Feed>) -> Result<(), SamplerError> {
        let index = self.admit(&plan)?;
        let worker = Worker::of_feed(index, &plan.name, feed, self.replies());
        let worker = worker.map_err(|source| SamplerError::Thread { name: plan.name.clone(), source })?;
        self.entries.push(Entry::new(plan, Source::Thread(worker), None));
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next reading or failure, whichever sensor's. `clock` tells the time of a reading. Never, without sensors.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self, clock: impl Fn() -> Timestamp) -> Observation {
        loop {
            if let Some(observation) = self.ready.pop_front() {
                return observation;
            }
            let due = self.entries.iter().filter_map(Entry::wakes_at).min();
            let wake = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => future::pending().await,
                }
            };
            let reply = async {
                match &mut self.replies {
                    Some(replies) => replies.recv().await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reply = reply => if let Some(reply) = reply { self.settle(reply, &clock) },
                () = wake => self.turn(&clock),
            }
        }
    }

    /// Asks a sensor, or all of them, at once. Returns which; feeds cannot be asked, nor a sensor that hangs.
    pub fn read_now(&mut self, name: Option<&str>) -> Vec<Arc<str>> {
        let asked = self.entries.iter_mut().filter(|entry| entry.due.is_some() && !entry.hangs);
        let asked = asked.filter(|entry| name.is_none_or(|name| *entry.plan.name == *name));
        asked
            .map(|entry| {
                entry.due = Some(Instant::now());
                entry.plan.name.clone()
            })
            .collect()
    }

    /// Changes the interval of a sensor, or of all; above zero. Returns how many that are; feeds have none.
    pub fn set_interval(&mut self, name: Option<&str>, interval: Duration) -> usize {
        let changed = self.entries.iter_mut().filter(|entry| entry.due.is_some() && !interval.is_zero());
        let changed = changed.filter(|entry| name.is_none_or(|name| *entry.plan.name == *name));
        changed
            .map(|entry| {
                entry.plan.interval = interval;
                entry.due = entry.due.map(|due| due.min(Instant::now() + interval));
            })
            .count()
    }

    /// How each is doing.
    pub fn health(&self) -> Vec<Health> {
        let health = |entry: &Entry| Health {
            sensor: entry.plan.name.clone(),
            read: entry.read,
            failed: entry.failed,
            error: entry.error.clone(),
            interval: entry.plan.interval,
        };
        self.entries.iter().map(health).collect()
    }

    /// Ends the threads. A read that is under way has two seconds; one that hangs in the kernel ends with the process.
    pub async fn stop(mut self) {
        self.entries.clear();
        self.sender = None;
        let Some(mut replies) = self.replies.take() else { return };
        // Each thread holds a sender until it ends.
        let _ = timeout(GOODBYE, async { while replies.recv().await.is_some() {} }).await;
    }

    fn admit(&self, plan: &Plan) -> Result<usize, SamplerError> {
        if plan.interval.is_zero() {
            return Err(SamplerError::Interval(plan.name.clone()));
        }
        if self.entries.iter().any(|entry| entry.plan.name == plan.name) {
            return Err(SamplerError::DuplicateName(plan.name.clone()));
        }
        Ok(self.entries.len())
    }

    fn replies(&mut self) -> mpsc::Sender<Reply> {
        let (sender, receiver) = match self.sender.take() {
            Some(sender) => (sender, self.replies.take()),
            None => {
                let (sender, receiver) = mpsc::channel(WAITING);
                (sender, Some(receiver))
            }
        };
        self.replies = receiver;
        self.sender = Some(sender.clone());
        sender
    }

    /// Asks every sensor that is due.
    fn turn(&mut self, clock: &impl Fn() -> Timestamp) {
        let now = Instant::now();
        for entry in &mut self.entries {
            if entry.wakes_at().is_none_or(|due| due > now) {
                continue;
            }
            if let Some(asked) = entry.asked {
                // It is still at its last reading: the turn is skipped, and it is told once.
                entry.hangs = true;
                entry.failures = entry.failures.saturating_add(1);
                entry.skip(now);
                let error = SensorError::TimedOut { what: entry.plan.name.to_string(), after: now - asked };
                self.ready.push_back(entry.failure(error, entry.plan.interval));
                continue;
            }
            entry.skip(now);
            let time = milliseconds(clock());
            match &mut entry.source {
                Source::Instant(sensor) => {
                    let outcome = sensor.read(time);
                    self.ready.push_back(entry.settle(outcome, time, now));
                }
                Source::Thread(worker) => match worker.ask(time) {
                    true => entry.asked = Some(now),
                    false => self.ready.push_back(entry.settle(Err(SensorError::ThreadEnded), time, now)),
                },
            }
        }
    }

    fn settle(&mut self, reply: Reply, clock: &impl Fn() -> Timestamp) {
        let Some(entry) = self.entries.get_mut(reply.index) else { return };
        entry.asked = None;
        entry.hangs = false;
        let observation = entry.settle(reply.outcome, milliseconds(clock()), Instant::now());
        self.ready.push_back(observation);
    }
}

impl Entry {
    fn new(plan: Plan, source: Source, due: Option<Instant>) -> Self {
        Self {
            plan,
            source,
            due,
            asked: None,
            hangs: false,
            failures: 0,
            faults: Vec::new(),
            read: 0,
            failed: 0,
            error: None,
        }
    }

    /// When it next needs attention: to be asked, or to be told that it hangs.
    fn wakes_at(&self) -> Option<Instant> {
        match self.asked {
            Some(_) if self.hangs => None,
            Some(asked) => Some(asked + self.plan.interval.max(PATIENCE)),
            None => self.due,
        }
    }

    /// Sets the next turn, in step with the turns before. A machine that slept takes one sample, not all that it missed.
    fn skip(&mut self, now: Instant) {
        let Some(due) = self.due else { return };
        let next = due + self.plan.interval;
        self.due = Some(if next > now { next } else { now + self.plan.interval });
    }

    fn settle(&mut self, outcome: Result<Sample, SensorError>, now: Timestamp, at: Instant) -> Observation {
        match outcome {
            Ok(mut sample) => {
                sample.time.get_or_insert(now);
                for (metric, unit) in &self.plan.units {
                    for metric in sample.metrics.iter_mut().filter(|named| named.name == *metric) {
                        metric.unit = Some(unit.clone());
                    }
                }
                let found = check::check(&mut sample, &self.plan.bounds);
                let faults = found.iter().filter(|fault| !self.faults.contains(fault)).cloned().collect();
                self.faults = found;
                let recovered = std::mem::take(&mut self.failures) > 0;
                self.read += 1;
                self.error = None;
                self.observation(Outcome::Read { sample, faults, recovered })
            }
            Err(error) => {
                let delay =
                    if self.due.is_none() && error.is_about_words() { Duration::ZERO } else { self.retry_delay() };
                self.failures = self.failures.saturating_add(1);
                // Feeds wait on their own thread.
                self.due = self.due.map(|_| at + delay);
                self.failure(error, delay)
            }
        }
    }

    fn failure(&mut self, error: SensorError, retry_in: Duration) -> Observation {
        self.failed += 1;
        self.error = Some(error.describe());
        self.observation(Outcome::Failed { error, retry_in })
    }

    fn retry_delay(&self) -> Duration {
        match self.due {
            Some(_) => backoff(self.plan.interval, self.failures),
            None => backoff(worker::FEED_RETRY, self.failures),
        }
    }

    fn observation(&self, outcome: Outcome) -> Observation {
        Observation { sensor: self.plan.name.clone(), kind: self.plan.kind.clone(), outcome }
    }
}

/// The wait after the failure that follows `failures` others: it doubles, up to the limit.
pub(crate) fn backoff(interval: Duration, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.min(16));
    doubled.min(RETRY_LIMIT.max(interval))
}

/// Milliseconds are finer than any sensor here; nanoseconds would be a third of the payload.
fn milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
