//! Applications: programs that read what they were granted, with a token, and do nothing else.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use crate::support::device::Device;
use crate::support::mosquitto;
use crate::support::platform::TestPlatform;
use crate::support::process::{Outcome, Running, run};
use crate::support::wire::{Connect, VERSIONS, Wire, body, packet, reason};
use crate::support::{PATIENCE, wait_until};

fn tesaiot(platform: &TestPlatform, words: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
    run(command.args(words).arg("--data-dir").arg(platform.data_directory()), PATIENCE)
}

/// A token that may read `topics`.
fn token(platform: &TestPlatform, name: &str, topics: &[&str]) -> String {
    let topics = topics.iter().flat_map(|topic| ["--topic", topic]);
    let words: Vec<&str> = ["token", "add", name].into_iter().chain(topics).collect();
    tesaiot(platform, &words).expect_success().stdout
}

/// `mosquitto_sub` as an application.
fn reader(platform: &TestPlatform, port: u16, token: &str, client_id: &str, flags: &[&str]) -> Command {
    let mut command = mosquitto::client("mosquitto_sub", port, Some(&platform.trust_chain()));
    command.args(["-i", client_id, "-u", token, "-P", token, "-q", "1", "-v"]).args(flags);
    command
}

fn publish(device: &Device, topic: &str, payload: &str) {
    let mut command = device.mosquitto("mosquitto_pub");
    run(command.args(["-q", "1", "-r", "-t", &device.topic(topic), "-m", payload]), PATIENCE).expect_success();
}

/// Waits for a client whose name begins so to be subscribed to something.
fn subscribed(platform: &TestPlatform, name: &str) {
    wait_until("somebody is subscribed", || {
        let clients = platform.operator().get("/broker/clients").expect(200)["clients"].clone();
        let clients = clients.as_array().expect("an array");
        let is_it = |client: &&Value| client["client_id"].as_str().is_some_and(|found| found.starts_with(name));
        clients.iter().find(is_it).filter(|client| client["subscriptions"] == 1).map(drop)
    });
}

/// The answer to CONNECT.
fn answer(platform: &TestPlatform, device: &Device, connect: &Connect<'_>) -> u8 {
    let mut wire = Wire::tls(platform.mqtt_tls(), device.tls(), connect.version).expect("a TLS handshake");
    wire.send(&connect.packet());
    reason(&wire.packet())
}

fn application<'a>(version: Version, client_id: &'a str, token: &'a str) -> Connect<'a> {
    Connect { login: Some((token, token)), ..Connect::new(version, client_id) }
}

#[test]
fn an_application_reads_what_it_was_granted_on_every_port() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let token = token(&platform, "grafana", &["device/+/telemetry/#", "device/pump-7/status"]);
    assert!(token.starts_with("tesa_mqtt_tesaiot_"), "{token}");
    publish(&device, "telemetry/flow", "1.5");
    publish(&device, "status", "on");
    for port in [platform.mqtt().port(), platform.mqtt_tls().port()] {
        for version in ["mqttv311", "mqttv5"] {
            let flags = ["-V", version, "-C", "2", "-t", "device/+/telemetry/#", "-t", "device/pump-7/status"];
            let read = run(&mut reader(&platform, port, &token, "grafana", &flags), PATIENCE).expect_success();
            let mut lines: Vec<_> = read.stdout.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["device/pump-7/status on", "device/pump-7/telemetry/flow 1.5"]);
        }
    }
    // Live, without a name of its own, and shared.
    let flags = ["-V", "mqttv5", "-C", "1", "-R", "-t", "$share/team/device/pump-7/telemetry/+"];
    let mut command = mosquitto::client("mosquitto_sub", platform.mqtt_tls().port(), Some(&platform.trust_chain()));
    let live = Running::start(command.args(["-u", &token, "-P", &token, "-q", "1"]).args(flags));
    subscribed(&platform, "application:1:");
    publish(&device, "telemetry/flow", "2.5");
    let outcome = live.wait(PATIENCE).expect_success();
    assert!(outcome.stdout.lines().any(|line| line == "2.5"), "{outcome:#?}");
}

