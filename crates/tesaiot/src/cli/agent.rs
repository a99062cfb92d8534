//! `tesaiot agent`: the long-running device program (the wire contract, section 9).

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tesaiot_contract::TelemetryType;
use tesaiot_device::agent::{Event, Report};
use tesaiot_device::random::Random;
use tesaiot_device::sensor::{EnvironmentSimulator, IndustrialSimulator, MedicalSimulator};
use tesaiot_device::session::describe_lost;
use tesaiot_device::{Agent, AgentSettings, Choice, Method, Plan, Sampler, Sensor, Settings};
use tesaiot_tls::Versions;
use tokio::runtime;
use tokio::sync::mpsc;

use super::publish::arguments::{PlaceArgs, seconds};
use super::publish::environment;
use super::publish::failure::NOT_ACKNOWLEDGED;
use super::signal::StopSignals;
use crate::exit;
use crate::output;
use crate::output::failure::Advice;

/// Run as a device: read a sensor, deliver every sample, answer commands.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// What to read; may be given several times. There is no default: a simulator must be asked for
    #[arg(long, value_enum)]
    sensor: Vec<SensorArg>,
    /// Seconds between two samples, decimals allowed, above 0
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    interval: Duration,
    /// How samples travel
    #[arg(long, value_enum, default_value = "mqtt")]
    mode: Mode,
    /// How to log in; auto takes the API key when the bundle has one, else the certificate
    #[arg(long, value_enum, default_value = "auto")]
    auth: Authentication,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SensorArg {
    /// Simulated temperature, humidity and pressure
    Environment,
    /// Simulated vital signs, as those of `tesaiot publish`
    Medical,
    /// Simulated vibration of a motor
    Industrial,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// MQTT over TLS
    Mqtt,
    /// HTTPS; not built yet
    Https,
}

#[derive(Clone, Copy, ValueEnum)]
enum Authentication {
    Auto,
    /// The bundle's certificate
    Mtls,
    /// The bundle's API key or MQTT password
    ServerTls,
}

const HELP: &str = "\
Examples:
  tesaiot agent --certs-dir ./pi-1 --sensor environment
  tesaiot agent --certs-dir ./pi-1 --sensor medical --interval 1 --auth mtls

Samples that cannot be delivered wait in memory, 10,000 of them; a restart loses
them. The agent connects again by itself, for ever. Ctrl-C or SIGTERM ends it:
it says offline, waits up to 5 s for what is in flight, and disconnects.
The environment counts as it does for `tesaiot publish`.

Exit codes:
  0    stopped, and every sample was delivered
  1    unexpected failure
  2    wrong command line
  3    the bundle: a file is missing, unreadable or damaged, or certificate,
       key, device and date do not fit together
  8    stopped, and samples were dropped, refused or not delivered";

/// How an agent ends or is refused, in the words of its command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentFailure {
    /// No `--sensor`.
    #[error("no sensor was chosen, and this agent does not simulate one unless asked")]
    NoSensor,
    /// `--mode https`.
    #[error("--mode https is not built yet")]
    Https,
    /// Samples were taken and did not arrive.
    #[error("of {sampled} samples {waiting} were not delivered, {dropped} dropped, {refused} refused")]
    Undelivered {
        /// Taken
        sampled: u64,
        /// In memory at the end
        waiting: u64,
        /// Given up for want of room
        dropped: u64,
        /// Refused by the broker
        refused: u64,
    },
}

impl AgentFailure {
    /// What to do about it.
    pub(crate) fn advice(&self) -> Advice {
        let (hint, code) = match self {
            Self::NoSensor => ("simulate one: --sensor environment or --sensor medical", exit::USAGE),
            Self::Https => ("use --mode mqtt", exit::USAGE),
            Self::Undelivered { .. } => {
                ("what waited in memory is gone; let the agent run until the broker is back", NOT_ACKNOWLEDGED)
            }
        };
        Advice { hint: Some(hint.to_owned()), code }
    }
}

impl AgentArgs {
    /// Runs until it is stopped.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.mode == Mode::Https {
            return Err(AgentFailure::Https.into());
        }
        let sensors = self.sensors()?;
        let choice = match self.auth {
            Authentication::Auto => Choice::PreferKey,
            Authentication::Mtls => Choice::Only(Method::MutualTls),
            Authentication::ServerTls => Choice::Only(Method::ServerTls),
        };
        let settings = Settings::load(self.place.flags(), environment)?;
        let credentials = settings.credentials(choice, Timestamp::now())?;
        if credentials.method() == Method::MutualTls
            && let Some(mode) = settings.exposed_key_mode()
        {
            output::warn(super::publish::failure::PublishError::ExposedKey { mode });
        }
        let connector = settings.connector(&credentials, Versions::Both)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let agent = AgentSettings::new(connector, credentials);
        let report = runtime.block_on(work(agent, sensors));
        runtime.shutdown_background();
        conclusion(report?)?;
        Ok(exit::code(exit::OK))
    }
}

