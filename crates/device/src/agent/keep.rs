//! From a reading to a message in the outbox, and what the agent tells of its own losses.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::telemetry::{Limits, parse};
use tesaiot_contract::{DeviceId, DeviceTopic, MessageId, Metric, Sample, TelemetryType, Value};
use tokio::net::UnixStream;
use tokio::time::{Duration, Instant, sleep_until};

use super::commands::Ran;
use super::{Agent, Event, Report};
use crate::clock::Clock;
use crate::identity::{IdentityError, Renewed};
use crate::outbox::{Entry, Loss, LossReason, NewMessage, Outbox};
use crate::sampler::{Observation, Outcome};

/// The least time between two reports of losses, and between two events about them.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Spans of unsure time whose samples can still be corrected.
const MOST_SPANS: usize = 32;
/// A sample's time is that of the monotonic clock from the last time that was believed.
const ESTIMATED: &str = "estimated";
/// A sample's time was estimated and is right now.
const CORRECTED: &str = "corrected";
/// The kind of telemetry that an agent tells of itself.
const OWN_KIND: &str = "agent";

/// Something to do beside the connection.
pub(super) enum Work {
    Observed(Observation),
    Maintain,
    Asked(UnixStream),
    Ran(Ran),
    TrialOver,
    ReceiptsOverdue,
    Reload,
    RenewalDue,
    RenewalEnded(Result<Renewed, IdentityError>),
}

/// The outbox, and what is known of it.
pub(super) struct Kept {
    pub(super) outbox: Outbox,
    device: DeviceId,
    next_seq: u64,
    /// Losses of earlier runs
    lost_before: u64,
    /// Losses that an event told
    lost_told: u64,
    reported_at: Option<Instant>,
    told_at: Option<Instant>,
    /// Spans of unsure time: which, and the first and last number of its samples
    spans: VecDeque<(u64, u64, u64)>,
    /// The last trouble with the disk that an event told
    trouble_told: Option<crate::outbox::Trouble>,
}

impl Kept {
    pub(super) fn new(outbox: Outbox, device: DeviceId) -> Self {
        let lost = outbox.lost_in_all();
        Self {
            outbox,
            device,
            next_seq: 1,
            lost_before: lost,
            lost_told: lost,
            reported_at: None,
            told_at: None,
            spans: VecDeque::new(),
            trouble_told: None,
        }
    }

    /// A sample was taken while the time was unsure.
    fn note_span(&mut self, span: u64, seq: u64) {
        match self.spans.back_mut() {
            Some((last, _, to)) if *last == span => *to = seq,
            _ => self.spans.push_back((span, seq, seq)),
        }
        while self.spans.len() > MOST_SPANS {
            self.spans.pop_front();
        }
    }

    /// What is sent for this entry: as it was kept, or at the time that turned out to be right. The platform knows it by
    /// its number, so it is stored once whichever of the two arrives.
    pub(super) fn payload(&self, entry: &mut Entry, clock: &Clock) -> Bytes {
        let payload = std::mem::take(&mut entry.payload);
        if self.spans.is_empty() || *entry.boot != *self.outbox.boot() {
            return payload;
        }
        let span = self.spans.iter().find(|(_, from, to)| (*from..=*to).contains(&entry.seq));
        let wrong = span.and_then(|(span, _, _)| clock.correction(*span));
        wrong.and_then(|wrong| corrected(&payload, wrong, &self.device)).unwrap_or(payload)
    }

    /// Messages lost in this run, for whatever reason.
    pub(super) fn lost(&self) -> u64 {
        self.outbox.lost_in_all() - self.lost_before
    }

    /// The agent ends: everything on disk.
    pub(super) fn finish(self, mut report: Report) -> Report {
        report.waiting = self.outbox.waiting();
        report.dropped = self.lost().saturating_sub(report.refused);
        let has_disk = self.outbox.is_on_disk();
        report.waiting_is_safe = self.outbox.close(Instant::now().into_std()) && has_disk;
        report
    }

