//! A set of numbers kept as ranges: leases held, jobs whose end is awaited.
//!
//! Numbers come and go in runs, so a run costs one entry however long it is.

use std::collections::BTreeMap;
use std::ops::Range;

/// Numbers, as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// Start to end, the end not included. Invariant: no range is empty or touches the next.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, &end)| number < end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// The parts of `numbers` that are in, in order.
    pub(crate) fn within(&self, numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = numbers;
        let before = self.ranges.range(..start).next_back();
        before
            .into_iter()
            .chain(self.ranges.range(start..end.max(start)))
            .map(move |(&s, &e)| s.max(start)..e.min(end))
            .filter(|part| !part.is_empty())
    }

    pub(crate) fn overlaps(&self, numbers: Range<u64>) -> bool {
        self.within(numbers).next().is_some()
    }

    pub(crate) fn insert(&mut self, numbers: Range<u64>) {
        if numbers.is_empty() {
            return;
        }
        let Range { mut start, mut end } = numbers;
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.ranges.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.ranges.insert(start, end);
    }

    /// Takes `numbers` out and returns those that were in, in order.
    pub(crate) fn remove(&mut self, numbers: Range<u64>) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        if numbers.is_empty() {
            return found;
        }
        let Range { start, end } = numbers;
        while let Some((&s, &e)) = self.ranges.range(..end).next_back() {
            if e <= start {
                break;
            }
            self.ranges.remove(&s);
            if s < start {
                self.ranges.insert(s, start);
            }
            if end < e {
                self.ranges.insert(end, e);
            }
            found.push(s.max(start)..e.min(end));
            if s <= start {
                break;
            }
        }
        found.reverse();
        found
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every history of four inserts and removes over eight numbers agrees with a bit set.
    #[test]
    fn agrees_with_a_bit_set_in_a_small_world() {
        let spans: Vec<(u64, u64)> =
            (0..6).flat_map(|s| (s..=6).map(move |e| (s, e))).step_by(2).collect();
        let steps: Vec<(bool, u64, u64)> =
            spans.iter().flat_map(|&(s, e)| [(true, s, e), (false, s, e)]).collect();
        for a in &steps {
            for b in &steps {
                for c in &steps {
                    check(&[*a, *b, *c]);
                }
            }
        }
    }

    fn check(history: &[(bool, u64, u64)]) {
        let mut set = RangeSet::default();
        let mut bits = [false; 6];
        for &(insert, start, end) in history {
            let span = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            if insert {
                set.insert(start..end);
                bits[span].fill(true);
            } else {
                let taken: u64 = set.remove(start..end).iter().map(|r| r.end - r.start).sum();
                let expected = bits[span.clone()].iter().filter(|&&bit| bit).count();
                assert_eq!(taken, expected as u64, "{history:?}");
                bits[span].fill(false);
            }
            for (number, &bit) in (0..).zip(&bits) {
                assert_eq!(set.contains(number), bit, "{history:?} at {number}");
            }
            for &(_, start, end) in history {
                let span = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
                assert_eq!(set.overlaps(start..end), bits[span].contains(&true), "{history:?}");
            }
            let apart = set.ranges.iter().zip(set.ranges.iter().skip(1));
            assert!(apart.into_iter().all(|((_, end), (start, _))| end < start), "{history:?}");
        }
    }
}
