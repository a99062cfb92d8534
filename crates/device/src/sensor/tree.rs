//! The files in which Linux shows its devices, below a root that tests and containers choose.

use std::fs;
use std::path::{Path, PathBuf};

use super::SensorError;

/// A value of the kernel is a word or a short table; more is another file.
const MOST_BYTES: u64 = 256 * 1024;

/// A file system with `/sys` and `/proc`.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Default for Tree {
    /// This machine's.
    fn default() -> Self {
        Self::new("/")
    }
}

impl Tree {
    /// `root` is what `/` is otherwise: a container mounts the machine's files elsewhere.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `path` without its leading slash, below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The names in a folder, sorted; none when there is no such folder.
    pub(crate) fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }
}

/// The whole file, without the white space around it.
pub(crate) fn text(path: &Path) -> Result<String, SensorError> {
    use std::io::Read;
    let read = |path: &Path| {
        let mut text = String::new();
        fs::File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    };
    read(path).map_err(|source| SensorError::Read { path: path.to_owned(), source })
}

/// The number a file holds.
pub(crate) fn number(path: &Path) -> Result<f64, SensorError> {
    let text = text(path)?;
    // IIO prints some scales as "0.000610351 dB" or as a list; the number comes first.
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| SensorError::Content { path: path.to_owned(), expected: "number" })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A tree in a temporary folder.
    pub(crate) struct FakeTree {
        folder: tempfile::TempDir,
    }

    impl FakeTree {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let tree = Self { folder: tempfile::tempdir().unwrap() };
            for (path, text) in files {
                tree.write(path, text);
            }
            tree
        }

        pub(crate) fn write(&self, path: &str, text: &str) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(crate) fn remove(&self, path: &str) {
            let path = self.folder.path().join(path);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }

        pub(crate) fn tree(&self) -> Tree {
            Tree::new(self.folder.path())
        }
    }

    /// `name value unit` of each metric.
    pub(crate) fn lines(sample: &tesaiot_contract::Sample) -> Vec<String> {
        let line = |metric: &tesaiot_contract::Metric| {
            let value = match &metric.value {
                tesaiot_contract::Value::Text(text) => text.to_string(),
                tesaiot_contract::Value::Bool(truth) => truth.to_string(),
                other => other.number().unwrap().to_string(),
            };
            format!("{} {value} {}", metric.name, metric.unit.as_deref().unwrap_or("-"))
        };
        sample.metrics.iter().map(line).collect()
    }
}
