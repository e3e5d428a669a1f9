//! What a client makes of what the broker sends: what it came to know, and what is answered by it.

use std::collections::{BTreeMap, BTreeSet};

use ganger_chance::Rng;
use ganger_history::{Ending as Ended, Hash, Item, Jobs, Reply, What};
use ganger_shared::response::Items;
use ganger_shared::{
    Ending, JobId, JobRange, LeaseId, LeaseRange, Name, Outcome, Rejection, Request, RequestId,
    Response, SessionId, Settlement, SubscriptionId, Value,
};

use super::{Client, Will, Work, jobs as told, submits};
use crate::simulation::plan::Plan;
use crate::simulation::seen::Seen;

/// What a client came to know; compared with the record at the end.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Known {
    pub(in crate::simulation) accepted: BTreeSet<JobId>,
    /// Acks that were answered as settled: the job and the output.
    pub(in crate::simulation) settled: BTreeMap<LeaseId, (JobId, Vec<u8>)>,
    /// Acks that were answered as lost.
    pub(in crate::simulation) lost: BTreeMap<LeaseId, JobId>,
    pub(in crate::simulation) finished: Vec<(JobId, Ending)>,
    /// Items as they were shown: list, index, job and bytes.
    pub(in crate::simulation) items: BTreeSet<(Name, u64, Option<JobId>, Vec<u8>)>,
    /// Under which receipt an item was last popped.
    popped: BTreeMap<(Name, u64), (SessionId, u64)>,
    /// Calls that have changed something, by session and number, and what they came to.
    pub(in crate::simulation) called: BTreeMap<(SessionId, u64), Value>,
}

impl Client {
    /// Notes what a frame brings that has come to a client that cannot look at it yet: it was read when
    /// it came, whatever others read until it looks.
    pub(in crate::simulation) fn note_arrival(&mut self, response: &Response) {
        let Response::Items { request, start, items, .. } = response else { return };
        if let Some(Request::Pop { list, confirmed, .. }) = self.unanswered.get(&request.0) {
            self.notes.extend(popped(list, *confirmed, *start, items));
            self.noted.insert(*request);
        }
    }

    /// Takes one frame of the broker; returns what it says to that.
    pub(in crate::simulation) fn hear(
        &mut self,
        now: u64,
        response: Response,
        known: &mut Known,
        world: (&mut Rng, &Plan, &mut Seen),
    ) -> Vec<Request> {
        let (rng, plan, seen) = world;
        match response {
            Response::Opened { resumed, next_seq, .. } => {
                self.opened = true;
                // What was not answered is asked again, and answered anew.
                self.noted.clear();
                if resumed && !self.works.is_empty() {
                    seen.hit("resumed with leases held");
                }
                if !resumed {
                    // Every lease is lost, and so is what was popped and not confirmed.
                    self.works.clear();
                    self.pops.clear();
                    // Nobody knows any more which calls were carried out.
                    self.unanswered.retain(|_, request| {
                        !matches!(request, Request::Pop { .. } | Request::Call { .. })
                    });
                    self.holds = None;
                }
                assert!(next_seq <= self.next_seq, "numbers that were never used");
                return self.reopened(plan);
            }
            Response::Accepted { request, .. } => {
                let submit = self.answered(request);
                if let Some((jobs, _)) = submit.and_then(|asked| submits(self.session, &asked)) {
                    known.accepted.extend(jobs.iter());
                    self.notes.push(What::Submitted { jobs: told(jobs), reply: Reply::Ok });
                }
            }
            Response::Rejected { request, rejection } => {
                self.rejected(request, &rejection, rng, seen);
            }
            Response::Assign { subscription, first_lease, attempt, jobs, payloads, .. } => {
                self.notes.push(What::Granted {
                    queue: self.queues[&subscription].clone(),
                    jobs: told(jobs),
                    lease: first_lease,
                    attempt,
                    payloads: payloads.slices().map(Hash::of).collect(),
                });
                self.assigned(now, subscription, first_lease, (jobs, payloads), rng, plan);
            }
            Response::Settled { request, lost } => self.settled(request, &lost, known, seen),
            Response::CancelRun { lease, .. } => {
                if let Some(work) = self.works.get_mut(&lease)
                    && !work.refused
                {
                    work.will = match rng.below(4) {
                        0 => Will::Ack,
                        1 => Will::Release,
                        2 if plan.hangs => Will::Hang,
                        _ => Will::Nack,
                    };
                }
            }
            Response::Fenced { leases } => {
                seen.hit("leases fenced");
                self.works.retain(|lease, work| {
                    work.settling || !(leases.first.0..leases.end()).contains(&lease.0)
                });
            }
            Response::Finished { request: _, jobs, ending } => {
                self.finished(jobs, &ending, known);
            }
            Response::Length { request, .. } | Response::Cancelled { request, .. } => {
                self.answered(request);
            }
            Response::Returned { request, results, errors } => {
                if let Some(call) = self.answered(request) {
                    self.returned(&call, &results, &errors, known, seen);
                }
            }
            Response::Items { request, start, items, .. } => {
                let list = match self.answered(request) {
                    Some(Request::Pop { list, receipt, confirmed, .. }) => {
                        let pops = self.pops.entry(list.clone()).or_default();
                        assert_eq!(pops.receipt, receipt, "an answer to another pop");
                        (pops.waiting, pops.arrived) = (false, receipt);
                        if !self.noted.remove(&request) {
                            self.notes.extend(popped(&list, confirmed, start, &items));
                        }
                        let count: u64 = items.iter().map(|run| u64::from(run.block.count())).sum();
                        for index in (start..).take(usize::try_from(count).unwrap()) {
                            let by = (self.session, receipt);
                            if known
                                .popped
                                .insert((list.clone(), index), by)
                                .is_some_and(|p| p != by)
                            {
                                seen.hit("popped items came back");
                            }
                        }
                        list
                    }
                    _ => return Vec::new(),
                };
                note_items(&list, start, &items, known);
            }
            Response::Followed { subscription, start, items } => {
                if let Some((id, list, next)) = &mut self.follow
                    && *id == subscription
                {
                    assert!(start >= *next, "followed backwards");
                    *next =
                        start + items.iter().map(|run| u64::from(run.block.count())).sum::<u64>();
                    note_items(&list.clone(), start, &items, known);
                    seen.hit("followed");
                }
            }
            Response::Heartbeat
            | Response::Unsubscribed { .. }
            | Response::NotSubscribed { .. }
            | Response::Using { .. }
            | Response::Watching { .. }
            | Response::Changed { .. }
            | Response::Admin { .. }
            | Response::Goodbye { .. } => {}
        }
        Vec::new()
    }

