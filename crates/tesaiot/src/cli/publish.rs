//! `tesaiot publish`: one sample, or a run of them, from this machine to a broker (the wire contract, section 8).

pub(crate) mod arguments;
pub(crate) mod failure;
mod hint;
mod outcome;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::{DeviceId, DeviceTopic};
use tesaiot_device::publisher::{self, Plan, Report};
use tesaiot_device::random::Random;
use tesaiot_device::sensor::{MedicalSimulator, whole_seconds};
use tesaiot_device::{Choice, Connector, Credentials, Message, Pending, QoS, Session, Settings, session};
use tokio::runtime;
use tokio::sync::Notify;

use super::signal::StopSignals;
use crate::exit;
use crate::output;
pub(crate) use arguments::PublishArgs;
use failure::PublishError;
use outcome::Summary;

impl PublishArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let plan = self.plan()?;
        if self.dry_run {
            let device = Settings::device_id(self.flags(), environment)?;
            return dry_run(&device, plan).map(|()| exit::code(exit::OK));
        }
        let settings = Settings::load(self.flags(), environment)?;
        self.check_key(&settings)?;
        let credentials = settings.credentials(Choice::PreferCertificate, Timestamp::now())?;
        let run = Run {
            connector: settings.connector(&credentials, self.tls_version.into())?,
            credentials,
            plan,
            version: self.mqtt_version.into(),
            json: self.json,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(run.execute());
        // A host name that is still being resolved must not hold up the exit.
        runtime.shutdown_background();
        result.map(|()| exit::code(exit::OK))
    }

    fn check_key(&self, settings: &Settings) -> Result<(), PublishError> {
        match settings.exposed_key_mode() {
            Some(mode) if self.strict => Err(PublishError::ExposedKey { mode }),
            Some(mode) => {
                output::warn(PublishError::ExposedKey { mode });
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// What the process environment says.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints what would be sent, each sample with the time at which it would be.
fn dry_run(device: &DeviceId, plan: Plan) -> anyhow::Result<()> {
    let mut sensor = MedicalSimulator::new(Random::from_system());
    let interval = SignedDuration::try_from(plan.interval).unwrap_or_default();
    let mut time = Timestamp::now();
    for _ in 0..plan.count {
        output::line(sensor.sample(whole_seconds(time)).to_json(Some(device)))?;
        time = time.saturating_add(interval)?;
    }
    Ok(())
}

/// Everything a run needs, checked.
struct Run {
    connector: Connector,
    credentials: Credentials,
    plan: Plan,
    version: tesaiot_device::MqttVersion,
    json: bool,
}

impl Run {
    async fn execute(self) -> anyhow::Result<()> {
        let mut signals = StopSignals::catch()?;
        let mut sensor = MedicalSimulator::new(Random::from_system());
        let mut payload = || sensor.sample(whole_seconds(Timestamp::now())).to_json(Some(self.credentials.device_id()));
        let topic = DeviceTopic::telemetry(self.credentials.device_id(), None).to_string();
        // The first sample leaves with CONNECT: a run of one is a round trip shorter.
        let first = Message::new(topic.as_str(), payload(), QoS::AtLeastOnce);
        let began = Instant::now();
        let options = self.credentials.mqtt_options(self.version);
        let mut session = tokio::select! {
            session = session::open_with(&self.connector, options, Some(first)) => session?,
            () = signals.next() => return Err(PublishError::InterruptedBefore.into()),
        };
        let connecting = began.elapsed();
        let first = session.first.take();
        let report = self.publish(&session, &topic, first, |_| payload(), &mut signals).await?;
        self.summarise(&session, &topic, connecting, &report)?;
        match PublishError::of(&report) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// The first interrupt ends the run in good order, the second at once.
    async fn publish(
        &self,
        session: &Session,
        topic: &str,
        first: Option<Pending>,
        payload: impl FnMut(u64) -> String,
        signals: &mut StopSignals,
    ) -> Result<Report, PublishError> {
        let stop = Notify::new();
        let client = &session.connected.client;
        let publishing = publisher::publish(client, topic, self.plan, first, payload, stop.notified());
        let twice = async {
            signals.next().await;
            output::say("Stopping once everything sent is acknowledged; interrupt again to end at once.");
            stop.notify_one();
            signals.next().await;
        };
        tokio::select! {
            report = publishing => Ok(report),
            () = twice => Err(PublishError::InterruptedTwice),
        }
    }

    fn summarise(&self, session: &Session, topic: &str, connecting: Duration, report: &Report) -> anyhow::Result<()> {
        let summary = Summary {
            device_id: self.credentials.device_id(),
            topic,
            host: self.connector.host(),
            port: self.connector.port(),
            method: self.credentials.method(),
            tls_version: session.tls_version,
            mqtt_version: self.version,
            connecting,
            report,
        };
        if self.json {
            return output::json(&summary.to_json());
        }
        // In one piece: formatted straight to the terminal every part would be a system call of its own.
        output::say(summary.to_string());
        Ok(())
    }
}
