//! Writing a bundle.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Bundle, BundleError, BundleFile, files};
use crate::DeviceId;

impl Bundle {
    /// Takes the right to use the private key in `directory` from everyone but its owner (mode 600); does nothing where
    /// files have no mode.
    ///
    /// # Errors
    /// [`BundleError::NotWritable`]: the file is missing or belongs to somebody else.
    #[cfg_attr(not(unix), expect(unused_variables))]
    pub fn protect_key(directory: impl AsRef<Path>) -> Result<(), BundleError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = directory.as_ref().join(super::files::CLIENT_KEY);
            let changed = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
            changed.map_err(|source| BundleError::NotWritable { path, source })?;
        }
        Ok(())
    }

    /// Writes the bundle into `directory`, which is made with mode 700 when it is missing. The bundle of the same device
    /// is replaced file by file. Another device's bundle, and files of these names that belong to no bundle, are left
    /// alone, and the error says so.
    pub fn write(&self, directory: impl AsRef<Path>) -> Result<(), BundleError> {
        self.write_files(directory.as_ref(), &self.files())
    }

    /// As [`Bundle::write`], and leaves certificate and key alone: whoever holds them replaces both together.
    pub fn write_all_but_certificate(&self, directory: impl AsRef<Path>) -> Result<(), BundleError> {
        let mut files = self.files();
        files.retain(|file| ![files::CLIENT_CERTIFICATE, files::CLIENT_KEY].contains(&file.name));
        self.write_files(directory.as_ref(), &files)
    }

    /// That `directory` holds no other device's bundle, and no files of these names that belong to none.
    pub fn check_directory(&self, directory: impl AsRef<Path>) -> Result<(), BundleError> {
        check_owner(directory.as_ref(), &self.device_id, &self.files())
    }

    fn write_files(&self, directory: &Path, files: &[BundleFile]) -> Result<(), BundleError> {
        create_directory(directory).map_err(not_writable(directory))?;
        check_owner(directory, &self.device_id, files)?;
        for file in files {
            let path = directory.join(file.name);
            replace(directory, &path, file).map_err(not_writable(&path))?;
        }
        sync_directory(directory).map_err(not_writable(directory))
    }
}

fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    |source| BundleError::NotWritable { path: path.to_owned(), source }
}

/// Refuses a directory that is not this device's.
fn check_owner(directory: &Path, device_id: &DeviceId, files: &[BundleFile]) -> Result<(), BundleError> {
    match Bundle::read_device_id(directory) {
        Ok(found) if found == *device_id => Ok(()),
        Ok(found) => Err(BundleError::OtherDevice { path: directory.to_owned(), found, expected: device_id.clone() }),
        Err(BundleError::NotReadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            occupied(directory, files).map_or(Ok(()), |path| Err(BundleError::Occupied { path }))
        }
        Err(error) => Err(error),
    }
}

fn occupied(directory: &Path, files: &[BundleFile]) -> Option<PathBuf> {
    files.iter().map(|file| directory.join(file.name)).find(|path| path.symlink_metadata().is_ok())
}

/// Puts a complete file in place of `path`, or leaves it as it was.
fn replace(directory: &Path, path: &Path, file: &BundleFile) -> io::Result<()> {
    let temporary = directory.join(format!(".{}.new", file.name));
    // One that a crash left behind. It is made anew, so that its mode is ours and it is no link to somewhere else.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&temporary, file).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, file: &BundleFile) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, file.mode);
    let mut opened = options.open(path)?;
    opened.write_all(file.contents.expose().as_bytes())?;
    opened.sync_all()
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Makes the renames survive a loss of power.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
