//! `tesaiot agent`: the long-running device program (the wire contract, section 9).

mod config;
mod enroll;
pub(crate) mod failure;
mod narrator;
mod notify;
pub(crate) mod place;
mod renew;
mod sensors;
mod status;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use tesaiot_contract::bundle::Bundle;
use tesaiot_device::agent::{Access, Confirm, ReadAccess, Report};
use tesaiot_device::clock::{Clock, System};
use tesaiot_device::outbox::{self, Durability, WhenFull};
use tesaiot_device::{
    Agent, AgentSettings, Choice, Config, CredentialsError, Flags, Method, Sampler, Settings, Transport, https,
};
use tesaiot_tls::Versions;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::publish::arguments::{PlaceArgs, ProxyArgs};
use super::publish::environment;
use super::signal::StopSignals;
use crate::exit;
use crate::output;
use failure::AgentFailure;
use narrator::Narrator;
use notify::Notify;
use place::Size;
use sensors::SensorArgs;

/// Run as a device: read a sensor, deliver every sample, answer commands.
#[derive(Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    command: Option<AgentCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Ask the agent that runs on this machine how it is
    Status(status::StatusArgs),
    /// Show an example of the configuration file, or check one
    Config(config::ConfigArgs),
    /// Get this device's first certificate with a one-time token, for a key that is made here
    Enroll(enroll::EnrollArgs),
    /// Replace the certificate of a bundle by a new one, now
    Renew(renew::RenewArgs),
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    sensors: SensorArgs,
    /// How samples travel
    #[arg(long, value_enum, default_value = "mqtt")]
    mode: Mode,
    /// How to log in; auto takes the API key when the bundle has one, else the certificate
    #[arg(long, value_enum, default_value = "auto")]
    auth: Authentication,
    /// Seconds of silence after which the connection is tried; silent for as long again, it is given up. Shorter where
    /// a network forgets idle connections, longer where each byte costs
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    keep_alive: u16,
    #[command(flatten)]
    outbox: OutboxArgs,
}

/// How samples are kept until they are delivered.
#[derive(Args)]
#[command(next_help_heading = "Outbox")]
struct OutboxArgs {
    /// Where samples wait until they are delivered, and where `agent status` asks
    /// [default: tesaiot/agent/ID in $STATE_DIRECTORY, the user's state directory or /var/lib]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// When a sample is safe from a power cut: every (before it is sent), a time such as 1s (one write for all samples
    /// of it), or memory (never: nothing is written, a restart loses what waits)
    #[arg(long, value_name = "WHEN", default_value = "1s")]
    durability: Durability,
    /// The most that waiting samples may take; 64M are about 280,000 [default: 64M, or 4M in memory]
    #[arg(long, value_name = "SIZE")]
    outbox_size: Option<Size>,
    /// What goes when that is full: drop-oldest, drop-newest, or thin (of the oldest every other one; thin:10 keeps
    /// every tenth). What goes is counted and reported to the platform
    #[arg(long, value_name = "POLICY", default_value = "drop-oldest")]
    when_full: WhenFull,
    /// When a sample counts as delivered and leaves the disk
    #[arg(long, value_enum, default_value = "acknowledged")]
    confirm: Confirmation,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Confirmation {
    /// When it is acknowledged: a tesaiot platform acknowledges what it has stored
    Acknowledged,
    /// When the platform says on device/ID/receipts that it is stored: for another broker in between, which
    /// acknowledges what it has taken and must pass that topic on
    Receipts,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// MQTT over TLS
    Mqtt,
    /// HTTPS, where MQTT cannot pass: samples alone, without commands and status
    Https,
    /// MQTT; HTTPS after three attempts that failed, and MQTT again after ten minutes
    Auto,
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
  tesaiot agent --certs-dir ./pi-1 --config /etc/tesaiot/agent.toml
  tesaiot agent config example > agent.toml
  tesaiot agent enroll --url https://iot.example.org:8443 --token tesa_enr_…

Samples wait on disk until they are delivered, over restarts and power cuts.
The agent connects again by itself, for ever. Ctrl-C or SIGTERM ends it: it says
offline, waits up to 5 s for what is in flight, and disconnects.
SIGHUP makes it read the configuration file again, and the bundle, which is also
read again after a login that was refused. Commands that the platform
sends are carried out once each and answered; the configuration says which.
A certificate that the agent logs in with is renewed after two thirds of its
life. The environment counts as it does for `tesaiot publish`.

Exit codes:
  0    stopped; every sample was delivered, or waits on disk for the next run
  1    unexpected failure
  2    wrong command line, or mistakes in the configuration file
  3    the bundle: a file is missing, unreadable or damaged, or certificate,
       key, device and date do not fit together; or the data directory cannot
       be used, or another agent uses it
  8    stopped, and samples were dropped or refused, or waited in memory alone";

impl AgentArgs {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Some(AgentCommand::Status(arguments)) => arguments.run(),
            Some(AgentCommand::Config(arguments)) => arguments.run().map(|()| exit::code(exit::OK)),
            Some(AgentCommand::Enroll(arguments)) => arguments.run(),
            Some(AgentCommand::Renew(arguments)) => arguments.run(),
            None => self.run.run(),
        }
    }
}

