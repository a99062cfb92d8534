//! A device that loses its rights in the middle of its work, and gets them back.

use std::time::Duration;

use serde_json::json;
use tesaiot_store::registry::AuthMode;

use crate::support::agent::{AgentPlan, Received};
use crate::support::platform::TestPlatform;

#[test]
fn a_device_disabled_in_the_middle_keeps_its_samples_until_it_may_send_them() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-gate", AuthMode::Mtls);
    let plan = AgentPlan::new(&device, platform.mqtt().port(), &["--auth", "mtls"]);
    let agent = plan.start();
    agent.deliver(20);
    let operator = platform.operator();
    operator.post(&format!("/devices/{}/disable", device.id()), b"{}").expect(200);
    let refused = |line: &str| line.contains("Bad username or password").then_some(());
    agent.running.stderr.wait_for(1, Duration::from_secs(20), refused).expect("it says that it is refused");
    let status = agent.until("a backlog", |status| status["waiting"].as_u64() > Some(100));
    assert_eq!((&status["connected"], &status["lost"]), (&json!(false), &json!({})), "{status}");
    assert!(status["last_error"].as_str().is_some_and(|text| text.contains("Bad username or password")), "{status}");
    assert!(status["certificate_days"].as_i64() > Some(1), "{status}");
    operator.post(&format!("/devices/{}/enable", device.id()), b"{}").expect(200);
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10));
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&operator, &device);
    received.expect_complete(&operator, &device);
}

#[test]
fn a_device_whose_certificate_is_revoked_in_the_middle_goes_on_once_it_has_another() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-door", AuthMode::Mtls);
    let plan = AgentPlan::new(&device, platform.mqtt().port(), &["--auth", "mtls", "--interval", "0.02"]);
    let agent = plan.start();
    agent.deliver(20);
    let operator = platform.operator();
    operator.post(&format!("/devices/{}/certificate/revoke", device.id()), b"{}").expect(200);
    let refused = |line: &str| line.contains("Bad username or password").then_some(());
    agent.running.stderr.wait_for(1, Duration::from_secs(20), refused).expect("it says that it is refused");
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(50) && status["connected"] == false);
    let issued = platform.bundle_of(device.id());
    for file in ["client_cert.pem", "client_key.pem"] {
        std::fs::copy(issued.file(file), device.file(file)).expect("the new one takes the place of the old");
    }
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10) && status["connected"] == true);
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&operator, &device);
    received.expect_complete(&operator, &device);
    // A key that is replaced is the same matter.
    let device = platform.device("pi-key", AuthMode::ServerTls);
    let plan = AgentPlan::new(&device, 1, &["--mode", "https", "--interval", "0.02"]);
    let agent = plan.start();
    agent.deliver(20);
    let issued = platform.bundle_of(device.id());
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(50) && status["connected"] == false);
    for file in ["api_key.txt", "mqtt_password.txt", ".env"] {
        std::fs::copy(issued.file(file), device.file(file)).expect("the new one takes the place of the old");
    }
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10) && status["connected"] == true);
    agent.stop();
    let mut received = Received::default();
    received.ask(&operator, &device);
    received.expect_complete(&operator, &device);
}

#[test]
fn two_agents_do_not_work_with_one_outbox() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-twin", AuthMode::ServerTls);
    let plan = AgentPlan::new(&device, platform.mqtt_tls().port(), &[]);
    let agent = plan.start();
    agent.deliver(1);
    let outcome = plan.start().running.wait(Duration::from_secs(20));
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains("is in use by another process"), "{outcome:#?}");
    assert!(outcome.stderr.contains("hint: one agent works with one outbox"), "{outcome:#?}");
    assert_eq!(agent.status().expect("the first one is not disturbed")["connections"], 1);
    agent.stop();
    // A status of an agent that is gone is none.
    let gone = plan.start();
    gone.kill();
    let mut ask = std::process::Command::new(crate::support::platform_process::tesaiot());
    let ask = ask.args(["agent", "status", "--data-dir"]).arg(&plan.data);
    let outcome = crate::support::process::run(ask, Duration::from_secs(20));
    assert_eq!(outcome.code, Some(4), "{outcome:#?}");
    assert!(outcome.stderr.contains("no agent is running with the data directory"), "{outcome:#?}");
}
