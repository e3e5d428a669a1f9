//! Which numbers of a session have been used: what makes a repeated submit take effect once.
//!
//! Not job ids as such: a number may also stand for an append.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most gaps that one session may leave: 1,024. A gap is a submit that was refused, so more of them
/// come only from a client that goes on submitting into refusals.
const GAPS_MAX: usize = 1_024;

/// The used numbers of one session.
///
/// ```text
///   used      used           used
///   ├────────┤     ├─────┤      ├──────┤
///   floor    └ gap ┘     └ gap ─┘      next
/// ```
///
/// Numbers are used in rising order but for those that were refused: these stay gaps and can be
/// used later. That is why a repeated submit whose first copy was refused is judged afresh, and
/// one whose first copy was accepted is recognised, with one number in the ordinary case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    next: u64,
    /// Unused numbers below `next`: start to end.
    gaps: BTreeMap<u64, u64>,
    /// Below this the gaps have been forgotten.
    floor: u64,
}

/// How a range of numbers stands to those used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None was used.
    Fresh,
    /// All were used.
    Used,
    /// Some were used.
    Mixed,
    /// Too old to tell.
    Forgotten,
}

impl Numbers {
    /// Of a session that may have used any number below `next` before it was forgotten.
    pub(crate) const fn starting_at(next: u64) -> Self {
        Self { next, gaps: BTreeMap::new(), floor: next }
    }

    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    pub(crate) const fn floor(&self) -> u64 {
        self.floor
    }

    /// How `first .. end` stands; `first < end`.
    pub(crate) fn standing(&self, first: u64, end: u64) -> Standing {
        if first >= self.next {
            return Standing::Fresh;
        }
        if let Some((_, &gap_end)) = self.gaps.range(..=first).next_back()
            && first < gap_end
        {
            return if end <= gap_end { Standing::Fresh } else { Standing::Mixed };
        }
        if first < self.floor {
            Standing::Forgotten
        } else if end > self.next || self.gaps.range(first..end).next().is_some() {
            Standing::Mixed
        } else {
            Standing::Used
        }
    }

    /// Marks `first .. end` as used. Numbers that were used before stay so.
    pub(crate) fn take(&mut self, first: u64, end: u64) {
        if first >= self.next {
            if first > self.next {
                self.gaps.insert(self.next, first);
            }
            self.next = end;
        } else if let Some((&start, &gap_end)) = self.gaps.range(..=first).next_back()
            && first < gap_end
        {
            self.gaps.remove(&start);
            if start < first {
                self.gaps.insert(start, first);
            }
            if end < gap_end {
                self.gaps.insert(end, gap_end);
            }
        }
        while self.gaps.len() > GAPS_MAX {
            let (_, end) = self.gaps.pop_first().expect("there are more than GAPS_MAX gaps");
            self.floor = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_number_can_be_used_later_and_a_used_one_is_recognised() {
        let mut numbers = Numbers::default();
        numbers.take(0, 10);
        numbers.take(20, 30);
        assert_eq!(numbers.standing(0, 10), Standing::Used);
        assert_eq!(numbers.standing(10, 20), Standing::Fresh);
        assert_eq!(numbers.standing(12, 15), Standing::Fresh);
        assert_eq!(numbers.standing(5, 12), Standing::Mixed);
        assert_eq!(numbers.standing(15, 25), Standing::Mixed);
        assert_eq!(numbers.standing(25, 35), Standing::Mixed);
        assert_eq!(numbers.standing(30, 31), Standing::Fresh);
        numbers.take(12, 15);
        assert_eq!(numbers.standing(12, 15), Standing::Used);
        assert_eq!(numbers.standing(10, 12), Standing::Fresh);
        assert_eq!(numbers.standing(15, 20), Standing::Fresh);
    }

    #[test]
    fn forgotten_gaps_are_neither_used_nor_fresh() {
        let mut numbers = Numbers::default();
        for i in 0..=GAPS_MAX as u64 {
            numbers.take(2 * i + 1, 2 * i + 2);
        }
        assert_eq!(numbers.standing(0, 1), Standing::Forgotten);
        assert_eq!(numbers.standing(2, 3), Standing::Fresh);
        assert_eq!(numbers.standing(3, 4), Standing::Used);
    }

    #[test]
    fn agrees_with_a_plain_set_over_all_short_histories() {
        let at = |number: u64| usize::try_from(number).unwrap();
        // Every history of three takes of ranges within 0..6, against a bit set.
        let ranges: Vec<(u64, u64)> =
            (0..6).flat_map(|a| (a + 1..=6).map(move |b| (a, b))).collect();
        for a in &ranges {
            for b in &ranges {
                for c in &ranges {
                    let mut numbers = Numbers::default();
                    let mut used = [false; 6];
                    for &(first, end) in [a, b, c] {
                        if numbers.standing(first, end) == Standing::Fresh {
                            numbers.take(first, end);
                            (first..end).for_each(|i| used[at(i)] = true);
                        }
                    }
                    for &(first, end) in &ranges {
                        let range = &used[at(first)..at(end)];
                        let expected = match (range.contains(&true), range.contains(&false)) {
                            (false, _) => Standing::Fresh,
                            (true, false) => Standing::Used,
                            (true, true) => Standing::Mixed,
                        };
                        assert_eq!(numbers.standing(first, end), expected, "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
    }
}
