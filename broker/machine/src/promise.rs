//! What queues and lists promise, and what that change asks of each other.
//!
//! A journal that had only some of a list's items would count their indexes wrongly after a restart.
//! So of a list and the queues whose results it takes either all are kept in the journal or none.

use ganger_shared::{Durability, Name, Rejection};

use crate::event::Event;
use crate::list::List;
use crate::machine::Machine;
use crate::queue::{Queue, QueueKey};

/// Whether what promises this is in the journal.
pub(crate) fn is_kept(durability: Durability) -> bool {
    durability > Durability::Memory
}

impl Machine {
    /// How the results list of `queue` follows when the queue comes to promise `durability`, if it
    /// has to; refused if it cannot.
    pub(crate) fn decide_results_follow(
        &self,
        queue: &Name,
        durability: Durability,
    ) -> Result<Option<Event>, Rejection> {
        let list = queue.results_list().ok().and_then(|name| self.list_names.get(&name));
        let Some(list) = list.map(|list| &self.lists[list.0]) else { return Ok(None) };
        if list.durability == durability {
            return Ok(None);
        }
        let owner = self.queue_names.get(queue).copied();
        if is_kept(list.durability) == is_kept(durability) {
            // The results of others go on as well with either promise, but theirs is not to change.
            let followed = self.other_feeder(list, owner).is_none();
            return Ok(followed.then(|| set_list(list, durability)));
        }
        let conflict = |what: String| {
            Err(Rejection::Conflict(format!("{what} before queue {queue} becomes {durability}")))
        };
        let List { name, durability: old, .. } = list;
        if let Some(other) = self.other_feeder(list, owner) {
            let other = &other.name;
            return conflict(format!(
                "list {name} is {old} and takes the results of queue {other} too; empty queue {other}"
            ));
        }
        let items = list.length() + list.unconfirmed;
        if items > 0 {
            return conflict(format!(
                "list {name} holds {items} items under durability {old}; pop or purge them"
            ));
        }
        Ok(Some(set_list(list, durability)))
    }

    /// A queue other than `owner` that has jobs and has sent results to the list.
    fn other_feeder(&self, list: &List, owner: Option<QueueKey>) -> Option<&Queue> {
        let others = list.feeders.iter().filter(|&&feeder| Some(feeder) != owner);
        others.map(|feeder| &self.queues[feeder.0]).find(|queue| queue.counts.all() > 0)
    }
}

/// A list that keeps its items and their indexes, and comes to promise `durability`.
fn set_list(list: &List, durability: Durability) -> Event {
    Event::ListSet { list: list.name.clone(), durability, end: list.end }
}
