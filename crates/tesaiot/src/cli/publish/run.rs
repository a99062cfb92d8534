//! The part of the publish command that talks to the network.

use jiff::Timestamp;
use tesaiot_device::profile::Generator;
use tesaiot_device::publisher::{self, Envelope, Generated, Plan, Report, Source};
use tesaiot_device::session::{self, DirectSession};
use tesaiot_device::{Connector, Credentials, Message};
use tokio::sync::Notify;

use super::failure::PublishError;
use super::outcome::Summary;
use crate::cli::signal::StopSignals;
use crate::output;

/// Everything a run needs, checked.
pub(super) struct Run {
    pub(super) connector: Connector,
    pub(super) credentials: Credentials,
    pub(super) plan: Plan,
    pub(super) envelope: Envelope,
    pub(super) version: tesaiot_device::MqttVersion,
    pub(super) json: bool,
}

impl Run {
    pub(super) async fn execute(self, mut generator: Generator) -> anyhow::Result<()> {
        let mut signals = StopSignals::catch()?;
        // The first sample leaves with CONNECT: a run of one is a round trip shorter.
        let mut payload = Vec::new();
        generator.write(Timestamp::now(), &mut payload);
        let first = Message::new(self.envelope.topic.as_str(), payload, self.envelope.qos);
        let options = self.credentials.mqtt_options(self.version);
        let mut session = tokio::select! {
            session = session::open_direct(&self.connector, &options, Some(first)) => session?,
            () = signals.next() => return Err(PublishError::InterruptedBefore.into()),
        };
        let report = self.publish(&mut session, &mut Generated(generator), &mut signals).await?;
        if report.ended.is_none() && !report.stalled {
            publisher::goodbye(&mut session.direct).await;
        }
        self.summarise(&session, &report)?;
        match PublishError::of(&report) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// The first interrupt ends the run in good order, the second at once.
    async fn publish(
        &self,
        session: &mut DirectSession,
        source: &mut impl Source,
        signals: &mut StopSignals,
    ) -> Result<Report, PublishError> {
        let stop = Notify::new();
        let publishing =
            publisher::publish(&mut session.direct, &self.envelope, self.plan, source, true, stop.notified(), |_| {});
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

    fn summarise(&self, session: &DirectSession, report: &Report) -> anyhow::Result<()> {
        let summary = Summary {
            device_id: self.credentials.device_id(),
            topic: &self.envelope.topic,
            host: self.connector.host(),
            port: self.connector.port(),
            method: self.credentials.method(),
            tls_version: session.tls_version,
            mqtt_version: self.version,
            phases: session.phases,
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
