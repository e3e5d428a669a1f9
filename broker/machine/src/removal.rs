//! Objects, lists and queues are removed: those who wait for them, follow or watch them are told.
//!
//! Not when the broker does so by itself, which is [`crate::unnamed`]'s.

use ganger_shared::{CallError, Name, Rejection};

use crate::answers::{answer, failed};
use crate::event::Event;
use crate::list::ListKey;
use crate::machine::{Machine, reject};
use crate::object::ObjectKey;
use crate::objects::Subject;
use crate::output::Output;
use crate::queue::QueueKey;
use crate::submit::not_found;
use crate::timer::Timer;

impl Machine {
    /// Whether nothing is under way that needs it.
    pub(crate) fn judge_removal(&self, subject: Subject) -> Result<(), Rejection> {
        let Subject::List(key) = subject else { return Ok(()) };
        let list = &self.lists[key.0];
        if let Some(&queue) = list.feeders.first() {
            let (list, queue) = (&list.name, &self.queues[queue.0].name);
            return Err(Rejection::Conflict(format!(
                "list {list} takes the results of queue {queue}; purge it instead"
            )));
        }
        if list.unconfirmed > 0 {
            return Err(Rejection::Conflict(format!(
                "{} items of list {} are popped and not confirmed; remove it once they are",
                list.unconfirmed, list.name
            )));
        }
        Ok(())
    }

    /// Removes an object, or a list about which [`judge_removal`](Self::judge_removal) has nothing to say.
    pub(crate) fn remove(&mut self, subject: Subject, out: &mut Output) {
        let object = self.subject_name(subject).clone();
        match subject {
            Subject::Object(key) => self.end_calls(key, out),
            Subject::List(key) => self.end_pops_and_follows(key, out),
        }
        self.end_watches(subject, out);
        self.happen(Event::ObjectRemoved { object }, out);
    }

    fn end_calls(&mut self, key: ObjectKey, out: &mut Output) {
        let promise = self.objects[key.0].durability;
        let turns: Vec<u64> = self.objects[key.0].waiters.iter().map(|(turn, _)| turn).collect();
        for turn in turns {
            if let Some(waiter) = self.unpark(key, turn) {
                let gone = failed(CallError::Removed, 1);
                answer(waiter.session, waiter.request, promise, gone, out);
            }
        }
    }

    fn end_pops_and_follows(&mut self, key: ListKey, out: &mut Output) {
        let list = &mut self.lists[key.0];
        let gone = not_found("list", &list.name);
        let (pops, followers) =
            (core::mem::take(&mut list.pops), core::mem::take(&mut list.followers));
        for (turn, pop) in pops {
            self.timers.unset(pop.until, Timer::Pop(key, turn));
            if let Some(holder) = self.sessions.get_mut(&pop.session) {
                holder.pops.remove(&(key, pop.receipt));
            }
            reject(pop.session, pop.request, Err(gone.clone()), out);
        }
        for ((session, subscription), follower) in followers {
            if let Some(holder) = self.sessions.get_mut(&session) {
                holder.follows.remove(&subscription);
            }
            reject(session, follower.request, Err(gone.clone()), out);
        }
    }

    /// Whether a queue has nothing in it, and nobody who relies on it.
    pub(crate) fn judge_queue_removal(&self, key: QueueKey) -> Result<(), Rejection> {
        let queue = &self.queues[key.0];
        let name = &queue.name;
        if queue.counts.all() > 0 {
            let (jobs, dead) = (queue.counts.all(), queue.counts.dead);
            return Err(Rejection::Conflict(format!(
                "queue {name} holds {jobs} jobs, {dead} of them dead letters; purge both, and have \
                 those done that run"
            )));
        }
        if queue.subscribers > 0 {
            let workers = queue.subscribers;
            return Err(Rejection::Conflict(format!(
                "{workers} workers take the jobs of queue {name}; stop them before it is removed"
            )));
        }
        if let Some(list) = self.results_alone(key).map(|list| &self.lists[list.0]) {
            let results = list.length() + list.unconfirmed;
            if results > 0 {
                return Err(Rejection::Conflict(format!(
                    "list {} holds {results} results of queue {name}; pop or purge them before it \
                     is removed",
                    list.name
                )));
            }
        }
        Ok(())
    }

    /// The list that is named after a queue, if it takes the results of no other.
    pub(crate) fn results_alone(&self, queue: QueueKey) -> Option<ListKey> {
        let list = self.queues[queue.0].results?;
        let feeders = &self.lists[list.0].feeders;
        feeders.iter().all(|&feeder| feeder == queue).then_some(list)
    }

    /// Removes a queue about which [`judge_queue_removal`](Self::judge_queue_removal) has nothing to
    /// say, and its own results list with it.
    pub(crate) fn remove_queue(&mut self, key: QueueKey, out: &mut Output) {
        let queue = self.queues[key.0].name.clone();
        self.end_callers(key, out);
        let gone = not_found("queue", &queue);
        self.refuse_waiting(key, &CallError::Removed, &gone, out);
        let results = self.results_alone(key);
        self.happen(Event::QueueRemoved { queue }, out);
        if let Some(list) = results {
            self.remove(Subject::List(list), out);
        }
    }

    pub(crate) fn apply_removed_queue(&mut self, name: &Name) {
        let Some(key) = self.queue_names.remove(name) else { return };
        let queue = self.queues.remove(key.0);
        for list in queue.feeds {
            self.lists[list.0].feeders.remove(&key);
        }
        self.awake.remove(&key);
        self.finished.forget(key);
        self.forget_unnamed(name);
    }

    pub(crate) fn apply_removed(&mut self, name: &Name) {
        match self.subject(name) {
            Some(Subject::Object(key)) => self.apply_removed_object(name, key),
            Some(Subject::List(key)) => self.apply_removed_list(name, key),
            None => return,
        }
        self.forget_unnamed(name);
        self.note_number(name);
    }

    fn apply_removed_object(&mut self, name: &Name, key: ObjectKey) {
        self.object_names.remove(name);
        let object = self.objects.remove(key.0);
        self.bytes -= object.kind.extent().bytes + object.history.bytes();
        for hold in object.kind.holds() {
            self.holdings.set(hold.owner, key, false);
        }
        if let Some(at) = object.passes {
            self.timers.unset(at, Timer::Pass(key));
        }
    }

    fn apply_removed_list(&mut self, name: &Name, key: ListKey) {
        self.list_names.remove(name);
        let list = self.lists.remove(key.0);
        self.bytes -= list.bytes() + list.watched.as_ref().map_or(0, |watched| watched.bytes());
        for session in list.poppers {
            if let Some(holder) = self.sessions.get_mut(&session) {
                holder.receipts.remove(&key);
            }
        }
    }
}
