//! Making a backup of a platform, running or not.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use tesaiot_store::copy_database;
use tesaiot_store::telemetry::Progress;

use super::{BackupError, BackupFile, FORMAT, MANIFEST, Manifest, Partial, copy_file, findings, hash};

/// Files of a data directory beside the databases and the authority, where there are any.
const SINGLE_FILES: [&str; 4] = ["server.pem", "server.key", "host-names", "first-start.json"];

/// Backs up the platform in `data_dir` into the new directory `out`, and checks the copy. The platform may be running:
/// it is not slowed by more than the reading, and its write-ahead log cannot shrink meanwhile.
///
/// Damage that the platform has already does not prevent a backup: it is in [`Manifest::findings`].
///
/// # Errors
/// When `out` exists, there is no platform, or something cannot be read or written. There is no `out` then.
pub fn create(data_dir: &Path, out: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Manifest, BackupError> {
    let is_there = |name: &str| data_dir.join(name).exists();
    if !is_there("telemetry.db") || !is_there("registry.db") || !is_there("ca") {
        return Err(BackupError::NoPlatform { path: data_dir.to_owned() });
    }
    if fs::symlink_metadata(out).is_ok() {
        return Err(BackupError::InTheWay { path: out.to_owned() });
    }
    let partial = Partial::begin(out)?;
    let made_at = Timestamp::now();
    // The order is that of the module's description.
    for name in ["telemetry.db", "registry.db"] {
        copy_database(&data_dir.join(name), &partial.path.join(name), progress)?;
    }
    let mut files = Vec::new();
    let authority = data_dir.join("ca");
    let copied = partial.path.join("ca");
    super::private_directory(&copied).map_err(BackupError::file("create", &copied))?;
    for entry in fs::read_dir(&authority).map_err(BackupError::file("read", &authority))? {
        let entry = entry.map_err(BackupError::file("read", &authority))?;
        let name = entry.file_name();
        // Files half written by a replacement are not part of the authority.
        if let Some(name) = name.to_str().filter(|name| !name.ends_with(".new"))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            let (bytes, sha256) = copy_file(&entry.path(), &copied.join(name))?;
            files.push(BackupFile { path: format!("ca/{name}"), bytes, sha256 });
        }
    }
    for name in SINGLE_FILES {
        let (from, to) = (data_dir.join(name), partial.path.join(name));
        match copy_file(&from, &to) {
            Ok((bytes, sha256)) => files.push(BackupFile { path: name.to_owned(), bytes, sha256 }),
            Err(BackupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let findings = findings(&partial.path, progress)?;
    // After the check: it is what was checked that is vouched for.
    for name in ["telemetry.db", "registry.db"] {
        let path = partial.path.join(name);
        let mut file = File::open(&path).map_err(BackupError::file("read", &path))?;
        let (bytes, sha256) = hash(&mut file, &path, |_| Ok(()))?;
        files.push(BackupFile { path: name.to_owned(), bytes, sha256 });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let manifest = Manifest { format: FORMAT, made_at, program: env!("CARGO_PKG_VERSION").to_owned(), files, findings };
    let path = partial.path.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::file("write", &path)(error.into()))?;
    crate::data_dir::replace(&path, &text, 0o600).map_err(BackupError::file("write", &path))?;
    File::open(&copied).and_then(|directory| directory.sync_all()).map_err(BackupError::file("write", &copied))?;
    partial.place(out)?;
    Ok(manifest)
}
