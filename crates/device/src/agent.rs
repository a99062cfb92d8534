//! The long-running device program: it reads its sensors on time, and delivers every sample once.
//!
//! - A sample is numbered (`boot`, `seq`) when it is taken and sent as the same bytes until it is acknowledged, so the
//!   platform stores it once however often the connection breaks.
//! - Samples wait in memory, bounded; when there is no room the oldest is given up and counted. A restart of the
//!   program loses what waits: the outbox on disk is not built yet.
//! - The retained `status` says online after connecting, offline at a stop in good order; the Last Will says offline
//!   otherwise.
//! - Commands are answered, and acknowledged once the answer is; configuration is acknowledged and not applied yet.

mod command;
mod connection;
mod event;
mod outbox;

use std::fmt::Write as _;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use tesaiot_contract::command::{Presence, Status};
use tesaiot_contract::{DeviceTopic, MessageId, Sample, TelemetryType};
use tesaiot_mqtt::backoff::Backoff;
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::packet::Version;
use tesaiot_mqtt::{Message, QoS};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::connect::Connector;
use crate::credentials::Credentials;
use crate::random::Random;
use crate::sampler::{Observation, Outcome, Sampler};
use crate::session::{self, Session};
use connection::Ended;
pub use event::{Event, Report};
use outbox::{Entry, Outbox};

/// Messages that may be unacknowledged in either direction.
const WINDOW: u16 = 64;

/// How an agent works.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Where it connects
    pub connector: Connector,
    /// Who it is
    pub credentials: Credentials,
    /// Samples kept while they cannot be delivered; the oldest is dropped for the next one
    pub queue: usize,
    /// MQTT version; with version 5 the broker can refuse a message without closing the connection
    pub version: Version,
    /// Longest first wait before connecting again; it doubles up to `retry_limit`, with jitter
    pub retry_first: Duration,
    /// Longest wait before connecting again
    pub retry_limit: Duration,
}

impl AgentSettings {
    /// MQTT 5, 10,000 samples in memory, first retry within a second, at the latest after a minute.
    pub fn new(connector: Connector, credentials: Credentials) -> Self {
        Self {
            connector,
            credentials,
            queue: 10_000,
            version: Version::V5,
            retry_first: Duration::from_secs(1),
            retry_limit: Duration::from_secs(60),
        }
    }
}

/// An agent that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nothing to read.
    #[error("an agent without a sensor has nothing to do")]
    NoSensor,
    /// The system gives no random numbers, so this run cannot be told from the last.
    #[error("the system's random number generator failed")]
    NoRandomNumbers,
}

/// A device at work.
pub struct Agent {
    settings: AgentSettings,
    sampler: Sampler,
    clock: fn() -> Timestamp,
    /// Names this run of the program: sequence numbers start again with each.
    boot: Box<str>,
    next_seq: u64,
    outbox: Outbox,
    backoff: Backoff,
    random: Random,
    events: Option<mpsc::Sender<Event>>,
    report: Report,
    started: Instant,
}

