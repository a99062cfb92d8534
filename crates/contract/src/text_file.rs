//! Reading small files of text that may hold secrets.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Largest file that is read, in bytes: far above any chain of certificates.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The text of a small file, without a byte order mark, overwritten when dropped.
pub(crate) fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(MAX_FILE_BYTES);
    // Room for all of it, so that it does not grow and leave copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}
