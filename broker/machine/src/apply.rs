//! What events do to the state of record. Total: an event never fails, on replay or live.
//!
//! Nothing is judged here; that was done by whoever made the event.

use std::collections::BTreeSet;
use std::sync::Arc;

use ganger_shared::key::KeyId;
use ganger_shared::{
    DeathReason, Durability, Ending, JobOptions, LeaseRange, Name, Response, ResultsTo, SessionId,
    Time,
};

use crate::event::{Event, Fault, StopCause, Verdict};
use crate::finished::Finished;
use crate::list::{Form, List, ListKey};
use crate::machine::Machine;
use crate::object::Owner;
use crate::objects::Subject;
use crate::output::Output;
use crate::payloads::Payloads;
use crate::promise::is_kept;
use crate::queue::{Queue, QueueKey};
use crate::run::{Lease, Phase, Run, RunKey, Watcher};
use crate::session::{Connection, Session};
use crate::timer::Timer;
use crate::watching::Watched;

impl Machine {
    pub(crate) fn apply(&mut self, event: Event, out: &mut Output) {
        match event {
            Event::QueueSet { queue, settings } => {
                self.see_unnamed(&queue);
                if let Some(&key) = self.queue_names.get(&queue) {
                    let queue = &mut self.queues[key.0];
                    let has_new_length = queue.settings.lease_ms != settings.lease_ms;
                    queue.settings = settings;
                    if has_new_length {
                        self.change_lengths();
                    }
                    self.admit_waiting(key, out);
                } else {
                    let key = self.queues.insert(Queue::new(queue.clone(), settings));
                    self.keep_unnamed(&queue);
                    self.queue_names.insert(queue, QueueKey(key));
                }
            }
            Event::QueuePaused { queue, pause } => {
                if let Some(&key) = self.queue_names.get(&queue) {
                    let queue = &mut self.queues[key.0];
                    // To go on is to take jobs again, too.
                    queue.is_shut_down &= pause.is_some();
                    queue.pause = pause;
                    self.awake.insert(key);
                    self.admit_waiting(key, out);
                }
            }
            Event::ListMade { list, durability } => {
                self.see_unnamed(&list);
                self.list_named(&list, durability);
            }
            Event::ListSet { list, durability, end } => {
                let key = self.list_named(&list, durability);
                self.set_list_promise(key, durability, out);
                let list = &mut self.lists[key.0];
                list.is_decided = true;
                list.end = list.end.max(end);
            }
            Event::ListWatched { at, list } => {
                self.see_time(at);
                if let Some(&key) = self.list_names.get(&list) {
                    let watched = &mut self.lists[key.0].watched;
                    watched.get_or_insert_with(|| Box::new(Watched::begin(at)));
                }
            }
            Event::SessionNamed { key, session, name } => {
                let session = self.session_of(session, key);
                (session.name, session.is_kept) = (name, true);
            }
            Event::Submitted { at, key, queue, jobs, options, payloads } => {
                self.see_time(at);
                let Some(&queue) = self.queue_names.get(&queue) else { return };
                let kept = self.promise(queue) > Durability::Memory;
                let session = self.session_of(jobs.first.session, key);
                session.take_numbers(jobs.first.seq, jobs.end_seq(), kept);
                self.apply_submitted(at, queue, jobs, options, payloads, out);
            }
            Event::Due { jobs } => {
                for run in self.isolate(jobs) {
                    let order = self.queues[self.runs[run].queue.0].take_order();
                    self.change(run, |run| {
                        run.phase = Phase::Ready;
                        (run.order, run.last_order) = (order, order);
                    });
                }
            }
            Event::Granted { at, key, jobs, leases, session, subscription } => {
                self.see_time(at);
                self.session_of(session, key);
                self.next_lease = self.next_lease.max(leases.end());
                for run in self.isolate(jobs) {
                    self.apply_granted(run, at, leases, jobs.first.seq, session, subscription, out);
                }
            }
            Event::Stopping { jobs, until, cause } => {
                for run in self.isolate(jobs) {
                    self.apply_stopping(run, until, cause, out);
                }
            }
            Event::Ended { at, jobs, verdict } => {
                self.see_time(at);
                for run in self.isolate(jobs) {
                    let offset = self.runs[run].jobs.first.seq - jobs.first.seq;
                    let offset = u32::try_from(offset).expect("within a range, counted in u32");
                    self.apply_ended(run, at, &verdict, offset, out);
                }
            }
            Event::Redriven { at, jobs } => {
                self.see_time(at);
                for run in self.isolate(jobs) {
                    let order = self.queues[self.runs[run].queue.0].take_order();
                    let dependents = self.runs[run].dependents.clone();
                    self.note_sent_back(&dependents);
                    self.change(run, |run| {
                        run.phase = Phase::Ready;
                        (run.order, run.last_order) = (order, order);
                        run.submitted = at;
                        (run.attempts, run.failures, run.crashes) = (0, 0, 0);
                        // Whoever sends it back wants it done although it is late.
                        if run.options.deadline.is_some_and(|deadline| deadline <= at) {
                            Arc::make_mut(&mut run.options).deadline = None;
                        }
                    });
                }
            }
            Event::Forgotten { jobs } => {
                for run in self.isolate(jobs) {
                    let queue = self.take(run).queue;
                    self.admit_waiting(queue, out);
                }
            }
            Event::Appended { key, session, seq, list, items } => {
                let list = self.list_names.get(&list).copied();
                let kept =
                    list.is_some_and(|list| self.lists[list.0].durability > Durability::Memory);
                self.session_of(session, key).take_numbers(seq, seq + 1, kept);
                if let Some(list) = list {
                    self.append_items(list, None, items, out);
                }
            }
            Event::Removed { list, start, count } => {
                if let Some(&list) = self.list_names.get(&list)
                    && count > 0
                {
                    self.apply_removed_items(list, start, count, out);
                }
            }
            Event::Left { session } => self.apply_left(session),
            Event::ObjectMade { at, object, typeid, durability, limits, args } => {
                self.see_time(at);
                self.see_unnamed(&object);
                self.apply_made(at, &object, &typeid, durability, limits, args);
            }
            Event::Called(called) => {
                self.see_time(called.at);
                let Some(subject) = self.subject(&called.object) else { return };
                let mut carried = self.carry_out(subject, &called);
                self.note_called(subject, &called, &mut carried, true);
            }
            Event::Freed { object, session, by } => {
                if let Some(&key) = self.object_names.get(&object) {
                    self.apply_freed(key, Owner { session, by });
                }
            }
            Event::Passed { at, object } => {
                self.see_time(at);
                if let Some(&key) = self.object_names.get(&object) {
                    self.apply_passed(key, at);
                    self.serve_watchers(Subject::Object(key), out);
                }
            }
            Event::ObjectRemoved { object } => self.apply_removed(&object),
            Event::QueueRemoved { queue } => self.apply_removed_queue(&queue),
            Event::Held { jobs, prerequisites } => self.apply_held(jobs, &prerequisites),
            Event::Met { at, jobs, prerequisite } => {
                self.see_time(at);
                self.apply_met(at, jobs, prerequisite);
            }
            Event::QueueCalled(called) => {
                self.see_time(called.at);
                self.apply_queue_called(*called, out);
            }
            Event::Stated(_) => {}
        }
    }

