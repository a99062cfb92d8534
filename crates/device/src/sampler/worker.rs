//! The thread of one sensor.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::Sample;
use tokio::sync::mpsc;

use super::backoff;
use crate::sensor::{Feed, Sensor, SensorError};

/// First wait after a feed failed; it doubles.
pub(super) const FEED_RETRY: Duration = Duration::from_secs(1);
/// How long a feed is listened to between two looks at whether the agent stops.
const LISTEN: Duration = Duration::from_millis(500);
/// How often it is told that what a feed says is nonsense.
const NONSENSE: Duration = Duration::from_secs(60);
/// Reading a file or a line takes little; the default of 2 MiB would stand in every memory statistic of a small device.
const STACK: usize = 256 * 1024;

/// What a thread answers.
pub(super) struct Reply {
    /// Whose answer it is
    pub(super) index: usize,
    pub(super) outcome: Result<Sample, SensorError>,
}

/// The sampler's end of a thread; dropping it ends the thread after the read that is under way.
pub(super) struct Worker {
    /// The time of the reading asked for. A feed gets none: it is only held so that the thread sees it dropped
    requests: SyncSender<Timestamp>,
}

impl Worker {
    pub(super) fn of_sensor(
        index: usize,
        name: &str,
        mut sensor: Box<dyn Sensor>,
        replies: mpsc::Sender<Reply>,
    ) -> io::Result<Self> {
        spawn(name, move |requests| {
            while let Ok(time) = requests.recv() {
                let outcome = sensor.read(time);
                if replies.blocking_send(Reply { index, outcome }).is_err() {
                    break;
                }
            }
        })
    }

    pub(super) fn of_feed(
        index: usize,
        name: &str,
        mut feed: Box<dyn Feed>,
        replies: mpsc::Sender<Reply>,
    ) -> io::Result<Self> {
        spawn(name, move |requests| {
            let mut failures = 0;
            let mut told = None::<Instant>;
            while let Err(TryRecvError::Empty) = requests.try_recv() {
                let outcome = match feed.next(LISTEN) {
                    Ok(None) => continue,
                    Ok(Some(sample)) => Ok(sample),
                    // What came was bad and what comes next may be good: nothing is waited for, and a source that
                    // speaks nothing but nonsense is told of once in a while.
                    Err(error) if error.is_about_words() => {
                        if told.is_some_and(|told| told.elapsed() < NONSENSE) {
                            continue;
                        }
                        told = Some(Instant::now());
                        Err(error)
                    }
                    Err(error) => Err(error),
                };
                let gone = outcome.as_ref().is_err_and(|error| !error.is_about_words());
                if replies.blocking_send(Reply { index, outcome }).is_err() {
                    break;
                }
                if !gone {
                    failures = 0;
                } else if let Err(RecvTimeoutError::Timeout) = requests.recv_timeout(backoff(FEED_RETRY, failures)) {
                    failures += 1;
                } else {
                    break;
                }
            }
        })
    }

    /// Asks for a reading. False when the thread is gone.
    pub(super) fn ask(&self, time: Timestamp) -> bool {
        !matches!(self.requests.try_send(time), Err(TrySendError::Disconnected(_)))
    }
}

fn spawn(name: &str, work: impl FnOnce(Receiver<Timestamp>) + Send + 'static) -> io::Result<Worker> {
    let (requests, receiver) = sync_channel(1);
    Builder::new().name(format!("sensor {name}")).stack_size(STACK).spawn(move || work(receiver))?;
    Ok(Worker { requests })
}
