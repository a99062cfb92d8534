//! What is said about a bundle before anything is sent, without a network.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::forge::{Usage, Validity};
use super::place::{DEVICE, Place, mode, publish};

#[test]
fn a_certificate_about_to_expire_is_a_warning_or_with_strict_an_error() {
    let place = Place::new();
    let broker = place.broker(true);
    let client = place.forge.issue(DEVICE, &[], Usage::Client, Validity::TenDays);
    let bundle = place.bundle(broker.port(), Some(&client));
    let outcome = publish(&bundle, &[]).expect_success();
    assert!(outcome.stderr.starts_with("warning: client_cert.pem expires in 10 days, at "), "{outcome:#?}");
    let outcome = publish(&bundle, &["--strict"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: client_cert.pem expires in 10 days, at "), "{outcome:#?}");
    assert!(outcome.stderr.ends_with("hint: renew the device's certificate"), "{outcome:#?}");
}

#[test]
fn a_chain_is_followed_up_to_the_anchor() {
    let place = Place::new();
    let intermediate = place.forge.intermediate(place.directory.path(), "works");
    let client = intermediate.issue(DEVICE, &[], Usage::Client, Validity::Now);
    // Port 1: whoever tried to connect would end with 4.
    let bundle = place.bundle(1, Some(&client));
    let outcome = publish(&bundle, &["--strict"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    insta::assert_snapshot!(outcome.stderr, @r#"
    error: client_cert.pem does not lead to ca-chain.pem: the certificate of "CN=works" is missing
    hint: put the intermediate certificate behind the device's own in client_cert.pem
    "#);
    let warned = publish(&bundle, &[]);
    assert_eq!(warned.code, Some(4), "without --strict it goes on: {warned:#?}");
    assert!(warned.stderr.starts_with("warning: client_cert.pem does not lead to ca-chain.pem"), "{warned:#?}");

    let leaf = bundle.join("client_cert.pem");
    let chain =
        fs::read_to_string(&leaf).expect("a leaf") + &fs::read_to_string(intermediate.ca()).expect("its issuer");
    fs::write(&leaf, chain).expect("both");
    assert_eq!(publish(&bundle, &["--strict"]).code, Some(4), "complete");
}

#[test]
fn permissions_are_put_right_when_asked_for() {
    let place = Place::new();
    let broker = place.broker(true);
    let bundle = place.certificate_bundle(broker.port());
    let key = bundle.join("client_key.pem");
    mode(&key, 0o664);
    let outcome = publish(&bundle, &["--fix-permissions", "--strict"]).expect_success();
    assert!(
        outcome.stderr.starts_with("client_key.pem may be used by its owner alone now (mode 600)."),
        "{outcome:#?}"
    );
    assert_eq!(key.metadata().expect("a key").permissions().mode() & 0o777, 0o600);
    let again = publish(&bundle, &["--fix-permissions"]).expect_success();
    assert_eq!(again.stderr.lines().count(), 1, "there is nothing to put right: {again:#?}");
}

#[test]
fn endpoints_that_cannot_be_are_named() {
    let place = Place::new();
    let bundle = place.certificate_bundle(1);
    fs::write(bundle.join("endpoints.json"), r#"{"mqtt_host":"mqtts://broker.example:8883"}"#).expect("endpoints");
    let outcome = publish(&bundle, &[]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    insta::assert_snapshot!(outcome.stderr, @r#"
    error: endpoints.json: mqtt_host "mqtts://broker.example:8883" is not the name or address of a host
    hint: mqtt_host is a name or an address alone, without a scheme, a port or a path
    "#);
    // A host that is named elsewhere is the one that counts.
    assert_eq!(publish(&bundle, &["--broker-host", "127.0.0.1", "--broker-port", "1"]).code, Some(4));
    fs::write(bundle.join("endpoints.json"), r#"{"mqtt_mtls_port":99999}"#).expect("endpoints");
    assert_eq!(publish(&bundle, &[]).code, Some(3));
}
