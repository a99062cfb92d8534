//! What was lost, until the platform was told.

use jiff::Timestamp;

/// Losses kept apart; more are told in one that spans them.
const MAX_LOSSES: usize = 64;

/// Why messages will not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// No room: the oldest went.
    DroppedOldest,
    /// No room: those that came were not taken.
    DroppedNewest,
    /// No room: all but every n-th went.
    Thinned,
    /// What was on the disk could not be read back.
    Damaged,
    /// The broker refused them.
    Refused,
}

impl LossReason {
    /// All of them, in the order of their numbers on disk.
    pub const ALL: [Self; 5] = [Self::DroppedOldest, Self::DroppedNewest, Self::Thinned, Self::Damaged, Self::Refused];

    /// The word for it in a report.
    pub fn word(self) -> &'static str {
        match self {
            Self::DroppedOldest => "drop-oldest",
            Self::DroppedNewest => "drop-newest",
            Self::Thinned => "thin",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// Messages of one run that were lost for one reason. `count` of the numbers `first_seq..=last_seq` are: all of them
/// unless they were thinned or lie too far apart to be told one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The run that made them; empty when damage hid it
    pub boot: Box<str>,
    /// Why
    pub reason: LossReason,
    /// The lowest of their sequence numbers
    pub first_seq: u64,
    /// The highest
    pub last_seq: u64,
    /// How many
    pub count: u64,
    /// When the first of them was made
    pub from: Timestamp,
    /// When the last of them was made
    pub to: Timestamp,
}

/// Losses not told yet, and how many there were of each kind since the outbox was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) losses: Vec<Loss>,
    pub(super) totals: [u64; LossReason::ALL.len()],
    /// Rises each time the losses were told
    pub(super) generation: u64,
}

impl Ledger {
    pub(super) fn add(&mut self, loss: Loss) {
        self.totals[loss.reason.index()] += loss.count;
        // Only one that goes on from an earlier one is told together with it: the numbers stay exact.
        let follows = |known: &&mut Loss| {
            let touches = match loss.reason {
                LossReason::Thinned => known.last_seq < loss.first_seq,
                _ => known.last_seq.checked_add(1) == Some(loss.first_seq),
            };
            (&known.boot, known.reason) == (&loss.boot, loss.reason) && touches
        };
        match self.losses.iter_mut().rev().find(follows) {
            Some(known) => join(known, &loss),
            None => self.losses.push(loss),
        }
        if self.losses.len() > MAX_LOSSES {
            self.shorten();
        }
    }

    /// Two of the same run and reason become one; when there are none, two of any kind do.
    fn shorten(&mut self) {
        let same = (1..self.losses.len()).find_map(|later| {
            let loss = &self.losses[later];
            let earlier = self.losses[..later]
                .iter()
                .position(|known| (&known.boot, known.reason) == (&loss.boot, loss.reason))?;
            Some((earlier, later))
        });
        let (earlier, later) = same.unwrap_or((0, 1));
        let loss = self.losses.remove(later);
        let known = &mut self.losses[earlier];
        if known.boot != loss.boot {
            known.boot = "".into();
        }
        join(known, &loss);
    }

    /// They were told.
    pub(super) fn settle(&mut self) {
        self.losses.clear();
        self.generation += 1;
    }
}

fn join(known: &mut Loss, loss: &Loss) {
    known.first_seq = known.first_seq.min(loss.first_seq);
    known.last_seq = known.last_seq.max(loss.last_seq);
    known.count = known.count.saturating_add(loss.count);
    known.from = known.from.min(loss.from);
    known.to = known.to.max(loss.to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(boot: &str, reason: LossReason, first_seq: u64, last_seq: u64) -> Loss {
        let time = Timestamp::from_second(first_seq as i64).unwrap();
        Loss { boot: boot.into(), reason, first_seq, last_seq, count: last_seq - first_seq + 1, from: time, to: time }
    }

    #[test]
    fn what_follows_is_told_together() {
        let mut ledger = Ledger::default();
        for (first, last) in [(1, 4), (5, 5), (6, 9), (20, 21)] {
            ledger.add(loss("a", LossReason::DroppedOldest, first, last));
        }
        ledger.add(loss("b", LossReason::DroppedOldest, 22, 22));
        ledger.add(loss("a", LossReason::DroppedNewest, 22, 22));
        let told: Vec<_> = ledger.losses.iter().map(|loss| (loss.first_seq, loss.last_seq, loss.count)).collect();
        assert_eq!(told, [(1, 9, 9), (20, 21, 2), (22, 22, 1), (22, 22, 1)]);
        assert_eq!(ledger.totals, [12, 1, 0, 0, 0]);
        ledger.settle();
        assert_eq!((ledger.losses.len(), ledger.generation, ledger.totals[0]), (0, 1, 12));
    }

    #[test]
    fn it_stays_short_and_counts_everything() {
        let mut ledger = Ledger::default();
        for number in 0..500 {
            let boot = format!("boot-{}", number % 100);
            ledger.add(loss(&boot, LossReason::Damaged, number * 10, number * 10 + 1));
        }
        assert_eq!(ledger.losses.len(), MAX_LOSSES);
        assert_eq!(ledger.losses.iter().map(|loss| loss.count).sum::<u64>(), 1_000);
        assert_eq!(ledger.totals[LossReason::Damaged.index()], 1_000);
    }
}
