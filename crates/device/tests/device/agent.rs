//! The agent in virtual time: an hour passes in a moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::{DeviceId, Secret, TelemetryType};
use tesaiot_device::agent::Event;
use tesaiot_device::outbox::{Durability, Options, Outbox};
use tesaiot_device::random::Random;
use tesaiot_device::sensor::EnvironmentSimulator;
use tesaiot_device::{Agent, AgentSettings, Choice, Connector, Credentials, Deadlines, Plan, Sampler};
use tesaiot_tls::Versions;

fn credentials() -> Credentials {
    let trust = rcgen::generate_simple_self_signed(vec!["broker".to_owned()]).unwrap();
    let bundle = Bundle {
        api_key: Some(Secret::new("tesa_dak_pump7_00112233445566778899aabbccddeeff")),
        trust_anchor_pem: Some(trust.cert.pem()),
        ..Bundle::new(DeviceId::new("pump-7").unwrap())
    };
    Credentials::from_bundle(&bundle, Choice::PreferKey, Timestamp::now()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_for_an_hour_costs_no_sample_and_is_not_pestered() {
    let place = tempfile::tempdir().unwrap();
    let credentials = credentials();
    // Port 1 of this machine: refused at once.
    let tls = credentials.tls_config(Versions::Both).unwrap();
    let connector = Connector::new("127.0.0.1", 1, tls, Deadlines::default());
    let outbox = Options { durability: Durability::Interval(Duration::from_secs(1)), ..Options::default() };
    let data_directory = Some(place.path().to_owned());
    let settings = AgentSettings { data_directory, outbox, ..AgentSettings::new(connector, credentials) };
    let mut sampler = Sampler::new();
    let plan = Plan::new(TelemetryType::new("environment").unwrap(), Duration::from_secs(1));
    sampler.add(plan, Box::new(EnvironmentSimulator::new(Random::seeded(1)))).unwrap();
    let (sender, mut events) = tokio::sync::mpsc::channel(64);
    let attempts = AtomicU64::new(0);
    let listen = async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::ConnectFailed { .. }) {
                attempts.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let agent = Agent::new(settings, sampler).unwrap().with_events(sender);
    let hour = tokio::time::sleep(Duration::from_secs(3600));
    let (report, ()) = tokio::join!(agent.run(hour), listen);
    assert!((3_590..=3_601).contains(&report.sampled), "{report:?}");
    assert_eq!((report.waiting, report.waiting_is_safe, report.dropped), (report.sampled, true, 0));
    // Full jitter: between none and a minute each time, half of it on average.
    let attempts = attempts.into_inner();
    assert!((60..=300).contains(&attempts), "{attempts} attempts in an hour");
    let mut outbox = Outbox::open(&place.path().join("outbox"), Options::default(), "next", Instant::now()).unwrap();
    assert!(outbox.previous_run().unwrap().is_closed);
    outbox.rewind();
    let waiting: Vec<u64> = std::iter::from_fn(|| outbox.next(Instant::now())).map(|entry| entry.seq).collect();
    assert_eq!(waiting, (1..=report.sampled).collect::<Vec<_>>());
}
