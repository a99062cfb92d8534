//! What goes when it is full, and that all of it is told.

use std::time::Duration;

use tesaiot_device::outbox::{Loss, LossReason};

use super::*;

fn small(directory: &Path, when_full: WhenFull) -> Outbox {
    Outbox::open(directory, options(1 << 16, when_full), "a", Instant::now()).expect("an outbox")
}

/// The numbers that some losses name, when each names all it spans.
fn told(losses: &[Loss]) -> BTreeSet<u64> {
    losses.iter().flat_map(|loss| loss.first_seq..=loss.last_seq).collect()
}

fn disk_usage(directory: &Path) -> u64 {
    let segments = [files(directory, ".segment"), files(directory, ".tail"), files(directory, ".replacement")];
    segments.concat().iter().map(|path| path.metadata().expect("a file").len()).sum()
}

#[test]
fn the_oldest_go_and_are_told_exactly() {
    let place = scratch();
    let mut outbox = small(place.path(), WhenFull::DropOldest);
    for seq in 1..=3_000 {
        assert!(append(&mut outbox, seq), "the newest is always taken");
        assert!(disk_usage(place.path()) <= 1 << 16, "{seq}");
    }
    let kept = set(&drain(&mut outbox));
    assert_eq!((kept.last(), kept.len() as u64), (Some(&3_000), outbox.waiting()));
    assert!(kept.len() > 500, "{}", kept.len());
    let lost = told(outbox.losses());
    assert_eq!(outbox.losses().len(), 1, "one range: {:?}", outbox.losses());
    assert!(lost.is_disjoint(&kept) && lost.len() + kept.len() == 3_000);
    assert_eq!(outbox.losses()[0].reason, LossReason::DroppedOldest);
    // A crash forgets nothing of it.
    drop(outbox);
    let mut outbox = small(place.path(), WhenFull::DropOldest);
    assert_eq!(told(outbox.losses()), lost);
    assert_eq!(set(&drain(&mut outbox)), kept);
}

#[test]
fn the_newest_are_not_taken_and_are_told_exactly() {
    let place = scratch();
    let mut outbox = small(place.path(), WhenFull::DropNewest);
    let kept = (1..=3_000).filter(|&seq| append(&mut outbox, seq)).count() as u64;
    assert!((500..3_000).contains(&kept), "{kept}");
    assert_eq!(numbers(&drain(&mut outbox)), (1..=kept).collect::<Vec<_>>());
    assert_eq!(told(outbox.losses()), (kept + 1..=3_000).collect());
    assert!(outbox.close(Instant::now()));
    let mut outbox = small(place.path(), WhenFull::DropNewest);
    assert_eq!(told(outbox.losses()), (kept + 1..=3_000).collect());
    // Once some arrived there is room again.
    for entry in &drain(&mut outbox)[..400] {
        outbox.confirm(entry.ticket);
    }
    assert!(append(&mut outbox, 3_001));
}

#[test]
fn thinning_keeps_a_long_outage_from_end_to_end() {
    let place = scratch();
    let mut outbox = small(place.path(), WhenFull::Thin { keep_every: 2 });
    for seq in 1..=20_000 {
        assert!(append(&mut outbox, seq));
        if seq % 500 == 0 {
            assert!(disk_usage(place.path()) <= 1 << 16, "{seq}");
        }
    }
    let mut kept = Vec::new();
    loop {
        let entries = rest(&mut outbox);
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            assert!(outbox.confirm(entry.ticket));
            kept.push(entry.seq);
        }
    }
    assert!(kept.is_sorted_by(|left, right| left < right), "in order, none twice");
    assert!(kept.len() > 300, "{}", kept.len());
    let lost: u64 = outbox.losses().iter().map(|loss| loss.count).sum();
    assert_eq!(lost + kept.len() as u64, 20_000);
    assert_eq!(outbox.status().lost[LossReason::Thinned as usize], lost, "nothing was dropped: {:?}", outbox.status());
    let quarter = |from: u64| kept.iter().filter(|seq| (from..from + 5_000).contains(*seq)).count();
    let quarters = [quarter(1), quarter(5_001), quarter(10_001), quarter(15_001)];
    assert!(quarters[..3].iter().all(|&count| count >= 50), "every part of the outage is there: {quarters:?}");
    assert!(quarters[3] > quarters[0], "the newest in more detail: {quarters:?}");
    assert_eq!(kept.last(), Some(&20_000));
}

