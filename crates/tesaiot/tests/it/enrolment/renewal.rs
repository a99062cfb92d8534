//! Renewal on the device: while the agent works, by command, after the end, and under kill -9.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tesaiot_store::registry::AuthMode;
use tesaiot_tls::CertificateSummary;

use crate::support::agent::{AgentPlan, Received};
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::platform_process::tesaiot;
use crate::support::process::{Outcome, run};
use crate::support::{PATIENCE, wait_until};

/// A certificate of so many seconds is due at once: it begins five minutes before it is issued.
const DUE_AT_ONCE: u64 = 100;
const YEAR: u64 = 365 * 86_400;

/// A platform whose certificates last as long as the test says.
struct Scene {
    platform: TestPlatform,
    seconds: Arc<AtomicU64>,
}

impl Scene {
    fn new(seconds: u64) -> Self {
        Self::with_grace(seconds, 30 * 86_400)
    }

    fn with_grace(seconds: u64, grace: u64) -> Self {
        let seconds = Arc::new(AtomicU64::new(seconds));
        let lifetime = Arc::clone(&seconds);
        let platform = TestPlatform::start_with(move |config| {
            config.device_certificate_lifetime = Duration::from_secs(lifetime.load(Ordering::Relaxed));
            config.renewal_grace = Duration::from_secs(grace);
        });
        Self { platform, seconds }
    }

    /// From here on certificates last a year.
    fn for_a_year(&mut self) {
        self.seconds.store(YEAR, Ordering::Relaxed);
        self.platform.restart();
    }
}

fn directory(device: &Device) -> PathBuf {
    device.file("").components().as_path().to_owned()
}