impl AgentArgs {
    fn sensors(&self) -> anyhow::Result<Sampler> {
        if self.sensor.is_empty() {
            return Err(AgentFailure::NoSensor.into());
        }
        let mut sampler = Sampler::new();
        for sensor in &self.sensor {
            let (kind, sensor): (_, Box<dyn Sensor>) = match sensor {
                SensorArg::Environment => ("environment", Box::new(EnvironmentSimulator::new(Random::from_system()))),
                SensorArg::Medical => ("medical", Box::new(MedicalSimulator::new(Random::from_system()))),
                SensorArg::Industrial => ("industrial", Box::new(IndustrialSimulator::new(Random::from_system()))),
            };
            sampler.add(Plan::new(TelemetryType::new(kind)?, self.interval), sensor)?;
        }
        Ok(sampler)
    }
}

async fn work(settings: AgentSettings, sensors: Sampler) -> anyhow::Result<Report> {
    let mut signals = StopSignals::catch()?;
    let (sender, mut events) = mpsc::channel(64);
    let mut narrator = Narrator { method: settings.credentials.method(), first_is_due: true };
    let narrate = async {
        while let Some(event) = events.recv().await {
            narrator.tell(&event);
        }
    };
    let agent = Agent::new(settings, sensors)?.with_events(sender);
    // The agent drops its end of the channel when it is done: the narrator tells the rest and ends too.
    let (report, ()) = tokio::join!(agent.run(signals.next()), narrate);
    Ok(report)
}

fn conclusion(report: Report) -> Result<(), AgentFailure> {
    let Report { sampled, acknowledged, waiting, dropped, refused, .. } = report;
    output::say(format_args!("stopped: {acknowledged} of {sampled} samples acknowledged"));
    if waiting + dropped + refused == 0 {
        return Ok(());
    }
    Err(AgentFailure::Undelivered { sampled, waiting, dropped, refused })
}

/// Says what a person wants to know, and not every sample: the log of a device lies on an SD card.
struct Narrator {
    method: Method,
    /// The first sample that arrives over a connection is worth a line: it works.
    first_is_due: bool,
}

impl Narrator {
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Connected { host, port, tls_version } => {
                self.first_is_due = true;
                let version = tls_version.map(|version| format!(", {version}")).unwrap_or_default();
                output::say(format_args!("connected to {host}:{port} ({}{version})", self.method));
            }
            Event::ConnectFailed { error, retry_in } => {
                output::warn(format_args!("{error}\nhint: {}\nnext attempt in {retry_in:.1?}", error.hint()));
            }
            Event::Disconnected { lost, retry_in } => {
                output::warn(format_args!("{}; connecting again in {retry_in:.1?}", describe_lost(lost)));
            }
            Event::Acknowledged { seq, after } if self.first_is_due => {
                self.first_is_due = false;
                output::say(format_args!(
                    "sample {seq} acknowledged after {after:.1?}; those that follow are not told"
                ));
            }
            Event::Acknowledged { .. } | Event::Sampled { .. } => {}
            Event::SensorFailed { sensor, error, retry_in } => {
                let (sensor, what) = (output::plain(sensor), error.describe());
                let what = output::plain(&what);
                output::warn(format_args!(
                    "sensor {sensor}: {what}\nhint: {}\nit is read again in {retry_in:.0?}",
                    error.hint()
                ));
            }
            Event::SensorRecovered { sensor } => {
                output::say(format_args!("sensor {} is read again", output::plain(sensor)));
            }
            Event::Faulty { sensor, metric, fault } => {
                let (sensor, metric) = (output::plain(sensor), output::plain(metric));
                output::warn(format_args!("sensor {sensor}: {metric} is flagged {}", fault.as_str()));
            }
            Event::Refused { seq, reason } => {
                output::warn(format_args!("the broker refused sample {seq}: {reason:?}"));
            }
            Event::Dropped { seq } => {
                output::warn(format_args!("no room for more samples: sample {seq} was dropped"));
            }
            Event::SubscriptionRefused { filter } => {
                output::warn(format_args!("the broker refused the subscription to {filter}"));
            }
            Event::Command { name, known: true } => {
                output::say(format_args!("command {} answered", output::plain(name)));
            }
            Event::Command { name, known: false } => {
                output::warn(format_args!("unknown command {} answered so", output::plain(name)));
            }
            Event::Configuration { topic } => {
                let topic = output::plain(topic);
                output::warn(format_args!("configuration on {topic} received; this agent applies none yet"));
            }
        }
    }
}