impl Agent {
    /// An agent that reads the sensors of `sampler`.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn new(settings: AgentSettings, sampler: Sampler) -> Result<Self, AgentError> {
        if sampler.is_empty() {
            return Err(AgentError::NoSensor);
        }
        Ok(Self {
            clock: Timestamp::now,
            boot: boot()?,
            next_seq: 1,
            outbox: Outbox::new(settings.queue),
            backoff: Backoff::new(settings.retry_first, settings.retry_limit),
            random: Random::from_system(),
            events: None,
            report: Report::default(),
            started: Instant::now(),
            sampler,
            settings,
        })
    }

    /// Reports what happens to `events`. A full channel never holds the agent up: the event is counted as missed.
    #[must_use]
    pub fn with_events(mut self, events: mpsc::Sender<Event>) -> Self {
        self.events = Some(events);
        self
    }

    /// Takes the time from `clock` instead of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    /// Works until `stop` resolves, then says offline, waits for what is in flight and disconnects: at most five
    /// seconds.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Report {
        let mut stop = pin!(stop);
        while let Some(session) = self.connect(stop.as_mut()).await {
            let Ended::Lost(lost) = self.serve(session, stop.as_mut()).await else { break };
            let retry_in = self.next_delay();
            self.emit(Event::Disconnected { lost, retry_in });
            if self.pause(retry_in, stop.as_mut()).await.is_none() {
                break;
            }
        }
        self.report.waiting = self.outbox.len() as u64;
        self.sampler.stop().await;
        self.report
    }

    /// Connects, however often it takes. `None`: stopped.
    async fn connect<F: Future<Output = ()>>(&mut self, mut stop: Pin<&mut F>) -> Option<Session> {
        loop {
            let connector = self.settings.connector.clone();
            let mut opening = pin!(session::open(&connector, self.options()));
            let opened = loop {
                tokio::select! {
                    biased;
                    () = &mut stop => return None,
                    opened = &mut opening => break opened,
                    observation = self.sampler.next(self.clock) => self.observe(observation),
                }
            };
            match opened {
                Ok(session) => return Some(session),
                Err(error) => {
                    let retry_in = self.next_delay();
                    self.emit(Event::ConnectFailed { error: Box::new(error), retry_in });
                    self.pause(retry_in, stop.as_mut()).await?;
                }
            }
        }
    }

    /// Waits, and goes on sampling meanwhile. `None`: stopped.
    async fn pause<F: Future<Output = ()>>(&mut self, delay: Duration, mut stop: Pin<&mut F>) -> Option<()> {
        let mut over = pin!(sleep(delay));
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return None,
                () = &mut over => return Some(()),
                observation = self.sampler.next(self.clock) => self.observe(observation),
            }
        }
    }

    fn options(&self) -> Options {
        let mut options = self.settings.credentials.mqtt_options(self.settings.version);
        options.receive_maximum = WINDOW;
        options.keep_alive = Duration::from_secs(30);
        options.will = Some(self.status(Presence::Offline));
        options
    }

    fn status(&self, presence: Presence) -> Message {
        let topic = DeviceTopic::status(self.settings.credentials.device_id()).to_string();
        Message::new(topic, Status::new(presence, (self.clock)()).to_json(), QoS::AtLeastOnce).retained()
    }

    /// Takes what a sensor gave.
    fn observe(&mut self, observation: Observation) {
        let Observation { sensor, kind, outcome } = observation;
        match outcome {
            Outcome::Read { sample, faults, recovered } => {
                if recovered {
                    self.emit(Event::SensorRecovered { sensor: sensor.clone() });
                }
                for (metric, fault) in faults {
                    self.emit(Event::Faulty { sensor: sensor.clone(), metric, fault });
                }
                self.keep(&kind, sample);
            }
            Outcome::Failed { error, retry_in } => {
                self.report.sensor_failures += 1;
                self.emit(Event::SensorFailed { sensor, error, retry_in });
            }
        }
    }

    /// Numbers a sample and puts it into the outbox.
    fn keep(&mut self, kind: &TelemetryType, mut sample: Sample) {
        let seq = self.next_seq;
        self.next_seq += 1;
        sample.id = Some(MessageId { boot: self.boot.clone(), seq });
        let device = self.settings.credentials.device_id();
        let topic = DeviceTopic::telemetry(device, Some(kind.clone())).to_string();
        let payload = sample.to_json(Some(device)).into();
        let dropped = self.outbox.push(Entry { seq, topic: topic.into(), payload });
        self.report.sampled += 1;
        self.emit(Event::Sampled { seq, waiting: self.outbox.len() });
        if let Some(seq) = dropped {
            self.report.dropped += 1;
            self.emit(Event::Dropped { seq });
        }
    }

    fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay((self.random.bits() >> 32) as u32)
    }

    fn emit(&mut self, event: Event) {
        let Some(events) = &self.events else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(event) {
            self.report.events_missed += 1;
        }
    }
}

/// 64 random bits in hexadecimal: two runs of one device have different ones.
fn boot() -> Result<Box<str>, AgentError> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| AgentError::NoRandomNumbers)?;
    let mut text = String::with_capacity(16);
    for byte in random {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text.into())
}
