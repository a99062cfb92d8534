//! The authority's directory: modes, completeness, and what opening refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tesaiot_pki::{Authority, CreateError, OpenError, RootKey, Validity};
use zeroize::Zeroizing;

use crate::support::{authority, chain, device, encrypted, now, options};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn listing(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keys_are_private_and_certificates_are_not() {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca");
    Authority::create(&ca, options(encrypted())).unwrap();
    assert_eq!(listing(&ca), ["intermediate.key.pem", "intermediate.pem", "root.key.pem", "root.pem"]);
    assert_eq!(mode(&ca), 0o700);
    assert_eq!(mode(&ca.join("intermediate.key.pem")), 0o600);
    assert_eq!(mode(&ca.join("root.key.pem")), 0o600);
    let root_key = fs::read_to_string(ca.join("root.key.pem")).unwrap();
    assert!(root_key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert_eq!(listing(folder.path()), ["ca"]);
}

#[test]
fn an_offline_root_key_is_nowhere_else() {
    let folder = TempDir::new().unwrap();
    let (ca, offline) = (folder.path().join("ca"), folder.path().join("stick.pem"));
    Authority::create(&ca, options(RootKey::KeepOffline(offline.clone()))).unwrap();
    assert_eq!(listing(&ca), ["intermediate.key.pem", "intermediate.pem", "root.pem"]);
    assert_eq!(mode(&offline), 0o600);
    let kept = fs::read_to_string(&offline).unwrap();
    assert_ne!(kept, fs::read_to_string(ca.join("intermediate.key.pem")).unwrap());

    let again = options(RootKey::KeepOffline(offline.clone()));
    assert!(matches!(
        Authority::create(&folder.path().join("other"), again),
        Err(CreateError::OfflineKeyExists { .. })
    ));
    assert_eq!(fs::read_to_string(&offline).unwrap(), kept);
}

#[test]
fn a_reopened_authority_issues_under_the_same_root() {
    let (folder, created) = authority();
    let ca = folder.path().join("ca");
    // The root key is not needed: it is gone.
    fs::remove_file(folder.path().join("offline.pem")).unwrap();
    let opened = Authority::open(&ca).unwrap();
    assert_eq!(opened.root_der(), created.root_der());
    assert_eq!(opened.intermediate_der(), created.intermediate_der());
    assert_eq!(opened.trust_chain_pem(), created.trust_chain_pem());
    assert_eq!(opened.not_after(), created.not_after());
    let trust = chain(&opened.trust_chain_pem());
    assert_eq!(trust, [opened.intermediate_der().clone(), opened.root_der().clone()]);

    let before = created.issue_device(&device(), Validity::device(now())).unwrap();
    let after = opened.issue_device(&device(), Validity::device(now())).unwrap();
    assert_eq!(chain(&before.chain_pem)[1], chain(&after.chain_pem)[1]);
    // The issuer's name and key identifier are written byte for byte as before.
    let issuer = |pem: &str| {
        let leaf = chain(pem).remove(0);
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        leaf.issuer().as_raw().to_vec()
    };
    assert_eq!(issuer(&before.chain_pem), issuer(&after.chain_pem));
}

#[test]
fn an_authority_is_never_overwritten() {
    let (folder, _authority) = authority();
    let ca = folder.path().join("ca");
    let root = fs::read_to_string(ca.join("root.pem")).unwrap();
    assert!(matches!(Authority::create(&ca, options(encrypted())), Err(CreateError::NotEmpty { .. })));
    assert_eq!(fs::read_to_string(ca.join("root.pem")).unwrap(), root);
}

#[test]
fn a_creation_that_failed_leaves_nothing_and_can_be_repeated() {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca");
    let nowhere = RootKey::KeepOffline(folder.path().join("no/such/folder/key.pem"));
    assert!(matches!(Authority::create(&ca, options(nowhere)), Err(CreateError::Write { .. })));
    assert_eq!(listing(folder.path()), Vec::<String>::new());
    // What a crash in the middle leaves is in the way of nobody.
    fs::create_dir(folder.path().join(".ca.new")).unwrap();
    fs::write(folder.path().join(".ca.new/root.pem"), "half").unwrap();
    assert!(matches!(Authority::open(&ca), Err(OpenError::NotFound { .. })));
    fs::create_dir(&ca).unwrap();
    Authority::create(&ca, options(encrypted())).unwrap();
    Authority::open(&ca).unwrap();
    assert_eq!(listing(folder.path()), ["ca"]);
}

#[test]
fn poor_settings_are_refused() {
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca");
    for organization in ["", "  ", "a\nb", &"x".repeat(65)] {
        let mut options = options(encrypted());
        options.organization = organization.to_owned();
        assert!(matches!(Authority::create(&ca, options), Err(CreateError::InvalidOrganization)));
    }
    let short = RootKey::Encrypted(Zeroizing::new("1234567".to_owned()));
    assert!(matches!(Authority::create(&ca, options(short)), Err(CreateError::PassphraseTooShort)));
    let guessable = RootKey::EncryptedAtRandom(Zeroizing::new("correct horse".to_owned()));
    assert!(matches!(Authority::create(&ca, options(guessable)), Err(CreateError::PassphraseTooShort)));
    assert!(!ca.exists());
}

#[test]
fn a_key_that_everyone_can_read_is_refused() {
    let (folder, _authority) = authority();
    let key = folder.path().join("ca/intermediate.key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Authority::open(&folder.path().join("ca")), Err(OpenError::KeyNotPrivate { mode: 0o644, .. })));
}

#[test]
fn files_of_two_authorities_do_not_mix() {
    let ((one, _), (two, _)) = (authority(), authority());
    let (one, two) = (one.path().join("ca"), two.path().join("ca"));
    fs::copy(two.join("intermediate.key.pem"), one.join("intermediate.key.pem")).unwrap();
    assert!(matches!(Authority::open(&one), Err(OpenError::KeyMismatch)));
    fs::copy(two.join("intermediate.pem"), one.join("intermediate.pem")).unwrap();
    assert!(matches!(Authority::open(&one), Err(OpenError::ForeignIntermediate)));
    fs::copy(two.join("root.pem"), one.join("root.pem")).unwrap();
    Authority::open(&one).unwrap();
}

#[test]
fn damaged_files_are_named() {
    let (folder, _authority) = authority();
    let ca = folder.path().join("ca");
    for name in ["root.pem", "intermediate.pem", "intermediate.key.pem"] {
        let path = ca.join(name);
        let good = fs::read_to_string(&path).unwrap();
        for bad in ["", "nonsense", &good[..good.len() / 2]] {
            fs::write(&path, bad).unwrap();
            match Authority::open(&ca) {
                Err(OpenError::Malformed { path: named }) => assert_eq!(named, path),
                other => panic!("{name}: {other:?}"),
            }
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Authority::open(&ca), Err(OpenError::Read { .. })), "{name}");
        fs::write(&path, good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    Authority::open(&ca).unwrap();
}
