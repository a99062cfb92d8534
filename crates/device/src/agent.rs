//! The long-running device program: it reads its sensors on time, and delivers every sample once.
//!
//! - A sample is numbered (`boot`, `seq`) when it is taken and sent as the same bytes until it is acknowledged, so the
//!   platform stores it once however often the connection breaks.
//! - Samples wait in the [`outbox`](crate::outbox), on disk and bounded, until they are acknowledged: over restarts and
//!   power cuts. What had to be given up is counted, and told to the platform as telemetry of the kind `agent`.
//! - The retained `status` says online after connecting, offline at a stop in good order; the Last Will says offline
//!   otherwise.
//! - A command is acknowledged once it is written down, runs once, and is answered over restarts.

mod access;
mod commands;
mod connection;
mod event;
mod keep;
mod post;
mod receipts;
mod renewal;
mod status;

use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use tesaiot_contract::DeviceTopic;
use tesaiot_contract::command::{Presence, Status};
use tesaiot_mqtt::backoff::Backoff;
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::packet::{ConnectAckReason, Version};
use tesaiot_mqtt::{Message, QoS};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::connect::Connector;
use crate::credentials::Credentials;
use crate::https;
use crate::outbox::{self, Durability, Outbox, OutboxError};
use crate::random::Random;
use crate::sampler::Sampler;
use crate::session::{self, Session, SessionError};
pub use access::{Access, ReadAccess};
use commands::Commands;
use connection::{Ended, GOODBYE};
pub use event::{Event, Report};
use keep::Kept;
use post::PostingEnded;
pub use receipts::Confirm;
use receipts::Receipts;
use renewal::Renewal;
pub use renewal::RenewalStatus;
pub use status::{AgentStatus, Link, StatusError, ask};

/// Commands that the broker may have unacknowledged towards us.
const COMMAND_WINDOW: u16 = 64;
/// Samples that may be unacknowledged: a platform that commits before it acknowledges is kept busy by as many.
const WINDOW: usize = crate::publisher::WINDOW as usize;

/// With [`Transport::Auto`]: attempts over MQTT that fail before HTTPS is tried.
const MQTT_ATTEMPTS: u32 = 3;

/// How samples travel.
#[derive(Clone, Debug)]
pub enum Transport {
    /// MQTT over TLS, with commands and status.
    Mqtt,
    /// HTTPS: samples alone.
    Https(https::Place),
    /// MQTT, and HTTPS where the network lets no MQTT pass.
    Auto(https::Place),
}

/// How an agent works.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Where it connects
    pub connector: Connector,
    /// Who it is
    pub credentials: Credentials,
    /// Where the outbox and the status socket are; none for an agent that keeps its samples in memory
    pub data_directory: Option<PathBuf>,
    /// How samples are kept until they are delivered
    pub outbox: outbox::Options,
    /// When a sample counts as delivered
    pub confirm: Confirm,
    /// How samples travel
    pub transport: Transport,
    /// MQTT version; with version 5 the broker can refuse a message without closing the connection. One that does not
    /// speak it is spoken to in 3.1.1
    pub version: Version,
    /// Longest silence before the connection is tried; one that is silent for as long again is given up
    pub keep_alive: Duration,
    /// Longest first wait before connecting again; it doubles up to `retry_limit`, with jitter
    pub retry_first: Duration,
    /// Longest wait before connecting again
    pub retry_limit: Duration,
}

