//! A disk that is really full: a small tmpfs of its own, in a mount namespace.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output};
use std::time::Duration;

use super::*;

/// Set for the child, to the mount point of its small disk.
const DISK: &str = "TESAIOT_OUTBOX_SMALL_DISK";

/// Runs where the disk is small; does nothing elsewhere.
#[test]
fn child() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else { return };
    let filler = disk.join("filler");
    let directory = disk.join("outbox");
    let mut now = Instant::now();
    let options = Options { durability: Durability::Every, ..options(1 << 20, WhenFull::DropOldest) };
    let mut outbox = Outbox::open(&directory, options, "a", now).unwrap();
    let mut seq = 0;
    let mut next = |outbox: &mut Outbox| {
        seq += 1;
        assert!(append(outbox, seq));
        seq
    };
    for round in 0..5 {
        for _ in 0..200 {
            next(&mut outbox);
        }
        fill_up(&filler);
        let status = loop {
            next(&mut outbox);
            let status = outbox.status();
            if status.in_memory > 0 {
                break status;
            }
        };
        let trouble = status.trouble.expect("it says so");
        assert_eq!((trouble.kind, trouble.goes_on), (std::io::ErrorKind::StorageFull, true), "round {round}");
        // It goes on in memory, and what it has can be sent and confirmed.
        for _ in 0..20 {
            next(&mut outbox);
        }
        now += Duration::from_secs(40);
        outbox.maintain(now);
        assert!(outbox.status().trouble.unwrap().goes_on, "still full; round {round}");
        let given = drain(&mut outbox);
        assert_eq!(given.len() as u64, outbox.waiting(), "round {round}");
        for entry in &given[..given.len() / 2] {
            assert!(outbox.confirm(entry.ticket));
        }
        outbox.rewind();
        std::fs::remove_file(&filler).unwrap();
        // By itself, once there is room.
        now += Duration::from_secs(40);
        outbox.maintain(now);
        assert_eq!((outbox.status().in_memory, outbox.status().trouble.unwrap().goes_on), (0, false), "round {round}");
        let waiting = set(&drain(&mut outbox));
        assert_eq!(waiting.len() as u64, outbox.waiting());
        if round % 2 == 0 {
            // Killed.
            drop(outbox);
            outbox = Outbox::open(&directory, options, "a", now).unwrap();
            assert!(waiting.is_subset(&set(&drain(&mut outbox))), "round {round}");
        }
        assert_eq!(outbox.status().lost_in_all(), 0);
    }
    let status = outbox.status();
    assert!(status.delivered + status.waiting >= seq);
    println!("kept through a full disk: {seq} messages");
}

/// Memory is bounded too: then the policy says who goes, and it is counted.
#[test]
fn memory_is_bounded_while_the_disk_fails() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("outbox");
    let mut outbox = Outbox::open(&directory, options(1 << 20, WhenFull::DropOldest), "a", Instant::now()).unwrap();
    append(&mut outbox, 1);
    // No directory, no segment: as a disk that was pulled out. The tail stays writable until it is full.
    std::fs::remove_dir_all(&directory).unwrap();
    for seq in 2..=3_000 {
        assert!(append(&mut outbox, seq));
    }
    let status = outbox.status();
    assert!(status.trouble.as_ref().unwrap().goes_on && status.in_memory > 50, "{status:?}");
    assert!(status.in_memory * 128 <= 16 << 10, "{status:?}");
    assert!(status.lost_in_all() > 1_000, "{status:?}");
    assert!(!outbox.close(Instant::now()), "what is in memory alone is gone, and the caller is told");
}

fn fill_up(filler: &Path) {
    let mut file = File::create(filler).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_waited_out_in_memory() {
    let Some(flags) = namespace() else { return };
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@""#;
    let output = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "outbox::full_disk::child", "--nocapture", "--test-threads=1"])
        .env(DISK, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("kept through a full disk"), "{}", said(&output));
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
    assert!(!(user.stdout.trim_ascii() == b"0" && build_machine), "root may not mount a small file system: {refusals}");
    eprintln!("skipped: this user may not mount a small file system ({refusals})");
    None
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
