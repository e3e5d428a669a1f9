//! Every invariant of the machine, asserted. For tests and simulations: it looks at everything.

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::{By, JobId, SessionId};

use crate::list::ListKey;
use crate::machine::Machine;
use crate::objects::Subject;
use crate::places::place;
use crate::promise::is_kept;
use crate::queue::callers::Wish;
use crate::queue::{Counts, Queue, QueueKey};
use crate::run::Phase;
use crate::session::Connection;
use crate::timer::Timer;

impl Machine {
    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold; the message names the thing at fault.
    pub fn check(&self) {
        self.check_room();
        self.check_backlog();
        let mut counts: BTreeMap<QueueKey, Counts> = BTreeMap::new();
        let mut bytes: BTreeMap<QueueKey, u64> = BTreeMap::new();
        let mut reserved: BTreeMap<ListKey, u64> = BTreeMap::new();
        let mut timers = 0;
        let mut in_memory = 0;
        let mut previous_end = None;
        for (key, run) in self.runs.iter() {
            let jobs = run.jobs;
            assert!(jobs.count > 0, "run at {} is empty", jobs.first);
            let payloads = run.payloads.shape();
            assert_eq!(payloads.count(), jobs.count, "payloads of the run at {}", jobs.first);
            in_memory += run.payloads.memory_bytes();
            if let Some((session, end)) = previous_end {
                assert!(session != jobs.first.session || end <= jobs.first.seq, "runs overlap");
            }
            previous_end = Some((jobs.first.session, jobs.end_seq()));
            *bytes.entry(run.queue).or_default() += run.payloads.size_bytes() as u64;
            let (count, of) = (u64::from(jobs.count), counts.entry(run.queue).or_default());
            let queue = &self.queues[run.queue.0];
            match &run.phase {
                Phase::Ready => {
                    of.ready += count;
                    let found = queue.ready.get(run.results, &place(run));
                    assert_eq!(found, Some(key), "place of {}", jobs.first);
                }
                Phase::Delayed { until } => {
                    of.delayed += count;
                    timers += 1;
                    assert_eq!(queue.delayed.get(&(*until, jobs.first)), Some(&key));
                    assert!(self.timers.contains(*until, Timer::Due(key)), "{} is due", jobs.first);
                }
                Phase::Held(held) => {
                    of.held += count;
                    assert_eq!(queue.held.get(&jobs.first), Some(&key));
                    assert!(!held.prerequisites.is_empty(), "{} is held by nothing", jobs.first);
                }
                Phase::Dead { at, .. } => {
                    of.dead += count;
                    assert_eq!(queue.dead.get(&(*at, jobs.first)), Some(&key));
                }
                Phase::Leased(lease) => {
                    of.leased += count;
                    assert_eq!(self.leases.get(&lease.first), Some(&key), "lease {}", lease.first);
                    assert!(lease.first.0 + count <= self.next_lease, "lease from the future");
                    let holder = self.sessions.get(&lease.session);
                    let holder = holder.expect("a lease has a session");
                    assert!(holder.leases.contains(&lease.first), "{} is held", lease.first);
                    assert!(
                        !matches!(holder.connection, Connection::Gone { .. }),
                        "session {} is gone and holds lease {}",
                        lease.session,
                        lease.first
                    );
                    assert!(holder.silence_check.is_some(), "{} is watched", lease.session);
                    if let Some(list) = run.results {
                        *reserved.entry(list).or_default() += count;
                    }
                }
            }
            if let Some(list) = run.results.map(|list| &self.lists[list.0]) {
                let (list, queue) = (list.durability, queue.settings.durability);
                assert_eq!(is_kept(list), is_kept(queue), "results of {}", jobs.first);
            }
            if let Some(at) = run.expires() {
                timers += 1;
                assert!(self.timers.contains(at, Timer::Expire(key)), "{} expires", jobs.first);
            }
        }
        self.check_queues(&counts, &bytes);
        self.check_lists(&reserved);
        timers += self.check_sessions();
        timers += self.lists.iter().map(|(_, list)| list.pops.len()).sum::<usize>();
        timers += self.check_objects();
        timers += self.check_unnamed();
        let callers = self.queues.iter().flat_map(|(_, queue)| queue.callers.iter());
        timers += callers.filter(|(.., caller)| caller.until.is_some()).count();
        let submits = self.queues.iter().flat_map(|(_, queue)| &queue.submits);
        timers += submits.filter(|submit| submit.put.is_some()).count();
        assert_eq!(timers, self.timers.len(), "timers without a reason");
        let pops = self.lists.iter().map(|(_, list)| list.pops.len()).sum::<usize>();
        let known = self.sessions.values().map(|session| session.pops.len()).sum::<usize>();
        assert_eq!(pops, known, "waiting pops");
        let list_bytes: u64 = self.lists.iter().map(|(_, list)| list.bytes()).sum();
        let parked = self.queues.iter().flat_map(|(_, queue)| &queue.submits);
        let parked: u64 = parked.map(|submit| submit.payloads.size_bytes() as u64).sum();
        assert_eq!(self.memory.parked_bytes, parked, "bytes of submits that wait");
        let objects: u64 = self.objects.iter().map(|(_, object)| object.kind.extent().bytes).sum();
        let answers: u64 = self.sessions.values().map(|session| session.answers.bytes()).sum();
        let watched = self.object_names.values().map(|&key| Subject::Object(key));
        let watched = watched.chain(self.list_names.values().map(|&key| Subject::List(key)));
        let changes: u64 = watched.map(|subject| self.check_history(subject)).sum();
        let watches: usize = self.sessions.values().map(|session| session.watches.len()).sum();
        assert_eq!(self.watches(), watches, "watches");
        let expected = in_memory + list_bytes + parked + objects + answers + changes;
        assert_eq!(self.bytes, expected, "bytes in memory");
    }