    /// Replayed events carry the time; live ones happen at `now`.
    fn see_time(&mut self, at: Time) {
        self.now = self.now.max(at);
    }

    /// The session, made if a journal knows it and this process does not yet: it may come back
    /// within the grace.
    pub(crate) fn session_of(&mut self, id: SessionId, key: KeyId) -> &mut Session {
        let (now, until) = (self.now, self.now + self.config.grace);
        let used = self.numbers_used(id);
        let timers = &mut self.timers;
        self.sessions.entry(id).or_insert_with(|| {
            timers.set(until, Timer::Grace(id));
            Session::new(key, Connection::Grace { until }, now, used)
        })
    }

    /// The list of this name, made if there is none.
    pub(crate) fn list_named(&mut self, name: &Name, durability: Durability) -> ListKey {
        if let Some(&key) = self.list_names.get(name) {
            return key;
        }
        let key = ListKey(self.lists.insert(List::new(name.clone(), durability)));
        self.list_names.insert(name.clone(), key);
        self.keep_unnamed(name);
        key
    }

    /// What a list promises from here on.
    fn set_list_promise(&mut self, key: ListKey, durability: Durability, out: &mut Output) {
        let list = &mut self.lists[key.0];
        let turns = is_kept(list.durability) != is_kept(durability);
        list.durability = durability;
        if turns {
            self.begin_list_anew(key, out);
        }
    }

