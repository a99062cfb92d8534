//! An agent that posts its samples over HTTPS, by choice or because MQTT cannot pass.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tesaiot_device::outbox::{NewMessage, Options, Outbox};
use tesaiot_store::registry::AuthMode;

use crate::support::agent::{AgentPlan, Received, points};
use crate::support::platform::TestPlatform;
use crate::support::proxy::{Mode, Proxy};

#[test]
fn samples_posted_over_https_arrive_once_also_over_a_restart_of_the_platform() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pi-office", AuthMode::ServerTls);
    // No MQTT at all: port 1 refuses.
    let plan = AgentPlan::new(&device, 1, &["--mode", "https"]);
    let agent = plan.start();
    agent.deliver(100);
    platform.stop();
    agent.until("a backlog", |status| status["waiting"].as_u64() > Some(50) && status["connected"] == false);
    let why = agent.status().expect("an answer")["last_error"].clone();
    assert!(why.as_str().is_some_and(|text| text.contains("Connection refused")), "{why}");
    platform.start_again();
    agent.until("an empty outbox", |status| status["waiting"].as_u64() < Some(10) && status["connected"] == true);
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
    assert!(received.count() > 150, "{received:?}");
    // The type that a topic would say travels beside the samples.
    let latest = platform.operator().get(&format!("/devices/{}/telemetry/latest", device.id())).expect(200);
    let latest = latest["latest"].as_array().expect("values").clone();
    assert!(
        latest.iter().any(|value| value["metric"] == "temperature" && value["type"] == "environment"),
        "{latest:?}"
    );
    let rest = platform.rest_of(&device);
    let post = |body: &str| rest.post("/telemetry/batch", body.as_bytes());
    post(r#"{"telemetry":[{"data":{"x":1}},{"data":{"y":2}}],"types":["a/b",null]}"#).expect(201);
    let latest = platform.operator().get(&format!("/devices/{}/telemetry/latest", device.id())).expect(200);
    let kind = |metric: &str| {
        let found = latest["latest"].as_array().expect("values").iter().find(|value| value["metric"] == metric);
        found.expect("the metric")["type"].clone()
    };
    assert_eq!((kind("x"), kind("y")), (json!("a/b"), json!(null)));
    for types in [r#"["a"]"#, r#"["a","b","c"]"#, r#"["a/+",null]"#, r#""a""#, "[1,2]"] {
        let body = format!(r#"{{"telemetry":[{{"data":{{"x":1}}}},{{"data":{{"y":2}}}}],"types":{types}}}"#);
        assert_eq!(post(&body).status, 400, "{types}");
    }
}

#[test]
fn where_mqtt_cannot_pass_auto_takes_https() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-hotel", AuthMode::ServerTls);
    let proxy = Proxy::start(platform.mqtt_tls());
    proxy.set(Mode::Down);
    let plan = AgentPlan::new(&device, proxy.port(), &["--mode", "auto", "--interval", "0.05"]);
    let agent = plan.start();
    agent.until("deliveries over HTTPS", |status| status["acknowledged"].as_u64() > Some(20));
    let status = agent.status().expect("an answer");
    assert_eq!(status["endpoint"], json!(format!("localhost:{}", platform.https().port())), "{status}");
    agent.stop();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    received.expect_complete(&platform.operator(), &device);
}

#[test]
fn a_sample_that_the_platform_refuses_takes_no_other_with_it() {
    let platform = TestPlatform::start();
    let device = platform.device("pi-odd", AuthMode::ServerTls);
    let plan = AgentPlan::new(&device, 1, &["--mode", "https", "--interval", "60"]);
    let mut outbox = Outbox::open(&plan.data.join("outbox"), Options::default(), "odd", Instant::now()).expect("one");
    let topic = device.topic("telemetry/room");
    for seq in 1..=20 {
        let payload = match seq {
            7 => r#"{"boot":"odd","seq":7,"data":{"n":"a text that is fine","timestamp":[[[[[[[[[[[1]]]]]]]]]]]}}"#
                .to_owned(),
            _ => json!({"boot": "odd", "seq": seq, "data": {"n": seq}}).to_string(),
        };
        let message = NewMessage { seq, time: Timestamp::now(), topic: &topic, payload: payload.as_bytes() };
        assert!(outbox.append(Instant::now(), &message).expect("a small message"));
    }
    assert!(outbox.close(Instant::now()));
    let agent = plan.start();
    let status = agent.until("an empty outbox", |status| status["waiting"] == 0);
    assert_eq!((&status["refused"], &status["lost"]), (&json!(1), &json!({"refused": 1})), "{status}");
    let refused = |line: &str| line.contains("sample 7: HTTPS refused").then_some(());
    agent.running.stderr.wait_for(1, Duration::from_secs(20), refused).expect("it says which and why");
    agent.running.signal("TERM");
    assert_eq!(agent.running.wait(Duration::from_secs(20)).code, Some(8));
    let stored: Vec<u64> =
        points(&platform.operator(), &device, "n").iter().map(|value| value.as_u64().expect("a number")).collect();
    assert_eq!(stored, (1..=20).filter(|n| *n != 7).collect::<Vec<_>>());
}
