//! The publish command with `--spool`: every message is on disk before it leaves, and what was not acknowledged stays
//! there for the next run, or for the agent with the same data directory.
//!
//! One connection, as without a spool: a run that has none, or loses it, goes on taking its messages at their times and
//! keeps them. Who needs a connection that comes back wants the agent.

use std::path::PathBuf;
use std::time::Duration;

use tesaiot_device::publisher::{self, Numbered, Plan, Report, Spool, Spooled};
use tesaiot_device::session::{self, DirectSession};
use tokio::time::Instant;

use super::failure::{PublishError, advice};
use super::payload::{Payload, PayloadError};
use super::run::Run;
use crate::cli::signal::StopSignals;
use crate::exit;

/// How a run with a spool went.
struct Went {
    /// The connection and what was sent over it, or why there was none
    sent: anyhow::Result<(DirectSession, Report)>,
    /// Messages of this run were not taken: it was interrupted, or its time was over
    not_taken: u64,
    interrupted: bool,
}

impl Run {
    pub(super) async fn execute_spooled(mut self, mut payload: Payload, directory: PathBuf) -> anyhow::Result<()> {
        let mut signals = StopSignals::catch()?;
        let began = Instant::now();
        let mut spool = Spool::open(&directory)?;
        let went = self.send_and_keep(&mut payload, &mut spool, &mut signals).await?;
        let spooled = spool.close();
        self.conclude(went, spooled, directory, began.elapsed())
    }

    async fn send_and_keep(
        &mut self,
        payload: &mut Payload,
        spool: &mut Spool,
        signals: &mut StopSignals,
    ) -> anyhow::Result<Went> {
        let (topic, plan) = (self.envelope.topic.clone(), self.plan);
        let is_stream = matches!(payload, Payload::Stream(_));
        let mut source = Numbered::new(spool, payload, &topic, &plan);
        if !is_stream {
            // Before anything else can go wrong. What comes from stdin is not waited for by a broker.
            source.take_one().await.map_err(PayloadError::from)?;
        }
        let options = self.credentials.mqtt_options(self.version);
        let opened = tokio::select! {
            opened = session::open_direct(&self.connector, &options, None) => Some(opened),
            () = signals.next() => None,
        };
        let mut interrupted = opened.is_none();
        let sent = match opened {
            None => Err(PublishError::InterruptedBefore.into()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(mut session)) => {
                if self.acknowledged_says_too_little(&session) {
                    source.keep_acknowledged();
                }
                // The source knows how many there are, and when.
                let all = Plan { count: u64::MAX, interval: Duration::ZERO, ..plan };
                let report = self.publish(&mut session, &mut source, all, false, signals).await?;
                if report.ended.is_none() && !report.stalled {
                    publisher::goodbye(&mut session.direct, plan.until).await;
                }
                interrupted |= report.interrupted;
                Ok((session, report))
            }
        };
        if !interrupted && source.has_more() && sent.as_ref().map_or(true, |(_, report)| report.source_failed.is_none())
        {
            interrupted = !source.take_all(signals.next(), plan.until).await.map_err(PayloadError::from)?;
        }
        Ok(Went { sent, not_taken: source.not_taken(), interrupted })
    }

    fn conclude(mut self, went: Went, spooled: Spooled, directory: PathBuf, total: Duration) -> anyhow::Result<()> {
        let Went { sent, not_taken, interrupted } = went;
        let Spooled { waiting, kept, lost, .. } = spooled;
        let outcome = match sent {
            Err(error) => Err(error),
            Ok((session, report)) => {
                self.summarise(&session, &report, total, Some(spooled))?;
                let acknowledged = report.acknowledged;
                match PublishError::of(report) {
                    Some(error) => Err(error.into()),
                    None if waiting == 0 || self.acknowledged_says_too_little(&session) => {
                        self.known_to_be_stored(&session, acknowledged)
                    }
                    None => Err(PublishError::Interrupted { acknowledged, not_sent: waiting }.into()),
                }
            }
        };
        // What nobody has is said first.
        if lost > 0 {
            let source = outcome.err().map(Into::into);
            return Err(PublishError::SpoolFull { lost, taken: kept + lost, directory, source }.into());
        }
        let Err(error) = outcome else { return Ok(()) };
        if waiting == 0 {
            return Err(error);
        }
        let code = error.chain().find_map(advice).map_or(exit::FAILURE, |advice| advice.code);
        let code = match code {
            _ if interrupted => exit::INTERRUPTED,
            // Everything is safe, and the next run may do better.
            exit::NETWORK | exit::NOT_ACKNOWLEDGED if not_taken == 0 => exit::SPOOLED,
            other => other,
        };
        let source = error.into();
        Err(match spooled.is_safe {
            true => PublishError::Spooled { waiting, directory, code, source }.into(),
            false => PublishError::NotSpooled { waiting, source }.into(),
        })
    }
}
