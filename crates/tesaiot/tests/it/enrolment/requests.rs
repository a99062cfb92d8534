//! `POST /devices/{id}/csr`, with a credential that the device has.

use tesaiot_store::registry::{AuthMode, CertificateStatus, Registry};
use tesaiot_tls::CertificateSummary;

use super::{OwnKey, body, chain, path, publishes};
use crate::support::PATIENCE;
use crate::support::authority::CertificateFiles;
use crate::support::platform::TestPlatform;
use crate::support::process::run;

#[test]
fn a_device_with_a_key_gets_a_certificate_and_logs_in_with_it() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let own = OwnKey::new();
    let answer = platform.rest_of(&device).post(&path("pump-7"), &own.body("pump-7")).expect(201);
    assert_eq!(answer["again"], false);
    assert_eq!(answer["ca_chain"], std::fs::read_to_string(platform.trust_chain()).expect("ca-chain.pem"));
    assert_eq!(answer["endpoints"]["ingest_base_url"], format!("https://localhost:{}", platform.ingest().port()));
    let leaf = &CertificateSummary::all_from_pem(chain(&answer)).expect("a chain")[0];
    assert_eq!((leaf.subject.as_str(), leaf.is_ca, leaf.names()), ("CN=pump-7", false, Vec::new()));
    let files = own.files(&platform.scratch("own"), chain(&answer));
    assert!(publishes(&platform, &device, &files));
    // The same key asks again, as after an answer that was lost: the same certificate, in the other form.
    let alone = platform.rest_of(&device).with_header("Accept", "application/pem-certificate-chain");
    let again = alone.post(&path("pump-7"), own.request("pump-7").as_bytes());
    assert_eq!((again.status, again.content_type.as_str()), (200, "application/pem-certificate-chain"));
    assert_eq!(again.text, chain(&answer));
    platform.stop();
    let log = platform.audit_log();
    let signed: Vec<_> = log.iter().map(|record| &record.event).filter(|e| e.action == "certificate.sign").collect();
    assert_eq!(signed.len(), 2, "{signed:#?}");
    assert!(signed.iter().all(|event| event.actor == "device:pump-7" && event.outcome == "allowed"));
}

#[test]
fn a_certificate_had_with_a_stolen_key_ends_with_the_key() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let own = OwnKey::new();
    let answer = platform.rest_of(&device).post(&path("pump-7"), &own.body("pump-7")).expect(201);
    let files = own.files(&platform.scratch("own"), chain(&answer));
    assert!(publishes(&platform, &device, &files));
    let rotated = platform.operator().post("/devices/pump-7/api-keys", b"").expect(201);
    assert_eq!((&rotated["revoked_certificates"], &rotated["revoked_enrolment_tokens"]), (&1.into(), &0.into()));
    assert!(!publishes(&platform, &device, &files));
    platform.rest_of(&device).post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect(401);
}