impl RunArgs {
    /// Runs until it is stopped.
    fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.sensors.load()?;
        let choice = match self.auth {
            Authentication::Auto => Choice::PreferKey,
            Authentication::Mtls => Choice::Only(Method::MutualTls),
            Authentication::ServerTls => Choice::Only(Method::ServerTls),
        };
        let flags = Flags { proxy: self.proxy.choice(), ..self.place.flags() };
        let way = Way { flags, choice, posts: self.mode != Mode::Mqtt };
        let settings = Settings::load(way.flags.clone(), environment)?;
        let options = self.outbox.options();
        let data_directory = match (options.durability, self.outbox.data_dir) {
            // Nothing waits on disk; a directory that was named still holds the status socket.
            (Durability::Memory, None) => None,
            (_, Some(directory)) => Some(directory),
            (_, None) => Some(place::data_directory(&settings.bundle.device_id)),
        };
        let clock = Clock::new(Box::new(System::new()), data_directory.as_deref());
        let (Access { credentials, connector, place }, out_of_date) = way.access(&settings, clock.now())?;
        if let Some(error) = out_of_date {
            output::warn(format_args!("{error}; samples are kept until it is replaced\nhint: {}", error.hint()));
        }
        if credentials.method() == Method::MutualTls
            && let Some(mode) = settings.exposed_key_mode()
        {
            output::warn(tesaiot_device::preflight::Warning::ExposedKey { mode });
        }
        let sensors = config.sampler(credentials.device_id())?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let transport = match (self.mode, place) {
            (Mode::Https, Some(place)) => Transport::Https(place),
            (Mode::Auto, Some(place)) => Transport::Auto(place),
            _ => Transport::Mqtt,
        };
        let keep_alive = Duration::from_secs(self.keep_alive.into());
        let usual = AgentSettings::new(connector, credentials);
        let confirm = match self.outbox.confirm {
            Confirmation::Acknowledged => Confirm::Acknowledged,
            Confirmation::Receipts => Confirm::Receipts,
        };
        let agent = AgentSettings { data_directory, outbox: options, keep_alive, confirm, transport, ..usual };
        let report = runtime.block_on(work(agent, sensors, clock, config, self.sensors.file(), way, settings.bundle));
        runtime.shutdown_background();
        let report = report?;
        if report.restart {
            return Err(restart());
        }
        conclusion(report)?;
        Ok(exit::code(exit::OK))
    }
}

/// What the bundle is read with, now and again.
struct Way {
    flags: Flags,
    choice: Choice,
    /// Samples may travel over HTTPS
    posts: bool,
}