impl AgentSettings {
    /// MQTT 5, 4 MiB of samples in memory, a keep-alive of 30 s, first retry within a second, at the latest after a
    /// minute.
    pub fn new(connector: Connector, credentials: Credentials) -> Self {
        Self {
            connector,
            credentials,
            data_directory: None,
            outbox: outbox::Options {
                durability: Durability::Memory,
                max_bytes: 4 << 20,
                ..outbox::Options::default()
            },
            confirm: Confirm::Acknowledged,
            transport: Transport::Mqtt,
            version: Version::V5,
            keep_alive: Duration::from_secs(30),
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
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The status socket cannot be made.
    #[error("no status socket in {}", path.display())]
    StatusSocket {
        /// The data directory
        path: PathBuf,
        /// Why
        source: std::io::Error,
    },
}

/// What came of an attempt to connect.
enum Attempt {
    Open(Box<Session>),
    Failed,
    Stopped,
}

/// A device at work.
pub struct Agent {
    settings: AgentSettings,
    sampler: Sampler,
    clock: Clock,
    kept: Kept,
    receipts: Receipts,
    status: status::Socket,
    link: Option<Link>,
    last_error: Option<(Timestamp, String)>,
    backoff: Backoff,
    random: Random,
    commands: Commands,
    read_access: Option<ReadAccess>,
    renewal: Renewal,
    /// A session is open, over which a certificate can be asked for
    is_connected_by_mqtt: bool,
    /// Says when the configuration is to be read again
    reloads: Option<mpsc::Receiver<()>>,
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
        let boot = boot()?;
        let now = Instant::now();
        let (outbox, status) = match &settings.data_directory {
            Some(directory) => {
                let mut outbox = Outbox::open(&directory.join("outbox"), settings.outbox, &boot, now.into_std())?;
                outbox.set_needs_receipts(settings.confirm == Confirm::Receipts, now.into_std());
                let fail = |source| AgentError::StatusSocket { path: directory.clone(), source };
                (outbox, status::Socket::bind(directory).map_err(fail)?)
            }
            None => (Outbox::in_memory(settings.outbox, &boot, now.into_std())?, status::Socket::default()),
        };
        Ok(Self {
            clock: Clock::system(),
            kept: Kept::new(outbox, settings.credentials.device_id().clone()),
            receipts: Receipts::new(settings.confirm),
            status,
            link: None,
            last_error: None,
            backoff: Backoff::new(settings.retry_first, settings.retry_limit),
            random: Random::from_system(),
            commands: Commands::new(settings.data_directory.as_deref()),
            read_access: None,
            renewal: Renewal::default(),
            is_connected_by_mqtt: false,
            reloads: None,
            events: None,
            report: Report::default(),
            started: now,
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

    /// Reads the configuration file again whenever `reloads` says so.
    #[must_use]
    pub fn with_reloads(mut self, reloads: mpsc::Receiver<()>) -> Self {
        self.reloads = Some(reloads);
        self
    }

    /// Takes the time from `clock`, and judges certificates by it.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.settings.connector = self.settings.connector.with_time(clock.tls());
        if let Transport::Https(place) | Transport::Auto(place) = &mut self.settings.transport {
            place.connector = place.connector.with_time(clock.tls());
        }
        self.clock = clock;
        self
    }

    /// Works until `stop` resolves, then says offline, waits for what is in flight and disconnects: at most five
    /// seconds.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Report {
        let mut stop = pin!(stop);
        self.tell_previous_run();
        self.answer_cut_off();
        let mut failures = 0;
        loop {
            self.is_connected_by_mqtt = false;
            let is_over = match self.settings.transport.clone() {
                Transport::Https(place) => {
                    matches!(self.serve_https(&place, false, stop.as_mut()).await, PostingEnded::Stopped)
                }
                Transport::Auto(place) if failures >= MQTT_ATTEMPTS => {
                    // One attempt, then HTTPS again; MQTT that works counts from the beginning.
                    failures = MQTT_ATTEMPTS - 1;
                    matches!(self.serve_https(&place, true, stop.as_mut()).await, PostingEnded::Stopped)
                }
                _ => match self.connect(stop.as_mut()).await {
                    Attempt::Stopped => true,
                    Attempt::Failed => {
                        failures += 1;
                        false
                    }
                    Attempt::Open(session) => {
                        failures = 0;
                        !self.use_session(*session, stop.as_mut()).await
                    }
                },
            };
            if is_over {
                break;
            }
        }
        self.commands.stop().await;
        self.report.restart = self.commands.restart;
        let Self { sampler, kept, report, .. } = self;
        sampler.stop().await;
        kept.finish(report)
    }

    /// Serves one connection to its end, and waits after it. False: stopped.
    async fn use_session<F: Future<Output = ()>>(&mut self, session: Session, mut stop: Pin<&mut F>) -> bool {
        let lost = match self.serve(session, stop.as_mut()).await {
            Ended::Stopped => return false,
            Ended::Moved => return true,
            Ended::Lost(lost) => lost,
        };
        let retry_in = self.next_delay();
        self.link = None;
        self.is_connected_by_mqtt = false;
        self.last_error = Some((self.clock.now(), session::describe_lost(&lost)));
        self.emit(Event::Disconnected { lost, retry_in });
        self.pause(retry_in, stop).await.is_some()
    }

    /// Tries to connect, and waits after a failure.
    async fn connect<F: Future<Output = ()>>(&mut self, mut stop: Pin<&mut F>) -> Attempt {
        self.commands.reconnect = false;
        let connector = self.settings.connector.clone();
        let mut opening = pin!(session::open(&connector, self.options()));
        let opened = loop {
            tokio::select! {
                biased;
                () = &mut stop => return Attempt::Stopped,
                opened = &mut opening => break opened,
                work = self.work() => self.carry_out(work),
            }
        };
        let error = match opened {
            Ok(session) => return Attempt::Open(Box::new(session)),
            Err(error) => error,
        };
        if self.renewal_refused(&error) {
            return Attempt::Failed;
        }
        self.choose_version(&error);
        self.login_failed(&error);
        let retry_in = self.next_delay();
        self.last_error = Some((self.clock.now(), error.to_string()));
        self.emit(Event::ConnectFailed { error: Box::new(error), retry_in });
        match self.pause(retry_in, stop).await {
            Some(()) => Attempt::Failed,
            None => Attempt::Stopped,
        }
    }

    /// A broker of 3.1.1 refuses version 5 by its return code, or closes the connection on a CONNECT it cannot read
    /// (MQTT-3.1.2-2). One that only broke off is asked in both versions by turns, until one of them worked.
    fn choose_version(&mut self, error: &SessionError) {
        let other = match self.settings.version {
            Version::V5 => Version::V3,
            Version::V3 => Version::V5,
        };
        let is_unsupported =
            matches!(error, SessionError::Refused { reason: ConnectAckReason::UnsupportedProtocolVersion, .. });
        if is_unsupported || (matches!(error, SessionError::Broken { .. }) && self.report.connections == 0) {
            self.settings.version = other;
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
                work = self.work() => self.carry_out(work),
            }
            if self.commands.reconnect {
                // There is another address to try: the wait was for the old one.
                return Some(());
            }
        }
    }

    fn options(&self) -> Options {
        let mut options = self.settings.credentials.mqtt_options(self.settings.version);
        options.receive_maximum = COMMAND_WINDOW;
        options.keep_alive = self.settings.keep_alive;
        options.will = Some(self.presence(Presence::Offline));
        options
    }

    fn presence(&self, presence: Presence) -> Message {
        let topic = DeviceTopic::status(self.settings.credentials.device_id()).to_string();
        Message::new(topic, Status::new(presence, self.clock.now()).to_json(), QoS::AtLeastOnce).retained()
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