    /// Numbers a sample and puts it into the outbox. Its number, and whether it is there.
    fn keep(&mut self, kind: &TelemetryType, mut sample: Sample, now: Timestamp, is_report: bool) -> (u64, bool) {
        let seq = self.next_seq;
        self.next_seq += 1;
        sample.id = Some(MessageId { boot: self.outbox.boot().into(), seq });
        let topic = DeviceTopic::telemetry(&self.device, Some(kind.clone())).to_string();
        let payload = sample.to_json(Some(&self.device));
        let time = sample.time.unwrap_or(now);
        let message = NewMessage { seq, time, topic: &topic, payload: payload.as_bytes() };
        let instant = Instant::now().into_std();
        let kept = match is_report {
            true => self.outbox.append_report(instant, &message),
            false => self.outbox.append(instant, &message),
        };
        let is_kept = kept.unwrap_or(false);
        if is_report && !is_kept {
            // It was not said and is not counted: the number is for the next one.
            self.next_seq = seq;
        }
        (seq, is_kept)
    }
}

impl Agent {
    /// The next thing to do beside the connection. May be dropped and called again.
    pub(super) async fn work(&mut self) -> Work {
        let due = self.kept.outbox.due();
        let maintenance = async {
            match due {
                Some(due) => sleep_until(Instant::from_std(due)).await,
                None => std::future::pending().await,
            }
        };
        let clock = self.clock.clone();
        let trial_ends = self.trial_ends();
        let trial = async {
            match trial_ends {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let renewal_at = self.renewal.at;
        let renewal = async {
            match renewal_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let receipts_due = self.receipts.due();
        let receipts = async {
            match receipts_due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let reload = async {
            match &mut self.reloads {
                Some(reloads) => reloads.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            observation = self.sampler.next(|| clock.now()) => Work::Observed(observation),
            () = maintenance => Work::Maintain,
            stream = self.status.accept() => Work::Asked(stream),
            ran = Self::ran(&mut self.commands) => Work::Ran(ran),
            () = trial => Work::TrialOver,
            () = receipts => Work::ReceiptsOverdue,
            Some(()) = reload => Work::Reload,
            () = renewal => Work::RenewalDue,
            ended = self.renewal.ended() => Work::RenewalEnded(ended),
        }
    }

    pub(super) fn carry_out(&mut self, work: Work) {
        match work {
            Work::Observed(observation) => self.observe(observation),
            Work::Maintain => self.maintain(),
            Work::Asked(stream) => self.answer_status(&stream),
            Work::Ran(ran) => self.program_ended(ran),
            Work::TrialOver => self.trial_failed(),
            Work::ReceiptsOverdue => self.receipts_overdue(),
            Work::Reload => self.reload(),
            Work::RenewalDue => self.renewal_due(),
            Work::RenewalEnded(ended) => self.renewal_ended(ended),
        }
    }

    /// Gives the outbox its time, and tells when the disk began or ceased to fail.
    pub(super) fn maintain(&mut self) {
        self.kept.outbox.maintain(Instant::now().into_std());
        let trouble = self.kept.outbox.trouble();
        if trouble != self.kept.trouble_told.as_ref() {
            self.kept.trouble_told = trouble.cloned();
            if let Some(trouble) = trouble.cloned() {
                self.emit(Event::DiskTrouble(trouble));
            }
        }
    }

    /// Takes what a sensor gave.
    fn observe(&mut self, observation: Observation) {
        let Observation { sensor, kind, outcome } = observation;
        match outcome {
            Outcome::Read { mut sample, faults, recovered } => {
                if recovered {
                    self.emit(Event::SensorRecovered { sensor: sensor.clone() });
                }
                for (metric, fault) in faults {
                    self.emit(Event::Faulty { sensor: sensor.clone(), metric, fault });
                }
                let now = self.clock.read();
                if now.estimated.is_some() {
                    sample.metrics.push(clock_mark(ESTIMATED));
                }
                let (seq, _) = self.kept.keep(&kind, sample, now.time, false);
                if let Some(span) = now.estimated {
                    self.kept.note_span(span, seq);
                }
                self.report.sampled += 1;
                self.emit(Event::Sampled { seq, waiting: self.kept.outbox.waiting() });
                self.tell_losses();
                self.maintain();
                self.hear(&sensor, "read");
            }
            Outcome::Failed { error, retry_in } => {
                self.report.sensor_failures += 1;
                self.hear(&sensor, &error.describe());
                self.emit(Event::SensorFailed { sensor, error, retry_in });
            }
        }
    }

    /// Tells whoever runs the agent that samples were lost: at once, then now and then.
    fn tell_losses(&mut self) {
        let lost = self.kept.outbox.lost_in_all();
        if lost > self.kept.lost_told && self.kept.told_at.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            let count = lost - self.kept.lost_told;
            self.kept.lost_told = lost;
            self.kept.told_at = Some(Instant::now());
            self.emit(Event::Lost { count, in_all: lost });
        }
    }

    /// Puts what was lost into the outbox as a sample, when the platform can be told and was not just now.
    pub(super) fn report_losses(&mut self) {
        let losses = self.kept.outbox.losses();
        if losses.is_empty() || self.kept.reported_at.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        self.kept.reported_at = Some(Instant::now());
        let mut metrics = vec![
            number("lost", losses.iter().map(|loss| loss.count).sum()),
            Metric { name: "lost_ranges".into(), value: Value::Text(describe(losses)), unit: None },
        ];
        let status = self.kept.outbox.status();
        for (reason, total) in LossReason::ALL.into_iter().zip(status.lost).filter(|(_, total)| *total > 0) {
            metrics.push(number(&format!("lost_{}_total", reason.word().replace('-', "_")), total));
        }
        self.keep_own(metrics, true);
    }

    /// A run that did not end in good order is worth a sample: what it had not written is nowhere.
    pub(super) fn tell_previous_run(&mut self) {
        let Some(previous) = self.kept.outbox.previous_run().filter(|previous| !previous.is_closed) else { return };
        let boot = previous.boot.clone();
        let metrics = vec![
            Metric { name: "unclean_end".into(), value: Value::Bool(true), unit: None },
            Metric { name: "unclean_end_of".into(), value: Value::Text(boot), unit: None },
        ];
        self.keep_own(metrics, false);
        self.emit(Event::PreviousRunCutShort { waiting: self.kept.outbox.waiting() });
    }

    fn keep_own(&mut self, metrics: Vec<Metric>, is_report: bool) {
        let now = self.clock.now();
        let time = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let Ok(kind) = TelemetryType::new(OWN_KIND) else { return };
        let (_, is_kept) = self.kept.keep(&kind, Sample { time: Some(time), id: None, metrics }, now, is_report);
        self.report.sampled += u64::from(is_kept || !is_report);
    }
}

fn clock_mark(word: &str) -> Metric {
    Metric { name: "clock".into(), value: Value::Text(word.into()), unit: None }
}

/// The same sample at the right time. `None` when it carries no mark: then its time was never in doubt.
fn corrected(payload: &[u8], wrong: SignedDuration, device: &DeviceId) -> Option<Bytes> {
    let limits = Limits { earliest: Timestamp::MIN, max_future: SignedDuration::MAX, ..Limits::default() };
    let mut sample = parse(device, None, payload, Timestamp::UNIX_EPOCH, &limits).ok()?.pop()?;
    let mark = sample.metrics.iter_mut().find(|metric| **metric == clock_mark(ESTIMATED))?;
    *mark = clock_mark(CORRECTED);
    sample.time = Some(sample.time?.checked_add(wrong).ok()?);
    Some(sample.to_json(Some(device)).into())
}

fn number(name: &str, value: u64) -> Metric {
    Metric { name: name.into(), value: Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)), unit: None }
}

/// One loss after the other: run, reason, numbers, how many, times. At most 64 of them, each within 120 bytes.
fn describe(losses: &[Loss]) -> Box<str> {
    let each = losses.iter().map(|loss| {
        let Loss { boot, reason, first_seq, last_seq, count, from, to } = loss;
        format!("{boot} {} {first_seq}-{last_seq} {count} {from:.0} {to:.0}", reason.word())
    });
    each.collect::<Vec<_>>().join("; ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_moved_to_the_right_time_and_nothing_else_of_it_changes() {
        let device = DeviceId::new("pi-1").unwrap();
        let payload = r#"{"device_id":"pi-1","timestamp":"2025-12-09T10:30:45.25+00:00","boot":"b","seq":7,"data":{"temperature":21.5,"temperature_unit":"°C","clock":"estimated"}}"#;
        let moved = corrected(payload.as_bytes(), SignedDuration::from_secs(86_400), &device).unwrap();
        let expected = payload.replace("12-09T", "12-10T").replace("estimated", "corrected");
        assert_eq!(String::from_utf8_lossy(&moved), expected);
        assert_eq!(corrected(expected.as_bytes(), SignedDuration::from_secs(1), &device), None, "it is moved once");
    }
}
