//! Items of lists: each has one content for ever, and comes once more only while its reader has not
//! confirmed it.

use std::collections::BTreeMap;

use ganger_shared::{JobId, Name};

use super::calm::Calm;
use crate::event::{Hash, Item};
use crate::verdict::{Rule, Verdict};

/// What was read from all lists.
#[derive(Debug, Default)]
pub(super) struct Lists {
    items: BTreeMap<(Name, u64), Known>,
    /// What each reader has taken and not confirmed, and when.
    unconfirmed: BTreeMap<(String, Name), Vec<(u64, u64)>>,
}

#[derive(Debug)]
struct Known {
    job: JobId,
    result: Hash,
    confirmed: bool,
}

impl Lists {
    /// Notes that `who` has read an item; says whether it was read before.
    pub(super) fn read(
        &mut self,
        at: u64,
        who: &str,
        list: &Name,
        item: &Item,
        verdict: &mut Verdict,
    ) -> bool {
        let Item { index, job, result } = *item;
        let reader = (who.to_owned(), list.clone());
        self.unconfirmed.entry(reader).or_default().push((index, at));
        let Some(known) = self.items.get(&(list.clone(), index)) else {
            let known = Known { job, result, confirmed: false };
            self.items.insert((list.clone(), index), known);
            return false;
        };
        verdict.counts.duplicate_reads += 1;
        if known.confirmed {
            verdict.broken(Rule::Doubled, || {
                format!("item {index} of {list}, of {job}, was read again after its confirmation")
            });
        }
        if (known.job, known.result) == (job, result) {
            return true;
        }
        verdict.broken(Rule::Corrupt, || {
            let Known { job: before, result: other, .. } = known;
            format!("item {index} of {list} was {other} of {before}, then {result} of {job}")
        });
        false
    }

    /// The broker has heard that all that `who` has read from `list` has arrived. One that died in
    /// between has forgotten what the confirmation was about.
    pub(super) fn confirmed(&mut self, at: u64, who: &str, list: &Name, calm: &Calm) {
        let reader = (who.to_owned(), list.clone());
        for (index, read_at) in self.unconfirmed.remove(&reader).unwrap_or_default() {
            if let Some(known) = self.items.get_mut(&(list.clone(), index)) {
                known.confirmed |= !calm.has_death(read_at, at);
            }
        }
    }
}
