//! A client that submits, works and collects as docs/protocol.md asks of it: it repeats what was
//! not answered, names what it holds, and confirms what has arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::response::Items;
use ganger_shared::{
    Backoff, Ending, Failure, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Name, Outcome,
    Priority, Rejection, Request, RequestId, Response, ResultsTo, SessionId, Settlement,
    SubscriptionId, Time,
};

use super::broker::Connection;
use super::plan::Plan;
use super::rng::Rng;
use super::seen::Seen;

/// What a handler will do with a job.
#[derive(Clone, Debug)]
enum Will {
    Ack,
    Nack,
    Dead,
    Release,
    Crash,
    /// Goes on for ever.
    Hang,
}

/// A job that the client has been given.
#[derive(Clone, Debug)]
struct Work {
    job: JobId,
    payload: Vec<u8>,
    done_at: u64,
    will: Will,
    /// Its settlement is on its way.
    settling: bool,
    connection: Connection,
    subscription: SubscriptionId,
}

/// The pops of one list.
#[derive(Debug, Default)]
struct Pops {
    receipt: u64,
    arrived: u64,
    waiting: bool,
}

/// What a client came to know; compared with the record at the end.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) accepted: BTreeSet<JobId>,
    /// Acks that were answered as settled: the job and the output.
    pub(super) settled: BTreeMap<LeaseId, (JobId, Vec<u8>)>,
    /// Acks that were answered as lost.
    pub(super) lost: BTreeMap<LeaseId, JobId>,
    pub(super) finished: Vec<(JobId, Ending)>,
    /// Items as they were shown: list, index, job and bytes.
    pub(super) items: BTreeSet<(Name, u64, Option<JobId>, Vec<u8>)>,
    /// Under which receipt an item was last popped.
    popped: BTreeMap<(Name, u64), (SessionId, u64)>,
}

pub(super) struct Client {
    pub(super) session: SessionId,
    pub(super) connection: Option<Connection>,
    pub(super) opened: bool,
    pub(super) frozen_until: u64,
    /// What has come while it was frozen.
    pub(super) inbox: VecDeque<(Connection, Response)>,
    next_seq: u64,
    next_request: u64,
    unanswered: BTreeMap<u64, Request>,
    /// Refused submits, to be tried again under the same numbers.
    refused: Vec<Request>,
    awaited: BTreeSet<JobId>,
    works: BTreeMap<LeaseId, Work>,
    subscriptions: BTreeMap<SubscriptionId, (Name, u32)>,
    pops: BTreeMap<Name, Pops>,
    follow: Option<(SubscriptionId, Name, u64)>,
    highest_lease: u64,
    heartbeat_at: u64,
    next_subscription: u32,
}

impl Client {
    pub(super) fn new(session: SessionId) -> Self {
        Self {
            session,
            connection: None,
            opened: false,
            frozen_until: 0,
            inbox: VecDeque::new(),
            next_seq: 0,
            next_request: 1,
            unanswered: BTreeMap::new(),
            refused: Vec::new(),
            awaited: BTreeSet::new(),
            works: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            pops: BTreeMap::new(),
            follow: None,
            highest_lease: 0,
            heartbeat_at: 0,
            next_subscription: 1,
        }
    }

    /// Whether nothing is left to be done or awaited.
    pub(super) fn is_done(&self) -> bool {
        self.unanswered.values().all(|request| matches!(request, Request::Pop { .. }))
            && self.refused.is_empty()
            && self.awaited.is_empty()
            && self.works.is_empty()
    }

    /// What is left, for whoever reads the failure.
    pub(super) fn unrest(&self) -> String {
        let Self { session, opened, unanswered, refused, awaited, works, .. } = self;
        let unanswered: Vec<_> =
            unanswered.values().filter(|r| !matches!(r, Request::Pop { .. })).take(2).collect();
        format!(
            "{session} opened {opened}, unanswered {unanswered:?}, {} refused, awaits {:?}, works {:?}",
            refused.len(),
            awaited.iter().take(3).collect::<Vec<_>>(),
            works.iter().take(2).collect::<Vec<_>>()
        )
    }

    /// The first frame of a connection.
    pub(super) fn open(&mut self, connection: Connection) -> Request {
        self.connection = Some(connection);
        self.opened = false;
        let held = self.works.keys().map(|&lease| LeaseRange::one(lease)).collect();
        Request::Open { session: self.session, held, name: "client".to_owned() }
    }

    pub(super) fn disconnected(&mut self) {
        self.connection = None;
        self.opened = false;
        self.follow = None;
    }

