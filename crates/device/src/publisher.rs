//! A run of messages over one connection: handed over on time, acknowledged whenever the broker gets to it.
//!
//! Acknowledgements are pipelined: a message does not wait for the one before. Times are kept without drift, counted
//! from the first message, so a slow broker delays a message and not the schedule.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tesaiot_mqtt::client::{Client, Closed, Lost, Pending, Published};
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_mqtt::{Message, QoS};
use tokio::time::{Instant, sleep_until, timeout};

use crate::in_flight::InFlight;
pub use crate::in_flight::WINDOW;

/// How long the goodbye may take once everything is acknowledged.
const GOODBYE: Duration = Duration::from_secs(2);

/// What to send and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many messages
    pub count: u64,
    /// Time between two; zero is as fast as the broker acknowledges
    pub interval: Duration,
    /// How long the broker may leave everything unacknowledged before the run is given up
    pub patience: Duration,
}

impl Plan {
    /// This many messages, this far apart, and 30 s of patience.
    pub fn new(count: u64, interval: Duration) -> Self {
        Self { count, interval, patience: Duration::from_secs(30) }
    }

    /// How many messages `minutes` take (the wire contract, section 8): `max(1, floor(minutes * 60 / interval))`.
    /// `None` when `interval` is zero: such a run has no length in time.
    pub fn count_for(minutes: f64, interval: Duration) -> Option<u64> {
        // A tenth is not exact in binary: 1.2 s are 0.2 s six times, not five.
        let count = (minutes * 60.0 / interval.as_secs_f64() + 1e-9).floor();
        (!interval.is_zero()).then_some(count.max(1.0) as u64)
    }
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages handed to the connection
    pub sent: u64,
    /// Messages the broker took responsibility for
    pub acknowledged: u64,
    /// Messages the broker refused, or would have (MQTT 5)
    pub refused: u64,
    /// Messages without an answer: the broker may or may not have them
    pub lost: u64,
    /// Messages that were planned and not sent
    pub not_sent: u64,
    /// Bytes of the first message that is larger than the broker takes, and how many it takes (MQTT 5); such messages
    /// count as refused
    pub first_too_large: Option<(u32, u32)>,
    /// The reason of the first refusal
    pub first_refusal: Option<PublishAckReason>,
    /// Why the connection ended, when it ended by itself
    pub ended: Option<Lost>,
    /// The broker acknowledged nothing within the plan's patience
    pub stalled: bool,
    /// The run was stopped from outside
    pub interrupted: bool,
    /// From the first message to the last outcome
    pub elapsed: Duration,
}

impl Report {
    /// Whether every planned message was acknowledged.
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.lost == 0 && self.not_sent == 0
    }

    fn record(&mut self, outcome: Published) {
        match outcome {
            Published::Acknowledged => self.acknowledged += 1,
            Published::Refused(reason) => {
                self.refused += 1;
                self.first_refusal.get_or_insert(reason);
            }
            Published::TooLarge { size, limit } => {
                self.refused += 1;
                self.first_too_large.get_or_insert((size, limit));
            }
            Published::Lost(lost) => {
                self.lost += 1;
                self.ended.get_or_insert(lost);
            }
        }
    }
}

/// Sends what `plan` says to `topic` at QoS 1 and disconnects. `payload` makes message number n, counted from zero,
/// at the moment it is due. Once `stop` resolves nothing more is sent; what is in flight is waited for.
///
/// `first` is message number 0 when it was sent with CONNECT already ([`crate::session::open_with`]).
///
/// The connection's queue should hold [`WINDOW`] messages.
pub async fn publish<P: Into<Bytes>>(
    client: &Client,
    topic: &str,
    plan: Plan,
    first: Option<Pending>,
    mut payload: impl FnMut(u64) -> P,
    stop: impl Future<Output = ()>,
) -> Report {
    let mut stop = pin!(stop);
    let template = Message::new(topic, Bytes::new(), QoS::AtLeastOnce);
    let mut report = Report::default();
    let mut in_flight = InFlight::new();
    if let Some(first) = first {
        report.sent = 1;
        in_flight.push((), first);
    }
    let started = Instant::now();
    let mut answered = started;
    loop {
        let more = report.sent < plan.count && !report.interrupted && report.ended.is_none();
        let due = more.then(|| started + interval_times(plan.interval, report.sent));
        let window_open = in_flight.len() < usize::from(WINDOW);
        // With no interval the clock need not be asked.
        if window_open && due.is_some_and(|due| plan.interval.is_zero() || due <= Instant::now()) {
            if in_flight.is_empty() {
                answered = Instant::now();
            }
            match client.publish(Message { payload: payload(report.sent).into(), ..template.clone() }).await {
                Ok(pending) => {
                    report.sent += 1;
                    in_flight.push((), pending);
                }
                Err(Closed) => report.ended = Some(client.ended().await),
            }
            continue;
        }
        if in_flight.is_empty() && !more {
            break;
        }
        tokio::select! {
            biased;
            ((), outcome) = in_flight.next(), if !in_flight.is_empty() => {
                answered = Instant::now();
                report.record(outcome);
            }
            () = &mut stop, if more => report.interrupted = true,
            () = sleep_until(due.unwrap_or(started)), if window_open && due.is_some() => {}
            () = sleep_until(answered + plan.patience), if !in_flight.is_empty() => {
                report.stalled = true;
                report.lost += in_flight.len() as u64;
                break;
            }
        }
    }
    report.elapsed = started.elapsed();
    report.not_sent = plan.count - report.sent;
    if report.ended.is_none() && !report.stalled {
        // Everything is answered already: how the goodbye goes changes nothing.
        let _ = timeout(GOODBYE, client.disconnect()).await;
    }
    report
}

fn interval_times(interval: Duration, times: u64) -> Duration {
    let nanoseconds = interval.as_nanos().saturating_mul(u128::from(times));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