#[test]
fn what_is_on_its_way_is_not_given_up() {
    let place = scratch();
    let mut outbox = small(place.path(), WhenFull::DropOldest);
    for seq in 1..=100 {
        append(&mut outbox, seq);
    }
    outbox.rewind();
    let on_their_way: Vec<Entry> = std::iter::from_fn(|| outbox.next(Instant::now())).take(5).collect();
    for seq in 101..=3_000 {
        append(&mut outbox, seq);
    }
    let lost = told(outbox.losses());
    assert!(!lost.is_empty() && on_their_way.iter().all(|entry| !lost.contains(&entry.seq)), "{lost:?}");
    assert!(on_their_way.iter().all(|entry| outbox.confirm(entry.ticket)));
}

#[test]
fn a_report_settles_the_losses_once_also_when_the_state_was_not_written() {
    let place = scratch();
    let report = |outbox: &mut Outbox, seq| {
        let payload = payload("a", seq);
        let message = NewMessage { seq, time: time(seq), topic: "device/pi-1/telemetry/room", payload: &payload };
        outbox.append_report(Instant::now(), &message).unwrap()
    };
    let mut outbox = small(place.path(), WhenFull::DropNewest);
    let kept = (1..=1_000).filter(|&seq| append(&mut outbox, seq)).count();
    assert!(!report(&mut outbox, 1_001), "no room for it: they stay to be told");
    assert!(!outbox.losses().is_empty());
    for entry in drain(&mut outbox) {
        outbox.confirm(entry.ticket);
    }
    outbox.maintain(Instant::now() + Duration::from_secs(600));
    let state = std::fs::read(place.path().join("state")).unwrap();
    assert!(report(&mut outbox, 1_002));
    assert_eq!((outbox.losses(), outbox.status().lost_in_all()), (&[][..], 1_000 - kept as u64));
    drop(outbox);
    // The report is in the tail; the state is the one from before.
    std::fs::write(place.path().join("state"), state).unwrap();
    let mut outbox = small(place.path(), WhenFull::DropNewest);
    assert_eq!(outbox.losses(), []);
    assert!(numbers(&drain(&mut outbox)).contains(&1_002));
}

#[test]
fn in_memory_alone_the_same_rules_hold() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Thin { keep_every: 3 }] {
        let place = scratch();
        let options = Options { durability: Durability::Memory, ..options(1 << 16, when_full) };
        let mut outbox = Outbox::open(place.path(), options, "a", Instant::now()).unwrap();
        outbox.rewind();
        for seq in 1..=2_000 {
            append(&mut outbox, seq);
        }
        let mut given = 0;
        loop {
            let entries = rest(&mut outbox);
            if entries.is_empty() {
                break;
            }
            given += entries.len() as u64;
            assert!(entries.iter().all(|entry| outbox.confirm(entry.ticket)));
        }
        assert!(given > 100, "{when_full}: {given}");
        assert_eq!(given + outbox.status().lost_in_all(), 2_000, "{when_full}");
        assert_eq!(outbox.waiting(), 0, "{when_full}");
        assert_eq!(files(place.path(), "").len(), 0, "the disk is not touched");
    }
}

#[test]
fn live_messages_take_turns_with_a_backlog_and_come_in_order() {
    let place = scratch();
    let mut outbox = open(place.path(), "a");
    for seq in 1..=1_000 {
        append(&mut outbox, seq);
    }
    outbox.rewind();
    let mut given = Vec::new();
    for seq in 1_001..=1_100 {
        append(&mut outbox, seq);
        given.extend((0..4).filter_map(|_| outbox.next(Instant::now())));
    }
    let live = |entry: &&Entry| entry.seq > 1_000;
    assert!(given.iter().take(8).any(|entry| entry.seq == 1_001), "at once, not after the backlog");
    assert_eq!(given.iter().filter(live).count(), 100);
    let (live, old): (Vec<u64>, Vec<u64>) = numbers(&given).into_iter().partition(|&seq| seq > 1_000);
    assert!(live.is_sorted() && old.is_sorted() && old.len() == 300);
    for entry in &given {
        assert!(outbox.confirm(entry.ticket));
    }
    let others = numbers(&rest(&mut outbox));
    assert_eq!(others, (301..=1_000).collect::<Vec<_>>());
}