    /// Adds strings at the end of a list, for those who follow it, watch it or wait for items.
    fn append_items(
        &mut self,
        key: ListKey,
        jobs: Option<ganger_shared::JobRange>,
        items: ganger_shared::Block,
        out: &mut Output,
    ) {
        self.bytes += items.size_bytes() as u64;
        let list = &mut self.lists[key.0];
        if list.watched.is_some() {
            // Each item counts: jobs that ended together may be in several runs when they end again in
            // a replay, and must come to the same revision.
            let (count, whats) = (u64::from(items.count()), list.told_of_append(&items));
            self.note_list_changes(key, count, whats.into_iter().collect());
            self.serve_watchers(Subject::List(key), out);
        }
        self.lists[key.0].append(jobs, Form::Strings, items);
        self.serve_list(key, out);
    }

    fn apply_removed_items(&mut self, key: ListKey, start: u64, count: u64, out: &mut Output) {
        let list = &mut self.lists[key.0];
        if list.watched.is_some() {
            let whats = list.told_of_removal(start, count);
            self.note_list_changes(key, 1, whats.into_iter().collect());
            self.serve_watchers(Subject::List(key), out);
        }
        let list = &mut self.lists[key.0];
        let before = list.bytes();
        list.remove(start, start.saturating_add(count));
        self.bytes -= before - list.bytes();
    }

    fn apply_submitted(
        &mut self,
        at: Time,
        queue_key: QueueKey,
        jobs: ganger_shared::JobRange,
        options: JobOptions,
        payloads: ganger_shared::Block,
        out: &mut Output,
    ) {
        let record = self.record_of(queue_key, out);
        let results = self.results_list(queue_key, &options.results);
        if let Some(list) = results {
            if self.lists[list.0].is_undecided() {
                // Somebody looked for it before there was anything in it.
                self.set_list_promise(list, self.promise(queue_key), out);
            }
            self.note_feeder(queue_key, list);
        }
        let queue = &mut self.queues[queue_key.0];
        queue.totals.submitted += u64::from(jobs.count);
        let order = queue.take_order();
        let phase = match options.delay_ms {
            0 => Phase::Ready,
            delay => Phase::Delayed { until: at.plus_millis(delay) },
        };
        let options = queue.share(options);
        let run = self.add(Run {
            jobs,
            queue: queue_key,
            options,
            results,
            payloads: Payloads::Loaded(payloads),
            records: record.into(),
            submitted: at,
            order,
            last_order: order,
            attempts: 0,
            failures: 0,
            crashes: 0,
            failure: None,
            watchers: smallvec::SmallVec::new(),
            dependents: BTreeSet::new(),
            phase,
        });
        self.join_backwards(run);
    }

    /// A list takes results of a queue.
    pub(crate) fn note_feeder(&mut self, queue: QueueKey, list: ListKey) {
        if self.lists[list.0].feeders.insert(queue) {
            self.queues[queue.0].feeds.insert(list);
        }
    }

