//! Processes that end without a warning, on either side.

use std::time::Duration;

use tesaiot_device::random::Random;

use crate::support::agent::{AgentPlan, Received};
use crate::support::platform_process::PlatformProcess;
use crate::support::proxy::Proxy;

/// How often the agent is killed unless `TESAIOT_AGENT_KILLS` says otherwise.
const KILLS: u64 = 12;

#[test]
fn an_agent_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let rounds = std::env::var("TESAIOT_AGENT_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let platform = PlatformProcess::start(&directory.path().join("data"));
    let device = platform.device("pi-kitchen", "server-tls", directory.path());
    let plan = AgentPlan::new(&device, platform.mqtt_tls().port(), &["--interval", "0.01"]);
    let operator = platform.operator();
    let (mut received, mut moments) = (Received::default(), Random::from_system());
    for _ in 0..rounds {
        let agent = plan.start();
        let connected = |line: &str| line.contains("connected to").then_some(());
        // Now and then before it is connected: then the next run has more to send.
        if !moments.once_in(4) {
            agent.running.stderr.wait_for(1, Duration::from_secs(20), connected).expect("a connection");
        }
        std::thread::sleep(Duration::from_micros(moments.bits() % 150_000));
        agent.kill();
        received.ask(&operator, &device);
    }
    let agent = plan.start();
    agent.until("an empty outbox", |status| status["waiting"] == 0 || status["acknowledged"].as_u64() > Some(200));
    agent.stop();
    plan.drain();
    received.ask(&operator, &device);
    received.expect_complete(&operator, &device);
    println!(
        "{rounds} kills of the agent: {} samples of {} runs stored, none missing, none twice",
        received.count(),
        received.runs.len()
    );
    assert_eq!(platform.stop("TERM").code, Some(0));
}

#[test]
fn a_platform_killed_between_storing_and_acknowledging_has_everything_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut platform = PlatformProcess::start(&data);
    let device = platform.device("pi-cellar", "mtls", directory.path());
    let proxy = Proxy::start(platform.mqtt());
    let plan = AgentPlan::new(&device, proxy.port(), &["--auth", "mtls", "--interval", "0.01"]);
    let agent = plan.start();
    let mut moments = Random::from_system();
    for _ in 0..5 {
        agent.deliver(50);
        std::thread::sleep(Duration::from_micros(moments.bits() % 50_000));
        platform.kill();
        platform = PlatformProcess::start(&data);
        proxy.aim(platform.mqtt());
    }
    agent.deliver(200);
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
    assert_eq!(platform.stop("TERM").code, Some(0));
}