/// With keys and requests as `openssl` makes them.
#[test]
fn keys_of_other_kinds_log_in_too() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    for kind in ["ec -pkeyopt ec_paramgen_curve:P-384", "ed25519", "rsa:2048"] {
        let own = platform.scratch("own");
        let words = format!("req -new -newkey {kind} -nodes -subj /CN=pump-7 -keyout own.key.pem -out own.csr");
        let mut openssl = std::process::Command::new("openssl");
        run(openssl.current_dir(&own).args(words.split(' ')), PATIENCE).expect_success();
        let request = std::fs::read_to_string(own.join("own.csr")).expect("a request");
        let answer = platform.rest_of(&device).post(&path("pump-7"), &body("pump-7", &request)).expect(201);
        let files = CertificateFiles { certificate: own.join("own.pem"), key: own.join("own.key.pem") };
        std::fs::write(&files.certificate, chain(&answer)).expect("a file");
        assert!(publishes(&platform, &device, &files), "{kind}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said_and_nothing_is_signed() {
    let mut platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    platform.device("pump-77", AuthMode::ServerTls);
    let rest = platform.rest_of(&device);
    let own = OwnKey::new();
    let good = own.request("pump-7");
    let mut tampered = good.clone().into_bytes();
    let at = tampered.len() - 80;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).expect("ASCII");
    rest.post(&path("pump-7"), &body("pump-7", &own.request("pump-77"))).expect_problem(400, "csr_wrong_name");
    rest.post(&path("pump-7"), &body("pump-7", &own.request("pump-"))).expect_problem(400, "csr_wrong_name");
    rest.post(&path("pump-7"), &body("pump-77", &good)).expect_problem(400, "csr_wrong_device");
    let refused = rest.post(&path("pump-7"), &body("pump-7", &tampered));
    assert!(
        refused.status == 400 && refused.json["error"]["code"].as_str().is_some_and(|code| code.starts_with("csr_"))
    );
    rest.post(&path("pump-7"), &vec![b'A'; 40_000]).expect_problem(413, "csr_too_large");
    rest.post(&path("pump-7"), &body("pump-7", &"A".repeat(20_000))).expect_problem(413, "csr_too_large");
    rest.post(&path("pump-7"), b"not a request").expect_problem(400, "csr_malformed");
    rest.post(&path("pump-77"), &own.body("pump-77")).expect_problem(403, "forbidden");
    let stranger = platform.anonymous().with_header("X-API-KEY", "tesa_dak_pump7_00000000000000000000000000000000");
    stranger.post(&path("pump-7"), &own.body("pump-7")).expect_problem(401, "unauthorized");
    // With nothing but a key that no certificate was ever for; who is nobody is not told that there is no such device.
    platform.anonymous().post(&path("pump-7"), &own.body("pump-7")).expect_problem(401, "key_unknown");
    platform.anonymous().post(&path("nobody"), &own.body("nobody")).expect_problem(401, "key_unknown");
    platform.operator().post("/devices/pump-7/disable", b"").expect(200);
    rest.post(&path("pump-7"), &own.body("pump-7")).expect_problem(401, "unauthorized");
    platform.stop();
    let registry = Registry::open(&platform.data_directory().join("registry.db")).expect("the registry");
    assert_eq!(registry.certificates(device.id()).expect("certificates"), []);
    let refused = |record: &tesaiot_store::registry::AuditRecord| {
        record.event.action == "certificate.sign" && record.event.outcome == "refused"
    };
    assert!(platform.audit_log().iter().filter(|record| refused(record)).count() >= 3);
}

#[test]
fn a_device_that_asks_for_ever_is_told_to_wait() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let other = platform.device("pump-8", AuthMode::ServerTls);
    let own = OwnKey::new();
    let statuses: Vec<u16> =
        (0..10).map(|_| platform.rest_of(&device).post(&path("pump-7"), &own.body("pump-7")).status).collect();
    assert_eq!(statuses, [201, 200, 200, 200, 200, 200, 200, 200, 429, 429]);
    platform.rest_of(&other).post(&path("pump-8"), &OwnKey::new().body("pump-8")).expect(201);
}

#[test]
fn operators_sign_and_issue_and_the_certificate_before_serves_until_the_new_one_is_used() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let before = device.certificate().expect("a certificate");
    let (operator, own) = (platform.operator(), OwnKey::new());
    let signed = operator.post("/devices/pump-7/certificate/sign-csr", &own.body("pump-7")).expect(201);
    assert!(publishes(&platform, &device, &before));
    let files = own.files(&platform.scratch("own"), chain(&signed));
    assert!(publishes(&platform, &device, &files));
    assert!(publishes(&platform, &device, &before), "to go back to");
    let renewed = operator.post("/devices/pump-7/certificate/renew", b"").expect(201);
    let key = renewed["private_key"].as_str().expect("a key");
    let made = platform.scratch("made");
    std::fs::write(made.join("own.key.pem"), key).expect("a file");
    std::fs::write(made.join("own.pem"), chain(&renewed)).expect("a file");
    let new = CertificateFiles { certificate: made.join("own.pem"), key: made.join("own.key.pem") };
    assert!(publishes(&platform, &device, &new) && publishes(&platform, &device, &files));
    assert!(!publishes(&platform, &device, &before));
    operator.post("/devices/nobody/certificate/sign-csr", &own.body("nobody")).expect_problem(404, "no_such_device");
    operator.post("/devices/nobody/certificate/issue", b"").expect_problem(404, "no_such_device");
    // Revoked: with all its keys, which get no other certificate.
    operator.post("/devices/pump-7/certificate/revoke", b"").expect(200);
    for files in [&before, &files, &new] {
        assert!(!publishes(&platform, &device, files));
    }
    let again = operator.post("/devices/pump-7/certificate/sign-csr", &own.body("pump-7"));
    again.expect_problem(403, "key_revoked");
    let registry = Registry::open(&platform.data_directory().join("registry.db")).expect("the registry");
    let serial = signed["serial"].as_str().expect("a serial number");
    let status = registry.check_certificate(device.id(), serial, jiff::Timestamp::now()).expect("an answer");
    assert_eq!(status, CertificateStatus::Revoked);
}
