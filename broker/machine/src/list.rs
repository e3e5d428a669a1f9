//! A list: items by index, taken from the front, followed from anywhere, edited by position.
//!
//! Not who is told about them: see [`crate::calls`].

mod edit;
mod methods;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_shared::response::Items;
use ganger_shared::{
    Block, Durability, JobRange, Name, RequestId, SessionId, SubscriptionId, Time,
};

use crate::queue::QueueKey;
use crate::watching::Watched;

/// Where a list is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListKey(pub(crate) usize);

pub(crate) use self::methods::{TYPEID, value_of_string};

/// What the strings of a run are. Each form can be read as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Bytes as a handler or a client gave them. As a value: what they say as JSON, or else bytes.
    Strings,
    /// Encoded values. As a string: the bytes of a byte string, and of anything else its JSON.
    Values,
}

/// Items that were appended together, or what is left of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemRun {
    /// Index of the first one.
    pub(crate) start: u64,
    /// The jobs whose results they are.
    pub(crate) jobs: Option<JobRange>,
    pub(crate) form: Form,
    pub(crate) block: Block,
}

impl ItemRun {
    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.block.count())
    }

    fn part(&self, offset: u32, count: u32) -> Self {
        Self {
            start: self.start + u64::from(offset),
            jobs: self.jobs.map(|jobs| jobs.part(offset, count)),
            form: self.form,
            block: self.block.part(offset, count),
        }
    }

    /// What lies within `from .. to`, if anything.
    fn within(&self, from: u64, to: u64) -> Option<Self> {
        let (from, to) = (from.max(self.start), to.min(self.end()));
        let offset = |index: u64| {
            u32::try_from(index - self.start).expect("within a block, which counts in u32")
        };
        (from < to).then(|| self.part(offset(from), offset(to) - offset(from)))
    }

    /// How many of its first `max` items have at most `bytes` bytes together.
    fn fitting(&self, max: u64, bytes: usize) -> u32 {
        let max = u32::try_from(max).unwrap_or(u32::MAX).min(self.block.count());
        if self.block.size_bytes() <= bytes {
            return max;
        }
        let mut left = bytes;
        let sizes = self.block.slices().map(<[u8]>::len);
        let fits = (0..max).zip(sizes).take_while(|&(_, size)| {
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        u32::try_from(fits.count()).expect("at most `max`")
    }

    pub(crate) fn into_items(self) -> Items {
        let block = match self.form {
            Form::Strings => self.block,
            Form::Values => self.block.iter().map(methods::string_of).collect(),
        };
        Items { jobs: self.jobs, block }
    }
}

/// A Pop that waits for items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingPop {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) receipt: u64,
    pub(crate) max: u32,
    pub(crate) until: Time,
}

/// A client that reads items as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follower {
    /// The Follow, to say that it has ended.
    pub(crate) request: RequestId,
    /// Index of the next item to send.
    pub(crate) next: u64,
    /// How many more may be sent.
    pub(crate) window: u64,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) name: Name,
    pub(crate) durability: Durability,
    /// Somebody has decided what it promises, so its first use does not.
    pub(crate) is_decided: bool,
    /// In the order of their indexes. Gaps are items that others took while earlier ones were
    /// given back.
    runs: VecDeque<ItemRun>,
    /// Index of the next item to be appended.
    pub(crate) end: u64,
    length: u64,
    bytes: u64,
    /// Runs that were popped and not confirmed, by their first index; they can come back.
    popped: BTreeMap<u64, ItemRun>,
    /// How many items they have.
    pub(crate) unconfirmed: u64,
    pub(crate) unconfirmed_bytes: u64,
    /// Running jobs whose results will come here: their room is kept.
    pub(crate) reserved: u64,
    /// Queues whose jobs send results here, to be woken when a full list has room again.
    pub(crate) feeders: BTreeSet<QueueKey>,
    /// By their turn: first come, first served.
    pub(crate) pops: BTreeMap<u64, WaitingPop>,
    next_turn: u64,
    pub(crate) followers: BTreeMap<(SessionId, SubscriptionId), Follower>,
    /// Sessions that know receipts of it.
    pub(crate) poppers: BTreeSet<SessionId>,
    /// None until somebody has watched it.
    pub(crate) watched: Option<Box<Watched>>,
}

impl List {
    pub(crate) const fn new(name: Name, durability: Durability) -> Self {
        Self {
            name,
            durability,
            is_decided: false,
            runs: VecDeque::new(),
            end: 0,
            length: 0,
            bytes: 0,
            popped: BTreeMap::new(),
            unconfirmed: 0,
            unconfirmed_bytes: 0,
            reserved: 0,
            feeders: BTreeSet::new(),
            poppers: BTreeSet::new(),
            pops: BTreeMap::new(),
            next_turn: 0,
            followers: BTreeMap::new(),
            watched: None,
        }
    }

