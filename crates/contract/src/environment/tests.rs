use std::fs;

use super::*;

/// An environment of `process` variables and a `.env` file with `file` in it.
fn load(process: &[(&str, &str)], file: &str) -> Result<Environment, EnvironmentError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, file).unwrap();
    let mut environment = Environment::load(variables(process), Some(&path))?;
    // Paths of the file are under its directory; the tests see what follows it.
    for path in [&mut environment.trust_anchor, &mut environment.bundle_directory].into_iter().flatten() {
        *path = path.strip_prefix(directory.path()).map_or(path.clone(), |rest| Path::new("BESIDE").join(rest));
    }
    Ok(environment)
}

fn variables(process: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| process.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn full() -> Environment {
    Environment {
        device_id: Some(DeviceId::new("pi-1").unwrap()),
        api_key: Some(Secret::new("tesa_dak_pi1_00")),
        mqtt_host: Some("broker.example".into()),
        mqtt_port: Some(18884),
        mqtt_username: Some("pi-1".into()),
        mqtt_password: Some(Secret::new("p#s $w")),
        trust_anchor: Some("BESIDE/ca-chain.pem".into()),
        api_base_url: Some("https://api.example:8443".into()),
        bundle_directory: Some("/etc/tesaiot/pi-1".into()),
    }
}

#[test]
fn nothing_set_is_nothing_decided() {
    assert_eq!(Environment::load(|_| None, None).unwrap(), Environment::default());
}

#[test]
fn every_name_and_every_alias_is_read() {
    let names = "TESAIOT_DEVICE_ID=pi-1\nTESAIOT_API_KEY=tesa_dak_pi1_00\nTESAIOT_MQTT_HOST=broker.example\n\
        TESAIOT_MQTT_PORT=18884\nMQTT_USERNAME=pi-1\nMQTT_PASSWORD='p#s $w'\nTESAIOT_CA_CERT=ca-chain.pem\n\
        TESAIOT_API_BASE_URL=https://api.example:8443/\nTESAIOT_CERTS_DIR=/etc/tesaiot/pi-1\n";
    assert_eq!(load(&[], names).unwrap(), full());
    let aliases = "DEVICE_ID=pi-1\nAPI_KEY=tesa_dak_pi1_00\nMQTT_HOST=broker.example\nMQTT_PORT=18884\n\
        MQTT_USERNAME=pi-1\nMQTT_PASSWORD='p#s $w'\nCA_CERT_PATH=ca-chain.pem\n\
        API_BASE_URL=https://api.example:8443\nCERTS_DIR=/etc/tesaiot/pi-1\n";
    assert_eq!(load(&[], aliases).unwrap(), full());
}

#[test]
fn the_process_wins_name_by_name_and_the_full_name_over_the_alias() {
    let host = |process: &[(&str, &str)], file: &str| load(process, file).unwrap().mqtt_host;
    let file = "TESAIOT_MQTT_HOST=file\nMQTT_HOST=file-alias\n";
    assert_eq!(host(&[("TESAIOT_MQTT_HOST", "process")], file).as_deref(), Some("process"));
    assert_eq!(host(&[("MQTT_HOST", "process-alias")], file).as_deref(), Some("file"));
    assert_eq!(host(&[("MQTT_HOST", "process-alias")], "MQTT_HOST=file-alias").as_deref(), Some("process-alias"));
}

#[test]
fn set_to_nothing_is_unset() {
    let key = |process: &[(&str, &str)], file: &str| load(process, file).unwrap().api_key;
    assert_eq!(key(&[], "TESAIOT_API_KEY=\nAPI_KEY=alias"), Some(Secret::new("alias")));
    assert_eq!(key(&[("TESAIOT_API_KEY", "")], "TESAIOT_API_KEY=file"), None);
    assert_eq!(key(&[("TESAIOT_API_KEY", " ")], "API_KEY=alias"), Some(Secret::new("alias")));
}

#[test]
fn a_path_of_the_process_is_left_as_it_is() {
    let environment = load(&[("TESAIOT_CA_CERT", "ca.pem")], "TESAIOT_CERTS_DIR=.").unwrap();
    assert_eq!(environment.trust_anchor, Some("ca.pem".into()));
    assert_eq!(environment.bundle_directory, Some("BESIDE".into()));
}

#[test]
fn what_cannot_be_used_is_named() {
    let error = |file: &str| load(&[], file).unwrap_err().to_string();
    assert_eq!(error("DEVICE_ID=a/b"), "DEVICE_ID is not a device id");
    for port in ["0", "65536", "8883x", "-1"] {
        let error = error(&format!("TESAIOT_MQTT_PORT={port}"));
        assert_eq!(error, "TESAIOT_MQTT_PORT is not a port number from 1 to 65535");
    }
    assert!(error("\nTESAIOT_API_KEY='hunter2").ends_with(".env line 2: the closing ' is missing"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let error = Environment::load(|_| None, Some(Path::new("no/such/.env"))).unwrap_err();
    assert_eq!(error.to_string(), "File not readable: no/such/.env");
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", full());
    assert!(!printed.contains("tesa_dak") && !printed.contains("p#s"), "{printed}");
}
