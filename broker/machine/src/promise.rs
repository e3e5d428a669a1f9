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
        self.judge_turn(list, owner, &format!("queue {queue} becomes {durability}"))?;
        Ok(Some(set_list(list, durability)))
    }

    /// What makes a list, or has it promise `durability` or else what its first use would; nothing
    /// if it exists and does.
    pub(crate) fn decide_list_set(
        &self,
        name: &Name,
        durability: Option<Durability>,
    ) -> Result<Option<Event>, Rejection> {
        let list = self.list_names.get(name).map(|list| &self.lists[list.0]);
        let owner = self.owner_of(name);
        let durability = match (durability, list, owner) {
            (Some(durability), ..) => durability,
            (None, Some(_), _) => return Ok(None),
            (None, None, Some(owner)) => self.promise(owner),
            (None, None, None) => self.config.queue_defaults.durability,
        };
        self.judge_durability(durability)?;
        if let Some(owner) = owner.map(|owner| &self.queues[owner.0])
            && is_kept(owner.settings.durability) != is_kept(durability)
        {
            return Err(Rejection::Conflict(format!(
                "list {name} takes the results of queue {}, which is {}; set the queue's durability, \
                 and its list follows",
                owner.name, owner.settings.durability
            )));
        }
        let Some(list) = list else {
            self.judge_count("lists", self.lists.len())?;
            return Ok(Some(Event::ListSet { list: name.clone(), durability, end: 0 }));
        };
        if is_kept(list.durability) != is_kept(durability) {
            self.judge_turn(list, None, &format!("it becomes {durability}"))?;
        }
        let differs = list.durability != durability || !list.is_decided;
        Ok(differs.then(|| set_list(list, durability)))
    }

    /// The queue whose results a list of this name holds: they belong together, whichever is first.
    pub(crate) fn owner_of(&self, list: &Name) -> Option<QueueKey> {
        let queue = list.strip_suffix(".results")?;
        self.queue_names.get(queue).copied()
    }

    /// Whether a list can go into the journal or leave it, so that what is described in `so_that` can
    /// be: nothing is in it, and only `owner` sends results to it.
    fn judge_turn(
        &self,
        list: &List,
        owner: Option<QueueKey>,
        so_that: &str,
    ) -> Result<(), Rejection> {
        let List { name, durability, .. } = list;
        if let Some(other) = self.other_feeder(list, owner) {
            let other = &other.name;
            return Err(Rejection::Conflict(format!(
                "list {name} is {durability} and takes the results of queue {other} too; \
                 empty queue {other} before {so_that}"
            )));
        }
        let items = list.length() + list.unconfirmed;
        if items > 0 {
            return Err(Rejection::Conflict(format!(
                "list {name} holds {items} items under durability {durability}; \
                 pop or purge them before {so_that}"
            )));
        }
        Ok(())
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