impl Way {
    /// What to log in with, and where. A certificate that is out of date is taken all the same, and told: the agent's
    /// work is to keep what it samples until there is another.
    fn access(&self, settings: &Settings, now: Timestamp) -> anyhow::Result<(Access, Option<CredentialsError>)> {
        let (credentials, out_of_date) = match settings.credentials(self.choice, now) {
            Err(error @ CredentialsError::Expired { not_after: valid, .. })
            | Err(error @ CredentialsError::NotYetValid { not_before: valid, .. }) => {
                (settings.credentials(self.choice, valid)?, Some(error))
            }
            credentials => (credentials?, None),
        };
        let connector = settings.connector(&credentials, Versions::Both)?;
        let mut place = None;
        if self.posts {
            let endpoints = &settings.bundle.endpoints;
            // A bundle may hold both: what is posted with a key goes where a key is taken.
            let url = match credentials.method() {
                Method::ServerTls if settings.bundle.certificate.is_some() => &endpoints.api_base_url,
                _ => &endpoints.ingest_base_url,
            };
            let (host, port) = https::Place::address(url).ok_or_else(|| AgentFailure::NoHttps(url.clone()))?;
            let connector = settings.connector_to(host, port, &credentials, Versions::Both)?;
            place = Some(https::Place { connector, key: credentials.key().cloned() });
        }
        Ok((Access { credentials, connector, place }, out_of_date))
    }

    fn read_again(self, clock: Clock) -> ReadAccess {
        Box::new(move || {
            let settings = Settings::load(self.flags.clone(), environment).ok()?;
            self.access(&settings, clock.now()).ok().map(|(access, _)| access)
        })
    }
}

async fn work(
    settings: AgentSettings,
    sensors: Sampler,
    clock: Clock,
    config: Config,
    file: Option<&Path>,
    way: Way,
    bundle: Bundle,
) -> anyhow::Result<Report> {
    let mut signals = match file {
        Some(_) => StopSignals::catch_but_hang_up()?,
        None => StopSignals::catch()?,
    };
    let (sender, mut events) = mpsc::channel(64);
    let (reload, reloads) = mpsc::channel(1);
    let mut narrator = Narrator::new(settings.credentials.method());
    let narrate = async {
        while let Some(event) = events.recv().await {
            narrator.tell(&event);
        }
    };
    let agent = Agent::new(settings, sensors)?.with_events(sender).with_clock(clock.clone());
    let mut agent = agent.with_access(way.read_again(clock)).with_config(config, file)?.with_renewal(bundle);
    let mut hang_ups = None;
    if file.is_some() {
        agent = agent.with_reloads(reloads);
        hang_ups = Some(signal(SignalKind::hangup())?);
    }
    let notify = Notify::from_environment();
    notify.say("READY=1");
    let beside = async {
        loop {
            tokio::select! {
                // A reload that waits already will see this change too.
                () = hang_up(&mut hang_ups) => drop(reload.try_send(())),
                () = notify.watchdog() => notify.say("WATCHDOG=1"),
            }
        }
    };
    // The agent drops its end of the channel when it is done: the narrator tells the rest and ends too.
    let working = async { tokio::join!(agent.run(signals.next()), narrate).0 };
    let report = tokio::select! {
        report = working => report,
        () = beside => unreachable!("it has no end"),
    };
    notify.say("STOPPING=1");
    Ok(report)
}

async fn hang_up(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Becomes a fresh run of the same program: same process, same arguments. Comes back only when that fails.
fn restart() -> anyhow::Error {
    output::say("restarting, as commanded");
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    std::process::Command::new(program).args(std::env::args_os().skip(1)).exec().into()
}

impl OutboxArgs {
    fn options(&self) -> outbox::Options {
        let usual = match self.durability {
            Durability::Memory => 4 << 20,
            _ => outbox::Options::default().max_bytes,
        };
        outbox::Options {
            durability: self.durability,
            max_bytes: self.outbox_size.map_or(usual, Size::bytes),
            when_full: self.when_full,
            ..outbox::Options::default()
        }
    }
}

fn conclusion(report: Report) -> Result<(), AgentFailure> {
    let Report { sampled, acknowledged, waiting, dropped, refused, waiting_is_safe, .. } = report;
    output::say(format_args!("stopped: {sampled} samples taken, {acknowledged} acknowledged"));
    if waiting > 0 && waiting_is_safe {
        output::say(format_args!("{waiting} wait on disk for the next run"));
    }
    let gone = if waiting_is_safe { 0 } else { waiting };
    if gone + dropped + refused == 0 {
        return Ok(());
    }
    Err(AgentFailure::Undelivered { sampled, gone, dropped, refused })
}
