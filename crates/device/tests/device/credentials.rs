//! What is taken out of a bundle, and what is refused before anything is sent.

use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair};
use tesaiot_contract::bundle::{Bundle, ClientCertificate};
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_device::{Choice, Credentials, CredentialsError, Method, MqttVersion};

const KEY: &str = "tesa_dak_pump7_00112233445566778899aabbccddeeff";

fn certificate(common_name: &str) -> ClientCertificate {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let chain_pem = params.self_signed(&key).unwrap().pem();
    ClientCertificate { chain_pem, key_pem: Some(Secret::new(key.serialize_pem())) }
}

fn bundle(certificate: Option<ClientCertificate>, api_key: Option<&str>) -> Bundle {
    let trust = rcgen::generate_simple_self_signed(vec!["broker".to_owned()]).unwrap();
    Bundle {
        certificate,
        api_key: api_key.map(Secret::new),
        trust_anchor_pem: Some(trust.cert.pem()),
        ..Bundle::new(DeviceId::new("pump-7").unwrap())
    }
}

fn method(bundle: &Bundle, choice: Choice) -> Option<Method> {
    Credentials::from_bundle(bundle, choice, Timestamp::now()).ok().map(|credentials| credentials.method())
}

#[test]
fn the_choice_is_between_what_is_there() {
    use Choice::{Only, PreferCertificate, PreferKey};
    use Method::{MutualTls, ServerTls};
    let both = bundle(Some(certificate("pump-7")), Some(KEY));
    let certificate = bundle(Some(certificate("pump-7")), None);
    let key = bundle(None, Some(KEY));
    let neither = bundle(None, None);
    for (bundle, choice, expected) in [
        (&both, PreferCertificate, Some(MutualTls)),
        (&both, PreferKey, Some(ServerTls)),
        (&both, Only(MutualTls), Some(MutualTls)),
        (&both, Only(ServerTls), Some(ServerTls)),
        (&certificate, PreferCertificate, Some(MutualTls)),
        (&certificate, PreferKey, Some(MutualTls)),
        (&certificate, Only(ServerTls), None),
        (&key, PreferCertificate, Some(ServerTls)),
        (&key, PreferKey, Some(ServerTls)),
        (&key, Only(MutualTls), None),
        (&neither, PreferCertificate, None),
        (&neither, PreferKey, None),
    ] {
        assert_eq!(method(bundle, choice), expected, "{choice:?}");
    }
}

#[test]
fn a_certificate_says_who_it_is_and_a_key_needs_a_user_name() {
    let options = |bundle: &Bundle| {
        let credentials = Credentials::from_bundle(bundle, Choice::PreferCertificate, Timestamp::now()).unwrap();
        credentials.mqtt_options(MqttVersion::V3)
    };
    let options_of_certificate = options(&bundle(Some(certificate("pump-7")), None));
    assert_eq!(options_of_certificate.client_id, "pump-7");
    assert_eq!((options_of_certificate.username, options_of_certificate.password), (None, None));
    let options_of_key = options(&bundle(None, Some(KEY)));
    assert_eq!(options_of_key.client_id, "pump-7");
    assert_eq!(options_of_key.username.as_deref(), Some("pump-7"));
    assert_eq!(options_of_key.password.as_deref(), Some(KEY.as_bytes()));
}

#[test]
fn a_certificate_whose_name_only_begins_like_the_device_is_refused() {
    for name in ["pump-77", "pump", "PUMP-7", "pump-7 "] {
        let error = Credentials::from_bundle(
            &bundle(Some(certificate(name)), None),
            Choice::PreferCertificate,
            Timestamp::now(),
        );
        let Err(CredentialsError::WrongDevice { common_name, .. }) = error else { panic!("{name}: {error:?}") };
        assert_eq!(common_name.as_deref(), Some(name));
    }
}

#[test]
fn secrets_are_not_printed() {
    let credentials = Credentials::from_bundle(&bundle(None, Some(KEY)), Choice::PreferKey, Timestamp::now()).unwrap();
    let printed = format!("{credentials:?} {:?}", credentials.mqtt_options(MqttVersion::V5));
    assert!(printed.contains("***") && !printed.contains(KEY), "{printed}");
}
