//! What only the inside of an outbox can show: a disk that takes bytes and does not make them durable, and messages that
//! one kind of connection leaves to another.

use jiff::Timestamp;

use super::*;

fn append(outbox: &mut Outbox, seq: u64, now: Instant) {
    let message = NewMessage { seq, time: Timestamp::UNIX_EPOCH, topic: "a", payload: b"{}" };
    assert!(outbox.append(now, &message).unwrap());
}

/// Takes everything, and refuses to sync.
fn break_sync(outbox: &mut Outbox) {
    let tail = outbox.disk.as_mut().unwrap().tail.as_mut().unwrap();
    tail.file = File::options().append(true).open("/dev/null").unwrap();
    assert!(tail.file.sync_data().is_err());
}

fn open(folder: &tempfile::TempDir, durability: Durability, now: Instant) -> Outbox {
    let options = Options { durability, ..Options::default() };
    Outbox::open(folder.path(), options, "run", now).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_message_that_was_not_made_durable_is_written_again() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut outbox = open(&folder, Durability::Every, now);
    append(&mut outbox, 1, now);
    break_sync(&mut outbox);
    append(&mut outbox, 2, now);
    assert_eq!((outbox.waiting(), outbox.status().in_memory), (2, 1));
    assert!(outbox.trouble().unwrap().goes_on);
    outbox.maintain(now + RETRY[0]);
    assert_eq!((outbox.waiting(), outbox.status().in_memory), (2, 0));
    assert!(outbox.close(now), "all of it is on the disk");
    let mut outbox = open(&folder, Durability::Every, now);
    outbox.rewind();
    let numbers: Vec<u64> = std::iter::from_fn(|| outbox.next(now)).map(|entry| entry.seq).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
#[cfg(target_os = "linux")]
fn an_end_after_a_failed_sync_is_not_called_safe() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut outbox = open(&folder, Durability::Interval(Duration::from_secs(1)), now);
    append(&mut outbox, 1, now);
    break_sync(&mut outbox);
    outbox.maintain(now + Duration::from_secs(1));
    assert!(outbox.disk.as_ref().unwrap().tail.as_ref().unwrap().unsynced, "still to be done");
    assert_eq!(outbox.trouble().unwrap().operation, "sync messages");
    assert!(!outbox.close(now));
    assert!(!open(&folder, Durability::Every, now).previous_run().unwrap().is_closed);
}

#[test]
fn what_is_set_aside_holds_nothing_up_and_comes_with_the_next_connection() {
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut outbox = open(&folder, Durability::Interval(Duration::from_secs(1)), now);
    // Of as many ranges as may be unconfirmed, and more.
    for seq in 0..200 {
        append(&mut outbox, seq * 2, now);
    }
    outbox.rewind();
    let mut confirmed = 0;
    while let Some(entry) = outbox.next(now) {
        if entry.seq % 4 == 0 {
            outbox.set_aside(entry.ticket);
        } else {
            confirmed += u64::from(outbox.confirm(entry.ticket));
        }
    }
    assert_eq!((confirmed, outbox.waiting()), (100, 100));
    append(&mut outbox, 402, now);
    assert_eq!(outbox.next(now).map(|entry| entry.seq), Some(402));
    outbox.rewind();
    assert_eq!(outbox.next(now).map(|entry| entry.seq), Some(0));
}
