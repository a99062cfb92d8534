//! The loop of a run: hand over what is due, take what was answered, wait for whatever comes first.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tesaiot_mqtt::ProtocolError;
use tesaiot_mqtt::client::direct::{Direct, Outgoing, Progress};
use tesaiot_mqtt::client::{Lost, Published};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::{Envelope, Plan, Report, Source};

/// How long answers gather before they are read, and from how many in flight on. A broker that answers each message by
/// itself spends a third of its time on waking a reader who waits for each.
const GATHER: Duration = Duration::from_micros(200);
const GATHER_FROM: usize = 32;

pub(super) struct Run<'a, S, P> {
    direct: &'a mut Direct<S>,
    envelope: &'a Envelope,
    plan: Plan,
    source: &'a mut P,
    payload: Vec<u8>,
    report: Report,
    started: Instant,
    /// When something was answered, or the first of what is in flight was sent.
    answered: Instant,
    /// There is more to send, as far as is known.
    more: bool,
    /// The window was filled and is being emptied by half: messages leave in large writes or not at all.
    refilling: bool,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin, P: Source> Run<'a, S, P> {
    pub(super) fn new(
        direct: &'a mut Direct<S>,
        envelope: &'a Envelope,
        plan: Plan,
        source: &'a mut P,
        first_sent: bool,
    ) -> Self {
        let report = Report { sent: u64::from(first_sent), ..Report::default() };
        let (started, more) = (Instant::now(), report.sent < plan.count);
        Self {
            direct,
            envelope,
            plan,
            source,
            payload: Vec::new(),
            report,
            started,
            answered: started,
            more,
            refilling: true,
        }
    }

    pub(super) async fn finish(mut self, stop: impl Future<Output = ()>, mut watch: impl FnMut(&Report)) -> Report {
        let mut stop = pin!(stop);
        while self.is_unfinished() {
            let wake_at = self.wake_at();
            let (more, in_flight) = (self.more, self.direct.in_flight() > 0);
            tokio::select! {
                biased;
                () = &mut stop, if more => {
                    self.report.interrupted = true;
                    self.more = false;
                }
                step = poll_fn(|context| self.poll_step(context)) => match step {
                    Ok(()) => {
                        watch(&self.report);
                        // A broker that keeps answering must not hold up the end.
                        if self.plan.until.is_some_and(|until| Instant::now() >= until) && self.is_unfinished() {
                            self.report.timed_out = true;
                            break;
                        }
                    }
                    Err(lost) => {
                        self.report.ended = Some(lost);
                        break;
                    }
                },
                () = at(wake_at) => {
                    if self.plan.until.is_some_and(|until| Instant::now() >= until) {
                        self.report.timed_out = true;
                        break;
                    }
                    if in_flight && Instant::now() >= self.answered + self.plan.patience {
                        self.report.stalled = true;
                        break;
                    }
                }
            }
        }
        self.report.lost += self.direct.in_flight() as u64;
        self.report.elapsed = self.started.elapsed();
        self.report.not_sent = self.source.remaining(self.plan.count, self.report.sent);
        self.report
    }

    fn is_unfinished(&self) -> bool {
        self.more || self.direct.in_flight() > 0
    }

    /// When something is to be done even if nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let give_up = (self.direct.in_flight() > 0).then(|| self.answered + self.plan.patience);
        // What is due already waits for room or for its source, and both wake the task.
        let waits_for_time = self.more && !self.plan.interval.is_zero() && self.direct.has_room();
        let due = waits_for_time.then(|| self.due()).filter(|due| *due > Instant::now());
        [give_up, due, self.plan.until].into_iter().flatten().min()
    }

    fn due(&self) -> Instant {
        let nanoseconds = self.plan.interval.as_nanos().saturating_mul(u128::from(self.report.sent));
        self.started + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Ready when anything was handed over or answered.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let handed_over = self.hand_over(context);
        let was_in_flight = self.direct.in_flight();
        let (report, source, started) = (&mut self.report, &mut self.source, self.started);
        let mut answered = false;
        let progress = self.direct.poll_progress(context, &mut |progress| {
            answered = true;
            report.first_answer.get_or_insert_with(|| started.elapsed());
            match progress {
                Progress::Published(number, outcome) => {
                    source.answered(number, &outcome);
                    report.record(outcome);
                }
                Progress::Written(count) => report.acknowledged += count,
                Progress::Subscribed(_) | Progress::Message(_) => {}
            }
        });
        if answered {
            self.answered = Instant::now();
        }
        match progress {
            Poll::Ready(Ok(())) => {
                self.gather(was_in_flight);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(lost)) => Poll::Ready(Err(lost)),
            Poll::Pending if handed_over => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Encodes everything that is due and has room.
    fn hand_over(&mut self, context: &mut Context<'_>) -> bool {
        let in_flight = self.direct.in_flight();
        self.refilling |= in_flight <= self.direct.window() / 2;
        let mut handed_over = false;
        while self.more && self.refilling {
            if !self.direct.has_room() {
                self.refilling = false;
                break;
            }
            // With no interval the clock need not be asked.
            if !self.plan.interval.is_zero() && Instant::now() < self.due() {
                break;
            }
            self.payload.clear();
            match self.source.poll_next(context, &mut self.payload) {
                Poll::Pending => break,
                Poll::Ready(Ok(true)) => {
                    if self.direct.in_flight() == 0 {
                        self.answered = Instant::now();
                    }
                    self.send();
                    handed_over = true;
                    self.more = self.report.sent < self.plan.count;
                }
                Poll::Ready(Ok(false)) => {
                    self.more = false;
                    handed_over = true;
                }
                Poll::Ready(Err(error)) => {
                    self.report.source_failed = Some(error);
                    self.more = false;
                    handed_over = true;
                }
            }
        }
        handed_over
    }

    fn send(&mut self) {
        let Envelope { topic, qos, retain } = self.envelope;
        let topic = self.source.topic().unwrap_or(topic);
        let message = Outgoing { topic, payload: &self.payload, qos: *qos, retain: *retain };
        let number = self.report.sent;
        self.report.sent += 1;
        let outcome = match self.direct.publish(number, message) {
            Ok(()) => return,
            Err(ProtocolError::TooLarge { size, limit }) => Published::TooLarge { size, limit },
            // Room was asked for and the topic checked before: nothing else can be wrong with it.
            Err(_) => Published::Refused(tesaiot_mqtt::packet::PublishAckReason::TopicNameInvalid),
        };
        self.source.answered(number, &outcome);
        self.report.record(outcome);
    }

    /// Lets answers gather while more are to come than it takes to go on.
    fn gather(&self, was_in_flight: usize) {
        let in_flight = self.direct.in_flight();
        let enough = if self.more { self.direct.window() / 2 } else { 0 };
        if self.plan.interval.is_zero() && in_flight < was_in_flight && in_flight > enough.max(GATHER_FROM) {
            std::thread::sleep(GATHER);
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
