//! Acknowledged means stored, also when the platform is killed in the next instant.
//!
//! `TESAIOT_KILL_ROUNDS` says how many times it is killed; `TESAIOT_KILL_SEED` repeats the moments of an earlier run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tesaiot_mqtt::Version;
use tokio::runtime::Runtime;

use crate::support::device::Device;
use crate::support::load::{Report, Run};
use crate::support::platform_process::PlatformProcess;
use crate::support::rest::Rest;
use crate::support::wait_until;

/// How often the platform is killed unless `TESAIOT_KILL_ROUNDS` says otherwise.
const ROUNDS: u32 = 5;
/// The longest that devices publish before the platform is killed.
const LONGEST: Duration = Duration::from_millis(250);

/// The devices: version of the protocol, how they log in, messages in flight.
const DEVICES: [(&str, &str, Version, usize); 4] = [
    ("one-at-a-time", "server-tls", Version::V3, 1),
    ("ten-at-a-time", "mtls", Version::V3, 10),
    ("hundred-at-a-time", "mtls", Version::V5, 100),
    ("version-5", "server-tls", Version::V5, 10),
];

/// What is known of the messages of one run of one device.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<u64>,
    /// May be stored or not; sent again after the kill, and acknowledged then.
    unknown: Vec<u64>,
    next: u64,
}

impl Ledger {
    fn add(&mut self, report: Report) {
        for sequence in report.acknowledged {
            assert!(self.acknowledged.insert(sequence), "acknowledged once");
        }
        (self.unknown, self.next) = (report.unknown, report.next);
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_and_nothing_is_stored_twice() {
    let rounds = variable("TESAIOT_KILL_ROUNDS").map_or(ROUNDS, |rounds| u32::try_from(rounds).expect("a number"));
    let seed = variable("TESAIOT_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ now());
    println!("seed {seed}");
    let mut moments = seed | 1;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let runtime = Runtime::new().expect("a runtime");

    let mut platform = PlatformProcess::start(&data);
    let devices = DEVICES.map(|(id, auth, ..)| platform.device(id, auth, directory.path()));
    // Each pair of rounds is one run of the devices: what the first did not get acknowledged is sent again in the second.
    let mut ledgers: BTreeMap<(u32, usize), Ledger> = BTreeMap::new();
    let mut total = 0;
    for round in 0..rounds {
        let number = round / 2;
        let counter = Arc::new(AtomicU64::new(0));
        let runs = devices.iter().zip(DEVICES).enumerate().map(|(index, (device, (_, _, version, window)))| {
            let ledger = ledgers.entry((number, index)).or_default();
            let (device, again, next) = (device.clone(), ledger.unknown.clone(), ledger.next);
            let address = if device.certificate().is_some() { platform.mqtt() } else { platform.mqtt_tls() };
            runtime.spawn(Run { device, version, window, number, again, next }.publish(address, Arc::clone(&counter)))
        });
        let runs: Vec<_> = runs.collect();
        wait_until("load", || (counter.load(Ordering::Relaxed) > 0).then_some(()));
        std::thread::sleep(LONGEST.mul_f64(next_fraction(&mut moments)));
        platform.kill();
        for (index, run) in runs.into_iter().enumerate() {
            let report = runtime.block_on(run).expect("a client does not panic");
            total += report.acknowledged.len();
            ledgers.get_mut(&(number, index)).expect("a ledger").add(report);
        }
        platform = PlatformProcess::start(&data);
        let operator = platform.operator();
        for (index, device) in devices.iter().enumerate() {
            check(&operator, device, number, &ledgers[&(number, index)]);
        }
    }
    // Once more for everything, by now in chunks.
    let operator = platform.operator();
    for ((number, index), ledger) in &ledgers {
        check(&operator, &devices[*index], *number, ledger);
    }
    println!("{rounds} rounds of kill -9, {total} messages acknowledged, none lost, none stored twice");
    assert_eq!(platform.stop("TERM").code, Some(0));
}

/// Every acknowledged message is stored once; of the others none twice, and nothing is stored that was not sent.
fn check(operator: &Rest, device: &Device, number: u32, ledger: &Ledger) {
    let (from, to) = Run::hour(number);
    let path = format!("/devices/{}/telemetry?metric=n&from={from}&to={to}&limit=100000", device.id());
    let answer = operator.get(&path).expect(200);
    assert_eq!(answer["truncated"], false, "too many for one answer");
    let values: Vec<u64> = answer["points"]
        .as_array()
        .expect("points")
        .iter()
        .map(|point| point["value"].as_u64().expect("a whole number"))
        .collect();
    let stored: BTreeSet<u64> = values.iter().copied().collect();
    assert_eq!(stored.len(), values.len(), "{} stored a message twice in run {number}", device.id());
    let lost: Vec<_> = ledger.acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} lost in run {number}: {lost:?}", device.id());
    let sent: BTreeSet<u64> = ledger.acknowledged.iter().chain(&ledger.unknown).copied().collect();
    assert!(stored.is_subset(&sent), "{} has stored what was never sent in run {number}", device.id());
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("a time after 1970")
}

/// The next of a row of fractions that its first state fixes.
fn next_fraction(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}
