//! Flags, environment and bundle, and which of them wins.

use std::fs;

use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::{DeviceId, Endpoints, Secret};
use tesaiot_device::{Flags, Method, Settings};

/// A bundle as a platform writes it, with both ways of logging in.
fn written(directory: &std::path::Path) {
    let endpoints = Endpoints { mqtt_mtls_port: 18883, mqtt_tls_port: 18884, ..Endpoints::for_host("broker.example") };
    let bundle = Bundle {
        api_key: Some(Secret::new("the key in the bundle")),
        endpoints,
        ..Bundle::new(DeviceId::new("pump-7").unwrap())
    };
    bundle.write(directory).unwrap();
}

fn load(directory: &std::path::Path, process: &[(&str, &str)], flags: Flags) -> Settings {
    let flags = Flags { bundle_directory: Some(directory.to_owned()), ..flags };
    let process = |name: &str| process.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::load(flags, process).unwrap()
}

fn key(settings: &Settings) -> &str {
    settings.bundle.api_key.as_ref().unwrap().expose()
}

#[test]
fn a_bundle_alone_is_enough_and_the_port_follows_the_way_of_logging_in() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let settings = load(directory.path(), &[], Flags::default());
    assert_eq!(settings.bundle.device_id.as_str(), "pump-7");
    assert_eq!(settings.address(Method::MutualTls), ("broker.example", 18883));
    assert_eq!(settings.address(Method::ServerTls), ("broker.example", 18884));
}

#[test]
fn a_key_that_was_renewed_alone_is_the_one_that_counts() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::write(directory.path().join("api_key.txt"), "the new key\n").unwrap();
    assert_eq!(key(&load(directory.path(), &[], Flags::default())), "the new key");
    let process = [("TESAIOT_API_KEY", "the key of the process")];
    assert_eq!(key(&load(directory.path(), &process, Flags::default())), "the key of the process");
    fs::remove_file(directory.path().join("api_key.txt")).unwrap();
    assert_eq!(key(&load(directory.path(), &[], Flags::default())), "the key in the bundle", "out of its .env");
}

#[test]
fn what_a_person_wrote_into_the_env_file_of_the_bundle_counts() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::write(directory.path().join(".env"), "TESAIOT_MQTT_HOST=other.example\nTESAIOT_MQTT_PORT=443\n").unwrap();
    let settings = load(directory.path(), &[("MQTT_PORT", "444")], Flags::default());
    assert_eq!(settings.address(Method::ServerTls), ("other.example", 443), "its full name stands above an alias");
    let settings = load(directory.path(), &[("TESAIOT_MQTT_PORT", "444")], Flags::default());
    assert_eq!(settings.address(Method::ServerTls), ("other.example", 444));
    let flags = Flags { host: Some("flag.example".to_owned()), port: Some(445), ..Flags::default() };
    let settings = load(directory.path(), &[("TESAIOT_MQTT_PORT", "444")], flags);
    assert_eq!(settings.address(Method::ServerTls), ("flag.example", 445));
}
