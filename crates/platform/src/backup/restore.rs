//! Putting a backup in place of a data directory that is not there.

use std::fs;
use std::io;
use std::path::{Component, Path};

use tesaiot_store::telemetry::Progress;
use tesaiot_store::{registry, telemetry};

use super::{BackupError, FORMAT, MANIFEST, Manifest, Partial, copy_file, findings};

/// Largest `backup.json` that is read, in bytes.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What is damaged in what was restored.
    pub findings: Vec<String>,
}

/// Restores the backup `from` as the data directory `data_dir`, which must not be there, or be empty. Every file is
/// compared with its SHA-256, and both databases are brought up to date and read completely, before anything is put in
/// place.
///
/// # Errors
/// [`BackupError::InTheWay`] for a data directory with something in it, [`BackupError::NotABackup`],
/// [`BackupError::Damaged`], and [`BackupError::Findings`] unless `accept_damage`. Nothing is in `data_dir` then.
pub fn restore(
    from: &Path,
    data_dir: &Path,
    accept_damage: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored, BackupError> {
    let manifest = manifest(from)?;
    match fs::read_dir(data_dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(BackupError::InTheWay { path: data_dir.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BackupError::file("read", data_dir)(error)),
    }
    let partial = Partial::begin(data_dir)?;
    let authority = partial.path.join("ca");
    super::private_directory(&authority).map_err(BackupError::file("create", &authority))?;
    let total = manifest.bytes();
    let mut done = 0;
    for file in &manifest.files {
        progress(Progress { what: "bytes", done, total });
        let path = from.join(&file.path);
        let (bytes, sha256) = copy_file(&path, &partial.path.join(&file.path))?;
        if bytes != file.bytes {
            return Err(BackupError::Damaged { path, reason: "it has another size than when it was made" });
        }
        if sha256 != file.sha256 {
            return Err(BackupError::Damaged { path, reason: "its contents are not what was written" });
        }
        done += bytes;
    }
    // A backup may be older than this program. The copy is ours to change; the backup stays as it is.
    telemetry::upgrade(&partial.path.join("telemetry.db"))?;
    registry::upgrade(&partial.path.join("registry.db"))?;
    let findings = findings(&partial.path, progress)?;
    if let Some(first) = findings.first()
        && !accept_damage
    {
        return Err(BackupError::Findings { first: first.clone(), count: findings.len() });
    }
    partial.place(data_dir)?;
    Ok(Restored { manifest, findings })
}

fn manifest(from: &Path) -> Result<Manifest, BackupError> {
    let refused = |reason: String| BackupError::NotABackup { path: from.to_owned(), reason };
    let path = from.join(MANIFEST);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > LARGEST_MANIFEST => return Err(refused(format!("{MANIFEST} is too large"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused(format!("it has no {MANIFEST}")));
        }
        _ => {}
    }
    let text = fs::read(&path).map_err(BackupError::file("read", &path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| refused(format!("{MANIFEST} is damaged: {error}")))?;
    if manifest.format != FORMAT {
        return Err(refused(format!("it has format {}, this program reads format {FORMAT}", manifest.format)));
    }
    // A name that leads out of the directory was not written by us.
    if let Some(file) = manifest.files.iter().find(|file| !is_plain(&file.path)) {
        return Err(refused(format!("it names the file {:?}", file.path)));
    }
    for name in ["telemetry.db", "registry.db"] {
        if !manifest.files.iter().any(|file| file.path == name) {
            return Err(refused(format!("it has no {name}")));
        }
    }
    Ok(manifest)
}

/// Whether it is a file of the directory itself or of `ca/`.
fn is_plain(path: &str) -> bool {
    let components: Vec<Component<'_>> = Path::new(path).components().collect();
    match components[..] {
        [Component::Normal(_)] => true,
        [Component::Normal(directory), Component::Normal(_)] => directory == "ca",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tesaiot_store::telemetry::Inspection;
    use tesaiot_store::{Registry, StoreError, Telemetry};

    use super::super::{create, hash};
    use super::*;

    /// Where SQLite keeps `user_version` in a file, as four bytes, the highest first.
    const USER_VERSION: usize = 60;

    /// Makes the telemetry of a backup one of another format. The tables of formats 4 and 5 are the same.
    fn set_format(backup: &Path, format: u32) {
        let path = backup.join("telemetry.db");
        let mut bytes = fs::read(&path).unwrap();
        bytes[USER_VERSION..USER_VERSION + 4].copy_from_slice(&format.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let mut manifest = manifest(backup).unwrap();
        let entry = manifest.files.iter_mut().find(|file| file.path == "telemetry.db").unwrap();
        entry.sha256 = hash(&mut fs::File::open(&path).unwrap(), &path, |_| Ok(())).unwrap().1;
        fs::write(backup.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    }

    #[test]
    fn a_backup_of_an_older_program_is_restored_and_one_of_a_newer_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let (data, backup, restored) = (place("data"), place("backup"), place("restored"));
        fs::create_dir_all(data.join("ca")).unwrap();
        drop(Telemetry::open(&data.join("telemetry.db"), Default::default()).unwrap());
        drop(Registry::open(&data.join("registry.db")).unwrap());
        create(&data, &backup, &mut |_| {}).unwrap();

        set_format(&backup, 4);
        let older = fs::read(backup.join("telemetry.db")).unwrap();
        assert!(matches!(
            Inspection::open(&backup.join("telemetry.db")),
            Err(StoreError::Outdated { found: 4, supported: 5, .. })
        ));
        for name in ["telemetry.db-wal", "telemetry.db-shm"] {
            let _ = fs::remove_file(backup.join(name));
        }
        assert_eq!(restore(&backup, &restored, false, &mut |_| {}).unwrap().findings, Vec::<String>::new());
        assert!(fs::read(backup.join("telemetry.db")).unwrap() == older, "the backup stays as it is");
        assert_eq!(Inspection::open(&restored.join("telemetry.db")).unwrap().statistics().unwrap().format, 5);
        assert!(!place("restored.partial").exists());

        set_format(&backup, 6);
        let refused = restore(&backup, &place("other"), false, &mut |_| {});
        assert!(matches!(refused, Err(BackupError::Store(StoreError::Version { found: 6, .. }))), "{refused:?}");
        assert!(!place("other").exists() && !place("other.partial").exists());
    }
}
