//! A set of whole numbers that mostly follow each other.

/// Numbers as half-open ranges: rising, neither touching nor overlapping, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// How many ranges it takes to say what is in it.
    pub(super) fn parts(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The number after the highest; 0 for none.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// The end of the range that holds `number`.
    pub(super) fn end_of(&self, number: u64) -> Option<u64> {
        let after = self.0.partition_point(|range| range.0 <= number);
        self.0[..after].last().filter(|range| range.1 > number).map(|range| range.1)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.end_of(number).is_some()
    }

    /// How many numbers of `start..end` are in it.
    pub(super) fn count_within(&self, start: u64, end: u64) -> u64 {
        let first = self.0.partition_point(|range| range.1 <= start);
        let inside = self.0[first..].iter().take_while(|range| range.0 < end);
        inside.map(|range| range.1.min(end) - range.0.max(start)).sum()
    }

    /// Whether some number of `start..end` is in it.
    pub(super) fn touches(&self, start: u64, end: u64) -> bool {
        let first = self.0.partition_point(|range| range.1 <= start);
        self.0.get(first).is_some_and(|range| range.0 < end)
    }

    pub(super) fn insert(&mut self, number: u64) {
        self.insert_range(number, number + 1);
    }

    /// Adds `start..end`.
    pub(super) fn insert_range(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|range| range.1 < start);
        let last = self.0.partition_point(|range| range.0 <= end);
        if first == last {
            self.0.insert(first, (start, end));
            return;
        }
        let merged = (self.0[first].0.min(start), self.0[last - 1].1.max(end));
        self.0[first] = merged;
        self.0.drain(first + 1..last);
    }

    /// Takes `start..end` out.
    pub(super) fn remove_range(&mut self, start: u64, end: u64) {
        let first = self.0.partition_point(|range| range.1 <= start);
        let last = self.0.partition_point(|range| range.0 < end);
        if first >= last || start >= end {
            return;
        }
        let left = (self.0[first].0, start);
        let right = (end, self.0[last - 1].1);
        let rest = [left, right].into_iter().filter(|range| range.0 < range.1);
        self.0.splice(first..last, rest);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_it_says(steps in proptest::collection::vec((any::<bool>(), 0..40_u64, 0..12_u64), 0..40)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (add, start, length) in steps {
                let end = start + length;
                if add {
                    ranges.insert_range(start, end);
                    model.extend(start..end);
                } else {
                    ranges.remove_range(start, end);
                    model.retain(|number| !(start..end).contains(number));
                }
                let listed: Vec<u64> = ranges.iter().flat_map(|(start, end)| start..end).collect();
                prop_assert!(listed.iter().eq(model.iter()));
                prop_assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(left, right)| left.1 < right.0));
                prop_assert_eq!(ranges.end(), model.last().map_or(0, |last| last + 1));
                prop_assert_eq!(ranges.count_within(5, 20), model.range(5..20).count() as u64);
                prop_assert_eq!(ranges.touches(5, 20), model.range(5..20).next().is_some());
                for number in 0..60 {
                    prop_assert_eq!(ranges.contains(number), model.contains(&number));
                }
            }
        }
    }
}
