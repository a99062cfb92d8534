//! The credential bundle as other programs see it: the golden directories, the modes, and what is left alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::tempdir;
use tesaiot_contract::bundle::{Bundle, BundleError, ClientCertificate};
use tesaiot_contract::environment::Environment;
use tesaiot_contract::{DeviceId, Endpoints, Secret};

const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nbGVhZg==\n-----END CERTIFICATE-----\n\
    -----BEGIN CERTIFICATE-----\naW50ZXJtZWRpYXRl\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n";
const TRUST_ANCHOR: &str = "-----BEGIN CERTIFICATE-----\naW50ZXJtZWRpYXRl\n-----END CERTIFICATE-----\n\
    -----BEGIN CERTIFICATE-----\ncm9vdA==\n-----END CERTIFICATE-----\n";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn device() -> DeviceId {
    DeviceId::new("05f8968a-b400-4727-9678-b53cb0889fce").unwrap()
}

fn mutual_tls() -> Bundle {
    Bundle {
        certificate: Some(ClientCertificate { chain_pem: CHAIN.into(), key_pem: Some(Secret::new(KEY)) }),
        trust_anchor_pem: Some(TRUST_ANCHOR.into()),
        endpoints: Endpoints::for_host("iot.example").with_ingest_port(9444),
        ..Bundle::new(device())
    }
}

fn server_tls() -> Bundle {
    Bundle {
        api_key: Some(Secret::new("tesa_dak_05f8968a_000102030405060708090a0b0c0d0e0f")),
        mqtt_username: Some(device().to_string()),
        mqtt_password: Some(Secret::new("it's a pass phrase")),
        trust_anchor_pem: Some(TRUST_ANCHOR.into()),
        endpoints: Endpoints::for_host("iot.example"),
        ..Bundle::new(device())
    }
}

/// Every file of a directory, by name.
fn contents(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap())).collect()
}

#[test]
fn what_is_written_is_the_golden_directory() {
    for (name, bundle) in [("bundle_mtls", mutual_tls()), ("bundle_server_tls", server_tls())] {
        let directory = tempdir().unwrap();
        bundle.write(directory.path()).unwrap();
        assert_eq!(contents(directory.path()), contents(&golden(name)), "{name}");
        let archive = bundle.files().into_iter().map(|file| (file.name.to_owned(), file.contents.expose().to_owned()));
        assert_eq!(archive.collect::<BTreeMap<_, _>>(), contents(&golden(name)), "{name}");
    }
}

#[test]
fn the_golden_directory_is_what_is_read() {
    for (name, bundle) in [("bundle_mtls", mutual_tls()), ("bundle_server_tls", server_tls())] {
        assert_eq!(Bundle::read(golden(name)).unwrap(), Bundle { directory: golden(name), ..bundle });
    }
}

#[test]
fn the_environment_of_a_bundle_says_the_same() {
    let directory = golden("bundle_server_tls");
    let environment = Environment::load(|_| None, Some(&directory.join(".env"))).unwrap();
    let bundle = server_tls();
    assert_eq!(environment.device_id, Some(bundle.device_id));
    assert_eq!(environment.api_key, bundle.api_key);
    assert_eq!(environment.mqtt_host.as_deref(), Some("iot.example"));
    assert_eq!(environment.mqtt_port, Some(8884));
    assert_eq!(environment.api_base_url, Some(bundle.endpoints.api_base_url));
    assert_eq!(fs::read_to_string(environment.trust_anchor.unwrap()).unwrap(), TRUST_ANCHOR);
    assert_eq!(Bundle::read(environment.bundle_directory.unwrap()).unwrap().device_id, device());

    let environment = Environment::load(|_| None, Some(&golden("bundle_mtls").join(".env"))).unwrap();
    assert_eq!(environment.mqtt_port, Some(8883));
}

#[cfg(unix)]
mod modes {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_for_the_owner_alone() {
        let parent = tempdir().unwrap();
        let directory = parent.path().join("new/bundle");
        mutual_tls().write(&directory).unwrap();
        server_tls().write(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        for name in ["client_key.pem", "api_key.txt", "mqtt_password.txt", ".env"] {
            assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
        }
        let private = server_tls().files().into_iter().filter(|file| file.mode == 0o600).map(|file| file.name);
        assert_eq!(private.collect::<Vec<_>>(), ["api_key.txt", "mqtt_password.txt", ".env"]);
    }