    fn answered(&mut self, request: RequestId) -> Option<Request> {
        self.unanswered.remove(&request.0)
    }

    fn rejected(&mut self, id: RequestId, rejection: &Rejection, rng: &mut Rng, seen: &mut Seen) {
        let Some(request) = self.answered(id) else {
            panic!("{} was rejected: {rejection}", id.0);
        };
        if let Request::Finish { lease, effects, .. } = &request {
            return self.finish_refused(*lease, effects, rejection, rng, seen);
        }
        let mut for_good = false;
        match (&request, rejection) {
            // A job that it was to wait for was refused, or is forgotten.
            (Request::SubmitWhen { .. }, Rejection::NotFound { .. }) => for_good = true,
            (Request::Submit { .. } | Request::SubmitWhen { .. }, Rejection::QueueFull { .. }) => {
                seen.hit("a full queue refused");
            }
            (
                Request::Submit { .. } | Request::SubmitWhen { .. },
                Rejection::StorageFull { .. },
            ) => {
                seen.hit("a full storage refused a submit");
            }
            (
                Request::Submit { .. } | Request::SubmitWhen { .. },
                Rejection::Paused { .. } | Rejection::TooMany { .. },
            ) => {}
            (Request::Append { .. }, Rejection::ListFull { .. }) => {
                seen.hit("a full list refused an append");
            }
            (Request::Append { .. }, Rejection::StorageFull { .. }) => {
                seen.hit("a full storage refused an append");
            }
            (Request::Call { .. }, Rejection::StorageFull { .. }) => return,
            (Request::Pop { list, .. }, Rejection::Conflict(_)) => {
                seen.hit("popped items were not the reader's any more");
                let pops = self.pops.entry(list.clone()).or_default();
                (pops.waiting, pops.arrived) = (false, 0);
                return;
            }
            (request, rejection) => panic!("{request:?} was rejected: {rejection}"),
        }
        match submits(self.session, &request) {
            Some((jobs, _)) if for_good || rng.chance(125) => {
                seen.hit("a refused submit was given up");
                self.awaited.retain(|&job| !jobs.contains(job));
                self.notes.push(What::Submitted { jobs: told(jobs), reply: Reply::Fail });
            }
            // To be tried again: what comes of it is not known yet.
            _ => self.refused.push(request),
        }
    }

