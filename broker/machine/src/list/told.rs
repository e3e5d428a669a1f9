//! What those who watch a list are told of it: the list as it is on record.
//!
//! What is popped and not confirmed is in it still, for it can come back, and a journal knows nothing of it:
//! a replay tells the same. Positions count it. Where items are changed by position there is none.

use ganger_shared::{Block, CallError, Packed, What};

use super::methods::{value_of, value_of_string};
use super::{ItemRun, List};
use crate::object::{Reply, reply_items, reply_tuple};
use crate::watching::is_too_much;

impl List {
    /// How many items there are on record.
    pub(super) const fn recorded_length(&self) -> u64 {
        self.length + self.unconfirmed
    }

    /// What is on record, in order.
    pub(super) fn recorded(&self) -> impl Iterator<Item = &ItemRun> {
        let (mut here, mut popped) = (self.runs.iter().peekable(), self.popped.values().peekable());
        core::iter::from_fn(move || match (here.peek(), popped.peek()) {
            (Some(run), Some(taken)) if taken.start < run.start => popped.next(),
            (None, _) => popped.next(),
            (Some(_), _) => here.next(),
        })
    }

    /// The positions `start .. stop` of the record, with the revision that they are of; 0 if nobody has
    /// watched the list.
    pub(super) fn snapshot(&self, start: usize, stop: usize) -> Result<Reply, CallError> {
        let mut skip = start;
        let items = self.recorded().flat_map(|run| {
            let count = run.block.count() as usize;
            let passed = skip.min(count);
            skip -= passed;
            let parts = (passed < count).then(|| run.block.iter().skip(passed));
            parts.into_iter().flatten().map(move |item| value_of(run, item))
        });
        let listed = reply_items(items.take(stop.saturating_sub(start)).map(Ok))?;
        let Reply::Value(listed) = listed else { return Ok(listed) };
        let revision = self.watched.as_ref().map_or(0, |watched| watched.revision);
        reply_tuple(&[Packed::from(revision), listed])
    }

    /// What is told of other items in the place of some; nothing if nobody has watched the list.
    pub(super) fn told(&self, at: u64, removed: u64, items: &[Packed]) -> Option<What> {
        self.watched.as_ref()?;
        let bytes = items.iter().map(|item| item.as_bytes().len() as u64).sum();
        if is_too_much(items.len() as u64, bytes) {
            return Some(What::Anew);
        }
        // On their own: else they would keep all the frame that they came with.
        let items = items.iter().map(Packed::detached).collect();
        Some(What::Spliced { at, removed, items })
    }

    /// What is told of `count` items from an index on that are gone from the record.
    pub(crate) fn told_of_removal(&self, start: u64, count: u64) -> Option<What> {
        let earlier = self.recorded().take_while(|run| run.start < start);
        let earlier = earlier.filter_map(|run| run.within(run.start, start));
        let at = earlier.map(|run| u64::from(run.block.count())).sum();
        self.told(at, count, &[])
    }

    /// What is told of strings that are about to be appended.
    pub(crate) fn told_of_append(&self, strings: &Block) -> Option<What> {
        self.watched.as_ref()?;
        if is_too_much(u64::from(strings.count()), strings.size_bytes() as u64) {
            return Some(What::Anew);
        }
        let values: Vec<Packed> = strings.iter().map(value_of_string).collect();
        self.told(self.recorded_length(), 0, &values)
    }
}