    fn check_queues(&self, counts: &BTreeMap<QueueKey, Counts>, bytes: &BTreeMap<QueueKey, u64>) {
        let places = |(_, queue): (usize, &Queue)| {
            queue.ready.len() + queue.delayed.len() + queue.held.len() + queue.dead.len()
        };
        assert_eq!(
            self.queues.iter().map(places).sum::<usize>() + self.leases.len(),
            self.runs.iter().count(),
            "runs and places"
        );
        assert_eq!(self.queues.len(), self.queue_names.len(), "queues and their names");
        for (index, queue) in &self.queues {
            let key = QueueKey(index);
            let is_fed = |list: &ListKey| self.lists[list.0].feeders.contains(&key);
            assert!(queue.feeds.iter().all(is_fed), "lists that queue {} feeds", queue.name);
            let fed = self.lists.iter().filter(|(_, list)| list.feeders.contains(&key)).count();
            assert_eq!(queue.feeds.len(), fed, "lists that queue {} feeds", queue.name);
            let subscriptions = self.sessions.values().flat_map(|s| s.subscriptions.values());
            let subscribers = subscriptions.filter(|taker| taker.queue == key).count() as u64;
            assert_eq!(queue.subscribers, subscribers, "subscribers of {}", queue.name);
            for submit in &queue.submits {
                let holder = &self.sessions[&submit.jobs.first.session];
                assert!(holder.connected() && holder.parked.contains(&key), "a parked submit");
                if let Some(put) = submit.put {
                    let timer = Timer::Put(key, submit.jobs.first);
                    assert!(self.timers.contains(put.until, timer), "a put of {}", queue.name);
                }
            }
            let expected = counts.get(&key).copied().unwrap_or_default();
            assert_eq!(queue.counts, expected, "counts of queue {}", queue.name);
            assert_eq!(
                queue.bytes,
                bytes.get(&key).copied().unwrap_or(0),
                "bytes of {}",
                queue.name
            );
            for (turn, (session, subscription)) in &queue.takers {
                let taker = &self.sessions[session].subscriptions[subscription];
                assert_eq!(
                    (taker.turn, taker.queue),
                    (Some(*turn), key),
                    "taker of {}",
                    queue.name
                );
            }
            for (wish, turn, caller) in queue.callers.iter() {
                let holder = &self.sessions[&caller.session];
                let known = holder.queue_calls.get(&(key, wish, turn));
                assert!(holder.connected() && known == Some(&caller.seq), "a call that waits");
                if let Some(until) = caller.until {
                    let timer = Timer::Caller(key, wish, turn);
                    assert!(self.timers.contains(until, timer), "a call on {}", queue.name);
                }
                let can_be_served = match wish {
                    Wish::Item => queue.is_used_up(),
                    Wish::Done => queue.unfinished() == 0,
                };
                assert!(!can_be_served, "{caller:?} waits at {}", queue.name);
            }
            queue.ready.check();
            assert!(
                queue.pause.is_some()
                    || queue.takers.is_empty() && queue.callers.first(Wish::Item).is_none()
                    || queue.ready.next().is_none_or(|next| self.runs[next].payloads.is_asked()),
                "queue {} has ready jobs and takers",
                queue.name
            );
            for (list, _, is_shut) in queue.ready.lanes() {
                let name = &self.lists[list.0].name;
                assert!(!is_shut || self.room_in(list) == 0, "list {name} holds back jobs");
                assert!(self.lists[list.0].feeders.contains(&key), "a feeder of {name}");
            }
        }
    }

