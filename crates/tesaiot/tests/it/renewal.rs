//! The server's certificate is renewed while the platform runs, and nobody is disconnected for it.

use std::time::Duration;

use tesaiot_mqtt::Version;
use tesaiot_store::registry::AuthMode;

use crate::support::platform::TestPlatform;
use crate::support::wait_until;
use crate::support::wire::Wire;

#[test]
fn a_new_certificate_is_shown_at_the_next_handshake_and_old_connections_stay() {
    let platform = TestPlatform::start_with(|config| config.certificate_check = Duration::from_millis(100));
    let device = platform.device("steady", AuthMode::Mtls);
    let other = platform.device("newcomer", AuthMode::ServerTls);
    let mut wire = Wire::login(platform.mqtt(), &device, Version::V5);
    let certificate = || std::fs::read_to_string(platform.data_directory().join("server.pem")).ok();
    let before = certificate().expect("server.pem");
    assert!(shown(&platform).contains(first(&before)));
    // As if it were due: what is not there is issued anew.
    std::fs::remove_file(platform.data_directory().join("server.pem")).expect("it is there");
    let after = wait_until("a new certificate", || certificate().filter(|after| *after != before));
    wait_until("the new one to be shown", || shown(&platform).contains(first(&after)).then_some(()));
    assert_eq!(wire.acknowledged(1, &device.topic("telemetry"), b"{\"still\":1}"), 0);
    Wire::login(platform.mqtt_tls(), &other, Version::V3);
}

/// What a handshake shows, as PEM.
fn shown(platform: &TestPlatform) -> String {
    let mut command = std::process::Command::new("openssl");
    command.args(["s_client", "-showcerts", "-connect", &platform.mqtt_tls().to_string()]);
    let outcome = crate::support::process::run(&mut command, crate::support::PATIENCE);
    outcome.stdout
}

/// The first line of the leaf's body: enough to tell certificates apart is further in, so all but the last lines.
fn first(pem: &str) -> &str {
    pem.split("-----END").next().expect("a certificate").trim_start_matches("-----BEGIN CERTIFICATE-----").trim()
}