    #[test]
    fn a_mode_that_was_too_wide_is_narrowed_by_writing_again() {
        let directory = tempdir().unwrap();
        let key = directory.path().join("client_key.pem");
        mutual_tls().write(directory.path()).unwrap();
        assert_eq!(Bundle::exposed_key_mode(directory.path()), None);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Bundle::exposed_key_mode(directory.path()), Some(0o640));
        mutual_tls().write(directory.path()).unwrap();
        assert_eq!(Bundle::exposed_key_mode(directory.path()), None);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_left_alone() {
        let directory = tempdir().unwrap();
        let elsewhere = tempdir().unwrap();
        let target = elsewhere.path().join("target");
        fs::write(&target, "mine").unwrap();
        mutual_tls().write(directory.path()).unwrap();
        for name in ["client_cert.pem", ".client_cert.pem.new"] {
            let link = directory.path().join(name);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&target, &link).unwrap();
        }
        mutual_tls().write(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
        assert_eq!(contents(directory.path()), contents(&golden("bundle_mtls")));
    }
}

#[test]
fn another_devices_bundle_is_left_alone() {
    let directory = tempdir().unwrap();
    mutual_tls().write(directory.path()).unwrap();
    let before = contents(directory.path());
    let other = Bundle { device_id: DeviceId::new("other").unwrap(), ..server_tls() };
    let error = other.write(directory.path()).unwrap_err();
    assert!(matches!(error, BundleError::OtherDevice { .. }), "{error}");
    assert_eq!(contents(directory.path()), before);

    fs::write(directory.path().join("device_id.txt"), "who/knows").unwrap();
    assert!(matches!(mutual_tls().write(directory.path()), Err(BundleError::DeviceId { .. })));
}

#[test]
fn files_that_belong_to_no_bundle_are_left_alone() {
    let directory = tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, "DATABASE=mine\n").unwrap();
    match server_tls().write(directory.path()) {
        Err(BundleError::Occupied { path: named }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    assert_eq!(contents(directory.path()), BTreeMap::from([(".env".into(), "DATABASE=mine\n".into())]));
}

#[test]
fn a_key_the_device_made_stays() {
    let directory = tempdir().unwrap();
    let key = directory.path().join("client_key.pem");
    fs::write(&key, KEY).unwrap();
    let certificate = ClientCertificate { chain_pem: CHAIN.into(), key_pem: None };
    Bundle { certificate: Some(certificate), ..mutual_tls() }.write(directory.path()).unwrap();
    assert_eq!(Bundle::read(directory.path()).unwrap().require_certificate().unwrap(), (CHAIN, &Secret::new(KEY)));
}

#[test]
fn an_interrupted_writing_is_finished_by_the_next() {
    let directory = tempdir().unwrap();
    // What a crash after the first file leaves, in the middle of the second.
    fs::write(directory.path().join("device_id.txt"), device().as_str()).unwrap();
    fs::write(directory.path().join(".client_key.pem.new"), &KEY[..20]).unwrap();
    fs::write(directory.path().join("client_cert.pem"), "older").unwrap();
    mutual_tls().write(directory.path()).unwrap();
    assert_eq!(contents(directory.path()), contents(&golden("bundle_mtls")));
}

#[test]
fn files_as_people_and_editors_leave_them_are_read() {
    let directory = tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("device_id.txt", "\u{feff}pi-1\r\n");
    write("api_key.txt", " tesa_dak_pi1_00\n\n");
    write("mqtt_username.txt", "\n");
    write("mqtt_password.txt", " spaces count \r\n");
    write("endpoints.json", "\u{feff}{\"mqtt_host\":\"pi.local\"}\n");
    let bundle = Bundle::read(directory.path()).unwrap();
    assert_eq!(bundle.device_id.as_str(), "pi-1");
    assert_eq!(bundle.require_api_key().unwrap().expose(), "tesa_dak_pi1_00");
    assert_eq!(bundle.require_login().unwrap(), ("pi-1", &Secret::new("tesa_dak_pi1_00")));
    assert_eq!(bundle.endpoints, Endpoints::for_host("pi.local"));
    // Without a key the password logs in.
    fs::remove_file(directory.path().join("api_key.txt")).unwrap();
    let bundle = Bundle::read(directory.path()).unwrap();
    assert_eq!(bundle.require_login().unwrap(), ("pi-1", &Secret::new(" spaces count ")));
}

#[test]
fn what_is_missing_is_named_when_it_is_asked_for() {
    let directory = tempdir().unwrap();
    let missing = |name: &str| format!("File not readable: {}", directory.path().join(name).display());
    assert_eq!(Bundle::read(directory.path()).unwrap_err().to_string(), missing("device_id.txt"));
    let bundle = Bundle::read_for(directory.path(), device()).unwrap();
    assert_eq!(bundle.require_certificate().unwrap_err().to_string(), missing("client_cert.pem"));
    assert_eq!(bundle.require_api_key().unwrap_err().to_string(), missing("api_key.txt"));
    assert_eq!(bundle.require_login().unwrap_err().to_string(), missing("api_key.txt"));
    assert_eq!(bundle.require_trust_anchor().unwrap_err().to_string(), missing("ca-chain.pem"));
    assert_eq!(bundle.endpoints, Endpoints::default());

    fs::write(directory.path().join("client_cert.pem"), CHAIN).unwrap();
    let bundle = Bundle::read_for(directory.path(), device()).unwrap();
    assert_eq!(bundle.require_certificate().unwrap_err().to_string(), missing("client_key.pem"));
}

#[test]
fn a_file_that_is_there_must_be_readable() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("ca-chain.pem");
    let expected = format!("File not readable: {}", path.display());
    let read = || Bundle::read_for(directory.path(), device()).unwrap_err().to_string();

    fs::create_dir(&path).unwrap();
    assert_eq!(read(), expected);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [0xFF, 0xFE]).unwrap();
    assert_eq!(read(), expected);
    fs::write(&path, vec![b'x'; 1024 * 1024 + 1]).unwrap();
    assert_eq!(read(), expected);
}

