//! What was received of a device by its own numbering: the memory that makes a redelivered
//! sample a duplicate (the wire contract, section 5).
//!
//! It is bounded whatever a device sends, and when it must forget it forgets towards "not seen":
//! a sample may then be stored twice, but one that might be new is never dropped.

use tesaiot_contract::telemetry::MessageId;

use super::codec::{Malformed, Reader, Writer};
use super::query::BootGaps;

/// Runs of a device that are remembered; the one that was silent longest is forgotten.
const MAXIMUM_BOOTS: usize = 8;
/// Ranges of sequence numbers remembered for a run; the lowest is forgotten.
const MAXIMUM_RANGES: usize = 64;
/// A longer boot name is not remembered, so it never makes a duplicate.
const MAXIMUM_BOOT_BYTES: usize = 128;

/// The cursor of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// The run that was heard of last comes last.
    boots: Vec<Boot>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    name: Box<str>,
    /// Inclusive, rising, and neither touching nor overlapping. Never empty.
    ranges: Vec<(u64, u64)>,
}

/// Whether the id can identify a message. A sequence number without a boot starts again with
/// each run of the device, so equal numbers do not mean equal messages.
pub(super) fn identifies(id: &MessageId) -> bool {
    !id.boot.is_empty() && id.boot.len() <= MAXIMUM_BOOT_BYTES
}

