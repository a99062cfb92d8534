//! A disk that is really full: a small tmpfs of its own, in a mount namespace.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tesaiot_store::telemetry::{Entry, Inspection, Options};
use tesaiot_store::{StoreError, Telemetry};

use super::scene::{letter, message, sample, served};

/// Set for the child, to the mount point of its small disk.
const DISK: &str = "TESAIOT_STORE_SMALL_DISK";

/// Runs where the disk is small; does nothing elsewhere.
#[test]
fn child() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else {
        return;
    };
    let path = disk.join("telemetry.db");
    let filler = disk.join("filler");
    let options = || Options { write_ahead_log_bytes: 200_000, chunk_samples: 50, ..Options::default() };
    let (mut telemetry, mut appender) = Telemetry::open(&path, options()).unwrap();
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        vec![sample(0, seq), sample(1, seq), message(0, seq), letter(1, seq)]
    };
    for _ in 0..200 {
        appender.append(&next()).unwrap();
        appender.maintain().unwrap();
    }
    for round in 0..5 {
        fill_up(&filler);
        // What SQLite has reserved already still takes some.
        let refused: Vec<Entry> = loop {
            let entries = next();
            match appender.append(&entries) {
                Ok(_) => {}
                Err(StoreError::Full { .. }) => break entries,
                Err(error) => panic!("round {round}: {error:?}"),
            }
            match appender.maintain() {
                Ok(_) | Err(StoreError::Full { .. }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        };
        let before = served(&telemetry).unwrap();
        for _ in 0..10 {
            assert!(matches!(appender.append(&refused), Err(StoreError::Full { .. })), "round {round}");
            assert_eq!(served(&telemetry).unwrap(), before, "reads go on; round {round}");
        }
        if round == 3 {
            // The process ends while the disk is full, and starts again while it still is.
            drop((telemetry, appender));
            (telemetry, appender) = match Telemetry::open(&path, options()) {
                Ok(open) => open,
                Err(error) => {
                    assert!(matches!(error, StoreError::Full { .. }), "round {round}: {error:?}");
                    std::fs::remove_file(&filler).unwrap();
                    Telemetry::open(&path, options()).unwrap()
                }
            };
            assert_eq!(served(&telemetry).unwrap(), before, "everything is there again; round {round}");
        }
        let _ = std::fs::remove_file(&filler);
        // By itself, with the same append that was refused.
        appender.append(&refused).unwrap();
        while appender.maintain().unwrap().more {}
        assert_eq!(served(&telemetry).unwrap().values().max(), Some(&1), "nothing is there twice; round {round}");
        assert!(telemetry.check().unwrap().is_sound(), "round {round}");
    }
    appender.close().unwrap();
    drop(telemetry);
    assert!(Inspection::open(&path).unwrap().check(&mut |_| {}).unwrap().is_sound());
    println!("stored through a full disk: {seq} appends");
}

fn fill_up(filler: &Path) {
    let mut file = File::create(filler).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_appends_and_nothing_else() {
    let Some(flags) = namespace() else { return };
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@""#;
    let output = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full_disk::child", "--nocapture", "--test-threads=1"])
        .env(DISK, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("stored through a full disk"), "{}", said(&output));
}

/// How to get a namespace where mounting is allowed; `None`, with the reason printed, where the system forbids it. On a
/// build machine whose user is root that is a failure: a test that is never run tells nothing.
fn namespace() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    let directory = tempfile::tempdir().unwrap();
    let mut refusals = String::new();
    for flags in ways {
        let tried =
            Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(directory.path()).output();
        match tried {
            Ok(output) if output.status.success() => return Some(flags),
            Ok(output) => refusals = said(&output),
            Err(error) => refusals = error.to_string(),
        }
    }
    let build_machine = std::env::var("CI").is_ok_and(|value| value == "true");
    let user = Command::new("id").arg("-u").output().unwrap();
    let is_root = user.stdout.trim_ascii() == b"0";
    assert!(!(is_root && build_machine), "root may not mount a small file system here: {refusals}");
    eprintln!("skipped: this user may not mount a small file system ({refusals})");
    None
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