#[test]
fn bad_contents_name_the_file() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("device_id.txt"), "").unwrap();
    assert!(matches!(Bundle::read(directory.path()), Err(BundleError::DeviceId { .. })));
    fs::write(directory.path().join("endpoints.json"), "mqtt.example:8883").unwrap();
    let error = Bundle::read_for(directory.path(), device()).unwrap_err();
    assert!(error.to_string().contains("endpoints.json"), "{error}");
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?} {:?} {:?}", server_tls(), server_tls().files(), mutual_tls());
    assert!(!printed.contains("tesa_dak") && !printed.contains("pass phrase") && !printed.contains("PRIVATE KEY"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn writing_then_reading_is_identity(
        id in "[A-Za-z0-9_-]{3,64}",
        host in "[a-z0-9.:-]{1,30}",
        ports: [std::num::NonZeroU16; 4],
        password in proptest::option::of("[^\r\n\u{feff}]{1,40}"),
        key in proptest::option::of("tesa_dak_[a-z0-9]{8}_[0-9a-f]{32}"),
    ) {
        let directory = tempdir().unwrap();
        let [mtls, tls, wss, ingest] = ports.map(std::num::NonZeroU16::get);
        let bundle = Bundle {
            directory: directory.path().to_owned(),
            api_key: key.map(Secret::new),
            mqtt_password: password.map(Secret::new),
            endpoints: Endpoints {
                mqtt_mtls_port: mtls,
                mqtt_tls_port: tls,
                mqtt_wss_port: wss,
                ..Endpoints::for_host(host).with_ingest_port(ingest)
            },
            ..Bundle::new(DeviceId::new(id).unwrap())
        };
        bundle.write(directory.path()).unwrap();
        prop_assert_eq!(Bundle::read(directory.path()).unwrap(), bundle);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, name in prop::sample::select(vec![
        "device_id.txt", "endpoints.json", "client_key.pem", "api_key.txt", "mqtt_username.txt", ".env",
    ])) {
        let directory = tempdir().unwrap();
        fs::write(directory.path().join(name), bytes).unwrap();
        let _ = Bundle::read(directory.path());
        let _ = Bundle::read_for(directory.path(), device());
        let _ = Environment::load(|_| None, Some(&directory.path().join(".env")));
    }
}