impl Cursor {
    /// Whether this message is known to be stored.
    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.boots.iter().rev().find(|boot| boot.name == id.boot).is_some_and(|boot| boot.contains(id.seq))
    }

    /// Remembers a message that is stored.
    pub(super) fn insert(&mut self, id: &MessageId) {
        if !identifies(id) {
            return;
        }
        match self.boots.iter().rposition(|boot| boot.name == id.boot) {
            Some(place) => {
                self.boots[place].insert(id.seq);
                self.boots[place..].rotate_left(1);
            }
            None => {
                if self.boots.len() >= MAXIMUM_BOOTS {
                    self.boots.remove(0);
                }
                self.boots.push(Boot { name: id.boot.clone(), ranges: vec![(id.seq, id.seq)] });
            }
        }
    }

    /// What is missing, run by run, the one heard of last at the end.
    pub(super) fn gaps(&self) -> Vec<BootGaps> {
        self.boots.iter().map(Boot::gaps).collect()
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.length(self.boots.len());
        for boot in &self.boots {
            writer.text(&boot.name);
            writer.length(boot.ranges.len());
            let mut previous = 0;
            for &(first, last) in &boot.ranges {
                writer.unsigned(first - previous);
                writer.unsigned(last - first);
                previous = last;
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let overflow = Malformed("a range of sequence numbers is too large");
        let mut boots = Vec::new();
        for _ in 0..reader.count()? {
            let name = reader.text()?.into();
            let mut ranges = Vec::new();
            let mut previous = 0_u64;
            for _ in 0..reader.count()? {
                let distance = reader.unsigned()?;
                // What is between two ranges is a gap: they rise, and do not touch.
                if !ranges.is_empty() && distance < 2 {
                    return Err(Malformed("two ranges of sequence numbers touch"));
                }
                let first = previous.checked_add(distance).ok_or(overflow)?;
                let last = first.checked_add(reader.unsigned()?).ok_or(overflow)?;
                ranges.push((first, last));
                previous = last;
            }
            if ranges.is_empty() {
                return Err(Malformed("a run has no sequence numbers"));
            }
            boots.push(Boot { name, ranges });
        }
        Ok(Self { boots })
    }
}

impl Boot {
    fn contains(&self, seq: u64) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= seq);
        after > 0 && self.ranges[after - 1].1 >= seq
    }

    fn insert(&mut self, seq: u64) {
        let after = self.ranges.partition_point(|&(first, _)| first <= seq);
        let extends_before = after > 0 && self.ranges[after - 1].1 >= seq.saturating_sub(1);
        if after > 0 && self.ranges[after - 1].1 >= seq {
            return;
        }
        let extends_after = self.ranges.get(after).is_some_and(|&(first, _)| first - 1 == seq);
        match (extends_before, extends_after) {
            (true, true) => {
                self.ranges[after - 1].1 = self.ranges[after].1;
                self.ranges.remove(after);
            }
            (true, false) => self.ranges[after - 1].1 = seq,
            (false, true) => self.ranges[after].0 = seq,
            (false, false) => {
                self.ranges.insert(after, (seq, seq));
                if self.ranges.len() > MAXIMUM_RANGES {
                    self.ranges.remove(0);
                }
            }
        }
    }

    fn gaps(&self) -> BootGaps {
        BootGaps {
            boot: self.name.clone(),
            first: self.ranges.first().map_or(0, |range| range.0),
            last: self.ranges.last().map_or(0, |range| range.1),
            missing: self.ranges.windows(2).map(|pair| (pair[0].1 + 1, pair[1].0 - 1)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn id(boot: &str, seq: u64) -> MessageId {
        MessageId { boot: boot.into(), seq }
    }

    proptest! {
        #[test]
        fn a_small_cursor_is_an_exact_set(seqs in proptest::collection::vec(0..60_u64, 0..80)) {
            let mut cursor = Cursor::default();
            let mut model = BTreeSet::new();
            for seq in seqs {
                prop_assert_eq!(cursor.contains(&id("a", seq)), model.contains(&seq));
                cursor.insert(&id("a", seq));
                model.insert(seq);
            }
            for seq in 0..60 {
                prop_assert_eq!(cursor.contains(&id("a", seq)), model.contains(&seq));
            }
            if let (Some(&first), Some(&last)) = (model.first(), model.last()) {
                let missing: Vec<u64> = cursor.gaps()[0].missing.iter()
                    .flat_map(|&(from, to)| from..=to).collect();
                let expected: Vec<u64> = (first..=last).filter(|seq| !model.contains(seq)).collect();
                prop_assert_eq!(missing, expected);
            }
            let mut writer = Writer::new(1);
            cursor.encode(&mut writer);
            let blob = writer.finish();
            prop_assert_eq!(Cursor::decode(&mut Reader::open(&blob, 1).unwrap()).unwrap(), cursor);
        }

        #[test]
        fn a_cursor_stays_small_and_never_claims_what_it_did_not_see(
            ids in proptest::collection::vec(("[a-z]", any::<u64>()), 0..600)
        ) {
            let mut cursor = Cursor::default();
            let mut model = BTreeSet::new();
            for (boot, seq) in ids {
                let seen = model.contains(&(boot.clone(), seq));
                prop_assert!(seen || !cursor.contains(&id(&boot, seq)));
                cursor.insert(&id(&boot, seq));
                model.insert((boot, seq));
            }
            prop_assert!(cursor.boots.len() <= MAXIMUM_BOOTS);
            prop_assert!(cursor.boots.iter().all(|boot| boot.ranges.len() <= MAXIMUM_RANGES));
        }
    }

    #[test]
    fn the_ends_of_the_number_range_are_numbers_like_others() {
        let mut cursor = Cursor::default();
        for seq in [0, u64::MAX, u64::MAX - 1, 1] {
            assert!(!cursor.contains(&id("a", seq)));
            cursor.insert(&id("a", seq));
            assert!(cursor.contains(&id("a", seq)));
        }
        assert_eq!(cursor.gaps()[0].missing, [(2, u64::MAX - 2)]);
    }

    #[test]
    fn ranges_that_touch_are_no_cursor() {
        let decoded = |ranges: &[(u64, u64)]| {
            let mut writer = Writer::new(1);
            writer.length(1);
            writer.text("a");
            writer.length(ranges.len());
            for &(distance, length) in ranges {
                writer.unsigned(distance);
                writer.unsigned(length);
            }
            let blob = writer.finish();
            Cursor::decode(&mut Reader::open(&blob, 1).unwrap())
        };
        // The second begins where the first ends, at the largest number too; and right after it.
        for ranges in [[(1, 4), (0, 3)], [(u64::MAX, 0), (0, 0)], [(1, 4), (1, 3)]] {
            assert!(decoded(&ranges).is_err(), "{ranges:?}");
        }
        assert!(decoded(&[(u64::MAX, 0), (2, 0)]).is_err(), "too large");
        let cursor = decoded(&[(0, 4), (2, 3)]).unwrap();
        assert_eq!(cursor.gaps()[0].missing, [(5, 5)]);
    }

    #[test]
    fn a_number_without_a_boot_is_never_a_duplicate() {
        let mut cursor = Cursor::default();
        cursor.insert(&id("", 7));
        assert!(!cursor.contains(&id("", 7)));
    }

    #[test]
    fn the_run_that_was_silent_longest_is_forgotten() {
        let mut cursor = Cursor::default();
        for boot in 0..MAXIMUM_BOOTS {
            cursor.insert(&id(&format!("boot-{boot}"), 1));
        }
        cursor.insert(&id("boot-0", 2));
        cursor.insert(&id("another", 1));
        assert!(cursor.contains(&id("boot-0", 1)));
        assert!(!cursor.contains(&id("boot-1", 1)));
    }
}
