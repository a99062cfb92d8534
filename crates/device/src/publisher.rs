//! A run of messages over one connection: handed over on time, acknowledged whenever the broker gets to it.
//!
//! Acknowledgements are pipelined: a message does not wait for the one before. Times are kept without drift, counted
//! from the first message, so a slow broker delays a message and not the schedule.

mod report;
mod run;
mod source;
mod spool;

use std::future::Future;
use std::time::Duration;

use tesaiot_mqtt::QoS;
use tesaiot_mqtt::client::direct::Direct;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

pub use report::Report;
use run::Run;
pub use source::{Generated, Made, Repeated, Source, SourceError, Stream};
pub use spool::{Numbered, Spool, Spooled};

/// How many messages of a run may be unacknowledged towards a broker that does not say. A broker that commits before it
/// acknowledges is kept busy by as many.
pub const WINDOW: u16 = 512;

/// How long the goodbye may take once everything is acknowledged.
const GOODBYE: Duration = Duration::from_secs(2);

/// What to send and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many messages at most; the source may have fewer
    pub count: u64,
    /// Time between two; zero is as fast as the broker acknowledges
    pub interval: Duration,
    /// How long the broker may leave everything unacknowledged before the run is given up
    pub patience: Duration,
    /// When the run is over whatever is still to come
    pub until: Option<Instant>,
}

impl Plan {
    /// This many messages, this far apart, and 30 s of patience.
    pub fn new(count: u64, interval: Duration) -> Self {
        Self { count, interval, patience: Duration::from_secs(30), until: None }
    }

    /// How many messages `minutes` take (the wire contract, section 8): `max(1, floor(minutes * 60 / interval))`.
    /// `None` when `interval` is zero: such a run has no length in time.
    pub fn count_for(minutes: f64, interval: Duration) -> Option<u64> {
        // A tenth is not exact in binary: 1.2 s are 0.2 s six times, not five.
        let count = (minutes * 60.0 / interval.as_secs_f64() + 1e-9).floor();
        (!interval.is_zero()).then_some(count.max(1.0) as u64)
    }
}

/// What every message of a run has around its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where to
    pub topic: String,
    /// Quality of service
    pub qos: QoS,
    /// Whether each replaces the topic's retained message
    pub retain: bool,
}

/// Sends what `source` has, as `plan` says, and waits for every answer. Once `stop` resolves nothing more is sent; what
/// is in flight is waited for. `watch` sees the report grow.
///
/// `first_sent`: message number 0 was sent with CONNECT already ([`Direct::connect`]).
///
/// With no interval between messages and many in flight it lets answers gather by blocking its thread for a
/// fifth of a millisecond at a time: it belongs on a runtime of its own (docs/decisions/0022).
pub async fn publish<S, P>(
    direct: &mut Direct<S>,
    envelope: &Envelope,
    plan: Plan,
    source: &mut P,
    first_sent: bool,
    stop: impl Future<Output = ()>,
    watch: impl FnMut(&Report),
) -> Report
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Source,
{
    Run::new(direct, envelope, plan, source, first_sent).finish(stop, watch).await
}

/// Says goodbye and closes the connection, within two seconds and by `until`. Everything is answered already: how it
/// goes changes nothing.
pub async fn goodbye<S: AsyncRead + AsyncWrite + Unpin>(direct: &mut Direct<S>, until: Option<Instant>) {
    let left = until.map_or(GOODBYE, |until| until.saturating_duration_since(Instant::now()).min(GOODBYE));
    let _ = timeout(left, direct.disconnect()).await;
}
