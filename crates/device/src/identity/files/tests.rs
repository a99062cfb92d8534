//! A program that is killed at any step of a renewal leaves a pair that belongs together.

use std::cell::Cell;

use tempfile::TempDir;
use tesaiot_tls::ClientIdentity;

use super::*;
use crate::identity::request::signing_request;

thread_local! {
    /// Steps until the program is as good as killed.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

pub(super) fn step() -> io::Result<()> {
    match LEFT.get().checked_sub(1) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => Err(io::Error::other("killed")),
    }
}

/// A certificate that the device's own key signs: what counts here is that the pair belongs together.
fn certificate(key: &DeviceKey) -> String {
    let pair = rcgen::KeyPair::from_pem(key.pem().expose()).unwrap();
    rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem()
}

fn plain_bundle() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let key = DeviceKey::generate().unwrap();
    let chain = certificate(&key);
    state_file::replace(&directory.path().join(KEY), key.pem().expose().as_bytes()).unwrap();
    fs::write(directory.path().join(CERTIFICATE), &chain).unwrap();
    (directory, chain)
}

/// The certificate of the bundle, which must be its key's.
fn pair(directory: &Path) -> String {
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let (chain, key) = (text(CERTIFICATE), text(KEY));
    ClientIdentity::from_pem(&chain, &key).expect("a pair");
    chain
}

fn prepare(files: &IdentityFiles) -> String {
    let pending = files.pending().unwrap();
    let chain = certificate(&pending.key);
    files.keep_certificate(&chain).unwrap();
    chain
}

#[test]
fn the_next_pair_takes_the_place_of_the_last_whatever_stops_it() {
    let mut survived = 0;
    for steps in 0.. {
        let (directory, old) = plain_bundle();
        let files = IdentityFiles::open(directory.path()).unwrap();
        let new = prepare(&files);
        LEFT.set(steps);
        let promoted = files.promote();
        LEFT.set(usize::MAX);
        let now = pair(directory.path());
        assert!(now == old || now == new, "after {steps} steps");
        survived += usize::from(now == old);
        // The next run goes on from there, to the end.
        let next = match files.pending().unwrap().chain_pem {
            Some(chain) => chain,
            None => prepare(&files),
        };
        files.promote().unwrap();
        assert_eq!(pair(directory.path()), next, "after {steps} steps");
        assert!(files.numbers().unwrap().len() <= 2, "no more than two are kept");
        if promoted.is_ok() {
            assert!(steps > 8 && survived > 4, "{steps} steps, {survived} before the moment");
            return;
        }
    }
}

#[test]
fn the_pair_before_is_kept_and_one_more_renewal_forgets_it() {
    let (directory, old) = plain_bundle();
    let files = IdentityFiles::open(directory.path()).unwrap();
    let first = prepare(&files);
    files.promote().unwrap();
    let previous = directory.path().join("identity/previous/client_cert.pem");
    assert_eq!(fs::read_to_string(&previous).unwrap(), old);
    let second = prepare(&files);
    files.promote().unwrap();
    assert_eq!((pair(directory.path()), fs::read_to_string(&previous).unwrap()), (second, first));
    // A bundle that was written over with plain files is taken over again.
    let (other, plain) = plain_bundle();
    for name in [KEY, CERTIFICATE] {
        fs::rename(other.path().join(name), directory.path().join(name)).unwrap();
    }
    let third = prepare(&files);
    files.promote().unwrap();
    assert_eq!((pair(directory.path()), fs::read_to_string(&previous).unwrap()), (third, plain));
}

#[test]
fn keys_are_the_owner_s_alone_and_one_program_s_at_a_time() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, _) = plain_bundle();
    let files = IdentityFiles::open(directory.path()).unwrap();
    let again = IdentityFiles::open(directory.path());
    assert!(matches!(again, Err(IdentityError::Busy { .. })));
    let key = files.pending().unwrap().key;
    assert_eq!(key.pem(), files.pending().unwrap().key.pem(), "a key that is there is used");
    signing_request(&tesaiot_contract::DeviceId::new("pi-1").unwrap(), &key).unwrap();
    prepare(&files);
    files.promote().unwrap();
    let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("client_key.pem"), mode("identity")), (0o600, 0o700));
    // A damaged rest of an earlier attempt is no obstacle.
    files.pending().unwrap();
    fs::write(directory.path().join("identity/pending/client_key.pem"), "half of a").unwrap();
    files.pending().unwrap();
}

#[test]
fn a_key_that_others_could_have_planted_is_not_taken() {
    use std::os::unix::fs::PermissionsExt;
    let (bundle, _) = plain_bundle();
    let files = IdentityFiles::open(bundle.path()).unwrap();
    drop(files.pending().unwrap());
    let (identity, pending) = (bundle.path().join("identity"), bundle.path().join("identity/pending"));
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, open, private) in [(&pending, 0o770, 0o700), (&pending.join(KEY), 0o640, 0o600)] {
        mode(path, open);
        assert!(matches!(files.pending(), Err(IdentityError::NotPrivate { .. })), "{}", path.display());
        mode(path, private);
    }
    files.pending().unwrap();
    let planted = bundle.path().join("planted");
    fs::rename(pending.join(KEY), &planted).unwrap();
    symlink(&planted, pending.join(KEY)).unwrap();
    assert!(matches!(files.pending(), Err(IdentityError::NotPrivate { .. })));
    drop(files);
    mode(&identity, 0o755);
    assert!(matches!(IdentityFiles::open(bundle.path()), Err(IdentityError::NotPrivate { .. })));
}