    /// Where the results of a queue's jobs go; the list is made if there is none.
    fn results_list(&mut self, queue: QueueKey, results: &ResultsTo) -> Option<ListKey> {
        let durability = self.promise(queue);
        match results {
            ResultsTo::Nowhere => None,
            ResultsTo::List(name) => Some(self.list_named(name, durability)),
            ResultsTo::QueueList => {
                if let Some(list) = self.queues[queue.0].results {
                    return Some(list);
                }
                let name = self.queues[queue.0].name.results_list().ok()?;
                let list = self.list_named(&name, durability);
                self.queues[queue.0].results = Some(list);
                Some(list)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event, taken apart once")]
    fn apply_granted(
        &mut self,
        key: RunKey,
        at: Time,
        leases: LeaseRange,
        first_seq: u64,
        session: SessionId,
        subscription: ganger_shared::SubscriptionId,
        out: &mut Output,
    ) {
        let first = self.runs[key].jobs.first.seq - first_seq + leases.first.0;
        let first = ganger_shared::LeaseId(first);
        let length_ms = self.queues[self.runs[key].queue.0].settings.lease_ms;
        self.change(key, |run| {
            run.attempts += 1;
            run.phase = Phase::Leased(Lease {
                first,
                session,
                subscription,
                since: at,
                length_ms,
                stopping: None,
                progress: None,
            });
        });
        self.watch_silence(session, length_ms);
        let run = &self.runs[key];
        // Only in a replay, where nobody listens, are they not there.
        let Some(payloads) = run.payloads.loaded() else { return };
        let assign = Response::Assign {
            subscription,
            first_lease: first,
            attempt: run.attempts,
            jobs: run.jobs,
            handler: run.options.handler.clone(),
            deadline: run.options.deadline,
            time_limit_ms: run.options.time_limit_ms,
            payloads: payloads.clone(),
        };
        // Losing an Assign only means a redelivery, so it waits for nothing.
        out.send(session, assign);
    }

    fn apply_stopping(&mut self, key: RunKey, until: Time, cause: StopCause, out: &mut Output) {
        self.change(key, |run| {
            if let Phase::Leased(lease) = &mut run.phase {
                lease.stopping = Some((cause, until));
            }
        });
        self.tell_stopping(key, out);
    }

    /// `offset` is where the run's jobs start within the verdict's outputs.
    fn apply_ended(
        &mut self,
        key: RunKey,
        at: Time,
        verdict: &Verdict,
        offset: u32,
        out: &mut Output,
    ) {
        self.note_settled(key, verdict);
        let count = u64::from(self.runs[key].jobs.count);
        let totals = &mut self.queues[self.runs[key].queue.0].totals;
        match verdict {
            Verdict::Acked { .. } => totals.acked += count,
            Verdict::Retried { fault, .. } | Verdict::Dead { failure: Some((_, fault)), .. } => {
                match fault {
                    Fault::Handler => totals.nacked += count,
                    Fault::Worker => totals.crashed += count,
                }
            }
            Verdict::Dead { failure: None, .. }
            | Verdict::Released { .. }
            | Verdict::Cancelled
            | Verdict::Unmet { .. } => {}
        }
        match verdict {
            Verdict::Acked { outputs } => {
                let run = self.take(key);
                let outputs = outputs.part(offset, run.jobs.count);
                if let Some(list) = run.results {
                    self.append_items(list, Some(run.jobs), outputs.clone(), out);
                }
                self.finish(run, Ending::Acked { outputs }, out);
            }
            Verdict::Cancelled => {
                let run = self.take(key);
                self.finish(run, Ending::Cancelled, out);
            }
            Verdict::Retried { until, failure, fault } => {
                self.change(key, |run| {
                    count_fault(run, *fault);
                    run.failure = Some(Arc::new(failure.clone()));
                    run.phase = wait_until(*until, at);
                });
            }
            Verdict::Released { until } => {
                self.change(key, |run| {
                    run.attempts = run.attempts.saturating_sub(1);
                    run.phase = wait_until(*until, at);
                });
            }
            Verdict::Dead { reason, failure } => {
                self.change(key, |run| {
                    if let Some((failure, fault)) = failure {
                        count_fault(run, *fault);
                        run.failure = Some(Arc::new(failure.clone()));
                    }
                    run.phase = Phase::Dead { reason: *reason, at };
                });
                self.tell_dead(key, out);
            }
            Verdict::Unmet { failure } => {
                self.change(key, |run| {
                    run.failure = Some(Arc::new(failure.clone()));
                    run.phase = Phase::Dead { reason: DeathReason::Dependency, at };
                });
                self.tell_dead(key, out);
            }
        }
    }

    /// Remembers of a verdict that only a worker can have brought about that the session has
    /// settled the leases, so that a replay knows it too.
    fn note_settled(&mut self, key: RunKey, verdict: &Verdict) {
        let by_worker = match verdict {
            Verdict::Acked { .. }
            | Verdict::Retried { fault: Fault::Handler, .. }
            | Verdict::Dead { failure: Some((_, Fault::Handler)), .. } => true,
            Verdict::Retried { fault: Fault::Worker, .. }
            | Verdict::Dead { .. }
            | Verdict::Released { .. }
            | Verdict::Cancelled
            | Verdict::Unmet { .. } => false,
        };
        let run = &self.runs[key];
        if let (true, Phase::Leased(lease), Some(leases)) = (by_worker, &run.phase, run.leases())
            && let Some(holder) = self.sessions.get_mut(&lease.session)
        {
            holder.settled.add(leases);
        }
    }

    /// Tells those who wait how the jobs ended, and remembers it.
    pub(crate) fn finish(&mut self, run: Run, ending: Ending, out: &mut Output) {
        self.tell(&run, &run.watchers, &ending, out);
        self.note_ended(&run.dependents, run.jobs, matches!(ending, Ending::Acked { .. }));
        self.finished.add(Finished {
            jobs: run.jobs,
            queue: run.queue,
            ending,
            submitted: run.submitted,
            attempts: run.attempts,
            failures: run.failures,
            crashes: run.crashes,
        });
        self.admit_waiting(run.queue, out);
    }

    fn tell_dead(&mut self, key: RunKey, out: &mut Output) {
        let watchers = core::mem::take(&mut self.runs[key].watchers);
        let run = &self.runs[key];
        if let Some(ending) = dead_ending(run) {
            self.tell(run, &watchers, &ending, out);
        }
        let (dependents, jobs) = (run.dependents.clone(), run.jobs);
        self.note_ended(&dependents, jobs, false);
    }

    fn tell(&self, run: &Run, watchers: &[Watcher], ending: &Ending, out: &mut Output) {
        let promise = self.promise(run.queue);
        for watcher in watchers.iter().filter(|watcher| self.is_there(watcher)) {
            let (request, ending) = (watcher.request, ending.clone());
            let finished = Response::Finished { request, jobs: run.jobs, ending };
            out.promise(watcher.session, promise, finished);
        }
    }
}

/// How a dead letter ended.
pub(crate) fn dead_ending(run: &Run) -> Option<Ending> {
    match &run.phase {
        Phase::Dead { reason, .. } => {
            Some(Ending::Dead { reason: *reason, failure: run.failure.as_deref().cloned() })
        }
        Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) | Phase::Leased(_) => None,
    }
}

const fn count_fault(run: &mut Run, fault: Fault) {
    match fault {
        Fault::Handler => run.failures += 1,
        Fault::Worker => run.crashes += 1,
    }
}

pub(crate) fn wait_until(until: Time, now: Time) -> Phase {
    if until <= now { Phase::Ready } else { Phase::Delayed { until } }
}
