//! Files cut and changed at every offset: what is whole is given out, what is not is counted, and nothing fails.

use super::*;

/// An outbox that was killed: closed segments, a tail, some messages confirmed.
fn scene(directory: &Path, count: u64, confirmed: usize) {
    let mut outbox = Outbox::open(directory, options(1 << 17, WhenFull::DropOldest), "a", Instant::now()).unwrap();
    for seq in 1..=count {
        assert!(append(&mut outbox, seq));
    }
    let entries = drain(&mut outbox);
    for entry in &entries[..confirmed] {
        assert!(outbox.confirm(entry.ticket));
    }
    // The state is on disk; the outbox is not closed.
    outbox.maintain(Instant::now() + std::time::Duration::from_secs(3600));
}

fn reopen(directory: &Path) -> Outbox {
    Outbox::open(directory, options(1 << 17, WhenFull::DropOldest), "b", Instant::now()).expect("it opens")
}

#[test]
fn a_tail_cut_at_every_offset_loses_what_was_cut() {
    let place = scratch();
    let (whole, cut) = (place.path().join("whole"), place.path().join("cut"));
    scene(&whole, 12, 0);
    let tail = files(&whole, ".tail").remove(0);
    let bytes = std::fs::read(&tail).unwrap();
    let mut lengths = BTreeSet::new();
    for length in 0..=bytes.len() {
        copy(&whole, &cut);
        std::fs::write(cut.join(tail.file_name().unwrap()), &bytes[..length]).unwrap();
        let mut outbox = reopen(&cut);
        let given = numbers(&drain(&mut outbox));
        // A message is there exactly when its last byte is.
        let whole_ones = (1..=12).filter(|&seq| {
            let text = payload("a", seq);
            bytes.windows(text.len()).position(|window| window == text).unwrap() + text.len() <= length
        });
        assert_eq!(given, whole_ones.collect::<Vec<_>>(), "cut to {length} bytes");
        lengths.insert(given.len());
        // Life goes on behind it.
        for seq in 101..=103 {
            assert!(append(&mut outbox, seq));
        }
        assert_eq!(numbers(&drain(&mut outbox)), [given, vec![101, 102, 103]].concat());
        assert!(!outbox.previous_run().unwrap().is_closed);
    }
    assert_eq!(lengths.len(), 13, "every number of messages occurred");
}

#[test]
fn a_flipped_bit_costs_one_message_and_it_is_counted() {
    let place = scratch();
    let (whole, changed) = (place.path().join("whole"), place.path().join("changed"));
    scene(&whole, 60, 3);
    let names = [files(&whole, ".segment").remove(0), files(&whole, ".tail").remove(0)];
    let expected: Vec<u64> = (4..=60).collect();
    for (path, step) in names.iter().zip([7, 1]) {
        let bytes = std::fs::read(path).unwrap();
        for offset in (0..bytes.len()).step_by(step) {
            copy(&whole, &changed);
            let mut flipped = bytes.clone();
            flipped[offset] ^= 1 << (offset % 8);
            std::fs::write(changed.join(path.file_name().unwrap()), &flipped).unwrap();
            let mut outbox = reopen(&changed);
            let given = numbers(&drain(&mut outbox));
            let missing: Vec<u64> = expected.iter().copied().filter(|seq| !given.contains(seq)).collect();
            assert!(given.iter().all(|seq| expected.contains(seq)) && given.is_sorted(), "{offset}: {given:?}");
            assert!(missing.len() <= 1, "{offset}: {missing:?} are missing");
            let counted: u64 = outbox.losses().iter().map(|loss| loss.count).sum();
            // The last record of a tail that is not whole cannot be told from one that was being written.
            if missing != [60] {
                assert_eq!(counted, missing.len() as u64, "{offset}");
                let told: Vec<u64> = outbox.losses().iter().map(|loss| loss.first_seq).collect();
                assert_eq!(told, missing, "{offset}: {:?}", outbox.losses());
            }
            for entry in drain(&mut outbox) {
                assert!(outbox.confirm(entry.ticket));
            }
            assert_eq!(outbox.waiting(), 0, "{offset}");
        }
    }
}

#[test]
fn a_closed_segment_that_was_cut_or_is_gone_is_counted() {
    let place = scratch();
    let (whole, cut) = (place.path().join("whole"), place.path().join("cut"));
    scene(&whole, 200, 0);
    let path = files(&whole, ".segment").remove(1);
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(13) {
        copy(&whole, &cut);
        std::fs::write(cut.join(path.file_name().unwrap()), &bytes[..length]).unwrap();
        let mut outbox = reopen(&cut);
        let given = set(&drain(&mut outbox));
        let lost: BTreeSet<u64> = outbox.losses().iter().flat_map(|loss| loss.first_seq..=loss.last_seq).collect();
        assert_eq!(outbox.status().lost_in_all(), 200 - given.len() as u64, "cut to {length}");
        if length > 200 {
            let missing: BTreeSet<u64> = (1..=200).filter(|seq| !given.contains(seq)).collect();
            assert_eq!(lost, missing, "cut to {length}");
        }
    }
    // A file that is gone while it is being read: the rest is given out, and it is counted.
    copy(&whole, &cut);
    let mut outbox = reopen(&cut);
    outbox.rewind();
    std::fs::remove_file(cut.join(path.file_name().unwrap())).unwrap();
    let mut now = Instant::now();
    let mut given = BTreeSet::new();
    for _ in 0..10 {
        given.extend(std::iter::from_fn(|| outbox.next(now)).map(|entry| entry.seq));
        now += std::time::Duration::from_secs(2);
    }
    assert!(outbox.status().lost_in_all() > 5);
    assert_eq!(given.len() as u64 + outbox.status().lost_in_all(), 200);
    assert_eq!(outbox.status().trouble.unwrap().kind, std::io::ErrorKind::NotFound);
}

#[test]
fn a_damaged_state_makes_it_send_again_and_never_forget() {
    let place = scratch();
    let (whole, changed) = (place.path().join("whole"), place.path().join("changed"));
    scene(&whole, 30, 10);
    let bytes = std::fs::read(whole.join("state")).unwrap();
    // Both slots, as far as they are written, and then some.
    let offsets = (0..200).chain(32 * 1024..32 * 1024 + 200);
    for offset in offsets {
        copy(&whole, &changed);
        let mut flipped = bytes.clone();
        flipped[offset] ^= 0x10;
        std::fs::write(changed.join("state"), &flipped).unwrap();
        let given = numbers(&drain(&mut reopen(&changed)));
        assert!((11..=30).all(|seq| given.contains(&seq)), "{offset}: {given:?}");
    }
    for length in [0, 1, 100, 32 * 1024, 32 * 1024 + 20, 60_000] {
        copy(&whole, &changed);
        std::fs::write(changed.join("state"), &bytes[..length]).unwrap();
        let mut outbox = reopen(&changed);
        let given = numbers(&drain(&mut outbox));
        assert!((11..=30).all(|seq| given.contains(&seq)), "{length}: {given:?}");
        // Numbers start above everything that is there, whatever the state forgot.
        assert!(append(&mut outbox, 31));
        assert_eq!(numbers(&drain(&mut outbox)).last(), Some(&31));
    }
}

#[test]
fn two_processes_do_not_share_one() {
    let place = scratch();
    let first = open(place.path(), "a");
    let second = Outbox::open(place.path(), Options::default(), "b", Instant::now());
    assert!(matches!(second, Err(tesaiot_device::outbox::OutboxError::InUse { .. })), "{second:?}");
    drop(first);
    open(place.path(), "b");
}
