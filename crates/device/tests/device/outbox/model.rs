//! Any row of appends, sendings, confirmations, lost connections, restarts and crashes, against a model of three sets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// Gives out so many
    Send(usize),
    /// Confirms so many of those given out, the oldest given first
    Confirm(usize),
    /// A new connection
    Rewind,
    /// The program ends in good order and starts again
    Restart,
    /// The program is killed and starts again
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..60_u64).prop_map(Step::Append),
        4 => (1..60_usize).prop_map(Step::Send),
        4 => (1..60_usize).prop_map(Step::Confirm),
        1 => Just(Step::Rewind),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct Model {
    appended: BTreeSet<u64>,
    confirmed: BTreeSet<u64>,
    /// Confirmed, and a crash came before that was certainly written: may come again
    forgettable: BTreeSet<u64>,
    given: Vec<Entry>,
}

impl Model {
    fn give(&mut self, entries: Vec<Entry>) -> Result<(), TestCaseError> {
        for entry in entries {
            prop_assert!(self.appended.contains(&entry.seq), "{} was never appended", entry.seq);
            let is_again = self.given.iter().any(|given| given.seq == entry.seq);
            prop_assert!(!is_again, "{} was given out twice over one connection", entry.seq);
            let may_come = !self.confirmed.contains(&entry.seq) || self.forgettable.contains(&entry.seq);
            prop_assert!(may_come, "{} was confirmed and came again", entry.seq);
            self.given.push(entry);
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>, max_bytes: u64) -> Result<(), TestCaseError> {
    let directory = scratch();
    let start = || {
        let options = options(max_bytes, WhenFull::DropNewest);
        Outbox::open(directory.path(), options, "boot", Instant::now()).expect("an outbox")
    };
    let (mut outbox, mut model, mut next) = (start(), Model::default(), 1);
    for step in steps {
        match step {
            Step::Append(count) => {
                for _ in 0..count {
                    prop_assert!(append(&mut outbox, next));
                    model.appended.insert(next);
                    next += 1;
                }
            }
            Step::Send(count) => {
                let entries: Vec<Entry> =
                    std::iter::from_fn(|| outbox.next(Instant::now())).take(count).inspect(check).collect();
                model.give(entries)?;
            }
            Step::Confirm(count) => {
                for entry in model.given.drain(..count.min(model.given.len())) {
                    prop_assert!(outbox.confirm(entry.ticket));
                    prop_assert!(!outbox.confirm(entry.ticket), "once");
                    model.confirmed.insert(entry.seq);
                    model.forgettable.remove(&entry.seq);
                }
                outbox.maintain(Instant::now());
            }
            Step::Rewind => {
                outbox.rewind();
                model.given.clear();
            }
            Step::Restart => {
                prop_assert!(outbox.close(Instant::now()));
                outbox = start();
                prop_assert!(outbox.previous_run().expect("it ran before").is_closed);
                model.given.clear();
            }
            Step::Crash => {
                drop(outbox);
                outbox = start();
                prop_assert!(!outbox.previous_run().expect("it ran before").is_closed);
                model.forgettable = model.confirmed.clone();
                model.given.clear();
            }
        }
        let unconfirmed = model.appended.difference(&model.confirmed).count() as u64;
        let most = unconfirmed + model.forgettable.len() as u64;
        prop_assert!((unconfirmed..=most).contains(&outbox.waiting()), "{} waiting", outbox.waiting());
    }
    // In the end everything that was not confirmed comes, oldest first, and what is confirmed empties the outbox.
    outbox.rewind();
    model.given.clear();
    loop {
        let entries = rest(&mut outbox);
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            prop_assert!(outbox.confirm(entry.ticket));
        }
        let listed = numbers(&entries);
        prop_assert!(listed.is_sorted(), "{:?}", listed);
        model.give(entries)?;
    }
    let given: BTreeSet<u64> = set(&model.given);
    prop_assert!(model.appended.iter().all(|seq| model.confirmed.contains(seq) || given.contains(seq)));
    prop_assert_eq!((outbox.waiting(), outbox.status().lost_in_all()), (0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Segments of 4 KiB: every case goes over their ends.
    #[test]
    fn it_keeps_what_is_not_confirmed_and_nothing_else(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps, 1 << 18)?;
    }
}
