//! Key and certificate of a bundle, replaced together.
//!
//! Two files cannot be renamed at once, so the pair is a directory, and a symbolic link says which one counts:
//!
//! ```text
//! client_cert.pem -> identity/current/client_cert.pem
//! client_key.pem  -> identity/current/client_key.pem
//! identity/                      mode 700
//! ├── lock                       held by whoever enrols or renews
//! ├── current -> 0002            the pair in use: replacing this link is the moment of a renewal
//! ├── previous -> 0001           the pair before it, to go back to
//! ├── 0001/  0002/               client_key.pem (600) and client_cert.pem
//! └── pending/                   the next pair: first its key, then its certificate
//! ```
//!
//! A bundle begins with plain files. They are taken over without a moment in which the names do not stand for a pair that
//! belongs together: copied, linked, and then replaced one by one by links to the copies. Every file is on disk before a
//! link leads to it. A crash leaves the old pair or the new one, perhaps a `pending` that is used the next time, and
//! perhaps a numbered directory that nobody uses and the next renewal removes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use tesaiot_contract::Secret;
use zeroize::Zeroizing;

use super::error::IdentityError;
use super::key::DeviceKey;
use crate::state_file;

const CERTIFICATE: &str = "client_cert.pem";
const KEY: &str = "client_key.pem";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const PENDING: &str = "pending";
/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The identity in a bundle's directory, held by one program at a time.
#[derive(Debug)]
pub(crate) struct IdentityFiles {
    bundle: PathBuf,
    identity: PathBuf,
    /// Unlocked when it is closed, however the program ends.
    _lock: File,
}

/// The next pair, as far as it is there.
pub(crate) struct Pending {
    pub(crate) key: DeviceKey,
    /// Chain in PEM, once the platform has sent it
    pub(crate) chain_pem: Option<String>,
}

impl IdentityFiles {
    /// Takes the identity of the bundle in `directory`, which must exist.
    pub(crate) fn open(directory: &Path) -> Result<Self, IdentityError> {
        let identity = directory.join("identity");
        create_directory(&identity).map_err(failed(&identity))?;
        // Whoever can write there can put a key of their own into it, and the platform would certify that.
        require_private(&identity)?;
        let path = identity.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {
                let files = Self { bundle: directory.to_owned(), identity, _lock: lock };
                files.finish().map_err(failed(directory))?;
                Ok(files)
            }
            Err(TryLockError::WouldBlock) => Err(IdentityError::Busy { path: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(&path)(source)),
        }
    }

    /// A first pair that was taken into use, and whose names a crash left out.
    fn finish(&self) -> io::Result<()> {
        let is_there = |name: &str| self.bundle.join(name).symlink_metadata().is_ok();
        if self.linked(CURRENT).is_some() && !(is_there(CERTIFICATE) && is_there(KEY)) {
            self.point()?;
        }
        Ok(())
    }

    /// The next pair: what an attempt before this one left, or a new key.
    pub(crate) fn pending(&self) -> Result<Pending, IdentityError> {
        let directory = self.identity.join(PENDING);
        for path in [&directory, &directory.join(KEY), &directory.join(CERTIFICATE)] {
            require_private(path)?;
        }
        let read = |name: &str| read(&directory.join(name));
        if let Some(text) = read(KEY)?
            && let Ok(key) = DeviceKey::from_pem(&Secret::new(text.as_str()))
        {
            return Ok(Pending { key, chain_pem: read(CERTIFICATE)?.map(|text| text.to_string()) });
        }
        self.discard_pending()?;
        self.begin(DeviceKey::generate()?)
    }

    /// Begins the next pair with this key.
    pub(crate) fn begin(&self, key: DeviceKey) -> Result<Pending, IdentityError> {
        let directory = self.identity.join(PENDING);
        self.discard_pending()?;
        create_directory(&directory).map_err(failed(&directory))?;
        let path = directory.join(KEY);
        state_file::replace(&path, key.pem().expose().as_bytes()).map_err(failed(&path))?;
        Ok(Pending { key, chain_pem: None })
    }

    /// Keeps the certificate of the next pair.
    pub(crate) fn keep_certificate(&self, chain_pem: &str) -> Result<(), IdentityError> {
        let path = self.identity.join(PENDING).join(CERTIFICATE);
        state_file::replace(&path, chain_pem.as_bytes()).map_err(failed(&path))
    }

