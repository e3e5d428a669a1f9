//! Handing out jobs: which run goes to which subscription, and how much of it.
//!
//! Not what comes back: see [`crate::settle`].

use ganger_shared::{LeaseId, LeaseRange, Name, Response, SessionId, SubscriptionId};

use crate::event::Event;
use crate::machine::Machine;
use crate::output::Output;
use crate::queue::{Queue, QueueKey};
use crate::run::Run;
use crate::session::Subscription;

impl Machine {
    /// Hands out what can be handed out in the queues that something has happened to.
    pub(crate) fn dispatch(&mut self, out: &mut Output) {
        while let Some(queue) = self.awake.pop_first() {
            while let Some((turn, grant)) = self.decide_grant(queue) {
                self.happen(grant, out);
                self.rotate(queue, turn);
            }
            // Grants change turns, which wakes the queue; it has been looked at.
            self.awake.remove(&queue);
        }
    }

    /// The next grant of a queue: its first ready run, or a fair part of it, to the subscription
    /// whose turn it is.
    fn decide_grant(&self, queue_key: QueueKey) -> Option<(u64, Event)> {
        let queue = &self.queues[queue_key.0];
        if queue.pause.is_some() {
            return None;
        }
        let (_, &run_key) = queue.ready.first_key_value()?;
        let (&turn, &(session, subscription)) = queue.takers.first_key_value()?;
        let holder = self.sessions.get(&session)?;
        let taker = holder.subscriptions.get(&subscription)?;
        let run = &self.runs[run_key];
        let count = self.grant_size(queue, run, taker)?;
        let leases = LeaseRange { first: LeaseId(self.next_lease), count };
        let jobs = run.jobs.part(0, count);
        let (at, key) = (self.now, holder.key);
        Some((turn, Event::Granted { at, key, jobs, leases, session, subscription }))
    }

    /// How many jobs of `run` go to `taker`; `None` while its results list is full.
    fn grant_size(&self, queue: &Queue, run: &Run, taker: &Subscription) -> Option<u32> {
        let takers = u64::try_from(queue.takers.len()).expect("a count of things in memory");
        // An even share, so that one worker's large credit does not leave others idle.
        let share = u32::try_from(queue.counts.ready.div_ceil(takers)).unwrap_or(u32::MAX);
        let mut count = run.jobs.count.min(taker.credit - taker.leased).min(share);
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
        let queue = match self.queue_for_use(queue, out) {
            Ok(queue) => queue,
            Err(rejection) => {
                let reason = format!("subscription to queue {queue}: {rejection}");
                out.expelled.push((session, reason));
                return;
            }
        };
        self.drop_subscription(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        if holder.subscriptions.len() + holder.follows.len() >= self.config.calls_per_session_max {
            let limit = self.config.calls_per_session_max;
            out.expelled.push((session, format!("more than {limit} subscriptions")));
            return;
        }
        // Leases that the session kept over a broken connection count against the credit.
        let mut leased = 0;
        for lease in &holder.leases {
            let run = &self.runs[self.leases[lease]];
            if matches!(&run.phase, crate::run::Phase::Leased(l) if l.subscription == subscription)
            {
                leased += run.jobs.count;
            }
        }
        let found = Subscription { queue, credit, leased, turn: None };
        holder.subscriptions.insert(subscription, found);
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

    pub(crate) fn unsubscribe(&mut self, session: SessionId, subscription: SubscriptionId) {
        self.drop_subscription(session, subscription);
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        if let Some(list) = holder.follows.remove(&subscription) {
            self.lists[list.0].followers.remove(&(session, subscription));
        }
    }

    pub(crate) fn drop_subscription(&mut self, session: SessionId, subscription: SubscriptionId) {
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        if let Some(gone) = holder.subscriptions.remove(&subscription)
            && let Some(turn) = gone.turn
        {
            self.queues[gone.queue.0].takers.remove(&turn);
        }
    }

    /// Delayed jobs whose time has come.
    pub(crate) fn due(&mut self, run: crate::run::RunKey, out: &mut Output) {
        let jobs = self.runs[run].jobs;
        self.happen(Event::Due { jobs }, out);
    }

    /// Tells a worker that leases have ended without it.
    pub(crate) fn fence(&self, run: &Run, out: &mut Output) {
        if let (crate::run::Phase::Leased(lease), Some(leases)) = (&run.phase, run.leases()) {
            out.send(lease.session, Response::Fenced { leases });
        }
    }
}
