//! One-time tokens: good for one certificate of one device, and for nothing else.

use serde_json::{Value, json};
use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::{OwnKey, chain, path, publishes};
use crate::support::platform::TestPlatform;
use crate::support::rest::Rest;
use crate::support::wait_until;
use crate::support::wire::{Connect, Wire};

/// A new token, whole.
#[track_caller]
fn token(platform: &TestPlatform, device: &str, seconds: u64) -> String {
    let asked = json!({"lifetime_seconds": seconds}).to_string();
    let made = platform.operator().post(&format!("/devices/{device}/enrolment-tokens"), asked.as_bytes()).expect(201);
    made["token"].as_str().expect("a token").to_owned()
}

fn with(platform: &TestPlatform, token: &str) -> Rest {
    platform.anonymous().with_header("Authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_is_worth_one_certificate() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let text = token(&platform, "pump-7", 600);
    let (rest, own) = (with(&platform, &text), OwnKey::new());
    let answer = rest.post(&path("pump-7"), &own.body("pump-7")).expect(201);
    assert!(publishes(&platform, &device, &own.files(&platform.scratch("own"), chain(&answer))));
    // Asked again by the same key: the same. By another: nothing.
    let again = rest.post(&path("pump-7"), &own.body("pump-7")).expect(200);
    assert_eq!((chain(&again), &again["again"]), (chain(&answer), &json!(true)));
    rest.post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect_problem(403, "token_used");
    // What was written down of it is not the token.
    let list = platform.operator().get("/devices/pump-7/enrolment-tokens").expect(200);
    assert!(list["tokens"][0]["used_at"].is_string() && !list.to_string().contains("tesa_enr_"), "{list}");
    platform.stop();
    let secret = text.split('.').nth(1).expect("its middle");
    let mut files = vec![platform.data_directory().join("registry.db")];
    files.extend(Some(platform.data_directory().join("registry.db-wal")).filter(|path| path.exists()));
    for file in files {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
    }
    let log = platform.audit_log();
    let of = |action: &str| log.iter().filter(|record| record.event.action == action).count();
    assert_eq!((of("enrolment-token.create"), of("certificate.sign")), (1, 3));
    assert!(!format!("{log:?}").contains(secret));
}

#[test]
fn a_token_ends_is_taken_back_and_is_of_one_device() {
    let platform = TestPlatform::start();
    platform.device("pump-7", AuthMode::Mtls);
    platform.device("pump-77", AuthMode::Mtls);
    let own = OwnKey::new();
    let other = with(&platform, &token(&platform, "pump-77", 600));
    other.post(&path("pump-7"), &own.body("pump-7")).expect_problem(401, "unauthorized");
    let text = token(&platform, "pump-7", 600);
    with(&platform, &text.replace("pump-7.", "pump-77.")).post(&path("pump-77"), &own.body("pump-77")).expect(401);
    with(&platform, &text[..text.len() - 3]).post(&path("pump-7"), &own.body("pump-7")).expect(401);
    let other_name = own.request("pump-77").into_bytes();
    with(&platform, &text).post(&path("pump-7"), &other_name).expect_problem(400, "csr_wrong_name");
    let revoked = platform.operator().delete("/devices/pump-7/enrolment-tokens").expect(200);
    assert_eq!(revoked["revoked"], 1);
    with(&platform, &text).post(&path("pump-7"), &own.body("pump-7")).expect_problem(403, "token_revoked");
    let short = with(&platform, &token(&platform, "pump-7", 1));
    let is_over = || {
        let answer = short.post(&path("pump-7"), &OwnKey::new().body("pump-7"));
        (answer.json["error"]["code"] == "token_expired").then_some(answer)
    };
    // Until then it is good once, and used after that: it may not be seen to expire.
    let used = short.post(&path("pump-7"), &own.body("pump-7")).status == 201;
    if !used {
        wait_until("the end of a token", is_over).expect_problem(403, "token_expired");
    }
    // Revoking the device's certificates takes its unused tokens too.
    let text = token(&platform, "pump-7", 600);
    platform.operator().post("/devices/pump-7/certificate/revoke", b"").expect(200);
    with(&platform, &text).post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect_problem(403, "token_revoked");
    let text = token(&platform, "pump-7", 600);
    platform.operator().post("/devices/pump-7/disable", b"").expect(200);
    with(&platform, &text).post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect_problem(403, "device_disabled");
}

#[test]
fn a_token_opens_no_other_door() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let text = token(&platform, "pump-7", 600);
    let rest = with(&platform, &text);
    for answer in [
        rest.get("/devices/pump-7"),
        rest.get("/devices"),
        rest.post("/telemetry", b"{\"n\":1}"),
        rest.post("/devices/pump-7/enrolment-tokens", b"{}"),
        rest.post("/devices/pump-7/certificate/sign-csr", &OwnKey::new().body("pump-7")),
        platform.anonymous().with_header("X-API-KEY", &text).get("/devices/pump-7"),
        platform.rest_of(&device).post("/devices/pump-7/enrolment-tokens", b"{}"),
    ] {
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    }
    for version in [Version::V3, Version::V5] {
        let mut wire = Wire::tls(platform.mqtt_tls(), device.tls(), version).expect("a handshake");
        let login = Some(("pump-7", text.as_str()));
        wire.send(&Connect { login, ..Connect::new(version, "pump-7") }.packet());
        let answer = wire.packet();
        assert_eq!(answer[0], 0x20);
        assert_ne!(answer[3], 0, "{answer:02x?}");
    }
    let viewer: Value = platform.operator().post("/tokens", b"{\"name\":\"v\",\"role\":\"viewer\"}").expect(201);
    let viewer = with(&platform, viewer["token"].as_str().expect("a token"));
    viewer.post("/devices/pump-7/enrolment-tokens", b"{}").expect_problem(403, "forbidden");
    viewer.get("/devices/pump-7/enrolment-tokens").expect(200);
    platform.operator().post("/devices/pump-7/enrolment-tokens", b"{\"lifetime_seconds\":0}").expect(400);
    platform.operator().post("/devices/nobody/enrolment-tokens", b"{}").expect(404);
}

#[test]
fn tokens_that_are_taken_back_alone_are_in_the_audit_log_too() {
    let mut platform = TestPlatform::start();
    platform.device("pump-8", AuthMode::ServerTls);
    platform.operator().post("/devices/pump-8/certificate/revoke", b"").expect_problem(409, "wrong_login_method");
    let text = token(&platform, "pump-8", 600);
    platform.operator().post("/devices/pump-8/certificate/revoke", b"").expect_problem(409, "wrong_login_method");
    with(&platform, &text).post(&path("pump-8"), &OwnKey::new().body("pump-8")).expect_problem(403, "token_revoked");
    platform.stop();
    let log = platform.audit_log();
    assert_eq!(log.iter().filter(|record| record.event.action == "enrolment-token.revoke").count(), 1, "{log:#?}");
}
