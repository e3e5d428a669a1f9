//! Sessions come, break off, come back, fall silent and go.

use std::collections::VecDeque;

use ganger_shared::key::KeyId;
use ganger_shared::response::Terms;
use ganger_shared::time::millis;
use ganger_shared::{Failure, LeaseRange, Rejection, Response, SessionId, SubscriptionId, Time};

use crate::event::{Event, Verdict};
use crate::machine::Machine;
use crate::output::Output;
use crate::queue::WaitingSubmit;
use crate::run::{Phase, RunKey};
use crate::session::{Connection, Session};
use crate::timer::Timer;

impl Machine {
    /// Whether a client with this key may open or resume the session.
    ///
    /// To be asked before [`Command::Open`](crate::Command::Open), which does nothing where this
    /// refuses: the refusal belongs to the connection that asks, and responses to a session go to
    /// the connection that has it.
    ///
    /// # Errors
    /// [`Rejection::NotYours`] or [`Rejection::TooMany`]: tell the client and close its connection.
    pub fn judge_open(&self, id: SessionId, key: KeyId) -> Result<(), Rejection> {
        let limit = self.config.sessions_max;
        match self.sessions.get(&id) {
            Some(session) if session.key != key => Err(Rejection::NotYours),
            None if self.sessions.len() >= limit => {
                Err(Rejection::TooMany { what: "sessions".to_owned(), limit: limit as u64 })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn open(
        &mut self,
        id: SessionId,
        key: KeyId,
        held: &[LeaseRange],
        name: String,
        out: &mut Output,
    ) {
        if self.judge_open(id, key).is_err() {
            return;
        }
        let resumed = self.sessions.contains_key(&id);
        if resumed {
            self.disconnected(id, out);
            self.unset_connection_timer(id);
        }
        let (now, used) = (self.now, self.numbers_used(id));
        let new = || Session::new(key, Connection::Open, now, used);
        let session = self.sessions.entry(id).or_insert_with(new);
        session.connection = Connection::Open;
        session.connections += 1;
        if session.name != name {
            if session.is_kept {
                // The journal knows it, and must not forget it with the next restatement.
                let name = name.clone();
                out.journal.push(Event::SessionNamed { key, session: id, name });
            }
            session.name = name;
        }
        let opened = Response::Opened {
            resumed,
            next_seq: session.numbers.next(),
            terms: Terms {
                heartbeat_ms: millis(self.config.heartbeat),
                grace_ms: millis(self.config.grace),
                frame_bytes_max: self.config.frame_bytes_max,
                payload_bytes_max: u32::try_from(self.config.payload_bytes_max).unwrap_or(u32::MAX),
            },
        };
        out.send(id, opened);
        self.sign_of_life(id);
        self.release_unheld(id, held, out);
        self.free_stale(id, out);
        self.tell_missed(id, held, out);
    }

    /// What was said of its leases while the client had no connection: that they have ended, or that
    /// their jobs are to be stopped.
    fn tell_missed(&self, id: SessionId, held: &[LeaseRange], out: &mut Output) {
        let Some(session) = self.sessions.get(&id) else { return };
        let runs = self.runs_leased_to(id);
        let kept: Vec<LeaseRange> =
            runs.iter().filter_map(|&run| self.runs[run].leases()).collect();
        let kept = joined(&kept);
        let ended = joined(held).into_iter().flat_map(|held| gaps(&kept, held)).collect();
        // Those that the session has settled are no news to it: it asks for the answer again.
        for leases in session.settled.without(ended) {
            out.send(id, Response::Fenced { leases });
        }
        for run in runs {
            self.tell_stopping(run, out);
        }
    }

    /// The number below which a session that is not known any more has used numbers: what its jobs
    /// tell that are still here. A number that names one of them must not be given to another.
    pub(crate) fn numbers_used(&self, id: SessionId) -> u64 {
        if self.sessions.contains_key(&id) {
            return 0;
        }
        self.runs.end_seq_of(id).max(self.finished.end_seq_of(id))
    }

    /// Takes back leases whose Assign was lost on the way.
    fn release_unheld(&mut self, id: SessionId, held: &[LeaseRange], out: &mut Output) {
        let held = joined(held);
        for run in self.runs_leased_to(id) {
            let Some(leases) = self.runs[run].leases() else { continue };
            let (jobs, at) = (self.runs[run].jobs, self.now);
            let verdict = self.stopped(run).unwrap_or(Verdict::Released { until: at });
            for (start, end) in gaps(&held, (leases.first.0, leases.end())) {
                let index = |lease: u64| {
                    u32::try_from(lease - leases.first.0).expect("within a run, counted in u32")
                };
                let jobs = jobs.part(index(start), index(end) - index(start));
                self.happen(Event::Ended { at, jobs, verdict: verdict.clone() }, out);
            }
        }
    }

    fn runs_leased_to(&self, id: SessionId) -> Vec<RunKey> {
        let Some(session) = self.sessions.get(&id) else { return Vec::new() };
        session.leases.iter().map(|lease| self.leases[lease]).collect()
    }

    /// The connection broke: leases stay for the grace; what only a connection can use goes at once.
    pub(crate) fn disconnected(&mut self, id: SessionId, out: &mut Output) {
        let until = self.now + self.config.grace;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.connected() {
            return;
        }
        session.connection = Connection::Grace { until };
        self.timers.set(until, Timer::Grace(id));
        self.drop_calls(id, out);
    }

    fn drop_calls(&mut self, id: SessionId, out: &mut Output) {
        let Some(session) = self.sessions.get(&id) else { return };
        let subscriptions: Vec<SubscriptionId> =
            session.subscriptions.keys().chain(session.follows.keys()).copied().collect();
        let watches: Vec<SubscriptionId> = session.watches.keys().copied().collect();
        for subscription in subscriptions.into_iter().chain(watches) {
            self.unsubscribe(id, subscription);
        }
        self.drop_object_calls(id);
        self.drop_queue_calls(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let parked = core::mem::take(&mut session.parked);
        for ((list, _), turn) in core::mem::take(&mut session.pops) {
            if let Some(pop) = self.lists[list.0].pops.remove(&turn) {
                self.timers.unset(pop.until, Timer::Pop(list, turn));
            }
        }
        for queue in parked {
            // It may be removed since, and its place another one's.
            let Some(found) = self.queues.get_mut(queue.0) else { continue };
            let submits = core::mem::take(&mut found.submits);
            let is_gone = |submit: &WaitingSubmit| submit.jobs.first.session == id;
            let (gone, stay): (VecDeque<_>, _) = submits.into_iter().partition(is_gone);
            self.queues[queue.0].submits = stay;
            gone.iter().for_each(|submit| self.forget_parked(queue, submit));
            self.admit_waiting(queue, out);
        }
    }

    /// Ends the connection of a client that broke the rules; its session may come back.
    pub(crate) fn expel(&mut self, id: SessionId, reason: String, out: &mut Output) {
        out.expelled.push((id, reason));
        self.disconnected(id, out);
    }

    /// A frame has come.
    pub(crate) fn sign_of_life(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.seen = self.now;
        let (silent, has_old_lengths) = (session.silent, session.has_old_lengths);
        (session.silent, session.has_old_lengths) = (false, false);
        if silent {
            self.update_turns(id);
        }
        if has_old_lengths {
            self.renew_lengths(id);
        }
    }

    /// The leases of some queue have another length from their next extension on.
    pub(crate) fn change_lengths(&mut self) {
        for session in self.sessions.values_mut() {
            session.has_old_lengths = !session.leases.is_empty();
        }
    }

    /// Gives the leases of a session, which are just extended, the length that their queues have.
    fn renew_lengths(&mut self, id: SessionId) {
        for key in self.runs_leased_to(id) {
            let run = &mut self.runs[key];
            if let Phase::Leased(lease) = &mut run.phase {
                lease.length_ms = self.queues[run.queue.0].settings.lease_ms;
            }
            // A shorter one may end before the next check; a check that is too early does no harm.
            let until = self.lease_until(key);
            self.check_silence_at(id, until);
        }
    }

    fn update_turns(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let subscriptions: Vec<SubscriptionId> = session.subscriptions.keys().copied().collect();
        for subscription in subscriptions {
            self.update_turn(id, subscription);
        }
    }

    fn unset_connection_timer(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        match session.connection {
            Connection::Open => {}
            Connection::Grace { until } => self.timers.unset(until, Timer::Grace(id)),
            Connection::Gone { until } => self.timers.unset(until, Timer::Forget(id)),
        }
    }

    /// The client leaves in good order. It has nothing to repeat, so nothing is remembered of it.
    pub(crate) fn close(&mut self, id: SessionId, out: &mut Output) {
        self.disconnected(id, out);
        self.release_unheld(id, &[], out);
        self.put_back_popped(id, out);
        self.free_session(id, out);
        self.happen(Event::Left { session: id }, out);
    }

    /// The client did not come back in time: what it ran counts as crashed.
    pub(crate) fn grace_over(&mut self, id: SessionId, out: &mut Output) {
        let name = self.sessions.get(&id).map(|session| session.name.clone()).unwrap_or_default();
        let grace_ms = millis(self.config.grace);
        let message =
            format!("the connection of {name:?} broke and was not resumed in {grace_ms} ms");
        let failure = Failure::new("worker-lost", &message);
        for run in self.runs_leased_to(id) {
            self.crashed(run, self.runs[run].jobs, failure.clone(), out);
        }
        self.gone(id, out);
    }

    fn gone(&mut self, id: SessionId, out: &mut Output) {
        self.put_back_popped(id, out);
        self.free_session(id, out);
        let until = self.now + self.config.session_memory;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.connection = Connection::Gone { until };
        self.timers.set(until, Timer::Forget(id));
    }

    /// Nothing is remembered of a session that was gone for long.
    pub(crate) fn apply_left(&mut self, id: SessionId) {
        self.unset_connection_timer(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        self.bytes -= session.answers.bytes();
        for list in session.receipts.keys() {
            self.lists[list.0].poppers.remove(&id);
        }
        if let Some(at) = session.silence_check {
            self.timers.unset(at, Timer::Silence(id));
        }
    }

    /// Has a session that holds leases of `lease_ms` checked for silence.
    pub(crate) fn watch_silence(&mut self, id: SessionId, lease_ms: u64) {
        self.check_silence_at(id, self.now.plus_millis(lease_ms));
    }

    /// Ends the leases that have outlived the session's last sign of life, and sets the next check.
    pub(crate) fn check_silence(&mut self, id: SessionId, out: &mut Output) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.silence_check = None;
        for run in self.runs_leased_to(id) {
            let until = self.lease_until(run);
            if until > self.now {
                self.check_silence_at(id, until);
                continue;
            }
            self.fence(&self.runs[run], out);
            let message = "no sign of life of its worker for the length of the lease";
            let failure = Failure::new("lease-expired", message);
            self.crashed(run, self.runs[run].jobs, failure, out);
            // What would be leased to it again would only crash again.
            if let Some(session) = self.sessions.get_mut(&id) {
                session.silent = true;
            }
        }
        self.update_turns(id);
    }

    fn check_silence_at(&mut self, id: SessionId, at: Time) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.silence_check.is_none_or(|earlier| at < earlier) {
            if let Some(earlier) = session.silence_check {
                self.timers.unset(earlier, Timer::Silence(id));
            }
            session.silence_check = Some(at);
            self.timers.set(at, Timer::Silence(id));
        }
    }

    /// When the leases of a run end without a further sign of life.
    pub(crate) fn lease_until(&self, key: RunKey) -> Time {
        let run = &self.runs[key];
        let Phase::Leased(lease) = &run.phase else { return self.now };
        let seen = self.sessions.get(&lease.session).map_or(Time::ZERO, |session| session.seen);
        seen.max(lease.since).plus_millis(lease.length_ms)
    }
}

/// The ranges as start to end: in order, disjoint and not touching.
fn joined(ranges: &[LeaseRange]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<(u64, u64)> = ranges.iter().map(|r| (r.first.0, r.end())).collect();
    sorted.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (start, end) in sorted {
        match joined.last_mut() {
            Some((_, last_end)) if *last_end >= start => *last_end = end.max(*last_end),
            Some(_) | None => joined.push((start, end)),
        }
    }
    joined
}

/// The parts of the leases `from .. to` that are in none of `held`, which are joined.
fn gaps(held: &[(u64, u64)], (from, to): (u64, u64)) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    let mut next = from;
    let first = held.partition_point(|&(_, end)| end <= from);
    for &(start, end) in held[first..].iter().take_while(|(start, _)| *start < to) {
        if start > next {
            gaps.push((next, start));
        }
        next = end;
    }
    if next < to {
        gaps.push((next, to));
    }
    gaps
}