    /// The request's number, which its answer will carry; it is repeated until that comes.
    fn asked(&mut self, make: impl FnOnce(RequestId) -> Request) -> Request {
        let number = self.next_request;
        self.next_request += 1;
        let request = make(RequestId(number));
        self.unanswered.insert(number, request.clone());
        request
    }

    /// What is said after every Opened.
    fn reopened(&mut self, plan: &Plan) -> Vec<Request> {
        let mut frames: Vec<Request> = self.unanswered.values().cloned().collect();
        for (&subscription, (queue, credit)) in &self.subscriptions {
            let (queue, credit) = (queue.clone(), *credit);
            frames.push(Request::Subscribe { subscription, queue, credit });
        }
        // A repeated submit that wants to be notified waits for its jobs itself.
        let mut covered = BTreeSet::new();
        for request in self.unanswered.values() {
            if let Request::Submit { first_seq, payloads, notify: Notify::Finished, .. } = request {
                let first = JobId { session: self.session, seq: *first_seq };
                covered.extend(JobRange { first, count: payloads.count() }.iter());
            }
        }
        for job in self.awaited.clone() {
            if !covered.contains(&job) {
                frames.push(self.wait(job));
            }
        }
        if plan.work {
            frames.push(Request::Heartbeat);
        }
        frames
    }

    /// Not repeated as it is: every Opened asks anew for what is awaited.
    fn wait(&mut self, job: JobId) -> Request {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        Request::Wait { request, jobs: JobRange::one(job) }
    }

    /// Does a little of everything; returns what it says.
    pub(super) fn wake(
        &mut self,
        now: u64,
        rng: &mut Rng,
        plan: &Plan,
        healed: bool,
    ) -> Vec<Request> {
        let mut frames = Vec::new();
        if !self.opened {
            return frames;
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + 1_000;
            frames.push(Request::Heartbeat);
        }
        if plan.work {
            frames.extend(self.subscribe(rng, plan));
        }
        frames.extend(self.settle_done(now, rng, healed));
        if !self.refused.is_empty() && rng.chance(300) {
            let again = self.refused.remove(0);
            frames.push(self.asked(|request| renumbered(again, request)));
        }
        if plan.collect {
            frames.extend(self.pop(rng, plan));
        }
        if !healed {
            frames.extend(self.whim(now, rng, plan));
        }
        frames
    }

    fn subscribe(&mut self, rng: &mut Rng, plan: &Plan) -> Option<Request> {
        let served = |queue: &Name| self.subscriptions.values().any(|(known, _)| known == queue);
        let queue = plan.queues.iter().find(|queue| !served(queue))?.clone();
        let (subscription, credit) = (SubscriptionId(self.next_subscription), 1 + rng.below(8));
        self.next_subscription += 1;
        let credit = u32::try_from(credit).unwrap();
        self.subscriptions.insert(subscription, (queue.clone(), credit));
        Some(Request::Subscribe { subscription, queue, credit })
    }