    fn check_lists(&self, reserved: &BTreeMap<ListKey, u64>) {
        assert_eq!(self.lists.len(), self.list_names.len(), "lists and their names");
        for (index, list) in &self.lists {
            let key = ListKey(index);
            let knows = |session: &SessionId| self.sessions[session].receipts.contains_key(&key);
            assert!(list.poppers.iter().all(knows), "who has popped of {}", list.name);
            let popped = self.sessions.values().filter(|s| s.receipts.contains_key(&key)).count();
            assert_eq!(list.poppers.len(), popped, "who has popped of {}", list.name);
            list.check();
            assert_eq!(list.reserved, reserved.get(&key).copied().unwrap_or(0), "{}", list.name);
            assert!(list.pops.is_empty() || list.length() == 0, "items and pops in {}", list.name);
            let unconfirmed = self.sessions.values().filter_map(|s| s.popped.get(&key));
            let unconfirmed = unconfirmed.flat_map(BTreeMap::values).flatten();
            let count: u64 = unconfirmed.map(|run| u64::from(run.block.count())).sum();
            assert_eq!(list.unconfirmed, count, "unconfirmed items of {}", list.name);
        }
    }

    /// Returns how many timers objects have.
    fn check_objects(&self) -> usize {
        assert_eq!(self.objects.len(), self.object_names.len(), "objects and their names");
        let (mut timers, mut waiting, mut held, mut leases) = (0, 0, 0, 0);
        for (name, key) in &self.object_names {
            let object = &self.objects[key.0];
            assert_eq!(*name, object.name);
            assert_eq!(object.passes, object.kind.deadline(), "timer of {name}");
            if let Some(at) = object.passes {
                timers += 1;
                assert!(self.timers.contains(at, Timer::Pass(*key)), "{name} passes");
            }
            for (turn, waiter) in object.waiters.iter() {
                waiting += 1;
                if let Some(until) = waiter.until {
                    timers += 1;
                    assert!(
                        self.timers.contains(until, Timer::Call(*key, turn)),
                        "wait for {name}"
                    );
                }
                leases += usize::from(matches!(waiter.by, By::Lease(_)));
                let holder = &self.sessions[&waiter.session];
                assert!(holder.connected(), "{} waits for {name} and is gone", waiter.session);
                assert!(holder.object_calls.contains_key(&(*key, turn)), "a wait for {name}");
            }
            let mut owners: Vec<_> = object.kind.holds().iter().map(|hold| hold.owner).collect();
            owners.sort_unstable();
            owners.dedup();
            held += owners.len();
            for owner in owners {
                assert!(
                    self.holdings.iter().any(|found| found == (owner, *key)),
                    "{owner:?} {name}"
                );
                let is_gone = self
                    .sessions
                    .get(&owner.session)
                    .is_none_or(|session| matches!(session.connection, Connection::Gone { .. }));
                assert!(!is_gone, "{owner:?} is gone and holds {name}");
            }
        }
        assert_eq!(self.holdings.iter().count(), held, "holdings");
        let callers = || self.queues.iter().flat_map(|(_, queue)| queue.callers.iter());
        let under_lease = |by: By| matches!(by, By::Lease(_));
        leases += callers().filter(|(.., caller)| under_lease(caller.by)).count();
        assert_eq!(self.holdings.leases_waiting, leases, "calls under leases that wait");
        let known: usize = self.sessions.values().map(|session| session.queue_calls.len()).sum();
        assert_eq!(callers().count(), known, "calls on queues that wait");
        let calls: usize = self.sessions.values().map(|session| session.object_calls.len()).sum();
        assert_eq!(calls, waiting, "calls that wait");
        let puts = self.queues.iter().flat_map(|(_, queue)| &queue.submits);
        let puts: Vec<JobId> =
            puts.filter(|submit| submit.put.is_some()).map(|submit| submit.jobs.first).collect();
        for (id, session) in &self.sessions {
            let mut seqs: BTreeSet<u64> =
                session.object_calls.values().flatten().copied().collect();
            seqs.extend(session.queue_calls.values());
            seqs.extend(puts.iter().filter(|job| job.session == *id).map(|job| job.seq));
            assert_eq!(session.waiting_seqs, seqs, "numbers of calls that wait");
        }
        timers
    }

