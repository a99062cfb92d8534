//! A network that drops, and one that says nothing.

use std::time::Duration;

use tesaiot_store::registry::AuthMode;

use crate::support::agent::{AgentPlan, Received};
use crate::support::platform::TestPlatform;
use crate::support::proxy::{Mode, Proxy};

#[test]
fn a_connection_that_drops_again_and_again_delivers_everything_once() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-attic", AuthMode::ServerTls);
    let proxy = Proxy::start(platform.mqtt_tls());
    let plan = AgentPlan::new(&device, proxy.port(), &["--interval", "0.01"]);
    let agent = plan.start();
    for _ in 0..5 {
        agent.deliver(20);
        proxy.cut();
    }
    // Longer: what was taken meanwhile waits on disk, and comes with what is taken then.
    proxy.set(Mode::Down);
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(150) && status["connected"] == false);
    proxy.set(Mode::Up);
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10));
    let status = agent.status().expect("an answer");
    assert_eq!((&status["lost"], status["refused"].as_u64()), (&serde_json::json!({}), Some(0)), "{status}");
    assert!(status["connections"].as_u64() >= Some(6), "{status}");
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
}

#[test]
fn a_half_open_connection_is_noticed_and_replaced() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-roof", AuthMode::ServerTls);
    let proxy = Proxy::start(platform.mqtt_tls());
    let plan = AgentPlan::new(&device, proxy.port(), &["--keep-alive", "1"]);
    let agent = plan.start();
    agent.deliver(20);
    let before = proxy.connections();
    proxy.set(Mode::Silent);
    let lost = |line: &str| line.contains("stopped answering").then_some(());
    agent.running.stderr.wait_for(1, Duration::from_secs(20), lost).expect("it notices by itself");
    proxy.set(Mode::Up);
    proxy.cut();
    agent.deliver(200);
    assert!(proxy.connections() > before);
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
}
