//! The same certificates and keys in the eyes of OpenSSL, which most devices verify with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use tesaiot_pki::{Authority, IssueError, RequestError, RootKey, Validity};
use zeroize::Zeroizing;

use crate::support::{PASSPHRASE, authority, device, encrypted, names, now, options};

fn openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("the tests need the openssl program")
}

fn succeed(folder: &Path, arguments: &str) -> String {
    let output = openssl(folder, arguments);
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn openssl_verifies_the_chains_for_their_purpose() {
    let (folder, authority) = authority();
    let path = folder.path();
    let server = authority.issue_server(&names(&["broker.example", "127.0.0.1"]), Validity::server(now())).unwrap();
    let device = authority.issue_device(&device(), Validity::device(now())).unwrap();
    fs::write(path.join("trust.pem"), authority.trust_chain_pem()).unwrap();
    fs::write(path.join("root.pem"), authority.root_pem()).unwrap();
    fs::write(path.join("server.pem"), &server.chain_pem).unwrap();
    fs::write(path.join("device.pem"), &device.chain_pem).unwrap();
    let strict = format!("verify -x509_strict -attime {}", now().as_second());
    // Against the whole trust file, and against the root alone with the intermediate from the chain.
    for trust in ["-CAfile trust.pem", "-CAfile root.pem -untrusted server.pem"] {
        let server = format!("{strict} {trust} -purpose sslserver");
        succeed(path, &format!("{server} -verify_hostname broker.example server.pem"));
        succeed(path, &format!("{server} -verify_ip 127.0.0.1 server.pem"));
        succeed(path, &format!("{strict} {trust} -purpose sslclient device.pem"));
        for wrong in [
            format!("{server} -verify_hostname other.example server.pem"),
            format!("{server} device.pem"),
            format!("{strict} {trust} -purpose sslclient server.pem"),
        ] {
            assert!(!openssl(path, &wrong).status.success(), "{wrong}");
        }
    }
    let serial = succeed(path, "x509 -in device.pem -noout -serial");
    assert_eq!(serial.trim().strip_prefix("serial=").unwrap().parse(), Ok(device.serial));
    let fingerprint = succeed(path, "x509 -in device.pem -noout -fingerprint -sha256");
    let hexadecimal: Vec<String> = device.fingerprint_sha256.iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(fingerprint.trim().ends_with(&hexadecimal.join(":")), "{fingerprint}");
}

#[test]
fn openssl_opens_the_root_key_with_the_passphrase_only() {
    only_the_passphrase_opens(encrypted());
}

#[test]
fn openssl_opens_the_root_key_with_a_passphrase_made_up_at_random() {
    only_the_passphrase_opens(RootKey::EncryptedAtRandom(Zeroizing::new(PASSPHRASE.to_owned())));
}

fn only_the_passphrase_opens(root_key: RootKey) {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca");
    Authority::create(&ca, options(root_key)).unwrap();
    fs::write(ca.join("passphrase"), PASSPHRASE).unwrap();
    fs::write(ca.join("wrong"), "incorrect horse battery").unwrap();
    let key = succeed(&ca, "pkey -in root.key.pem -passin file:passphrase -pubout");
    let certificate = succeed(&ca, "x509 -in root.pem -noout -pubkey");
    assert_eq!(key, certificate);
    assert!(!openssl(&ca, "pkey -in root.key.pem -passin file:wrong -pubout").status.success());
    // What protects it is what the code says.
    let structure = succeed(&ca, "asn1parse -in root.key.pem");
    for word in ["PBES2", "scrypt", "aes-256-cbc"] {
        assert!(structure.contains(word), "{structure}");
    }
}

#[test]
fn openssl_reads_issued_keys() {
    let (folder, authority) = authority();
    let issued = authority.issue_device(&device(), Validity::device(now())).unwrap();
    fs::write(folder.path().join("key.pem"), issued.key_pem.as_bytes()).unwrap();
    fs::write(folder.path().join("certificate.pem"), &issued.chain_pem).unwrap();
    let key = succeed(folder.path(), "pkey -in key.pem -check -pubout");
    let certificate = succeed(folder.path(), "x509 -in certificate.pem -noout -pubkey");
    assert!(key.contains(certificate.trim()), "{key}");
}

#[test]
fn requests_that_openssl_makes_are_signed() {
    let (folder, authority) = authority();
    let path = folder.path();
    for (file, key) in [
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "ed25519"),
        ("rsa", "rsa:2048"),
    ] {
        succeed(
            path,
            &format!("req -new -newkey {key} -nodes -keyout {file}.key -out {file}.csr -subj /CN=bed-17_monitor"),
        );
        let csr = fs::read_to_string(path.join(format!("{file}.csr"))).unwrap();
        let signed = authority.sign_csr(&device(), &csr, Validity::device(now())).unwrap();
        fs::write(path.join(format!("{file}.pem")), &signed.chain_pem).unwrap();
        let certified = succeed(path, &format!("x509 -in {file}.pem -noout -pubkey"));
        let own = succeed(path, &format!("pkey -in {file}.key -pubout"));
        assert_eq!(certified, own, "{file}");
        fs::write(path.join("trust.pem"), authority.trust_chain_pem()).unwrap();
        let at = now().as_second();
        succeed(path, &format!("verify -x509_strict -attime {at} -purpose sslclient -CAfile trust.pem {file}.pem"));
    }
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    let (folder, authority) = authority();
    for (key, expected) in [
        ("rsa:1024", RequestError::KeyType),
        ("ec -pkeyopt ec_paramgen_curve:P-521", RequestError::KeyType),
        ("ec -pkeyopt ec_paramgen_curve:secp256k1", RequestError::KeyType),
        ("ed448", RequestError::KeyType),
        ("rsa:2048 -sha1", RequestError::SignatureAlgorithm),
    ] {
        let arguments = format!("req -new -newkey {key} -nodes -keyout key -out csr -subj /CN=bed-17_monitor");
        succeed(folder.path(), &arguments);
        let csr = fs::read_to_string(folder.path().join("csr")).unwrap();
        match authority.sign_csr(&device(), &csr, Validity::device(now())) {
            Err(IssueError::Request(error)) => assert_eq!(error, expected, "{key}"),
            other => panic!("{key}: {other:?}"),
        }
    }
}
