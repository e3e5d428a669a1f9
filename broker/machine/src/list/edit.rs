//! Changing a list by position, and keeping its runs few.
//!
//! An index counts all items that were ever appended, a position those that are there. They part where
//! items left from the front, and where some of those that were popped came back and others did not.
//! An edit by position moves the indexes of what lies behind it.

use ganger_shared::Block;

use super::{Form, ItemRun, List};

/// Items in a run that is put together from smaller ones: 256, where what a run costs is a byte or
/// two per item.
const ITEMS_MAX: u32 = 256;

/// Bytes in such a run: 16 KiB. Larger items outweigh what a run costs.
const BYTES_MAX: usize = 16 << 10;

impl ItemRun {
    /// Whether `later` may be put into one run with it.
    fn takes(&self, later: &Self) -> bool {
        self.jobs.is_none()
            && later.jobs.is_none()
            && self.form == later.form
            && self.end() == later.start
            && self.block.count() + later.block.count() <= ITEMS_MAX
            && self.block.size_bytes() + later.block.size_bytes() <= BYTES_MAX
    }

    fn join(&mut self, later: &Self) {
        self.block = Block::concat([&self.block, &later.block]);
    }
}

impl List {
    /// Joins the last run with the one before it as long as that is no larger: then each item is
    /// copied at most eight times on the way into a run of 256.
    pub(super) fn join_end(&mut self) {
        while let Some(before) = self.runs.len().checked_sub(2) {
            let (earlier, later) = (&self.runs[before], &self.runs[before + 1]);
            if earlier.block.count() > later.block.count() || !earlier.takes(later) {
                return;
            }
            let Some(later) = self.runs.pop_back() else { return };
            self.runs[before].join(&later);
        }
    }

    /// The index of the item at a position, or the one behind the last.
    pub(super) fn index_at(&self, position: u64) -> u64 {
        let start = self.start();
        let last = self.runs.back().map_or(self.end, ItemRun::end);
        if position >= self.length() {
            return last;
        }
        if last - start == self.length() {
            return start + position;
        }
        let mut left = position;
        for run in &self.runs {
            let count = u64::from(run.block.count());
            if left < count {
                return run.start + left;
            }
            left -= count;
        }
        last
    }

    /// The run of the item at a position that there is, and the item's place in it.
    pub(super) fn run_at(&self, position: u64) -> Option<(&ItemRun, u32)> {
        let index = self.index_at(position);
        let at = self.runs.partition_point(|run| run.end() <= index);
        let run = self.runs.get(at)?;
        Some((run, u32::try_from(index.checked_sub(run.start)?).ok()?))
    }

    /// Bytes of the items at the positions `from .. to`.
    pub(super) fn bytes_at(&self, from: u64, to: u64) -> u64 {
        if from >= to {
            return 0;
        }
        let (first, past) = (self.index_at(from), self.index_at(to - 1) + 1);
        let at = self.runs.partition_point(|run| run.end() <= first);
        let runs = self.runs.range(at..).take_while(|run| run.start < past);
        runs.filter_map(|run| run.within(first, past))
            .map(|run| run.block.size_bytes() as u64)
            .sum()
    }

    /// Puts `values` where the items at the positions `from .. to` are; `from <= to <= length`. Nothing
    /// is popped and not confirmed.
    pub(super) fn splice(&mut self, from: u64, to: u64, values: Block) {
        let added = u64::from(values.count());
        let first = self.index_at(from);
        let (is_front, is_end) = (from == 0, to == self.length());
        let past = if from == to { first } else { self.index_at(to - 1) + 1 };
        self.cut(first);
        self.cut(past);
        let at = self.runs.partition_point(|run| run.start < first);
        let end = self.runs.partition_point(|run| run.start < past);
        let gone: Vec<ItemRun> = self.runs.drain(at..end).collect();
        gone.iter().for_each(|run| self.count_out(run));
        let mut start = first;
        if is_end && added == 0 && !is_front {
            self.end = first;
            self.clamp_followers();
        } else if is_front && from == to && !is_end {
            start = self.make_room_in_front(added);
        } else if !is_front || added > 0 {
            self.shift(at, past, first + added);
        }
        if added > 0 {
            let run = ItemRun { start, jobs: None, form: Form::Values, block: values };
            self.count_in(&run);
            self.runs.insert(at, run);
        }
        if !is_front && !is_end {
            self.join_around(at);
        }
    }

    /// Drops what was appended since the list ended at `end`.
    pub(super) fn cut_end(&mut self, end: u64) {
        self.cut(end);
        while let Some(run) = self.runs.pop_back_if(|run| run.start >= end) {
            self.count_out(&run);
        }
        self.end = end;
    }

    /// Cuts the run in two that has the items before and behind an index.
    fn cut(&mut self, index: u64) {
        let at = self.runs.partition_point(|run| run.end() <= index);
        let Some(run) = self.runs.get(at).filter(|run| run.start < index) else { return };
        let (earlier, later) = (run.within(run.start, index), run.within(index, run.end()));
        if let (Some(earlier), Some(later)) = (earlier, later) {
            self.runs[at] = earlier;
            self.runs.insert(at + 1, later);
        }
    }

    /// Gives the runs from place `at` on, which begin at index `old` or behind it, indexes from `new` on.
    fn shift(&mut self, at: usize, old: u64, new: u64) {
        let moved = |index: u64| index - old + new;
        for run in self.runs.range_mut(at..) {
            run.start = moved(run.start);
        }
        self.end = moved(self.end);
        for follower in self.followers.values_mut() {
            // What it has not seen of what is gone it will not see.
            follower.next =
                if follower.next >= old { moved(follower.next) } else { follower.next.min(new) };
        }
    }

    /// Finds indexes for `count` items in front of all others; returns the first one.
    fn make_room_in_front(&mut self, count: u64) -> u64 {
        let start = self.start();
        if let Some(free) = start.checked_sub(count) {
            return free;
        }
        // As much again as there is, so that it has not to be done for each item.
        let by = count.max(self.length());
        self.shift(0, 0, by);
        start + by - count
    }

    fn clamp_followers(&mut self) {
        for follower in self.followers.values_mut() {
            follower.next = follower.next.min(self.end);
        }
    }

    /// Joins the run at a place with its neighbours where they are small.
    fn join_around(&mut self, at: usize) {
        for earlier in [at, at.wrapping_sub(1)] {
            let (Some(first), Some(second)) =
                (self.runs.get(earlier), self.runs.get(earlier.wrapping_add(1)))
            else {
                continue;
            };
            if first.takes(second) {
                let second = second.clone();
                self.runs[earlier].join(&second);
                self.runs.remove(earlier + 1);
            }
        }
    }
}
