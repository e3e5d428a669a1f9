//! Handing out jobs: which run goes to which subscription, and how much of it.
//!
//! Not what comes back: see [`crate::settle`].

use ganger_shared::{LeaseId, LeaseRange, Name, Response, SessionId, SubscriptionId};

use crate::event::Event;
use crate::machine::Machine;
use crate::output::Output;
use crate::queue::{Counts, Queue, QueueKey};
use crate::run::{Run, RunKey};
use crate::session::Subscription;

/// What is to be done with the first ready run of a queue.
#[expect(clippy::large_enum_variant, reason = "made and used up in the same place")]
enum Next {
    /// The grant, and the turn that it serves.
    Grant(u64, Event),
    /// Its time is over.
    Expire(RunKey),
}

impl Machine {
    /// Hands out what can be handed out in the queues that something has happened to.
    pub(crate) fn dispatch(&mut self, out: &mut Output) {
        while let Some(queue) = self.awake.pop_first() {
            while let Some(next) = self.decide_next(queue) {
                match next {
                    Next::Grant(turn, grant) => {
                        self.happen(grant, out);
                        self.rotate(queue, turn);
                    }
                    Next::Expire(run) => self.expire(run, out),
                }
            }
            // Grants change turns, which wakes the queue; it has been looked at.
            self.awake.remove(&queue);
        }
    }

    /// What is to be done with the first ready run of a queue: it, or a fair part of it, goes to
    /// the subscription whose turn it is.
    fn decide_next(&self, queue_key: QueueKey) -> Option<Next> {
        let queue = &self.queues[queue_key.0];
        if queue.pause.is_some() {
            return None;
        }
        let (_, &run_key) = queue.ready.first_key_value()?;
        let (&turn, &(session, subscription)) = queue.takers.first_key_value()?;
        let holder = self.sessions.get(&session)?;
        let run = &self.runs[run_key];
        if run.expires().is_some_and(|at| at <= self.now) {
            return Some(Next::Expire(run_key));
        }
        let leased = holder.leased.get(&subscription).copied().unwrap_or(0);
        let count = self.grant_size(queue, run, leased, holder.room(subscription))?;
        let leases = LeaseRange { first: LeaseId(self.next_lease), count };
        let jobs = run.jobs.part(0, count);
        let (at, key) = (self.now, holder.key);
        let grant = Event::Granted { at, key, jobs, leases, session, subscription };
        Some(Next::Grant(turn, grant))
    }

    /// How many jobs of `run` go to a taker that has `leased` jobs and `room` for so many more; `None`
    /// while its results list is full.
    fn grant_size(&self, queue: &Queue, run: &Run, leased: u32, room: u32) -> Option<u32> {
        let takers = u64::try_from(queue.takers.len()).expect("a count of things in memory");
        let Counts { ready, leased: running, .. } = queue.counts;
        // An even share of all that can run, so that one worker's large credit does not leave others
        // idle; who has that already shares what the others have no room for.
        let even = (ready + running).div_ceil(queue.subscribers.max(1));
        let share = match even.checked_sub(u64::from(leased)) {
            Some(more @ 1..) => more,
            Some(0) | None => ready.div_ceil(takers),
        };
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let mut count = run.jobs.count.min(room).min(share);
        count = count.min(self.config.assign_jobs_max);
        if let Some(list) = run.results {
            let list = &self.lists[list.0];
            let room = self.config.list_items_max.saturating_sub(list.held());
            if list.bytes() >= self.config.list_bytes_max {
                return None;
            }
            count = count.min(u32::try_from(room).unwrap_or(u32::MAX));
        }
        let mean = run.payloads.size_bytes() / run.jobs.count as usize;
        let fitting = self.config.assign_bytes_max / mean.max(1);
        count = count.min(u32::try_from(fitting).unwrap_or(u32::MAX).max(1));
        (count > 0).then_some(count)
    }

    pub(crate) fn subscribe(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
        queue: &Name,
        credit: u32,
        out: &mut Output,
    ) {
        let judged = self.judge_calls(session, Some(subscription));
        let queue = match judged.and_then(|()| self.queue_for_use(queue, out)) {
            Ok(queue) => queue,
            Err(rejection) => {
                let reason = format!("subscription to queue {queue}: {rejection}");
                return self.expel(session, reason, out);
            }
        };
        self.unsubscribe(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        holder.subscriptions.insert(subscription, Subscription { queue, credit, turn: None });
        self.queues[queue.0].subscribers += 1;
        // Leases that the session kept over a broken connection count against the credit.
        self.update_turn(session, subscription);
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
        }
    }

    /// Ends the subscription or follow of this number; leases stay.
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
