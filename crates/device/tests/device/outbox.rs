//! The outbox on disk, from outside: against a naive model, cut and damaged files, killed processes, full disks.

mod damage;
mod full_disk;
mod golden;
mod kill9;
mod model;
mod policy;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use tesaiot_device::outbox::{Durability, Entry, NewMessage, Options, Outbox, WhenFull};

/// A directory for one test: in memory where there is such a file system, because thousands of syncs are not what these
/// tests are about.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).expect("a temporary directory")
}

/// What message `seq` of a run says. Lengths differ, so that records begin anywhere.
fn payload(boot: &str, seq: u64) -> Vec<u8> {
    let filler = "x".repeat((seq as usize * 7) % 40);
    format!(r#"{{"boot":"{boot}","seq":{seq},"filler":"{filler}"}}"#).into_bytes()
}

fn time(seq: u64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + seq as i64).expect("a time")
}

/// Small segments, written at once and never synced by themselves: the operating system does not lose them here.
fn options(max_bytes: u64, when_full: WhenFull) -> Options {
    let durability = Durability::Interval(std::time::Duration::from_secs(600));
    Options { durability, max_bytes, when_full, memory_bytes: 16 << 10 }
}

fn open(directory: &Path, boot: &str) -> Outbox {
    Outbox::open(directory, options(1 << 20, WhenFull::DropOldest), boot, Instant::now()).expect("an outbox")
}

fn append(outbox: &mut Outbox, seq: u64) -> bool {
    let payload = payload(outbox.boot(), seq);
    let message = NewMessage { seq, time: time(seq), topic: "device/pi-1/telemetry/room", payload: &payload };
    outbox.append(Instant::now(), &message).expect("a small message")
}

/// Everything that a new connection is given.
fn drain(outbox: &mut Outbox) -> Vec<Entry> {
    outbox.rewind();
    rest(outbox)
}

fn rest(outbox: &mut Outbox) -> Vec<Entry> {
    std::iter::from_fn(|| outbox.next(Instant::now())).inspect(check).collect()
}

/// A message comes out as it went in.
#[track_caller]
fn check(entry: &Entry) {
    assert_eq!(entry.payload, payload_of(entry), "seq {}", entry.seq);
    assert_eq!((entry.time, &*entry.topic), (time(entry.seq), "device/pi-1/telemetry/room"));
}

fn payload_of(entry: &Entry) -> Vec<u8> {
    let text = std::str::from_utf8(&entry.payload).expect("text");
    let boot = text.split('"').nth(3).expect("a boot");
    payload(boot, entry.seq)
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

fn set(entries: &[Entry]) -> BTreeSet<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// The files of an outbox whose names end so, by name.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

/// A copy of an outbox that nobody works with.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).expect("the old copy goes");
    }
    std::fs::create_dir(to).expect("a new directory");
    for file in files(from, "") {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
    }
}