    /// Whether nothing was ever appended and no job will, so that what it promises is still open.
    pub(crate) fn is_undecided(&self) -> bool {
        self.end == 0 && self.feeders.is_empty() && !self.is_decided
    }

    /// Has `pop` wait behind the others; returns its turn.
    pub(crate) fn wait(&mut self, pop: WaitingPop) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.pops.insert(turn, pop);
        turn
    }

    /// Items in it, those that were popped and not confirmed left out.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of what it holds, unconfirmed items included.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes + self.unconfirmed_bytes
    }

    /// Items that count against its bound.
    pub(crate) const fn held(&self) -> u64 {
        self.length + self.unconfirmed + self.reserved
    }

    /// Index of the first item, or of the next one to come.
    pub(crate) fn start(&self) -> u64 {
        self.runs.front().map_or(self.end, |run| run.start)
    }

    /// What is in it, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &ItemRun> {
        self.runs.iter()
    }

    pub(crate) fn append(&mut self, jobs: Option<JobRange>, form: Form, block: Block) {
        let run = ItemRun { start: self.end, jobs, form, block };
        self.end = run.end();
        self.count_in(&run);
        self.runs.push_back(run);
        self.join_end();
    }

    /// Takes items from the front: what [`range`](Self::range) finds there.
    pub(crate) fn take_front(&mut self, max: u64, bytes_max: usize) -> Vec<ItemRun> {
        let taken = self.range(self.start(), max, bytes_max);
        for part in &taken {
            self.count_out(part);
            let Some(front) = self.runs.front_mut() else { break };
            match front.within(part.end(), front.end()) {
                Some(rest) => *front = rest,
                None => drop(self.runs.pop_front()),
            }
        }
        taken
    }

    /// Runs that were taken from the front are popped and not confirmed.
    pub(crate) fn note_popped(&mut self, runs: &[ItemRun]) {
        for run in runs {
            self.unconfirmed += u64::from(run.block.count());
            self.unconfirmed_bytes += run.block.size_bytes() as u64;
            self.popped.insert(run.start, run.clone());
        }
    }

    /// One of them is confirmed, or comes back.
    pub(crate) fn forget_popped(&mut self, run: &ItemRun) {
        self.unconfirmed -= u64::from(run.block.count());
        self.unconfirmed_bytes -= run.block.size_bytes() as u64;
        self.popped.remove(&run.start);
    }

    /// Gives items back that were taken before.
    pub(crate) fn put_back(&mut self, run: ItemRun) {
        let at = self.runs.partition_point(|other| other.start < run.start);
        self.count_in(&run);
        self.runs.insert(at, run);
    }

    /// Drops the items with indexes `from .. to`; `from < to`.
    pub(crate) fn remove(&mut self, from: u64, to: u64) {
        let first = self.runs.partition_point(|run| run.end() <= from);
        let last = self.runs.partition_point(|run| run.start < to);
        let mut at = first;
        for run in self.runs.drain(first..last).collect::<Vec<_>>() {
            self.count_out(&run);
            let rest = [run.within(run.start, from), run.within(to, run.end())];
            for rest in rest.into_iter().flatten() {
                self.count_in(&rest);
                self.runs.insert(at, rest);
                at += 1;
            }
        }
    }

    /// The items from the first one at or behind index `from` on, with consecutive indexes: up to
    /// `max` of them and up to `bytes_max` bytes, unless the first one alone has more.
    pub(crate) fn range(&self, from: u64, max: u64, bytes_max: usize) -> Vec<ItemRun> {
        let first = self.runs.partition_point(|run| run.end() <= from);
        let (mut left, mut bytes_left) = (max, bytes_max);
        let mut found: Vec<ItemRun> = Vec::new();
        for run in self.runs.range(first..) {
            let follows_on = found.last().is_none_or(|last| last.end() == run.start);
            if left == 0 || !follows_on {
                break;
            }
            let Some(rest) = run.within(from, run.end()) else { break };
            let mut count = rest.fitting(left, bytes_left);
            if count == 0 && found.is_empty() {
                count = 1;
            }
            if count == 0 {
                break;
            }
            let part = rest.part(0, count);
            left -= u64::from(count);
            bytes_left = bytes_left.saturating_sub(part.block.size_bytes());
            found.push(part);
            if count < rest.block.count() {
                break;
            }
        }
        found
    }

    /// The stretches of consecutive indexes it holds: start and count.
    pub(crate) fn stretches(&self) -> Vec<(u64, u64)> {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for run in &self.runs {
            let count = u64::from(run.block.count());
            match stretches.last_mut() {
                Some((start, so_far)) if *start + *so_far == run.start => *so_far += count,
                Some(_) | None => stretches.push((run.start, count)),
            }
        }
        stretches
    }

    /// The index that `start` means: negative counts from the end.
    pub(crate) fn index(&self, start: i64) -> u64 {
        match u64::try_from(start) {
            Ok(index) => index,
            Err(_) => self.end.saturating_sub(start.unsigned_abs()),
        }
    }

    fn count_in(&mut self, run: &ItemRun) {
        self.length += u64::from(run.block.count());
        self.bytes += run.block.size_bytes() as u64;
    }

    fn count_out(&mut self, run: &ItemRun) {
        self.length -= u64::from(run.block.count());
        self.bytes -= run.block.size_bytes() as u64;
    }

    pub(crate) fn check(&self) {
        let length: u64 = self.runs.iter().map(|run| u64::from(run.block.count())).sum();
        let bytes: u64 = self.runs.iter().map(|run| run.block.size_bytes() as u64).sum();
        assert_eq!((length, bytes), (self.length, self.bytes), "counts of list {}", self.name);
        for (a, b) in self.runs.iter().zip(self.runs.iter().skip(1)) {
            assert!(a.end() <= b.start, "items of list {} overlap", self.name);
        }
        let popped = self.popped.values();
        let popped: u64 = popped.map(|run| u64::from(run.block.count())).sum();
        assert_eq!(popped, self.unconfirmed, "popped items of list {}", self.name);
        let recorded: Vec<_> = self.recorded().map(|run| (run.start, run.end())).collect();
        assert!(recorded.is_sorted_by(|a, b| a.1 <= b.0), "popped items of {}", self.name);
        assert!(self.runs.back().is_none_or(|run| run.end() <= self.end));
        assert!(self.runs.iter().all(|run| run.block.count() > 0), "empty run in {}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(appends: &[&[&str]]) -> List {
        let mut list = List::new(Name::new("l").unwrap(), Durability::Memory);
        for strings in appends {
            list.append(None, Form::Strings, strings.iter().collect());
        }
        list
    }

    fn shown(list: &List) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for run in &list.runs {
            for (index, item) in (run.start..).zip(run.block.slices()) {
                all.push((index, String::from_utf8(item.to_vec()).unwrap()));
            }
        }
        all
    }

    #[test]
    fn taking_putting_back_and_removing_agree_with_a_plain_list() {
        // Every removal and every take of a list of three runs.
        for from in 0..6 {
            for to in from + 1..=7 {
                let mut list = list_of(&[&["a", "bb"], &["c"], &["d", "e", "fff"]]);
                list.remove(from, to);
                list.check();
                let expected: Vec<u64> = (0..6).filter(|i| !(from..to).contains(i)).collect();
                let left: Vec<u64> = shown(&list).into_iter().map(|(i, _)| i).collect();
                assert_eq!(left, expected);
            }
        }
        for max in 0..8 {
            let mut list = list_of(&[&["a", "bb"], &["c"], &["d", "e", "fff"]]);
            let before = shown(&list);
            let taken = list.take_front(max, usize::MAX);
            assert_eq!(list.length(), 6 - max.min(6));
            for run in taken.into_iter().rev() {
                list.put_back(run);
            }
            list.check();
            assert_eq!(shown(&list), before);
        }
    }

    #[test]
    fn items_appended_one_by_one_become_few_runs() {
        let mut list = list_of(&[]);
        let names: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        names.iter().for_each(|name| list.append(None, Form::Strings, Block::one(name.clone())));
        list.check();
        assert!(list.runs.len() < 10_000 / 256 + 9, "{} runs", list.runs.len());
        assert_eq!(shown(&list), (0..).zip(names).collect::<Vec<_>>());
    }

    #[test]
    fn a_range_starts_at_its_index_and_a_negative_one_counts_from_the_end() {
        let mut list = list_of(&[&["a", "b"], &["c", "d"]]);
        list.take_front(1, usize::MAX);
        assert_eq!(list.index(-2), 2);
        assert_eq!(list.index(-9), 0);
        let found = list.range(list.index(-3), 2, usize::MAX);
        assert_eq!(found.iter().map(|run| (run.start, run.end())).collect::<Vec<_>>(), [(1, 3)]);
    }

    #[test]
    fn a_range_ends_at_its_bytes_within_a_run_but_has_at_least_one_item() {
        let list = list_of(&[&["aaaa", "bb", "cc"], &["d"]]);
        let ends = |bytes_max| list.range(0, 9, bytes_max).last().map(ItemRun::end);
        assert_eq!([0, 4, 5, 6, 8, 9].map(ends), [1, 1, 1, 2, 3, 4].map(Some));
    }

    #[test]
    fn a_range_ends_where_indexes_are_missing() {
        let mut list = list_of(&[&["a"], &["b"], &["c"], &["d"]]);
        let first = list.take_front(1, usize::MAX).remove(0);
        list.take_front(1, usize::MAX);
        list.put_back(first);
        assert_eq!(list.stretches(), [(0, 1), (2, 2)]);
        for expected in [0..1, 2..4] {
            let taken = list.take_front(9, usize::MAX);
            assert_eq!((taken[0].start..taken[0].end(), taken.len()), (expected, 1));
        }
    }
}
