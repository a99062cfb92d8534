//! Receipts: what the platform says it has stored, and what an agent makes of it, with and without a broker in between.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tesaiot_contract::Receipt;
use tesaiot_store::registry::AuthMode;

use crate::publish::place::{DEVICE, Place};
use crate::support::PATIENCE;
use crate::support::agent::{AgentPlan, Received};
use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::platform::TestPlatform;
use crate::support::process::Running;
use crate::support::proxy::Proxy;

fn quick() -> TestPlatform {
    TestPlatform::start_with(|config| config.receipts_period = Duration::from_millis(50))
}

/// A mosquitto beside the device, which is the device to the platform and passes its messages on.
fn gateway(place: &Place, platform: &TestPlatform, device: &Device) -> Mosquitto {
    let id = device.id();
    let mut bridge = String::new();
    write!(
        bridge,
        "connection platform\naddress 127.0.0.1:{}\nbridge_cafile {}\nbridge_protocol_version mqttv311\n\
         remote_clientid {id}\nremote_username {id}\nremote_password {}\nlocal_clientid gateway\n\
         cleansession false\nnotifications false\ntry_private false\nrestart_timeout 1\n\
         topic device/{id}/telemetry/# out 1\ntopic device/{id}/status out 1\ntopic device/{id}/receipts in 1\n",
        platform.mqtt_tls().port(),
        device.file("ca-chain.pem").display(),
        device.api_key(),
    )
    .expect("a String takes what is written");
    place.broker_and(&bridge)
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn number(status: &Value, name: &str) -> u64 {
    status[name].as_u64().expect("a number")
}

#[test]
fn a_device_that_asks_hears_what_is_stored_and_what_is_missing() {
    let platform = quick();
    let device = platform.device("counter-1", AuthMode::ServerTls);
    let mut listen = device.mosquitto("mosquitto_sub");
    let listener = Running::start(listen.args(["-q", "1", "-t", &device.topic("receipts")]));
    let rest = platform.rest_of(&device);
    let send = |seq: u64| {
        let body = json!({"boot": "run-1", "seq": seq, "data": {"x": seq}}).to_string();
        rest.post("/telemetry", body.as_bytes()).expect(201);
    };
    let hear = |wanted: &Receipt| {
        let found = listener.stdout.wait_for(1, PATIENCE, |line| {
            let heard = Receipt::parse(line.as_bytes()).ok()?;
            assert!(heard.timestamp.is_some());
            (Receipt { timestamp: None, ..heard } == *wanted).then_some(())
        });
        found.unwrap_or_else(|| panic!("never {wanted:?}: {}", listener.stdout.text()));
    };
    let receipt = |stored, gaps: &[(u64, u64)]| Receipt {
        boot: "run-1".into(),
        first: 3,
        stored,
        gaps: gaps.to_vec(),
        timestamp: None,
    };
    send(3);
    hear(&receipt(3, &[]));
    send(7);
    hear(&receipt(7, &[(4, 6)]));
    send(5);
    hear(&receipt(7, &[(4, 4), (6, 6)]));
    // A hundred more are told in few words: the last one counts.
    let before = listener.stdout.text().matches("run-1").count();
    (8..108).for_each(send);
    hear(&receipt(107, &[(4, 4), (6, 6)]));
    let told = listener.stdout.text().matches("run-1").count() - before;
    assert!(told < 100, "{told} receipts for 100 messages");
}

#[test]
fn through_a_broker_that_stores_nothing_a_sample_stays_until_its_receipt() {
    let mut platform = quick();
    let device = platform.device(DEVICE, AuthMode::ServerTls);
    let place = Place::new();
    let broker = gateway(&place, &platform, &device);
    let network = Proxy::start(local(broker.port()));
    let mut plan = AgentPlan::new(&device, network.port(), &["--confirm", "receipts"]);
    plan.bundle = place.key_bundle(network.port());
    let agent = plan.start();
    agent.until("receipts", |status| number(status, "stored") > 30 && number(status, "delivered_in_all") > 30);

    // The platform goes; the broker takes samples all the same, and none of them leaves the disk.
    platform.stop();
    let before = agent.status().expect("it answers");
    let taken = |status: &Value| number(status, "acknowledged") > number(&before, "acknowledged") + 200;
    let status = agent.until("samples that the broker took", taken);
    assert!(number(&status, "awaiting_receipt") > 150, "{status}");
    assert!(number(&status, "waiting") >= number(&status, "awaiting_receipt"), "{status}");

    // The broker is lost with all it had taken, and the agent with all it knew of that.
    drop(broker);
    agent.kill();
    platform.start_again();
    let broker = gateway(&place, &platform, &device);
    network.aim(local(broker.port()));
    let agent = plan.start();
    let all = |status: &Value| number(status, "delivered_in_all") > number(&before, "delivered_in_all") + 250;
    agent.until("receipts for all", |status| all(status) && number(status, "waiting") < 60);
    agent.stop();
    plan.drain();
    let mut received = Received::default();
    received.ask(&platform.operator(), &device);
    assert_eq!(received.runs.len(), 3, "{received:?}");
    received.expect_complete(&platform.operator(), &device);
}
