//! Handing out jobs: which run goes to which subscription, and how much of it.
//!
//! Not what comes back: see [`crate::settle`].

use ganger_shared::{LeaseId, LeaseRange, Name, Rejection, Response, SessionId, SubscriptionId};

use crate::event::Event;
use crate::list::ListKey;
use crate::machine::Machine;
use crate::output::Output;
use crate::queue::callers::Wish;
use crate::queue::methods;
use crate::queue::{Counts, Queue, QueueKey};
use crate::run::{Run, RunKey};
use crate::session::Subscription;

/// What is to be done with the run whose turn is next.
#[expect(clippy::large_enum_variant, reason = "made and used up in the same place")]
enum Next {
    /// The grant, and the turn that it serves.
    Grant(u64, Event),
    /// The first job goes to the call that has this turn, as an item.
    Give(u64, RunKey),
    /// Its time is over.
    Expire(RunKey),
    /// Its payloads are in the journal only; they were asked for, or are to be.
    Load,
    /// Its results list is full: the jobs of that list are held back, and others pass them.
    HoldBack(ListKey),
}

impl Machine {
    /// Hands out what can be handed out in the queues that something has happened to.
    ///
    /// Every turn grants or expires jobs, or holds back those of one list in one step, however many
    /// they are. A list's jobs are held back once for each time that there were none before or that the
    /// list got room; so what this costs is bounded by what was granted, and by what came in.
    pub(crate) fn dispatch(&mut self, out: &mut Output) {
        while let Some(queue) = self.awake.pop_first() {
            while let Some(next) = self.decide_next(queue) {
                match next {
                    Next::Grant(turn, grant) => {
                        self.happen(grant, out);
                        self.rotate(queue, turn);
                    }
                    Next::Give(turn, run) => self.give(queue, turn, run, out),
                    Next::Expire(run) => self.expire(run, out),
                    Next::Load => {
                        self.ask_for_next(queue, out);
                        break;
                    }
                    Next::HoldBack(list) => self.queues[queue.0].ready.shut(list),
                }
            }
            self.serve_callers(queue, out);
            // Grants change turns, which wakes the queue; it has been looked at.
            self.awake.remove(&queue);
        }
    }

    /// What is to be done with the run whose turn is next: it, or a fair part of it, goes to the
    /// subscription whose turn it is, or its first job to the call.
    fn decide_next(&self, queue_key: QueueKey) -> Option<Next> {
        let queue = &self.queues[queue_key.0];
        if queue.pause.is_some() {
            return None;
        }
        let run_key = queue.ready.next()?;
        let taker = queue.takers.first_key_value();
        let caller = queue.callers.first(Wish::Item).map(|(turn, _)| turn);
        if taker.is_none() && caller.is_none() {
            return None;
        }
        let run = &self.runs[run_key];
        if run.expires().is_some_and(|at| at <= self.now) {
            return Some(Next::Expire(run_key));
        }
        if let Some(turn) = caller
            && taker.is_none_or(|(&other, _)| turn < other)
        {
            let is_loaded = run.payloads.loaded().is_some();
            return Some(if is_loaded { Next::Give(turn, run_key) } else { Next::Load });
        }
        let (&turn, &(session, subscription)) = taker?;
        let holder = self.sessions.get(&session)?;
        let fitting = run.results.map_or(u64::MAX, |list| self.room_in(list));
        if let (0, Some(list)) = (fitting, run.results) {
            return Some(Next::HoldBack(list));
        }
        if run.payloads.loaded().is_none() {
            return Some(Next::Load);
        }
        let leased = holder.leased.get(&subscription).copied().unwrap_or(0);
        let room = u64::from(holder.room(subscription)).min(fitting);
        let count = self.grant_size(queue, run, leased, room);
        let leases = LeaseRange { first: LeaseId(self.next_lease), count };
        let jobs = run.jobs.part(0, count);
        let (at, key) = (self.now, holder.key);
        let grant = Event::Granted { at, key, jobs, leases, session, subscription };
        Some(Next::Grant(turn, grant))
    }