#[test]
fn no_more_is_unconfirmed_than_a_platform_can_tell_apart() {
    let place = scratch();
    // A device that restarted twenty times while it was offline.
    for run in 0..20 {
        let mut outbox = open(place.path(), &format!("run-{run}"));
        append(&mut outbox, 1);
        append(&mut outbox, 2);
    }
    let mut outbox = open(place.path(), "now");
    outbox.rewind();
    let mut runs = BTreeSet::new();
    while outbox.waiting() > 0 {
        let given = rest(&mut outbox);
        let boots: BTreeSet<String> = given.iter().map(|entry| entry.boot.to_string()).collect();
        assert!((1..=6).contains(&boots.len()), "{boots:?}");
        runs.extend(boots);
        for entry in given {
            outbox.confirm(entry.ticket);
        }
    }
    assert_eq!(runs.len(), 20);
}

#[test]
fn a_report_for_which_room_must_be_made_is_not_kept_and_tells_nothing_twice() {
    for durability in [Durability::Memory, Durability::Interval(Duration::from_secs(600))] {
        let place = scratch();
        let options = Options { durability, ..options(1 << 16, WhenFull::Thin { keep_every: 2 }) };
        let mut outbox = Outbox::open(place.path(), options, "a", Instant::now()).unwrap();
        let (mut seq, mut told, mut refused) = (0, 0, 0);
        for _ in 0..3_000 {
            seq += 1;
            append(&mut outbox, seq);
            let losses: u64 = outbox.losses().iter().map(|loss| loss.count).sum();
            if losses == 0 {
                continue;
            }
            // Large: room must be made for it.
            let text = vec![b'x'; 8_000];
            let message =
                NewMessage { seq: seq + 1, time: time(seq + 1), topic: "device/pi-1/telemetry/room", payload: &text };
            match outbox.append_report(Instant::now(), &message).unwrap() {
                true => (seq, told) = (seq + 1, told + losses),
                false => refused += 1,
            }
        }
        told += outbox.losses().iter().map(|loss| loss.count).sum::<u64>();
        assert!(refused > 0, "room had to be made for some");
        assert_eq!((told, told + outbox.waiting()), (outbox.status().lost_in_all(), seq), "{durability}");
    }
}

#[test]
fn what_a_broker_holds_is_not_given_out_again_until_it_is_asked_for() {
    let place = scratch();
    let mut outbox = small(place.path(), WhenFull::DropOldest);
    for seq in 1..=200 {
        assert!(append(&mut outbox, seq));
    }
    let given: Vec<_> = std::iter::from_fn(|| outbox.next(Instant::now())).collect();
    for entry in given.iter().filter(|entry| entry.seq <= 40) {
        outbox.confirm(entry.ticket);
    }
    let held: Vec<_> = given.iter().filter(|entry| (41..=150).contains(&entry.seq)).map(|entry| entry.ticket).collect();
    outbox.rewind();
    outbox.hold(held.iter().copied());
    assert!(append(&mut outbox, 201));
    let rest: Vec<_> = std::iter::from_fn(|| outbox.next(Instant::now())).collect();
    assert_eq!(set(&rest), (151..=201).collect());
    // The broker lost some of them, and they are the next.
    outbox.give_again(&held[10..20]);
    assert!(append(&mut outbox, 202));
    let again: Vec<_> = std::iter::from_fn(|| outbox.next(Instant::now())).collect();
    assert_eq!(numbers(&again), [202].into_iter().chain(51..=60).collect::<Vec<_>>(), "in turns with what is new");
    for entry in rest.iter().chain(&again) {
        assert!(outbox.confirm(entry.ticket), "{}", entry.seq);
    }
    for ticket in held[..10].iter().chain(&held[20..]) {
        assert!(outbox.confirm(*ticket));
    }
    assert_eq!((outbox.waiting(), outbox.lost_in_all()), (0, 0), "{:?}", outbox.losses());
}
