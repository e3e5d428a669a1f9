//! Where each record is: which frame, in which segment.
//!
//! In memory only, 24 bytes for a frame; made anew by every start.

use std::collections::VecDeque;

use crate::storage::Seq;

/// A frame with records, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Position of its first record.
    pub(super) first: Seq,
    pub(super) segment: u64,
    pub(super) block: u64,
}

/// Every frame with records that may still be asked for, in order.
#[derive(Debug, Default)]
pub(super) struct Index(VecDeque<Spot>);

impl Index {
    /// Adds the frame that begins with the record at `spot.first`. Where one has these records
    /// already, they were written again, and the new ones count.
    pub(super) fn add(&mut self, spot: Spot) {
        while self.0.back().is_some_and(|last| last.first >= spot.first) {
            self.0.pop_back();
        }
        self.0.push_back(spot);
    }

    /// The frame that has the record at `seq`, if there is one.
    pub(super) fn find(&self, seq: Seq) -> Option<Spot> {
        let after = self.0.partition_point(|spot| spot.first <= seq);
        after.checked_sub(1).map(|at| self.0[at])
    }

    /// Drops the frames that have only records before `from`.
    pub(super) fn forget_before(&mut self, from: Seq) {
        while self.0.get(1).is_some_and(|second| second.first <= from) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(first: u64, block: u64) -> Spot {
        Spot { first: Seq(first), segment: 1, block }
    }

    #[test]
    fn record_is_found_in_the_frame_that_begins_at_or_before_it() {
        let mut index = Index::default();
        assert_eq!(index.find(Seq(1)), None);
        for (first, block) in [(1, 1), (2, 2), (5, 3), (9, 4)] {
            index.add(spot(first, block));
        }
        assert_eq!(index.find(Seq(4)), Some(spot(2, 2)));
        assert_eq!(index.find(Seq(100)), Some(spot(9, 4)));
        index.forget_before(Seq(5));
        assert_eq!(index.find(Seq(4)), None);
        assert_eq!(index.find(Seq(5)), Some(spot(5, 3)));
        index.add(spot(5, 7));
        assert_eq!(index.find(Seq(100)), Some(spot(5, 7)));
    }
}