    fn assigned(
        &mut self,
        now: u64,
        subscription: SubscriptionId,
        first_lease: LeaseId,
        (jobs, payloads): (JobRange, ganger_shared::Block),
        rng: &mut Rng,
        plan: &Plan,
    ) {
        let Some(connection) = self.connection else { return };
        assert!(first_lease.0 > self.highest_lease, "an old lease is granted again");
        for ((job, lease), payload) in jobs.iter().zip(first_lease.0..).zip(payloads.slices()) {
            self.highest_lease = lease;
            let will = match rng.below(100) {
                0..=9 => Will::Nack,
                10..=12 => Will::Dead,
                13..=16 => Will::Release,
                17..=18 => Will::Crash,
                19..=22 if plan.hangs => Will::Hang,
                _ if plan.effects && rng.chance(500) => Will::Finish,
                _ => Will::Ack,
            };
            let (payload, done_at) = (payload.to_vec(), now + rng.below(400));
            let (settling, refused) = (false, false);
            let work =
                Work { job, payload, done_at, will, settling, refused, connection, subscription };
            self.works.insert(LeaseId(lease), work);
        }
        if let Some((_, credit)) = self.subscriptions.get(&subscription) {
            let of_it = self.works.values().filter(|work| {
                work.subscription == subscription && work.connection == connection && !work.settling
            });
            assert!(of_it.count() <= *credit as usize, "more than the credit");
        }
    }

    fn settled(&mut self, id: RequestId, lost: &[LeaseRange], known: &mut Known, seen: &mut Seen) {
        let settlements = match self.answered(id) {
            Some(Request::Settle { settlements, .. }) => settlements,
            Some(Request::Finish { lease, output, effects, .. }) => {
                return self.finished_with(lease, &output, &effects, lost, known, seen);
            }
            _ => return,
        };
        let is_lost = |lease: u64| lost.iter().any(|r| (r.first.0..r.end()).contains(&lease));
        for Settlement { leases, outcome } in settlements {
            for (lease, at) in (leases.first.0..leases.end()).zip(0..) {
                let work = self.works.remove(&LeaseId(lease));
                if let Some(job) = self.settling.remove(&LeaseId(lease)) {
                    let reply = if is_lost(lease) { Reply::Fail } else { Reply::Ok };
                    let (jobs, lease) = (Jobs::one(job), LeaseId(lease));
                    self.notes.push(What::Settled { jobs, lease, reply });
                }
                let Outcome::Ack { outputs } = &outcome else { continue };
                let Some(work) = work else { continue };
                if is_lost(lease) {
                    seen.hit("a late settle refused");
                    known.lost.insert(LeaseId(lease), work.job);
                } else {
                    let output = outputs.part(at, 1).slices().next().unwrap().to_vec();
                    known.settled.insert(LeaseId(lease), (work.job, output));
                }
            }
        }
    }

    fn finished(&mut self, jobs: JobRange, ending: &Ending, known: &mut Known) {
        for (job, at) in jobs.iter().zip(0..) {
            let ending = match ending {
                Ending::Acked { outputs } => Ending::Acked { outputs: outputs.part(at, 1) },
                other => other.clone(),
            };
            // A wait may be ahead of the submit that was refused and is tried again.
            if ending == Ending::Unknown && !known.accepted.contains(&job) {
                continue;
            }
            self.awaited.remove(&job);
            let how = match &ending {
                Ending::Acked { .. } => Some(Ended::Acked),
                Ending::Dead { .. } => Some(Ended::Dead),
                Ending::Cancelled => Some(Ended::Cancelled),
                Ending::Unknown => None,
            };
            let jobs = Jobs::one(job);
            self.notes.extend(how.map(|ending| What::Ended { jobs, ending }));
            known.finished.push((job, ending));
        }
    }
}

/// What the answer to a pop says: that the broker knows of all before it, if it was told of some, and
/// the items.
fn popped(list: &Name, confirmed: u64, start: u64, items: &[Items]) -> impl Iterator<Item = What> {
    let confirmed = (confirmed > 0).then(|| What::Confirmed { list: list.clone() });
    confirmed.into_iter().chain(read(list, start, items))
}

/// The results among popped items, for the history.
fn read(list: &Name, start: u64, items: &[Items]) -> Option<What> {
    let (mut index, mut read) = (start, Vec::new());
    for run in items {
        if let Some(jobs) = run.jobs {
            let results = jobs.iter().zip(run.block.slices()).zip(index..);
            read.extend(results.map(|((job, bytes), index)| {
                let result = Hash::of(bytes);
                Item { index, job, result }
            }));
        }
        index += u64::from(run.block.count());
    }
    (!read.is_empty()).then(|| What::Read { list: list.clone(), items: read })
}

fn note_items(list: &Name, start: u64, items: &[Items], known: &mut Known) {
    let mut index = start;
    for run in items {
        let mut job = run.jobs.map(|jobs| jobs.iter().collect::<Vec<_>>().into_iter());
        for bytes in run.block.slices() {
            let job = job.as_mut().and_then(Iterator::next);
            known.items.insert((list.clone(), index, job, bytes.to_vec()));
            index += 1;
        }
    }
}
