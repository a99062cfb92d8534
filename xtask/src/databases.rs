//! The databases that the store is measured against: PostgreSQL from Debian, and TimescaleDB in a Debian of its own.
//!
//! Only the benchmark asks for them, because they are large. Nothing here starts a server or touches one of the
//! system: the benchmark starts private ones, with the programs that this names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{find_program, step, target};
use crate::packages;

/// Debian's folders of PostgreSQL, one for each major version.
const POSTGRES: &str = "/usr/lib/postgresql";
/// The release of Debian that has a package of TimescaleDB.
const RELEASE: &str = "trixie";
/// What is in the folder besides the smallest Debian.
const INCLUDED: &str = "postgresql-17,postgresql-17-timescaledb";
/// The program that shows that the folder is complete, and the library.
const COMPLETE: &[&str] =
    &["usr/lib/postgresql/17/bin/postgres", "usr/lib/postgresql/17/lib/timescaledb.so", "usr/bin/setpriv"];

/// Installs what is missing where it may; returns the variables by which the benchmark finds the databases.
/// A database that cannot be had is named with the reason, and the benchmark goes on without it.
pub(crate) fn ensure() -> Result<Vec<(&'static str, String)>> {
    let mut found = Vec::new();
    for (name, variable, path) in
        [("PostgreSQL", "TESAIOT_BENCH_POSTGRES", postgres()), ("TimescaleDB", "TESAIOT_BENCH_TIMESCALE", timescale())]
    {
        match path {
            Ok(path) => {
                eprintln!("    {name}: {}", path.display());
                found.push((variable, path.display().to_string()));
            }
            Err(error) => eprintln!("    {name}: not to be had here: {error:#}"),
        }
    }
    Ok(found)
}

/// The programs of the newest PostgreSQL on the machine, installed when there is none.
fn postgres() -> Result<PathBuf> {
    if let Some(programs) = newest_postgres() {
        return Ok(programs);
    }
    packages::install(&["postgresql-15"])?;
    newest_postgres().with_context(|| format!("installed, and yet there is nothing in {POSTGRES}"))
}

fn newest_postgres() -> Option<PathBuf> {
    let folders = fs::read_dir(POSTGRES).ok()?.filter_map(Result::ok);
    let version = |folder: &fs::DirEntry| folder.file_name().to_str()?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> = folders
        .filter_map(|folder| Some((version(&folder)?, folder.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").is_file() && programs.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs)
}

/// A folder with a small Debian that has TimescaleDB; made once, in about a minute and 700 MB.
fn timescale() -> Result<PathBuf> {
    let home = target().join("bench-peers");
    let folder = home.join(RELEASE);
    if is_complete(&folder) {
        return Ok(folder);
    }
    anyhow::ensure!(packages::is_root(), "a Debian in a folder can only be made and entered by root");
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    // Two runs in one checkout must not make the same folder at once.
    let lock = File::create(home.join("lock")).context("cannot create the lock file")?;
    lock.lock().context("cannot lock the folder")?;
    if is_complete(&folder) {
        return Ok(folder);
    }
    if find_program("debootstrap").is_none() {
        packages::install(&["debootstrap"])?;
    }
    let mirror = mirror().context("the sources of apt name no mirror of Debian")?;
    // Made beside its place and moved there when it is complete.
    let unfinished = home.join(format!("{RELEASE}.unfinished"));
    for old in [&folder, &unfinished] {
        if old.exists() {
            remove(old)?;
        }
    }
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={INCLUDED}"), RELEASE]).arg(&unfinished).arg(mirror);
    step("a Debian with TimescaleDB", &mut debootstrap)?;
    anyhow::ensure!(is_complete(&unfinished), "debootstrap succeeded, and yet TimescaleDB is not there");
    fs::rename(&unfinished, &folder).context("cannot move the folder to its place")?;
    Ok(folder)
}

fn is_complete(folder: &Path) -> bool {
    COMPLETE.iter().all(|file| folder.join(file).is_file())
}

/// Removes a folder that debootstrap left, and nothing that may still be mounted in it.
fn remove(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    let real = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let mounted = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .find(|place| Path::new(place).starts_with(&real))
        .map(str::to_owned);
    anyhow::ensure!(mounted.is_none(), "{} is still mounted: umount it", mounted.unwrap_or_default());
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The mirror that this machine installs from, out of its own sources.
fn mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().filter_map(Result::ok);
    files.extend(folder.map(|entry| entry.path()));
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| mirror_in(&text))
}

/// The first address of a Debian archive in one file of sources, of either form. Debian's own archive lies under
/// `/debian`; security updates and other vendors' archives lie elsewhere.
fn mirror_in(sources: &str) -> Option<String> {
    sources
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| {
            (word.starts_with("http://") || word.starts_with("https://"))
                && word.trim_end_matches('/').ends_with("/debian")
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn a_mirror_is_found_in_both_forms_of_sources() {
        let new = "Types: deb\n# https://snapshot.example/archive/debian\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://mirror.example/debian"));
        let old = "# deb http://commented.example/debian x main\n\
                   deb http://mirror.example/debian-security bookworm-security main\n\
                   deb [signed-by=/usr/share/k.gpg] https://mirror.example/debian/ bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("https://mirror.example/debian/"));
    }

    #[test]
    fn another_vendors_archive_is_no_mirror() {
        assert_eq!(
            mirror_in("deb https://vendor.example/apt stable main\nURIs: https://vendor.example/node_20.x\n"),
            None
        );
    }
}
