//! The devices at work: the agent's and the publisher's own code, each over a TLS connection of its own.

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::{DeviceId, DeviceTopic, TelemetryType};
use tesaiot_device::agent::{Agent, AgentSettings, Event};
use tesaiot_device::credentials::{Choice, Credentials, Method};
use tesaiot_device::publisher::{self, Envelope, Made, Plan};
use tesaiot_device::random::Random;
use tesaiot_device::sampler::{self, Sampler};
use tesaiot_device::sensor::{EnvironmentSimulator, MedicalSimulator};
use tesaiot_device::session::{self, describe_lost};
use tesaiot_device::{Connector, Deadlines, MqttVersion, QoS};
use tesaiot_tls::Versions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::devices::Devices;

/// Time between two samples of a device.
const INTERVAL: Duration = Duration::from_secs(1);
/// What the agent reports and nobody has read yet; more is counted by it, not kept.
const EVENTS: usize = 256;

/// What one device did.
pub(crate) struct Sent {
    pub(crate) device: DeviceId,
    /// What it is: `agent` or `publisher`
    pub(crate) client: &'static str,
    pub(crate) method: Method,
    /// Samples it took
    pub(crate) sampled: u64,
    /// Samples the platform took responsibility for
    pub(crate) acknowledged: u64,
    /// A metric that every sample of it has, and nothing else that is sent in its name
    pub(crate) counted_by: &'static str,
    /// What went wrong on the way, if anything did
    pub(crate) problem: Option<String>,
}

/// Both clients, running.
pub(crate) struct Clients {
    stop: watch::Sender<bool>,
    agent: JoinHandle<Sent>,
    publisher: JoinHandle<Sent>,
    events: mpsc::Receiver<Event>,
    agent_problem: Option<String>,
}

impl Clients {
    /// Starts them; they connect at their own pace.
    pub(crate) fn start(devices: &Devices) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (told, events) = mpsc::channel(EVENTS);
        let agent = agent(&devices.agent.bundle, told, stopped.clone())?;
        let publisher = publisher(&devices.publisher.bundle, stopped)?;
        Ok(Self { stop, agent, publisher, events, agent_problem: None })
    }

    /// Takes note of what goes wrong, one event at a time.
    pub(crate) async fn watch(&mut self) {
        match self.events.recv().await {
            Some(event) => self.note(&event),
            None => std::future::pending().await,
        }
    }

    /// Stops both in good order, and says what they did.
    pub(crate) async fn stop(mut self) -> Vec<Sent> {
        // Both hold a receiver for as long as they run.
        let _ = self.stop.send(true);
        let (agent, publisher) = tokio::join!(self.agent, self.publisher);
        while let Ok(event) = self.events.try_recv() {
            note(&mut self.agent_problem, &event);
        }
        let agent = agent.map(|sent| Sent { problem: self.agent_problem, ..sent });
        [agent, publisher].into_iter().flatten().collect()
    }

    fn note(&mut self, event: &Event) {
        note(&mut self.agent_problem, event);
    }
}

fn note(problem: &mut Option<String>, event: &Event) {
    match event {
        Event::ConnectFailed { error, .. } => *problem = Some(error.to_string()),
        Event::Disconnected { lost, .. } => *problem = Some(describe_lost(lost)),
        Event::Refused { reason, .. } => *problem = Some(format!("a sample was refused: {reason:?}")),
        _ => {}
    }
}

fn agent(
    bundle: &Bundle,
    events: mpsc::Sender<Event>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<Sent>> {
    let (connector, credentials) = credentials(bundle, Method::ServerTls)?;
    let settings = AgentSettings::new(connector, credentials);
    let mut sampler = Sampler::new();
    let sensor = EnvironmentSimulator::new(Random::from_system());
    sampler.add(sampler::Plan::new(TelemetryType::new("environment")?, INTERVAL), Box::new(sensor))?;
    let agent = Agent::new(settings, sampler)?.with_events(events);
    let device = bundle.device_id.clone();
    Ok(tokio::spawn(async move {
        let report = agent.run(until(stopped)).await;
        Sent {
            device,
            client: "agent",
            method: Method::ServerTls,
            sampled: report.sampled,
            acknowledged: report.acknowledged,
            counted_by: "pressure",
            problem: None,
        }
    }))
}

fn publisher(bundle: &Bundle, stopped: watch::Receiver<bool>) -> anyhow::Result<JoinHandle<Sent>> {
    let (connector, credentials) = credentials(bundle, Method::MutualTls)?;
    let device = bundle.device_id.clone();
    Ok(tokio::spawn(async move {
        let mut sent = Sent {
            device: device.clone(),
            client: "publisher",
            method: Method::MutualTls,
            sampled: 0,
            acknowledged: 0,
            counted_by: "spo2",
            problem: None,
        };
        let options = credentials.mqtt_options(MqttVersion::V5);
        let mut session = match session::open_direct(&connector, &options, None).await {
            Ok(session) => session,
            Err(error) => {
                sent.problem = Some(error.to_string());
                return sent;
            }
        };
        let mut sensor = MedicalSimulator::new(Random::from_system());
        let topic = DeviceTopic::telemetry(&device, None).to_string();
        let envelope = Envelope { topic, qos: QoS::AtLeastOnce, retain: false };
        let mut source = Made::new(|_| sensor.sample(milliseconds(Timestamp::now())).to_json(Some(&device)));
        let plan = Plan::new(u64::MAX, INTERVAL);
        let until = until(stopped);
        let report = publisher::publish(&mut session.direct, &envelope, plan, &mut source, false, until, |_| {}).await;
        publisher::goodbye(&mut session.direct, None).await;
        sent.sampled = report.sent;
        sent.acknowledged = report.acknowledged;
        sent.problem = report.ended.as_ref().map(describe_lost);
        sent
    }))
}

fn credentials(bundle: &Bundle, method: Method) -> anyhow::Result<(Connector, Credentials)> {
    let credentials = Credentials::from_bundle(bundle, Choice::Only(method), Timestamp::now())?;
    let port = match method {
        Method::MutualTls => bundle.endpoints.mqtt_mtls_port,
        Method::ServerTls => bundle.endpoints.mqtt_tls_port,
    };
    let tls = credentials.tls_config(Versions::Both)?;
    Ok((Connector::new(&bundle.endpoints.mqtt_host, port, tls, Deadlines::default()), credentials))
}

/// Finer than any sensor here, and as much as a person reads.
fn milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender is dropped only after it has said so.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
