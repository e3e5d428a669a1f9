//! The places that point at a run: each phase has its own, and they change together.
//!
//! A run is in exactly the places of its phase; [`Machine::leave`] and [`Machine::enter`] are the
//! only functions that touch them.

use ganger_shared::{SessionId, SubscriptionId};

use crate::list::ListKey;
use crate::machine::Machine;
use crate::queue::{Queue, QueueKey};
use crate::ready::Place;
use crate::run::{Phase, Run, RunKey};
use crate::timer::Timer;

pub(crate) fn place(run: &Run) -> Place {
    Place { patience: 9 - run.options.priority.level(), order: run.order, job: run.jobs.first }
}

fn count_of<'a>(queue: &'a mut Queue, phase: &Phase) -> &'a mut u64 {
    match phase {
        Phase::Ready => &mut queue.counts.ready,
        Phase::Delayed { .. } => &mut queue.counts.delayed,
        Phase::Held(_) => &mut queue.counts.held,
        Phase::Leased(_) => &mut queue.counts.leased,
        Phase::Dead { .. } => &mut queue.counts.dead,
    }
}

impl Machine {
    /// Puts a run into the places of its phase.
    pub(crate) fn enter(&mut self, key: RunKey) {
        let run = &self.runs[key];
        let count = run.jobs.count;
        let queue = &mut self.queues[run.queue.0];
        *count_of(queue, &run.phase) += u64::from(count);
        if let Some(at) = run.expires() {
            self.timers.set(at, Timer::Expire(key));
        }
        match &run.phase {
            Phase::Ready => {
                queue.ready.insert(run.results, place(run), key, count);
                self.awake.insert(run.queue);
            }
            Phase::Delayed { until } => {
                queue.delayed.insert((*until, run.jobs.first), key);
                self.timers.set(*until, Timer::Due(key));
            }
            Phase::Held(_) => {
                queue.held.insert(run.jobs.first, key);
                self.enter_held(key);
            }
            Phase::Dead { at, .. } => {
                queue.dead.insert((*at, run.jobs.first), key);
            }
            Phase::Leased(lease) => {
                self.leases.insert(lease.first, key);
                if let Some(list) = run.results {
                    self.lists[list.0].reserved += u64::from(count);
                }
                let (session, subscription) = (lease.session, lease.subscription);
                if let Some(holder) = self.sessions.get_mut(&session) {
                    holder.leases.insert(lease.first);
                    *holder.leased.entry(subscription).or_default() += count;
                }
                self.update_turn(session, subscription);
            }
        }
    }

    /// Takes a run out of the places of its phase.
    pub(crate) fn leave(&mut self, key: RunKey) {
        let run = &self.runs[key];
        let count = run.jobs.count;
        let queue = &mut self.queues[run.queue.0];
        *count_of(queue, &run.phase) -= u64::from(count);
        if !queue.callers.is_empty() {
            // They may have waited for the last one, or for this one.
            self.awake.insert(run.queue);
        }
        if let Some(at) = run.expires() {
            self.timers.unset(at, Timer::Expire(key));
        }
        match &run.phase {
            Phase::Ready => {
                queue.ready.remove(run.results, place(run), count);
                if run.payloads.is_asked() {
                    // Takers waited for it; now it is the next one's turn.
                    self.awake.insert(run.queue);
                }
            }
            Phase::Delayed { until } => {
                queue.delayed.remove(&(*until, run.jobs.first));
                self.timers.unset(*until, Timer::Due(key));
            }
            Phase::Held(_) => {
                queue.held.remove(&run.jobs.first);
                self.leave_held(key);
            }
            Phase::Dead { at, .. } => {
                queue.dead.remove(&(*at, run.jobs.first));
            }
            Phase::Leased(lease) => {
                self.leases.remove(&lease.first);
                let (first, session, subscription) =
                    (lease.first, lease.session, lease.subscription);
                if let Some(list) = run.results {
                    let was_full = self.room_in(list) == 0;
                    self.lists[list.0].reserved -= u64::from(count);
                    if was_full {
                        self.wake_feeders(list);
                    }
                }
                if let Some(holder) = self.sessions.get_mut(&session) {
                    holder.leases.remove(&first);
                    let leased = holder.leased.get_mut(&subscription);
                    let leased = leased.expect("a lease was counted as it began");
                    *leased -= count;
                    if *leased == 0 {
                        holder.leased.remove(&subscription);
                    }
                }
                self.update_turn(session, subscription);
            }
        }
    }

