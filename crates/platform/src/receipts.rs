//! Receipts: a device that subscribes `device/{id}/receipts` hears which of its numbers are durably stored (the wire
//! contract, sections 3 and 5).
//!
//! They are read off the store's memory of what it received, now and then, so they cost the way of a message nothing.
//! The last receipt of a run says all there is to say of it: they are sent with QoS 0, one that is lost is made good by
//! the next, and the newest run's is repeated while nothing changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_broker::{Broker, Host};
use tesaiot_contract::{DeviceId, DeviceTopic, Receipt};
use tesaiot_mqtt::{Message, QoS};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::BootGaps;
use tokio_util::sync::CancellationToken;

/// How long a device may be without the subscription, or without a connection, before it is no longer looked at.
const FORGET: Duration = Duration::from_secs(10);
/// When a receipt is repeated while nothing changes: soon, since nobody acknowledges it, and then now and then.
const REPEAT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Devices that may want receipts. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receipts {
    /// At most one entry for each device of the registry, and only while it is connected
    devices: Arc<Mutex<HashMap<DeviceId, Told>>>,
}

/// What a device was told.
#[derive(Debug)]
struct Told {
    runs: Vec<BootGaps>,
    told_at: Option<Instant>,
    /// What was told last was told again
    is_repeated: bool,
    /// When it last had a connection and the subscription, or when it came
    wanted_at: Instant,
}

impl Receipts {
    /// A device that connected, or may subscribe something: whether it wants receipts is looked at soon.
    pub(crate) fn may_want(&self, device: &DeviceId) {
        let told = || Told { runs: Vec::new(), told_at: None, is_repeated: false, wanted_at: Instant::now() };
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        match devices.get_mut(device) {
            // What was said over an earlier connection may not have arrived.
            Some(entry) => *entry = told(),
            None => drop(devices.insert(device.clone(), told())),
        }
    }

    /// Sends receipts every `period`, until `stop`.
    pub(crate) async fn send_until<H: Host>(
        self,
        broker: Broker<H>,
        telemetry: Telemetry,
        period: Duration,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            for device in self.asked() {
                self.tell(&broker, &telemetry, &device);
                // Ten thousand of them are ten milliseconds: others may run in between.
                tokio::task::consume_budget().await;
            }
        }
    }

    fn asked(&self) -> Vec<DeviceId> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn tell<H: Host>(&self, broker: &Broker<H>, telemetry: &Telemetry, device: &DeviceId) {
        let topic = DeviceTopic::receipts(device);
        let alias = format!("devices/{device}/receipts");
        let topics = [topic.to_string(), alias];
        let wanted: Vec<&String> = match broker.is_connected(device.as_str()) {
            true => topics.iter().filter(|topic| broker.is_subscribed(device.as_str(), topic)).collect(),
            false => Vec::new(),
        };
        let now = Instant::now();
        let runs = if wanted.is_empty() { Vec::new() } else { telemetry.gaps(device) };
        let news = {
            let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(told) = devices.get_mut(device) else { return };
            if wanted.is_empty() {
                if now.duration_since(told.wanted_at) > FORGET {
                    devices.remove(device);
                }
                return;
            }
            told.wanted_at = now;
            told.news(runs, now)
        };
        for run in news {
            let receipt = receipt(&run);
            let mut is_told = false;
            for topic in &wanted {
                let message = Message::new((*topic).clone(), receipt.clone(), QoS::AtMostOnce);
                is_told |= broker.publish_for(device.as_str(), &message);
            }
            if !is_told {
                // The device did not take it: it is news at the next look.
                let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(told) = devices.get_mut(device) {
                    told.runs.retain(|told| *told != run);
                }
            }
        }
    }
}

impl Told {
    /// Of `runs` what is to be said now.
    fn news(&mut self, runs: Vec<BootGaps>, now: Instant) -> Vec<BootGaps> {
        let pause = REPEAT[usize::from(self.is_repeated)];
        let is_due = self.told_at.is_some_and(|at| now.duration_since(at) >= pause);
        let is_news = |run: &BootGaps| !self.runs.contains(run);
        let has_changed = runs.iter().any(is_news);
        let last = runs.len().saturating_sub(1);
        let is_told = |(index, run): &(usize, &BootGaps)| is_news(run) || (is_due && *index == last);
        let news: Vec<BootGaps> = runs.iter().enumerate().filter(is_told).map(|(_, run)| run.clone()).collect();
        if !news.is_empty() {
            self.is_repeated = !has_changed;
            self.told_at = Some(now);
            self.runs = runs;
        }
        news
    }
}

fn receipt(run: &BootGaps) -> String {
    let BootGaps { boot, first, last: stored, missing: gaps } = run.clone();
    let now = Timestamp::now();
    let timestamp = Some(Timestamp::from_second(now.as_second()).unwrap_or(now));
    Receipt { boot, first, stored, gaps, timestamp }.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(boot: &str, last: u64) -> BootGaps {
        BootGaps { boot: boot.into(), first: 1, last, missing: Vec::new() }
    }

    #[test]
    fn what_changed_is_told_and_the_newest_run_is_repeated() {
        let now = Instant::now();
        let mut told = Told { runs: Vec::new(), told_at: None, is_repeated: false, wanted_at: now };
        assert_eq!(told.news(vec![run("a", 3), run("b", 1)], now).len(), 2);
        assert_eq!(told.news(vec![run("a", 3), run("b", 1)], now), []);
        assert_eq!(told.news(vec![run("a", 3), run("b", 2)], now), [run("b", 2)]);
        let [soon, late] = REPEAT;
        assert_eq!(told.news(vec![run("a", 3), run("b", 2)], now + soon / 2), []);
        assert_eq!(told.news(vec![run("a", 3), run("b", 2)], now + soon), [run("b", 2)]);
        assert_eq!(told.news(vec![run("a", 3), run("b", 2)], now + soon + late / 2), []);
        assert_eq!(told.news(vec![run("a", 3), run("b", 2)], now + soon + late), [run("b", 2)]);
        assert_eq!(told.news(Vec::new(), now + 3 * late), []);
    }
}