    /// How many jobs of `run` go to a taker that has `leased` jobs, where there is `room` for so many
    /// more with it and in the results list; at least one.
    fn grant_size(&self, queue: &Queue, run: &Run, leased: u32, room: u64) -> u32 {
        let takers = u64::try_from(queue.takers.len()).expect("a count of things in memory");
        let Counts { ready, leased: running, .. } = queue.counts;
        let ready = ready - queue.ready.held_back();
        // An even share of all that can run, so that one worker's large credit does not leave others
        // idle; who has that already shares what the others have no room for.
        let even = (ready + running).div_ceil(queue.subscribers.max(1));
        let share = match even.checked_sub(u64::from(leased)) {
            Some(more @ 1..) => more,
            Some(0) | None => ready.div_ceil(takers),
        };
        let count = run.jobs.count.min(u32::try_from(room.min(share)).unwrap_or(u32::MAX));
        let mean = run.payloads.size_bytes() / run.jobs.count as usize;
        let fitting = self.config.assign_bytes_max / mean.max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        count.min(self.config.assign_jobs_max).min(fitting).max(1)
    }

    pub(crate) fn subscribe(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
        queue: &Name,
        credit: u32,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        self.judge_calls(session, Some(subscription))?;
        self.judge_exposed(session, methods::TYPEID, queue, "get")?;
        let queue = self.queue_for_use(queue, out)?;
        self.unsubscribe(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return Ok(()) };
        holder.subscriptions.insert(subscription, Subscription { queue, credit, turn: None });
        self.queues[queue.0].subscribers += 1;
        // Leases that the session kept over a broken connection count against the credit.
        self.update_turn(session, subscription);
        Ok(())
    }

    pub(crate) fn credit(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
        add: u32,
        out: &mut Output,
    ) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        if let Some(found) = holder.subscriptions.get_mut(&subscription) {
            found.credit = found.credit.saturating_add(add);
            self.update_turn(session, subscription);
        } else if let Some(&list) = holder.follows.get(&subscription) {
            if let Some(follower) = self.lists[list.0].followers.get_mut(&(session, subscription)) {
                follower.window = follower.window.saturating_add(u64::from(add));
            }
            self.serve_followers(list, out);
        } else {
            self.credit_watch(session, subscription, add, out);
        }
    }

    /// Ends the subscription, follow or watch of this number; leases stay.
    pub(crate) fn unsubscribe(&mut self, session: SessionId, subscription: SubscriptionId) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        if let Some(gone) = holder.subscriptions.remove(&subscription) {
            let queue = &mut self.queues[gone.queue.0];
            queue.subscribers -= 1;
            if let Some(turn) = gone.turn {
                queue.takers.remove(&turn);
            }
        }
        if let Some(list) = holder.follows.remove(&subscription) {
            self.lists[list.0].followers.remove(&(session, subscription));
        }
        self.unwatch(session, subscription);
    }

    /// Delayed jobs whose time has come.
    pub(crate) fn due(&mut self, run: RunKey, out: &mut Output) {
        let jobs = self.runs[run].jobs;
        self.happen(Event::Due { jobs }, out);
    }

    /// Tells a worker which jobs of a run are to be stopped, if they are.
    pub(crate) fn tell_stopping(&self, key: RunKey, out: &mut Output) {
        let run = &self.runs[key];
        let (crate::run::Phase::Leased(lease), Some(leases)) = (&run.phase, run.leases()) else {
            return;
        };
        let Some((_, until)) = lease.stopping else { return };
        for id in leases.first.0..leases.end() {
            out.send(lease.session, Response::CancelRun { lease: LeaseId(id), until });
        }
    }

    /// Tells a worker that leases have ended without it.
    pub(crate) fn fence(&self, run: &Run, out: &mut Output) {
        if let (crate::run::Phase::Leased(lease), Some(leases)) = (&run.phase, run.leases()) {
            out.send(lease.session, Response::Fenced { leases });
        }
    }
}