    /// Returns how many timers sessions have.
    fn check_sessions(&self) -> usize {
        let mut timers = 0;
        for (&id, session) in &self.sessions {
            let timer = match session.connection {
                Connection::Open => None,
                Connection::Grace { until } => Some((until, Timer::Grace(id))),
                Connection::Gone { until } => Some((until, Timer::Forget(id))),
            };
            let silence = session.silence_check.map(|at| (at, Timer::Silence(id)));
            for (at, timer) in timer.into_iter().chain(silence) {
                timers += 1;
                assert!(self.timers.contains(at, timer), "{timer:?}");
            }
            for lease in &session.leases {
                assert!(self.leases.contains_key(lease), "session {id} holds no lease {lease}");
            }
            for (subscription, taker) in &session.subscriptions {
                let room = session.room(*subscription) > 0;
                assert_eq!(taker.turn.is_some(), room, "turn of {subscription:?} of {id}");
                let queue = &self.queues[taker.queue.0];
                let turn = taker.turn.map(|turn| queue.takers.get(&turn));
                assert!(turn.is_none_or(|taker| taker == Some(&(id, *subscription))));
            }
            let mut leased = BTreeMap::new();
            for lease in &session.leases {
                let run = &self.runs[self.leases[lease]];
                let Phase::Leased(lease) = &run.phase else { panic!("{lease} is no lease") };
                assert_eq!(lease.session, id, "holder of lease {}", lease.first);
                *leased.entry(lease.subscription).or_default() += run.jobs.count;
            }
            assert_eq!(session.leased, leased, "jobs leased to {id}");
            for (&(list, receipt), turn) in &session.pops {
                let pop = &self.lists[list.0].pops[turn];
                assert_eq!((pop.session, pop.receipt), (id, receipt), "a waiting pop");
            }
            let is_idle = session.subscriptions.is_empty()
                && session.follows.is_empty()
                && session.watches.is_empty()
                && session.object_calls.is_empty()
                && session.queue_calls.is_empty()
                && session.pops.is_empty();
            assert!(session.connected() || is_idle, "calls of {id}, which is not connected");
        }
        timers
    }
}
