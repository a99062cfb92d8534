//! What an operator sees of a platform at work: metrics, clients, sessions.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::Registry;
use tesaiot_store::registry::{AuthMode, Role};

use crate::support::PATIENCE;
use crate::support::mosquitto;
use crate::support::paho::environment;
use crate::support::platform::TestPlatform;
use crate::support::process::run;
use crate::support::rest::Rest;
use crate::support::wait_until;
use crate::support::wire::{Connect, Wire, body, reason};

/// REST outside `/api/v1`.
fn metrics(rest: &Rest) -> String {
    let page = rest.get("/../../metrics");
    assert_eq!((page.status, page.content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    page.text
}

/// What Prometheus's own parser reads, by family.
#[track_caller]
fn families(text: &str) -> Value {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), format!("{text}\n")).expect("the page on disk");
    let mut command = Command::new(environment("TESAIOT_TEST_READERS_PYTHON", "readers"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/operations/metrics.py")).arg(file.path());
    let outcome = run(&mut command, PATIENCE).expect_success();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:#?}"))
}

/// The value of one sample.
#[track_caller]
fn value(families: &Value, family: &str, sample: &str, labels: &Value) -> f64 {
    let samples = families[family]["samples"].as_array().unwrap_or_else(|| panic!("no family {family}"));
    let found = samples.iter().find(|found| found[0] == sample && found[1] == *labels);
    found.and_then(|found| found[2].as_f64()).unwrap_or_else(|| panic!("no {sample} {labels} in {samples:?}"))
}

#[test]
fn what_happens_is_told_in_numbers_that_prometheus_reads() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let mut wire = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    let topic = device.topic("telemetry");
    for id in 1..=5 {
        assert_eq!(wire.acknowledged(id, &topic, br#"{"t":1,"u":2}"#), 0);
    }
    assert_eq!(wire.acknowledged(6, &topic, b"not json"), 0x99);
    platform.anonymous().with_header("X-API-KEY", "tesa_ak_wrong").get("/devices").expect(401);

    let found = families(&metrics(&platform.operator()));
    let of = |family: &str, sample: &str| value(&found, family, sample, &json!({}));
    assert_eq!(of("tesaiot_mqtt_connections", "tesaiot_mqtt_connections"), 1.0);
    assert_eq!(of("tesaiot_mqtt_messages_received", "tesaiot_mqtt_messages_received_total"), 6.0);
    assert_eq!(of("tesaiot_mqtt_messages_acknowledged", "tesaiot_mqtt_messages_acknowledged_total"), 5.0);
    let bytes = 6 * topic.len() + 5 * br#"{"t":1,"u":2}"#.len() + b"not json".len();
    assert_eq!(of("tesaiot_mqtt_bytes_received", "tesaiot_mqtt_bytes_received_total"), bytes as f64);
    assert_eq!(of("tesaiot_ingest_values", "tesaiot_ingest_values_total"), 10.0);
    assert_eq!(of("tesaiot_ingest_dead_letters", "tesaiot_ingest_dead_letters_total"), 1.0);
    assert_eq!(of("tesaiot_store_dead_letters", "tesaiot_store_dead_letters"), 1.0);
    assert_eq!(of("tesaiot_acknowledgements_pending", "tesaiot_acknowledgements_pending"), 0.0);
    assert_eq!(of("tesaiot_storing", "tesaiot_storing"), 1.0);
    assert_eq!(value(&found, "tesaiot_refusals", "tesaiot_refusals_total", &json!({"kind": "request"})), 1.0);
    assert!(value(&found, "tesaiot_file_bytes", "tesaiot_file_bytes", &json!({"file": "telemetry"})) >= 4096.0);
    assert!(of("process_resident_memory_bytes", "process_resident_memory_bytes") > 1e6);

    // The histogram: each bucket holds those before it, and the last one all.
    let commits = &found["tesaiot_ingest_commit_seconds"];
    assert_eq!(commits["type"], "histogram");
    let samples = commits["samples"].as_array().expect("samples");
    let buckets: Vec<f64> = samples
        .iter()
        .filter(|sample| sample[0] == "tesaiot_ingest_commit_seconds_bucket")
        .filter_map(|sample| sample[2].as_f64())
        .collect();
    assert!(buckets.len() == 15 && buckets.is_sorted(), "{buckets:?}");
    let count = of("tesaiot_ingest_commit_seconds", "tesaiot_ingest_commit_seconds_count");
    assert_eq!((buckets[14], count), (6.0, of("tesaiot_ingest_commits", "tesaiot_ingest_commits_total")));
    assert!(of("tesaiot_ingest_commit_seconds", "tesaiot_ingest_commit_seconds_sum") > 0.0);
    // Every family says what it is.
    for (name, family) in found.as_object().expect("families") {
        assert!(["counter", "gauge", "histogram"].contains(&family["type"].as_str().unwrap_or_default()), "{name}");
        assert!(family["help"].as_str().is_some_and(|help| !help.is_empty()), "{name}");
    }

    // What waits for a subscriber that is gone is dropped for a cause.
    let causes = found["tesaiot_mqtt_messages_dropped"]["samples"].as_array().expect("causes");
    let causes: Vec<&Value> = causes.iter().map(|sample| &sample[1]["cause"]).collect();
    for cause in ["queue_full", "offline", "too_large", "expired"] {
        assert!(causes.contains(&&json!(cause)), "{cause}: {causes:?}");
    }
}

#[test]
fn metrics_are_for_those_who_may_look() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    platform.anonymous().get("/../../metrics").expect_problem(401, "unauthorized");
    platform.rest_of(&device).get("/../../metrics").expect_problem(403, "forbidden");
    let registry = Registry::open(&platform.data_directory().join("registry.db")).expect("the registry");
    let token = registry.create_token("prometheus", Role::Viewer, jiff::Timestamp::now()).expect("a token").1;
    metrics(&platform.anonymous().with_header("Authorization", &format!("Bearer {}", token.expose())));
    for path in ["/broker/clients", "/broker/sessions"] {
        platform.rest_of(&device).get(path).expect_problem(403, "forbidden");
        platform.anonymous().get(path).expect_problem(401, "unauthorized");
        platform.anonymous().with_header("X-API-KEY", token.expose()).get(path).expect(200);
    }
}

#[test]
fn clients_and_sessions_are_listed() {
    let platform = TestPlatform::start();
    let operator = platform.operator();
    let devices: Vec<_> = (1..=3).map(|n| platform.device(&format!("pump-{n}"), AuthMode::ServerTls)).collect();
    let mut first = Wire::login(platform.mqtt_tls(), &devices[0], Version::V5);
    assert_eq!(first.subscribed(1, "device/pump-1/commands/#"), 1);
    // The second one leaves a session behind, and the third one does not.
    let persistent = Connect { session_expiry: 600, ..Connect::of(Version::V5, &devices[1]) };
    let (mut second, _) = Wire::session(platform.mqtt_tls(), &devices[1], &persistent);
    assert_eq!(second.subscribed(1, "device/pump-2/commands/#"), 1);
    drop(second);
    let third = Wire::login(platform.mqtt_tls(), &devices[2], Version::V3);

    let offline = |sessions: &Value| sessions[1]["connected"] == false;
    let sessions = wait_until("the second one is offline", || {
        let sessions = operator.get("/broker/sessions").expect(200)["sessions"].clone();
        offline(&sessions).then_some(sessions)
    });
    assert_eq!(sessions.as_array().map(Vec::len), Some(3));
    let waiting = &sessions[1];
    assert_eq!((&waiting["client_id"], &waiting["subscriptions"]), (&json!("pump-2"), &json!(1)));
    assert_eq!((&waiting["queued"], &waiting["address"]), (&json!(0), &Value::Null));
    let ends: jiff::Timestamp = waiting["expires_at"].as_str().expect("a time").parse().expect("RFC 3339");
    let left = ends.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((500..=600).contains(&left), "{waiting}");

    let page = operator.get("/broker/clients?limit=1").expect(200);
    let client = &page["clients"][0];
    assert_eq!((&client["client_id"], &client["protocol"]), (&json!("pump-1"), &json!("MQTT 5")));
    assert_eq!((&client["listener"], &client["subscriptions"]), (&json!("mqtt-tls"), &json!(1)));
    assert!(client["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{client}");
    assert!(client["connected_at"].is_string() && client["expires_at"].is_null(), "{client}");
    assert_eq!(page["next"], "pump-1");
    let page = operator.get("/broker/clients?limit=1&after=pump-1").expect(200);
    assert_eq!((&page["clients"][0]["client_id"], &page["next"]), (&json!("pump-3"), &Value::Null));

    let listed = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
        command.args(["broker", verb, "--json", "--data-dir"]).arg(platform.data_directory());
        let outcome = run(&mut command, PATIENCE).expect_success();
        let found: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {outcome:#?}"));
        found.into_iter().map(|found| found["client_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("clients"), ["pump-1", "pump-3"]);
    assert_eq!(listed("sessions"), ["pump-1", "pump-2", "pump-3"]);
    drop((first, third));
    wait_until("all are gone but the one that is to last", || (listed("sessions") == ["pump-2"]).then_some(()));
    assert_eq!(listed("clients"), [Value::Null; 0]);
}

#[test]
fn system_topics_are_for_administrators_alone() {
    let platform = TestPlatform::start_with(|config| config.system_topics_period = Duration::from_millis(50));
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let registry = Registry::open(&platform.data_directory().join("registry.db")).expect("the registry");
    let token = |role| registry.create_token("for a test", role, jiff::Timestamp::now()).expect("a token");
    let (id, admin) = token(Role::Admin);

    // A client from the shelf, by a name of its own and by one that it is given.
    for name in [&["-i", "operator:me"][..], &["-V", "mqttv5"]] {
        let mut command = mosquitto::client("mosquitto_sub", platform.mqtt_tls().port(), Some(&platform.trust_chain()));
        command.args(name).args(["-u", "operator", "-P", admin.expose(), "-v", "-C", "13", "-t", "$SYS/broker/#"]);
        let told = run(&mut command, PATIENCE).expect_success().stdout;
        let value = |topic: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(&format!("$SYS/broker/{topic} ")));
            line.unwrap_or_else(|| panic!("no {topic} in {told}")).to_owned()
        };
        assert_eq!((value("clients/connected").as_str(), value("store/values").as_str()), ("1", "0"));
        assert!(value("uptime").ends_with(" seconds") && value("version").starts_with("tesaiot "), "{told}");
    }

    // What it may not: publish, read devices, be a device.
    let login = Some(("operator", admin.expose()));
    let connect = Connect { login, ..Connect::new(Version::V5, "operator:me") };
    let (mut wire, _) = Wire::session(platform.mqtt_tls(), &device, &connect);
    for filter in ["device/pump-7/telemetry", "#", "$SYS", "+/broker/uptime", "$share/a/device/#"] {
        assert_eq!(wire.subscribed(1, filter), 0x87, "{filter}");
    }
    assert_eq!(wire.subscribed(2, "$SYS/#"), 1);
    assert_eq!(acknowledgement_of(&mut wire, "device/pump-7/telemetry"), 0x87);
    // The token is taken back: its connection ends, and there is no other.
    registry.revoke_token(id.id, jiff::Timestamp::now()).expect("the token is revoked");
    let last = wire.rest().pop().expect("a goodbye");
    assert_eq!((last[0], body(&last)[0]), (0xe0, 0x87), "{last:02x?}");

    let (viewer, other) = (token(Role::Viewer).1, token(Role::Admin).1);
    let refused = |client_id: &str, secret: &str| {
        let connect = Connect { login: Some(("operator", secret)), ..Connect::new(Version::V5, client_id) };
        let mut wire = Wire::tls(platform.mqtt_tls(), device.tls(), Version::V5).expect("a TLS handshake");
        wire.send(&connect.packet());
        reason(&wire.packet())
    };
    assert_eq!(refused("operator:me", admin.expose()), 0x86, "revoked");
    assert_eq!(refused("operator:me", viewer.expose()), 0x86, "not an administrator");
    assert_eq!(refused("pump-7", other.expose()), 0x85, "not under the name of a device");
    let mut own = Wire::login(platform.mqtt_tls(), &device, Version::V5);
    for filter in ["$SYS/#", "$SYS/broker/uptime"] {
        assert_eq!(own.subscribed(1, filter), 0x87, "{filter}");
    }
}

/// The reason of the PUBACK of a message, whatever comes before it.
fn acknowledgement_of(wire: &mut Wire, topic: &str) -> u8 {
    wire.publish(9, topic, b"1");
    loop {
        let packet = wire.packet();
        if packet[0] == 0x40 {
            return body(&packet).get(2).copied().unwrap_or(0);
        }
    }
}

#[test]
fn a_token_from_its_making_to_its_end() {
    let platform = TestPlatform::start();
    let token = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tesaiot"));
        command.arg("token").args(words).arg("--data-dir").arg(platform.data_directory());
        run(&mut command, PATIENCE)
    };
    let scraper = token(&["add", "prometheus"]).expect_success().stdout;
    assert!(scraper.starts_with("tesa_ak_"), "the token alone, for a file");
    let made = token(&["add", "provisioning", "--role", "operator", "--json"]).expect_success().stdout;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let holder = |secret: &str| platform.anonymous().with_header("Authorization", &format!("Bearer {secret}"));
    let (viewer, operator) = (holder(&scraper), holder(made["token"].as_str().expect("a token")));
    metrics(&viewer);
    viewer.post("/devices", br#"{"device_id":"pump-7"}"#).expect_problem(403, "forbidden");
    operator.post("/devices", br#"{"device_id":"pump-7"}"#).expect(201);
    // Who may do what is for administrators: a token makes no other.
    for rest in [&viewer, &operator] {
        rest.get("/tokens").expect_problem(403, "forbidden");
        rest.post("/tokens", br#"{"name":"more","role":"admin"}"#).expect_problem(403, "forbidden");
        rest.delete("/tokens/1").expect_problem(403, "forbidden");
    }
    platform.anonymous().get("/tokens").expect_problem(401, "unauthorized");
    let bad = platform.operator();
    bad.post("/tokens", br#"{"name":"x","role":"root"}"#).expect_problem(400, "invalid_request");
    bad.post("/tokens", br#"{"name":"","role":"viewer"}"#).expect_problem(400, "invalid_request");

    let number = made["token_id"].to_string();
    token(&["revoke", &number]).expect_success();
    operator.get("/devices").expect_problem(401, "unauthorized");
    metrics(&viewer);
    let listed = token(&["list", "--json"]).expect_success().stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    assert!(listed.iter().all(|token| token["token"].is_null() && token["role"].is_string()), "{listed:?}");
    let revoked: Vec<&Value> = listed.iter().filter(|token| !token["revoked_at"].is_null()).collect();
    assert!(revoked.len() == 1 && revoked[0]["name"] == "provisioning", "{listed:?}");
    assert_eq!(token(&["revoke", "999"]).code, Some(7));
}