    /// Gives the next pair up.
    pub(crate) fn discard_pending(&self) -> Result<(), IdentityError> {
        remove_directory(&self.identity.join(PENDING)).map_err(failed(&self.identity))
    }

    /// Puts the next pair in the place of the current one, which is kept.
    pub(crate) fn promote(&self) -> Result<(), IdentityError> {
        self.promote_in_steps().map_err(failed(&self.identity))
    }

    fn promote_in_steps(&self) -> io::Result<()> {
        self.prune()?;
        self.take_over()?;
        let next = self.next_number()?;
        step()?;
        state_file::rename(&self.identity.join(PENDING), &self.identity.join(&next))?;
        step()?;
        if let Some(current) = self.linked(CURRENT) {
            replace_link(&current, &self.identity.join(PREVIOUS))?;
        }
        step()?;
        replace_link(Path::new(&next), &self.identity.join(CURRENT))?;
        step()?;
        self.point()?;
        step()?;
        self.prune()
    }

    /// Makes the files of the bundle links to the current pair. Where there was none they appear now.
    fn point(&self) -> io::Result<()> {
        for name in [CERTIFICATE, KEY] {
            step()?;
            let (target, path) = (Path::new("identity").join(CURRENT).join(name), self.bundle.join(name));
            if fs::read_link(&path).ok().as_deref() != Some(&*target) {
                replace_link(&target, &path)?;
            }
        }
        Ok(())
    }

    /// Takes plain files over. The pair is the same before and after, and at every step between.
    fn take_over(&self) -> io::Result<()> {
        let is_link = |name: &str| {
            let target = fs::read_link(self.bundle.join(name)).ok();
            target == Some(Path::new("identity").join(CURRENT).join(name))
        };
        let (certificate, key) = (self.bundle.join(CERTIFICATE), self.bundle.join(KEY));
        if (is_link(CERTIFICATE) && is_link(KEY)) || !certificate.exists() || !key.exists() {
            return Ok(());
        }
        let number = self.next_number()?;
        let staging = self.identity.join(format!("{number}.new"));
        remove_directory(&staging)?;
        create_directory(&staging)?;
        for (from, name) in [(&key, KEY), (&certificate, CERTIFICATE)] {
            let text = Zeroizing::new(fs::read(from)?);
            state_file::replace(&staging.join(name), &text)?;
        }
        step()?;
        state_file::rename(&staging, &self.identity.join(&number))?;
        step()?;
        replace_link(Path::new(&number), &self.identity.join(CURRENT))?;
        self.point()
    }

    /// What a link in the identity's directory leads to, when it is there.
    fn linked(&self, name: &str) -> Option<PathBuf> {
        let target = fs::read_link(self.identity.join(name)).ok()?;
        self.identity.join(&target).is_dir().then_some(target)
    }

    fn numbers(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.identity)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.trim_end_matches(".new").parse().ok());
            found.extend(number.map(|number| (number, entry.path())));
        }
        Ok(found)
    }

    fn next_number(&self) -> io::Result<String> {
        let last = self.numbers()?.iter().map(|(number, _)| *number).max().unwrap_or(0);
        Ok(format!("{:04}", last + 1))
    }

    /// Removes pairs that no link leads to.
    fn prune(&self) -> io::Result<()> {
        let kept: Vec<PathBuf> = [CURRENT, PREVIOUS].iter().filter_map(|name| self.linked(name)).collect();
        for (_, path) in self.numbers()? {
            let is_kept = path.file_name().is_some_and(|name| kept.iter().any(|kept| kept.as_os_str() == name));
            if !is_kept {
                remove_directory(&path)?;
            }
        }
        Ok(())
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    |source| IdentityError::File { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, IdentityError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => Ok(None),
        Ok(_) => fs::read_to_string(path).map(|text| Some(Zeroizing::new(text))).map_err(failed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// That what is at `path`, if anything, is a file or directory that nobody but this user can have put there or read.
fn require_private(path: &Path) -> Result<(), IdentityError> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(failed(path))?,
    };
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    match is_ours && !metadata.is_symlink() && metadata.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(IdentityError::NotPrivate { path: path.to_owned() }),
    }
}

/// Makes a directory for its owner alone, when it is not there.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a link to `target` in the place of whatever is at `path`, in one step.
fn replace_link(target: &Path, path: &Path) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &beside)?;
    state_file::rename(&beside, path)
}

#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use tests::step;

#[cfg(test)]
mod tests;
