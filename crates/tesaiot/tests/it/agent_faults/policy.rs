//! What is given up for want of room is told to the platform, number by number.

use std::collections::BTreeSet;

use tesaiot_store::registry::AuthMode;

use crate::support::PATIENCE;
use crate::support::agent::{AgentPlan, Received, points, stored};
use crate::support::platform::TestPlatform;
use crate::support::proxy::{Mode, Proxy};

#[test]
fn what_was_dropped_for_the_newest_is_what_is_missing_and_what_is_told() {
    check("drop-oldest");
}

#[test]
fn what_was_dropped_for_the_oldest_is_what_is_missing_and_what_is_told() {
    check("drop-newest");
}

#[test]
fn what_was_thinned_is_what_is_missing_and_what_is_told() {
    check("thin");
}

fn check(policy: &'static str) {
    let platform = TestPlatform::start();
    let device = platform.device("pi-shed", AuthMode::ServerTls);
    let proxy = Proxy::start(platform.mqtt_tls());
    let more = ["--interval", "0.01", "--outbox-size", "64K", "--when-full", policy];
    let plan = AgentPlan::new(&device, proxy.port(), &more);
    let agent = plan.start();
    agent.deliver(20);
    proxy.set(Mode::Down);
    let lost = |status: &serde_json::Value| status["lost"][policy].as_u64().unwrap_or(0);
    agent.until("losses", |status| lost(status) > 60);
    proxy.set(Mode::Up);
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10));
    let operator = platform.operator();
    let told = || points(&operator, &device, "lost");
    agent.until("the report", |_| !told().is_empty());
    agent.running.signal("TERM");
    let outcome = agent.running.wait(PATIENCE);
    assert_eq!(outcome.code, Some(8), "it says that samples were lost: {outcome:#?}");

    plan.drain();
    let mut received = Received::default();
    received.ask(&operator, &device);
    let numbers: u64 = received.runs.values().map(|(last, _)| last).sum();
    let missing = received.runs.values().flat_map(|(_, missing)| missing);
    let missing: BTreeSet<u64> = missing.flat_map(|&(first, last)| first..=last).collect();
    let count: u64 = told().iter().map(|value| value.as_u64().expect("a number")).sum();
    let texts = points(&operator, &device, "lost_ranges");
    let mut ranges = BTreeSet::new();
    for text in texts.iter().flat_map(|text| text.as_str().expect("text").split("; ")) {
        let words: Vec<&str> = text.split(' ').collect();
        // While all that an outbox so small holds is on its way, there is only the newest to give up.
        assert!([policy, "drop-newest"].contains(&words[1]), "{policy}: {text}");
        let (first, last) = words[2].split_once('-').expect("a range");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        ranges.extend(number(first)..=number(last));
    }
    assert_eq!(stored(&operator, &device) + count, numbers, "{policy}: each number is stored once, or told");
    // The platform remembers 64 ranges of a run: of a thinned one not all that is missing.
    if policy != "thin" {
        assert_eq!(missing, ranges, "{policy}: told exactly");
        assert_eq!(count, missing.len() as u64, "{policy}");
    }
}