    /// How many more results a list has room for.
    pub(crate) fn room_in(&self, list: ListKey) -> u64 {
        let list = &self.lists[list.0];
        if list.bytes() >= self.config.list_bytes_max {
            return 0;
        }
        self.config.list_items_max.saturating_sub(list.held())
    }

    /// Lets the jobs go on that a full list held back.
    pub(crate) fn wake_feeders(&mut self, list: ListKey) {
        for &queue in &self.lists[list.0].feeders {
            if self.queues[queue.0].ready.open(list) {
                self.awake.insert(queue);
            }
        }
    }

    /// Moves a run to another phase.
    pub(crate) fn change(&mut self, key: RunKey, change: impl FnOnce(&mut Run)) {
        self.leave(key);
        change(&mut self.runs[key]);
        self.enter(key);
        self.note_crowding(key);
    }

    /// Cuts a run in two and returns the second part, which starts `at` jobs in.
    pub(crate) fn split(&mut self, key: RunKey, at: u32) -> RunKey {
        self.leave(key);
        let tail = self.runs.split(key, at);
        self.enter(key);
        self.enter(tail);
        tail
    }

    /// Adds a run that did not exist before.
    pub(crate) fn add(&mut self, run: Run) -> RunKey {
        self.queues[run.queue.0].bytes += run.payloads.size_bytes() as u64;
        self.reserve_completions(run.queue, run.jobs.count);
        self.note_items(&run.options.handler, run.jobs, run.payloads.loaded());
        let key = self.runs.insert(run);
        self.count_payloads(key);
        self.enter(key);
        self.note_crowding(key);
        key
    }

    /// Takes a run away for good.
    pub(crate) fn take(&mut self, key: RunKey) -> Run {
        self.leave(key);
        self.uncount_payloads(key);
        let run = self.runs.remove(key);
        self.forget_items(run.jobs);
        self.queues[run.queue.0].bytes -= run.payloads.size_bytes() as u64;
        self.release_completions(run.queue, run.jobs.count);
        run
    }

    /// Gives a subscription a turn among its queue's takers if it has room, and takes it away if not.
    pub(crate) fn update_turn(&mut self, session: SessionId, subscription: SubscriptionId) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        let room = holder.room(subscription) > 0;
        let Some(found) = holder.subscriptions.get_mut(&subscription) else { return };
        let queue = &mut self.queues[found.queue.0];
        match found.turn {
            None if room => {
                queue.takers.insert(queue.next_turn, (session, subscription));
                found.turn = Some(queue.next_turn);
                queue.next_turn += 1;
                self.awake.insert(found.queue);
            }
            Some(turn) if !room => {
                queue.takers.remove(&turn);
                found.turn = None;
            }
            Some(_) | None => {}
        }
    }

    /// Puts a taker behind the others: it was just served.
    pub(crate) fn rotate(&mut self, queue: QueueKey, turn: u64) {
        let queue = &mut self.queues[queue.0];
        let Some(taker) = queue.takers.remove(&turn) else { return };
        let (session, subscription) = taker;
        let holder = self.sessions.get_mut(&session);
        if let Some(found) = holder.and_then(|s| s.subscriptions.get_mut(&subscription)) {
            queue.takers.insert(queue.next_turn, taker);
            found.turn = Some(queue.next_turn);
            queue.next_turn += 1;
        }
    }
}
