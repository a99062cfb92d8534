//! A backup: what a platform needs to be itself again, in one directory, taken while it runs.
//!
//! ```text
//! <backup>                mode 700, laid out as a data directory
//! ├── backup.json         what this is: format, time, program, each file with its size and SHA-256, findings
//! ├── telemetry.db        as of one moment (online backup; what is in the write-ahead log is in it)
//! ├── registry.db         as of a moment after that one: every device that has samples is known
//! ├── ca/                 copied last: whoever issued a certificate that the registry knows is there
//! └── server.pem  server.key  host-names  first-start.json
//! ```
//!
//! Not in it: `operator.json`, which every start writes anew, and lock files. It holds private keys and the readings
//! of people, and is as secret as the data directory.
//!
//! Both directions are one rename at the end: what was interrupted is called `….partial` and is no backup, and no data
//! directory.

mod create;
mod restore;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::{Corruption, Inspection, Progress};

pub use create::create;
pub use restore::{Restored, restore};

const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
/// Bytes copied at a time.
const BLOCK: usize = 256 * 1024;

/// `backup.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// When the copy of the telemetry was begun.
    pub made_at: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    /// Every file, by its path in the backup.
    pub files: Vec<BackupFile>,
    /// What was damaged in the platform already when the backup was made. The damage is in the backup too.
    pub findings: Vec<String>,
}

/// One file of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupFile {
    /// Below the backup, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no platform to back up.
    #[error("there is no platform in {path}")]
    NoPlatform {
        /// The data directory.
        path: PathBuf,
    },
    /// Something is where the backup, or what is restored, would be.
    #[error("{path} is there already")]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// The directory is no complete backup.
    #[error("{path} is not a backup: {reason}")]
    NotABackup {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the backup is not what was written into it.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What the backup was made of was damaged.
    #[error("the backup holds damaged data: {first}")]
    Findings {
        /// The first finding.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {what} {path}")]
    File {
        /// `read`, `write`, `create` or `rename to`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A database could not be copied or checked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoPlatform { .. } => "choose the platform's data directory with --data-dir",
            Self::InTheWay { .. } => "nothing is overwritten: choose another place, or move it away",
            Self::NotABackup { .. } => {
                "a backup is the whole directory that 'tesaiot backup' made; one that ends in .partial was interrupted"
            }
            Self::Damaged { .. } => "use another backup, or another copy of this one; check the disk it was on",
            Self::Findings { .. } => "use an older backup, or restore all that is readable with --accept-damage",
            Self::File { .. } => "check that this user may read and write there, and that there is space",
            Self::Store(error) => error.hint().unwrap_or("check the disk"),
        }
    }

    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// A directory under construction: removed again unless it is put in its place.
struct Partial {
    path: PathBuf,
    is_placed: bool,
}

impl Partial {
    /// Begins what will be `place`, beside it.
    fn begin(place: &Path) -> Result<Self, BackupError> {
        let mut path = place.to_owned().into_os_string();
        path.push(".partial");
        let path = PathBuf::from(path);
        match private_directory(&path) {
            Ok(()) => Ok(Self { path, is_placed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::InTheWay { path }),
            Err(error) => Err(BackupError::file("create", &path)(error)),
        }
    }

    /// Puts it in its place, for good when this returns.
    fn place(mut self, place: &Path) -> Result<(), BackupError> {
        let synced = || {
            File::open(&self.path)?.sync_all()?;
            fs::rename(&self.path, place)?;
            // A path of one component lies in the current directory.
            let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        synced().map_err(BackupError::file("rename to", place))?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_placed {
            // What is left is named for what it is.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Copies a file with its mode, and returns its size and SHA-256 once it is on disk.
fn copy_file(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    let mut source = File::open(from).map_err(BackupError::file("read", from))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let mode = source.metadata().map_err(BackupError::file("read", from))?.permissions().mode();
        options.mode(mode & 0o644);
    }
    let mut target = options.open(to).map_err(BackupError::file("create", to))?;
    let hashed = hash(&mut source, from, |block| target.write_all(block).map_err(BackupError::file("write", to)))?;
    target.sync_all().map_err(BackupError::file("write", to))?;
    Ok(hashed)
}

/// Reads all of `source`, hands out its blocks, and returns size and SHA-256.
fn hash(
    source: &mut File,
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, String), BackupError> {
    let (mut context, mut bytes, mut block) = (Context::new(&SHA256), 0, vec![0; BLOCK]);
    loop {
        let read = source.read(&mut block).map_err(BackupError::file("read", path))?;
        if read == 0 {
            break;
        }
        context.update(&block[..read]);
        each(&block[..read])?;
        bytes += read as u64;
    }
    let digest = context.finish();
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok((bytes, digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()))
}

/// Reads everything in both databases of a directory that nobody else has open, and says what is damaged.
fn findings(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Vec<String>, BackupError> {
    let databases = ["telemetry.db", "registry.db"].map(|name| directory.join(name));
    let report = Inspection::open(&databases[0])?.check(progress)?;
    let telemetry = report.corruptions.iter().map(|Corruption { what, reason }| format!("telemetry: {what}: {reason}"));
    let mut findings: Vec<String> = telemetry.collect();
    let registry = tesaiot_store::registry::check_file(&databases[1])?;
    findings.extend(registry.into_iter().map(|finding| format!("registry: {finding}")));
    // What the look left beside them is empty: nobody wrote.
    for database in databases {
        for suffix in ["-wal", "-shm"] {
            let mut path = database.clone().into_os_string();
            path.push(suffix);
            let path = PathBuf::from(path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::file("remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(findings)
}
