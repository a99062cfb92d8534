//! The part of the publish command that talks to the network.

use std::future::poll_fn;
use std::time::Duration;

use tesaiot_contract::ACKNOWLEDGED_MEANS_STORED;
use tesaiot_device::publisher::{self, Envelope, Plan, Report, Source, Spooled};
use tesaiot_device::session::{self, DirectSession};
use tesaiot_device::{Connector, Credentials, Message, MqttVersion, QoS};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::failure::PublishError;
use super::outcome::Summary;
use super::payload::{Payload, PayloadError};
use super::progress::Bar;
use crate::cli::signal::StopSignals;
use crate::output;

/// Everything a run needs, checked.
pub(super) struct Run {
    pub(super) connector: Connector,
    pub(super) credentials: Credentials,
    pub(super) plan: Plan,
    pub(super) envelope: Envelope,
    pub(super) version: MqttVersion,
    pub(super) wait_stored: bool,
    pub(super) json: bool,
    pub(super) bar: Bar,
}

impl Run {
    pub(super) async fn execute(mut self, mut payload: Payload) -> anyhow::Result<()> {
        let mut signals = StopSignals::catch()?;
        let began = Instant::now();
        let first = self.first(&mut payload).await?;
        let first_sent = first.is_some();
        let options = self.credentials.mqtt_options(self.version);
        let mut session = tokio::select! {
            session = session::open_direct(&self.connector, &options, first) => session?,
            () = signals.next() => return Err(PublishError::InterruptedBefore.into()),
        };
        let report = self.publish(&mut session, &mut payload, self.plan, first_sent, &mut signals).await?;
        if report.ended.is_none() && !report.stalled {
            publisher::goodbye(&mut session.direct, self.plan.until).await;
        }
        self.summarise(&session, &report, began.elapsed(), None)?;
        let acknowledged = report.acknowledged;
        match PublishError::of(report) {
            Some(error) => Err(error.into()),
            None => self.known_to_be_stored(&session, acknowledged),
        }
    }

    /// Whether messages are to be stored, and this broker does not say that those it acknowledges are.
    pub(super) fn acknowledged_says_too_little(&self, session: &DirectSession) -> bool {
        self.wait_stored && !(announces_stored(session) && self.envelope.qos != QoS::AtMostOnce)
    }

    /// Fails when that was asked for and nobody says so.
    pub(super) fn known_to_be_stored(&self, session: &DirectSession, acknowledged: u64) -> anyhow::Result<()> {
        if self.acknowledged_says_too_little(session) {
            return Err(PublishError::NotKnownToBeStored { acknowledged }.into());
        }
        Ok(())
    }

    /// The message that leaves with CONNECT: a run of one is a round trip shorter. What comes from stdin is not waited
    /// for by a broker.
    async fn first(&self, payload: &mut Payload) -> anyhow::Result<Option<Message>> {
        if self.envelope.qos == QoS::AtMostOnce || matches!(payload, Payload::Stream(_)) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let there = poll_fn(|context| payload.poll_next(context, &mut bytes)).await.map_err(PayloadError::from)?;
        let Envelope { topic, qos, retain } = &self.envelope;
        Ok(there.then(|| Message { retain: *retain, ..Message::new(topic.as_str(), bytes, *qos) }))
    }

    /// The first interrupt ends the run in good order, the second at once.
    pub(super) async fn publish(
        &mut self,
        session: &mut DirectSession,
        source: &mut impl Source,
        plan: Plan,
        first_sent: bool,
        signals: &mut StopSignals,
    ) -> Result<Report, PublishError> {
        let stop = Notify::new();
        let Self { envelope, bar, .. } = self;
        let (direct, watch) = (&mut session.direct, |report: &Report| bar.show(report));
        let publishing = publisher::publish(direct, envelope, plan, source, first_sent, stop.notified(), watch);
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

    pub(super) fn summarise(
        &mut self,
        session: &DirectSession,
        report: &Report,
        total: Duration,
        spooled: Option<Spooled>,
    ) -> anyhow::Result<()> {
        self.bar.clear();
        let summary = Summary {
            device_id: self.credentials.device_id(),
            topic: &self.envelope.topic,
            host: self.connector.host(),
            port: self.connector.port(),
            method: self.credentials.method(),
            tls_version: session.tls_version,
            mqtt_version: self.version,
            phases: session.phases,
            total,
            stored: self.wait_stored && announces_stored(session),
            spooled,
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

/// Whether the broker says that what it acknowledges is stored.
fn announces_stored(session: &DirectSession) -> bool {
    let (name, value) = ACKNOWLEDGED_MEANS_STORED;
    let said = &session.direct.acknowledgement().user_properties;
    said.iter().any(|(said, what)| &**said == name && &**what == value)
}