/// Whatever it calls itself, it is itself: a device of that name does not notice.
#[test]
fn an_application_by_the_name_of_a_device_takes_nothing_over() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let one = token(&platform, "one", &["device/#"]);
    let other = token(&platform, "other", &["device/#"]);
    for version in VERSIONS {
        let mut own = Wire::login(platform.mqtt_tls(), &device, version);
        let mut readers: Vec<_> = [&one, &other]
            .map(|token| Wire::session(platform.mqtt_tls(), &device, &application(version, "pump-7", token)).0)
            .into();
        for reader in &mut readers {
            assert_eq!(reader.subscribed(1, "device/pump-7/telemetry"), 1);
        }
        assert_eq!(own.acknowledged(1, &device.topic("telemetry"), br#"{"n":1}"#), 0, "still connected");
        for reader in &mut readers {
            assert_eq!(reader.packet()[0] & 0xf0, 0x30, "and heard");
        }
        // The same token and name is the same client.
        let (mut again, _) = Wire::session(platform.mqtt_tls(), &device, &application(version, "pump-7", &one));
        readers[0].expect_closed(0x8e);
        assert_eq!(again.subscribed(1, "device/pump-7/telemetry"), 1);
    }
    assert_eq!(platform.operator().get("/devices/pump-7").expect(200)["online"], true);
}

#[test]
fn an_application_may_do_nothing_else() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let secret = token(&platform, "grafana", &["device/+/telemetry/#"]);
    let (mut wire, _) = Wire::session(platform.mqtt_tls(), &device, &application(Version::V5, "app", &secret));
    for filter in ["#", "device/#", "device/pump-7/#", "+/pump-7/telemetry", "device/pump-7/commands", "$SYS/#"] {
        assert_eq!(wire.subscribed(1, filter), 0x87, "{filter}");
        assert_eq!(wire.subscribed(1, &format!("$share/a/{filter}")), 0x87, "{filter}");
    }
    for filter in ["device/+/telemetry", "device/pump-7/telemetry/a/b", "$share/a/device/+/telemetry/#"] {
        assert_eq!(wire.subscribed(1, filter), 1, "{filter}");
    }
    assert_eq!(wire.acknowledged(2, "device/pump-7/telemetry", b"1"), 0x87);
    let with_will = Connect { will: Some(("device/pump-7/status", "x")), ..application(Version::V5, "app", &secret) };
    assert_eq!(answer(&platform, &device, &with_will), 0x87);
    let (mut old, _) = Wire::session(platform.mqtt_tls(), &device, &application(Version::V3, "old", &secret));
    old.publish(1, "device/pump-7/telemetry", b"1");
    old.expect_closed(0);
    assert_eq!(platform.operator().get("/devices/pump-7/telemetry").expect(200)["points"], json!([]));

    // Half of it is nothing, and so is anything else.
    let last = if secret.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &secret[..secret.len() - 1]);
    for (username, password) in [("grafana", &*secret), (&*wrong, &*wrong), ("pump-7", &*secret), (&*secret, "x")] {
        let connect = Connect { login: Some((username, password)), ..Connect::new(Version::V5, "pump-7") };
        assert_eq!(answer(&platform, &device, &connect), 0x86, "{username}");
    }
    let long = "a".repeat(200);
    assert_eq!(answer(&platform, &device, &application(Version::V5, &long, &secret)), 0x85);
    // REST is another door.
    let rest = platform.anonymous().with_header("Authorization", &format!("Bearer {secret}"));
    rest.get("/devices").expect_problem(401, "unauthorized");
}

#[test]
fn a_token_has_as_many_connections_as_it_may() {
    let platform = TestPlatform::start_with(|config| config.max_connections_per_token = 2);
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let one = token(&platform, "one", &["device/#"]);
    let other = token(&platform, "other", &["device/#"]);
    let session = |name, token| Wire::session(platform.mqtt_tls(), &device, &application(Version::V5, name, token)).0;
    let (first, _second) = (session("a", &one), session("b", &one));
    assert_eq!(answer(&platform, &device, &application(Version::V5, "c", &one)), 0x97);
    assert_eq!(answer(&platform, &device, &application(Version::V3, "c", &one)), 3);
    drop(session("a", &other));
    drop(first);
    wait_until("room comes back", || {
        (answer(&platform, &device, &application(Version::V5, "c", &one)) == 0).then_some(())
    });
}

