//! The listener for devices with a certificate, and for nobody else.

use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use super::{OwnKey, chain, path};
use crate::support::authority::Authority;
use crate::support::device::Device;
use crate::support::platform::TestPlatform;
use crate::support::rest::Rest;
use crate::support::wire::Wire;

fn nobody(platform: &TestPlatform) -> Rest {
    Rest::new(&format!("https://localhost:{}", platform.ingest().port()), &platform.trust_chain())
}

fn of(platform: &TestPlatform, device: &Device) -> Rest {
    nobody(platform).with_certificate(device.certificate().expect("a certificate"))
}

#[test]
fn a_certificate_is_who_the_device_is() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let other = platform.device("pump-77", AuthMode::ServerTls);
    let rest = of(&platform, &device);
    let stored = rest.post("/telemetry", b"{\"n\":1}").expect(201);
    assert_eq!((&stored["device_id"], &stored["metrics_stored"][0]), (&"pump-7".into(), &"n".into()));
    rest.post("/telemetry/batch", b"{\"telemetry\":[{\"n\":2},{\"n\":3}]}").expect(201);
    rest.post("/devices/pump-7/telemetry", b"{\"n\":4}").expect(201);
    assert_eq!(rest.get("/devices/pump-7").expect(200)["device_id"], "pump-7");
    rest.get("/external/devices/pump-7").expect(200);
    rest.get("/devices/pump-7/config").expect(200);
    rest.get("/health").expect(200);
    // Another device's things are not its own, whatever key it brings beside its certificate.
    for rest in [rest.clone(), rest.clone().with_header("X-API-KEY", other.api_key())] {
        rest.get("/devices/pump-77").expect_problem(403, "forbidden");
        rest.post("/devices/pump-77/telemetry", b"{\"n\":1}").expect_problem(403, "forbidden");
        rest.post(&path("pump-77"), &OwnKey::new().body("pump-77")).expect_problem(403, "forbidden");
    }
    // What operators do is not here, for nobody.
    let token = std::fs::read_to_string(platform.data_directory().join("operator.json")).expect("operator.json");
    let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
    let operator = rest.with_header("Authorization", &format!("Bearer {}", token["token"].as_str().expect("one")));
    for path in ["/devices", "/dead-letters", "/tokens", "/broker/clients", "/telemetry/latest"] {
        assert!(matches!(operator.get(path).status, 404 | 405), "{path}");
    }
    operator.post("/devices/pump-7/certificate/revoke", b"").expect(404);
    operator.get("/devices/pump-77").expect_problem(403, "forbidden");
}

#[test]
fn without_a_good_certificate_there_is_no_connection() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::ServerTls);
    let with_key = nobody(&platform).with_header("X-API-KEY", device.api_key());
    assert!(with_key.attempt("GET", "/health", None).is_err(), "a certificate is mandatory");
    let stranger = Authority::new(&platform.scratch("stranger"));
    let forged = nobody(&platform).with_certificate(stranger.client("pump-7"));
    assert!(forged.attempt("GET", "/health", None).is_err(), "another authority's");
}

#[test]
fn what_is_taken_back_is_refused_at_the_next_request() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let (rest, operator) = (of(&platform, &device), platform.operator());
    rest.post("/telemetry", b"{\"n\":1}").expect(201);
    operator.post("/devices/pump-7/disable", b"").expect(200);
    rest.post("/telemetry", b"{\"n\":1}").expect_problem(401, "unauthorized");
    operator.post("/devices/pump-7/enable", b"").expect(200);
    rest.post("/telemetry", b"{\"n\":1}").expect(201);
    operator.post("/devices/pump-7/certificate/revoke", b"").expect(200);
    rest.post("/telemetry", b"{\"n\":1}").expect_problem(401, "unauthorized");
    rest.post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect_problem(401, "unauthorized");
    operator.delete("/devices/pump-7");
    rest.post("/telemetry", b"{\"n\":1}").expect_problem(401, "unauthorized");
}

/// An answer that was lost, again and again, leaves the device with what it has; the new one takes over once it is used.
#[test]
fn a_renewal_whose_answer_is_lost_costs_nothing() {
    let platform = TestPlatform::start();
    let device = platform.device("pump-7", AuthMode::Mtls);
    let rest = of(&platform, &device);
    for _ in 0..3 {
        rest.post(&path("pump-7"), &OwnKey::new().body("pump-7")).expect(201);
        Wire::login(platform.mqtt(), &device, Version::V5);
    }
    let own = OwnKey::new();
    let answer = rest.post(&path("pump-7"), &own.body("pump-7")).expect(201);
    let files = own.files(&platform.scratch("own"), chain(&answer));
    let new = nobody(&platform).with_certificate(files);
    new.post("/telemetry", b"{\"n\":1}").expect(201);
    rest.post("/telemetry", b"{\"n\":2}").expect(201);
    // Renewed with the new one, and again: the first is no longer the one before the last.
    let next = OwnKey::new();
    let answer = new.post(&path("pump-7"), &next.body("pump-7")).expect(201);
    let files = next.files(&platform.scratch("next"), chain(&answer));
    nobody(&platform).with_certificate(files).post("/telemetry", b"{\"n\":3}").expect(201);
    new.post("/telemetry", b"{\"n\":4}").expect(201);
    rest.post("/telemetry", b"{\"n\":5}").expect_problem(401, "unauthorized");
}