    /// Something that nobody needs.
    fn whim(&mut self, now: u64, rng: &mut Rng, plan: &Plan) -> Option<Request> {
        match rng.below(20) {
            0..=7 if plan.submit => Some(self.submit(now, rng, plan)),
            8 if plan.cancels && self.next_seq > 0 => {
                let first = JobId { session: self.session, seq: rng.below(self.next_seq) };
                let jobs = JobRange { first, count: u32::try_from(rng.between(1, 4)).unwrap() };
                Some(self.asked(|request| Request::Cancel { request, jobs }))
            }
            9 if plan.submit => {
                let seq = self.next_seq;
                self.next_seq += 1;
                let list = rng.pick(&plan.lists).clone();
                let items = [format!("{}/{seq}", self.session)].iter().collect();
                Some(self.asked(|request| Request::Append { request, list, seq, items }))
            }
            10 if plan.collect && self.follow.is_none() => {
                let subscription = SubscriptionId(self.next_subscription);
                self.next_subscription += 1;
                let list = rng.pick(&plan.lists).clone();
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.follow = Some((subscription, list.clone(), 0));
                Some(Request::Follow { request, subscription, list, start: 0, window: 5 })
            }
            11 => {
                let (subscription, ..) = self.follow.as_ref()?;
                Some(Request::Credit { subscription: *subscription, add: 5 })
            }
            12 => {
                let (&lease, work) = self.works.first_key_value()?;
                let note = "on the way".to_owned();
                (!work.settling).then_some(Request::Progress { lease, done: 1, total: 2, note })
            }
            13 if plan.collect => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                let list = rng.pick(&plan.lists).clone();
                Some(Request::Range { request, list, start: -3, count: 5 })
            }
            14 => {
                let (&subscription, _) = self.subscriptions.first_key_value()?;
                self.subscriptions.remove(&subscription);
                Some(Request::Unsubscribe { subscription })
            }
            _ => None,
        }
    }

    fn submit(&mut self, now: u64, rng: &mut Rng, plan: &Plan) -> Request {
        let mut options = JobOptions::new(Name::new("work").unwrap());
        options.priority = Priority::new(u8::try_from(rng.below(10)).unwrap()).unwrap();
        options.retries = u32::try_from(rng.below(4)).unwrap();
        options.crash_retries = u32::try_from(rng.below(4)).unwrap();
        options.backoff = Backoff { base_ms: 100, cap_ms: 2_000 };
        if rng.chance(200) {
            options.delay_ms = rng.below(3_000);
        }
        if rng.chance(50) {
            options.ttl_ms = Some(rng.below(3_000));
        }
        if rng.chance(50) {
            options.deadline = Some(Time::from_millis(now + rng.below(5_000)));
        }
        options.results = match rng.below(4) {
            0 => ResultsTo::Nowhere,
            1 => ResultsTo::List(plan.lists[0].clone()),
            _ => ResultsTo::QueueList,
        };
        let count = if rng.chance(600) { 1 } else { rng.between(2, 12) };
        let first_seq = self.next_seq;
        self.next_seq += count;
        let session = self.session;
        let payloads = (first_seq..self.next_seq).map(|seq| format!("{session}/{seq}"));
        let payloads = payloads.collect::<Vec<_>>().iter().collect();
        let notify = if rng.chance(500) { Notify::Finished } else { Notify::No };
        if notify == Notify::Finished {
            self.awaited.extend((first_seq..self.next_seq).map(|seq| JobId { session, seq }));
        }
        let when_full = if rng.chance(500) { WhenFull::Wait } else { WhenFull::Refuse };
        let queue = rng.pick(&plan.queues).clone();
        self.asked(|request| Request::Submit {
            request,
            queue,
            first_seq,
            options,
            payloads,
            when_full,
            notify,
        })
    }

    /// Settles what is done, as a batch.
    fn settle_done(&mut self, now: u64, rng: &mut Rng, healed: bool) -> Option<Request> {
        let mut settlements: Vec<Settlement> = Vec::new();
        for (&lease, work) in &mut self.works {
            if work.settling || work.done_at > now {
                continue;
            }
            let failure = || Failure::new("oops", "it did not work");
            let outcome = match work.will {
                Will::Hang if !healed => continue,
                Will::Ack | Will::Hang => {
                    Outcome::Ack { outputs: [output(&work.payload, lease)].iter().collect() }
                }
                Will::Nack => Outcome::Nack { failure: failure(), retry_after_ms: None },
                Will::Dead => Outcome::Dead { failure: failure() },
                Will::Release => Outcome::Release { delay_ms: rng.below(2) * 500 },
                Will::Crash => Outcome::Crash { failure: failure() },
            };
            work.settling = true;
            match settlements.last_mut() {
                Some(last) if joins(last, lease, &outcome) => {
                    if let (Outcome::Ack { outputs }, Outcome::Ack { outputs: more }) =
                        (&mut last.outcome, outcome)
                    {
                        *outputs = ganger_shared::Block::concat([&*outputs, &more]);
                    }
                    last.leases.count += 1;
                }
                Some(_) | None => {
                    settlements.push(Settlement { leases: LeaseRange::one(lease), outcome });
                }
            }
        }
        if settlements.is_empty() {
            return None;
        }
        Some(self.asked(|request| Request::Settle { request, settlements }))
    }

    fn pop(&mut self, rng: &mut Rng, plan: &Plan) -> Vec<Request> {
        let mut frames = Vec::new();
        for list in &plan.lists {
            let pops = self.pops.entry(list.clone()).or_default();
            if pops.waiting {
                continue;
            }
            if pops.arrived > 0 && rng.chance(100) {
                frames.push(Request::Confirm { list: list.clone(), receipt: pops.arrived });
            }
            if !rng.chance(300) {
                continue;
            }
            pops.waiting = true;
            pops.receipt += 1;
            let (receipt, confirmed) = (pops.receipt, pops.arrived);
            let (max, list) = (u32::try_from(rng.between(1, 8)).unwrap(), list.clone());
            let wait_ms = rng.below(3) * 300;
            frames.push(self.asked(|request| Request::Pop {
                request,
                list,
                receipt,
                confirmed,
                max,
                wait_ms,
            }));
        }
        frames
    }

    /// Confirms everything that has arrived.
    pub(super) fn confirm_all(&self) -> Vec<Request> {
        let arrived = self.pops.iter().filter(|(_, pops)| pops.arrived > 0);
        let confirm = arrived
            .map(|(list, pops)| Request::Confirm { list: list.clone(), receipt: pops.arrived });
        confirm.collect()
    }

    /// Takes one frame of the broker; returns what it says to that.
    pub(super) fn hear(
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
                if resumed && !self.works.is_empty() {
                    seen.hit("resumed with leases held");
                }
                if !resumed {
                    // Every lease is lost, and so is what was popped and not confirmed.
                    self.works.clear();
                    self.pops.clear();
                    self.unanswered.retain(|_, request| !matches!(request, Request::Pop { .. }));
                }
                assert!(next_seq <= self.next_seq, "numbers that were never used");
                return self.reopened(plan);
            }
            Response::Accepted { request, .. } => {
                if let Some(Request::Submit { first_seq, payloads, .. }) = self.answered(request) {
                    let first = JobId { session: self.session, seq: first_seq };
                    known.accepted.extend(JobRange { first, count: payloads.count() }.iter());
                }
            }
            Response::Rejected { request, rejection } => {
                return self.rejected(request, &rejection, seen);
            }
            Response::Assign { subscription, first_lease, jobs, payloads, .. } => {
                self.assigned(now, subscription, first_lease, (jobs, payloads), rng, plan);
            }
            Response::Settled { request, lost } => self.settled(request, &lost, known, seen),
            Response::CancelRun { lease, .. } => {
                if let Some(work) = self.works.get_mut(&lease) {
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
            Response::Items { request, start, items, .. } => {
                let list = match self.answered(request) {
                    Some(Request::Pop { list, receipt, .. }) => {
                        let pops = self.pops.entry(list.clone()).or_default();
                        assert_eq!(pops.receipt, receipt, "an answer to another pop");
                        (pops.waiting, pops.arrived) = (false, receipt);
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
            | Response::Admin { .. }
            | Response::Goodbye { .. } => {}
        }
        Vec::new()
    }

    fn answered(&mut self, request: RequestId) -> Option<Request> {
        self.unanswered.remove(&request.0)
    }

    fn rejected(&mut self, id: RequestId, rejection: &Rejection, seen: &mut Seen) -> Vec<Request> {
        let Some(request) = self.answered(id) else {
            panic!("{} was rejected: {rejection}", id.0);
        };
        match (&request, rejection) {
            (Request::Submit { .. }, Rejection::QueueFull { .. }) => {
                seen.hit("a full queue refused");
                self.refused.push(request);
            }
            (Request::Submit { .. }, Rejection::Paused { .. } | Rejection::TooMany { .. }) => {
                self.refused.push(request);
            }
            (Request::Append { .. }, Rejection::ListFull { .. }) => {
                seen.hit("a full list refused an append");
                self.refused.push(request);
            }
            (request, rejection) => panic!("{request:?} was rejected: {rejection}"),
        }
        Vec::new()
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
                _ => Will::Ack,
            };
            let (payload, done_at) = (payload.to_vec(), now + rng.below(400));
            let settling = false;
            let work = Work { job, payload, done_at, will, settling, connection, subscription };
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
        let Some(Request::Settle { settlements, .. }) = self.answered(id) else { return };
        let is_lost = |lease: u64| lost.iter().any(|r| (r.first.0..r.end()).contains(&lease));
        for Settlement { leases, outcome } in settlements {
            for (lease, at) in (leases.first.0..leases.end()).zip(0..) {
                let work = self.works.remove(&LeaseId(lease));
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
            known.finished.push((job, ending));
        }
    }
}

/// What a handler makes of a payload.
fn output(payload: &[u8], lease: LeaseId) -> Vec<u8> {
    [payload, b" under ", lease.to_string().as_bytes()].concat()
}

fn joins(last: &Settlement, lease: LeaseId, outcome: &Outcome) -> bool {
    let alike = match (&last.outcome, outcome) {
        (Outcome::Ack { .. }, Outcome::Ack { .. }) => true,
        (a, b) => a == b,
    };
    last.leases.end() == lease.0 && alike
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

fn renumbered(request: Request, number: RequestId) -> Request {
    match request {
        Request::Submit { queue, first_seq, options, payloads, when_full, notify, .. } => {
            let request = number;
            Request::Submit { request, queue, first_seq, options, payloads, when_full, notify }
        }
        Request::Append { list, seq, items, .. } => {
            Request::Append { request: number, list, seq, items }
        }
        other => other,
    }
}