#[test]
fn a_token_that_is_taken_back_closes_its_sessions_at_once() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let made =
        tesaiot(&platform, &["token", "add", "one", "--topic", "device/#", "--organization", "ward-7", "--json"]);
    let made: Value = serde_json::from_str(&made.expect_success().stdout).expect("JSON");
    let secret = made["token"].as_str().expect("a token").to_owned();
    assert!(secret.starts_with("tesa_mqtt_ward-7_"), "{made}");
    let number = made["token_id"].as_str().expect("a number").to_owned();
    let other = token(&platform, "other", &["device/#"]);

    let mut neighbour = Wire::session(platform.mqtt_tls(), &device, &application(Version::V5, "a", &other)).0;
    let lasting = |name| Connect { session_expiry: 600, ..application(Version::V5, name, &secret) };
    let (mut offline, _) = Wire::session(platform.mqtt_tls(), &device, &lasting("offline"));
    assert_eq!(offline.subscribed(1, "device/#"), 1);
    offline.send(&packet(0xe0, &[]));
    let mut open: Vec<_> =
        ["a", "b", "c"].map(|name| Wire::session(platform.mqtt_tls(), &device, &lasting(name)).0).into();
    for wire in &mut open {
        assert_eq!(wire.subscribed(1, "device/#"), 1);
    }
    let program = Running::start(&mut reader(
        &platform,
        platform.mqtt_tls().port(),
        &secret,
        "program",
        &["-V", "mqttv5", "-t", "device/#"],
    ));
    subscribed(&platform, "application:1:program");

    let asked = Instant::now();
    tesaiot(&platform, &["token", "revoke", &number]).expect_success();
    for wire in &mut open {
        let last = wire.rest().pop().expect("a goodbye");
        assert_eq!((last[0], body(&last)[0]), (0xe0, 0x87), "{last:02x?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!program.wait(PATIENCE).timed_out, "a program of others ends too");
    assert_eq!(answer(&platform, &device, &application(Version::V5, "a", &secret)), 0x86);
    assert_eq!(neighbour.subscribed(7, "device/+/status"), 1, "another token is another token");
    wait_until("its sessions are gone, those that wait too", || {
        let sessions = platform.operator().get("/broker/sessions").expect(200)["sessions"].to_string();
        (!sessions.contains("offline") && sessions.contains("application:")).then_some(())
    });

    let listed = tesaiot(&platform, &["token", "list", "--json"]).expect_success().stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let found = listed.iter().find(|token| token["token_id"] == number).expect("it is listed");
    assert_eq!(
        (&found["name"], &found["topics"], &found["organization"]),
        (&json!("one"), &json!(["device/#"]), &json!("ward-7"))
    );
    assert!(found["revoked_at"].is_string() && found["token"].is_null(), "{found}");
    assert!(!listed.iter().any(|token| token.to_string().contains(&secret)));
    assert_eq!(tesaiot(&platform, &["token", "revoke", "m999"]).code, Some(7));
    assert_eq!(tesaiot(&platform, &["token", "revoke", "x"]).code, Some(2));
}

#[test]
fn tokens_of_applications_are_made_by_administrators_and_for_topics_of_devices() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let viewer = tesaiot(&platform, &["token", "add", "viewer"]).expect_success().stdout;
    let viewer = platform.anonymous().with_header("Authorization", &format!("Bearer {viewer}"));
    let body = br#"{"name":"x","topics":["device/#"]}"#;
    for rest in [&viewer, &platform.rest_of(&device)] {
        rest.get("/mqtt-tokens").expect_problem(403, "forbidden");
        rest.post("/mqtt-tokens", body).expect_problem(403, "forbidden");
        rest.delete("/mqtt-tokens/1").expect_problem(403, "forbidden");
    }
    platform.anonymous().get("/mqtt-tokens").expect_problem(401, "unauthorized");
    let admin = platform.operator();
    for bad in [
        r##"{"name":"x","topics":["#"]}"##,
        r#"{"name":"x","topics":["$SYS/#"]}"#,
        r#"{"name":"x","topics":[]}"#,
        r#"{"name":"","topics":["device/#"]}"#,
        r#"{"name":"x","topics":["device/#"],"organization":"a_b"}"#,
    ] {
        admin.post("/mqtt-tokens", bad.as_bytes()).expect_problem(400, "invalid_request");
    }
    assert_eq!(admin.get("/mqtt-tokens").expect(200)["tokens"], json!([]));
}

/// Reads until a message says this.
#[track_caller]
fn hears(wire: &mut Wire, text: &str) {
    while !wire.packet().windows(text.len()).any(|window| window == text.as_bytes()) {}
}

#[test]
fn who_reads_commands_does_not_take_them_from_the_device() {
    let platform = TestPlatform::start();
    let (device, other) =
        (platform.device("pump-7", AuthMode::ServerTls), platform.device("pump-8", AuthMode::ServerTls));
    let token = token(&platform, "auditor", &["device/pump-7/commands/#"]);
    let mut application = reader(&platform, platform.mqtt_tls().port(), &token, "auditor", &[]);
    let _application = Running::start(application.args(["-t", "device/pump-7/commands/#"]));
    subscribed(&platform, "application:1:auditor");
    let order = |id: &str, name: &str| {
        let body = json!({"command": name}).to_string();
        platform.operator().post(&format!("/devices/{id}/commands"), body.as_bytes()).expect(202)
    };
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    let mut witness = Wire::login(platform.mqtt_tls(), &other, Version::V5);
    assert_eq!(witness.subscribed(1, "device/pump-8/commands/#"), 1);
    // Connected and without a subscription: it is not sent, whoever else listens.
    let early = order("pump-7", "early");
    for name in ["one", "two"] {
        // When the second one came, the first device has had its turn.
        order("pump-8", name);
        hears(&mut witness, &format!("commands/{name}"));
    }
    let path = format!("/devices/pump-7/commands/{}", early["command_id"].as_str().expect("an id"));
    assert_eq!(platform.operator().get(&path).expect(200)["sent_at"], Value::Null);
    // By the other name of its topics: what the application subscribed is not what the device did.
    assert_eq!(wire.subscribed(1, "devices/pump-7/commands/#"), 1);
    hears(&mut wire, "devices/pump-7/commands/early");
    order("pump-7", "late");
    hears(&mut wire, "devices/pump-7/commands/late");
}