fn text(device: &Device, name: &str) -> String {
    fs::read_to_string(device.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn leaf(device: &Device) -> CertificateSummary {
    CertificateSummary::all_from_pem(&text(device, "client_cert.pem")).expect("a chain").remove(0)
}

fn with_bundle(device: &Device, words: &[&str]) -> Outcome {
    run(Command::new(tesaiot()).env_clear().args(words).arg("--certs-dir").arg(directory(device)), PATIENCE)
}

/// Whether a client that knows nothing of renewals can use the bundle.
fn mosquitto_publishes(device: &Device) -> bool {
    let mut command = device.mosquitto("mosquitto_pub");
    command.args(["-q", "1", "-t", &device.topic("events"), "-m", "{}"]);
    run(&mut command, PATIENCE).code == Some(0)
}

fn renews_while_it_works(more: &[&'static str]) {
    let mut scene = Scene::new(DUE_AT_ONCE);
    let device = scene.platform.device("pi-1", AuthMode::Mtls);
    let (before, key) = (text(&device, "client_cert.pem"), text(&device, "client_key.pem"));
    scene.for_a_year();
    let plan = AgentPlan::new(&device, scene.platform.mqtt().port(), more);
    let agent = plan.start();
    let status = agent.until("a year", |status| status["certificate_days"].as_i64() > Some(300));
    assert!(status["renewal"]["due_at"].is_string() && status["renewal"]["trouble"].is_null(), "{status}");
    agent.deliver(20);
    let said = |line: &str| line.contains("the certificate was renewed").then_some(());
    agent.running.stderr.wait_for(1, PATIENCE, said).expect("it says so");
    agent.stop();
    // On disk: the new pair in use, the old one beside it, nothing half done.
    assert!(leaf(&device).not_after.as_second() > jiff::Timestamp::now().as_second() + 300 * 86_400);
    assert_ne!(text(&device, "client_key.pem"), key, "a new key");
    assert_eq!(text(&device, "identity/previous/client_cert.pem"), before);
    assert!(!device.file("identity/pending").exists());
    assert!(mosquitto_publishes(&device));
    with_bundle(&device, &["publish"]).expect_success();
    plan.drain();
    let mut received = Received::default();
    received.ask(&scene.platform.operator(), &device);
    for (run, (_, missing)) in &received.runs {
        assert!(missing.is_empty(), "{run}: {missing:?}");
    }
    // Over MQTT the request is a message of the device, and stored as such.
    let by_message = scene.platform.messages(&device).iter().any(|message| message.topic.ends_with("commands/csr"));
    assert_eq!(by_message, more.is_empty());
    scene.platform.stop();
    let log = scene.platform.audit_log();
    let signed = log.iter().filter(|record| record.event.action == "certificate.sign");
    assert_eq!(signed.filter(|record| record.event.actor == "device:pi-1").count(), 1);
}

#[test]
fn an_agent_renews_its_certificate_over_mqtt() {
    renews_while_it_works(&[]);
}

#[test]
fn an_agent_renews_its_certificate_over_https() {
    renews_while_it_works(&["--mode", "https"]);
}

#[test]
fn a_renewal_that_is_killed_leaves_a_bundle_that_works() {
    // Every certificate is due at once: an agent renews from its first moment on.
    let scene = Scene::new(DUE_AT_ONCE);
    let rounds: u64 = std::env::var("TESAIOT_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut renewed = 0;
    for round in 0..rounds {
        let more: &[&str] = if round % 2 == 0 { &[] } else { &["--mode", "https"] };
        let device = scene.platform.device(&format!("pi-{round}"), AuthMode::Mtls);
        let plan = AgentPlan::new(&device, scene.platform.mqtt().port(), more);
        let before = leaf(&device).serial;
        for part in 0..3 {
            let agent = plan.start();
            std::thread::sleep(Duration::from_millis(20 + (round * 37 + part * 101) % 250));
            agent.kill();
            assert!(mosquitto_publishes(&device), "round {round}, part {part}");
        }
        renewed += u64::from(leaf(&device).serial != before);
    }
    assert!(renewed > 0, "no round came as far as a renewal");
}

#[test]
fn the_command_renews_and_what_is_taken_back_is_not_renewed() {
    let scene = Scene::new(YEAR);
    let device = scene.platform.device("pi-1", AuthMode::Mtls);
    let before = text(&device, "client_key.pem");
    with_bundle(&device, &["agent", "renew"]).expect_success();
    assert_ne!(text(&device, "client_key.pem"), before);
    assert!(mosquitto_publishes(&device));
    with_bundle(&device, &["doctor"]).expect_success();
    // By its key, a device that has no certificate yet.
    let keyed = scene.platform.device("pi-2", AuthMode::ServerTls);
    let operator = scene.platform.operator();
    operator.post("/devices/pi-1/certificate/revoke", b"").expect(200);
    let (certificate, key) = (text(&device, "client_cert.pem"), text(&device, "client_key.pem"));
    let refused = with_bundle(&device, &["agent", "renew"]);
    assert_eq!(refused.code, Some(6), "{refused:#?}");
    assert_eq!((text(&device, "client_cert.pem"), text(&device, "client_key.pem")), (certificate, key));
    operator.post("/devices/pi-2/disable", b"").expect(200);
    assert_eq!(with_bundle(&keyed, &["agent", "renew"]).code, Some(6));
}

/// Waits for the end of a device's certificate, which is a second away.
fn expire(device: &Device) {
    let end = leaf(device).not_after;
    wait_until("the end of the certificate", || (jiff::Timestamp::now() > end + Duration::from_secs(1)).then_some(()));
}

#[test]
fn after_its_end_a_certificate_is_renewed_for_its_own_key() {
    let mut scene = Scene::new(1);
    let devices = ["pi-1", "pi-2", "pi-3", "pi-4"].map(|id| scene.platform.device(id, AuthMode::Mtls));
    devices.iter().for_each(expire);
    scene.for_a_year();
    let operator = scene.platform.operator();
    let [device, started, revoked, disabled] = &devices;
    let key = text(device, "client_key.pem");
    assert!(!mosquitto_publishes(device));
    with_bundle(device, &["agent", "renew"]).expect_success();
    assert_eq!(text(device, "client_key.pem"), key, "by this key and no other");
    assert!(mosquitto_publishes(device));
    // An agent that starts with it does so by itself.
    let plan = AgentPlan::new(started, scene.platform.mqtt().port(), &[]);
    let agent = plan.start();
    agent.deliver(3);
    agent.stop();
    operator.post("/devices/pi-3/certificate/revoke", b"").expect(200);
    assert_eq!(with_bundle(revoked, &["agent", "renew"]).code, Some(6));
    operator.post("/devices/pi-4/disable", b"").expect(200);
    assert_eq!(with_bundle(disabled, &["agent", "renew"]).code, Some(6));
    // An agent goes on sampling without it, and says what is wrong.
    let agent = AgentPlan::new(revoked, scene.platform.mqtt().port(), &[]).start();
    let status = agent.until("a refusal", |status| status["renewal"]["failures"].as_u64() > Some(0));
    assert!(status["renewal"]["trouble"].as_str().is_some_and(|text| text.contains("revoked")), "{status}");
    assert_eq!(status["connected"], false);
}

#[test]
fn grace_ends() {
    let scene = Scene::with_grace(1, 1);
    let device = scene.platform.device("pi-1", AuthMode::Mtls);
    expire(&device);
    std::thread::sleep(Duration::from_secs(1));
    let refused = with_bundle(&device, &["agent", "renew"]);
    assert!(refused.code == Some(6) && refused.stderr.contains("expired too long ago"), "{refused:#?}");
}
