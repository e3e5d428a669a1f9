//! A client that submits, works and collects as docs/protocol.md asks of it: it repeats what was
//! not answered, names what it holds, and confirms what has arrived.
//!
//! Not what it makes of the answers: see [`heard`]; nor what it does with objects: [`shared`]; nor what
//! happens together with the end of a job: [`effects`].

mod effects;
mod heard;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ganger_chance::Rng;
use ganger_history::{Hash, Jobs, Order, Outcome as Told, What};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, Failure, JobId, JobRange, LeaseId, LeaseRange, Name, Outcome, Priority, Request,
    RequestId, Response, SessionId, Settlement, SubscriptionId,
};

pub(super) use self::heard::Known;
pub(super) use self::shared::LINE;
use super::broker::Connection;
use super::plan::Plan;

/// What a handler will do with a job.
#[derive(Clone, Debug)]
enum Will {
    Ack,
    /// An ack with effects.
    Finish,
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
    /// It was to end with effects that cannot be had: it may end otherwise, but not as done.
    refused: bool,
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

pub(super) struct Client {
    pub(super) session: SessionId,
    pub(super) connection: Option<Connection>,
    pub(super) opened: bool,
    pub(super) frozen_until: u64,
    /// What has come while it was frozen.
    pub(super) inbox: VecDeque<(Connection, Response)>,
    /// Pops whose answers are in there and were noted.
    noted: BTreeSet<RequestId>,
    next_seq: u64,
    next_request: u64,
    unanswered: BTreeMap<u64, Request>,
    /// Refused submits, to be tried again under the same numbers.
    refused: Vec<Request>,
    awaited: BTreeSet<JobId>,
    /// All that it ever asked for; others may wait for them.
    submitted: Vec<JobRange>,
    works: BTreeMap<LeaseId, Work>,
    subscriptions: BTreeMap<SubscriptionId, (Name, u32)>,
    pops: BTreeMap<Name, Pops>,
    /// The token of the lock that it holds.
    holds: Option<u64>,
    follow: Option<(SubscriptionId, Name, u64)>,
    highest_lease: u64,
    heartbeat_at: u64,
    next_subscription: u32,
    /// Of all subscriptions that there ever were.
    queues: BTreeMap<SubscriptionId, Name>,
    /// Settlements that were not answered.
    settling: BTreeMap<LeaseId, JobId>,
    /// How often it has connected. In a history it is another reader each time: after the grace the
    /// broker gives to others what it was given before, and it cannot confirm that any more.
    connections: u64,
    /// What it has asked and was told, for the history.
    pub(super) notes: Vec<What>,
}

impl Client {
    pub(super) fn new(session: SessionId) -> Self {
        Self {
            session,
            connection: None,
            opened: false,
            frozen_until: 0,
            inbox: VecDeque::new(),
            noted: BTreeSet::new(),
            next_seq: 0,
            next_request: 1,
            unanswered: BTreeMap::new(),
            refused: Vec::new(),
            awaited: BTreeSet::new(),
            submitted: Vec::new(),
            works: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            pops: BTreeMap::new(),
            holds: None,
            follow: None,
            highest_lease: 0,
            heartbeat_at: 0,
            next_subscription: 1,
            queues: BTreeMap::new(),
            settling: BTreeMap::new(),
            connections: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> String {
        format!("client-{}.{}", self.session.0, self.connections)
    }

    /// Whether nothing is left to be done or awaited.
    pub(super) fn is_done(&self) -> bool {
        self.unanswered.values().all(|request| matches!(request, Request::Pop { .. }))
            && self.refused.is_empty()
            && self.awaited.is_empty()
            && self.works.is_empty()
            && self.holds.is_none()
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
        self.connections += 1;
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
            if let Some((jobs, Notify::Finished)) = submits(self.session, request) {
                covered.extend(jobs.iter());
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
        frames.extend(self.settle_done(now, rng, plan, healed));
        if !self.refused.is_empty() && rng.chance(300) {
            let again = self.refused.remove(0);
            frames.push(self.asked(|request| renumbered(again, request)));
        }
        if plan.collect {
            frames.extend(self.pop(rng, plan));
        }
        frames.extend(self.let_go(rng));
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
        self.queues.insert(subscription, queue.clone());
        Some(Request::Subscribe { subscription, queue, credit })
    }

    /// Something that nobody needs.
    fn whim(&mut self, now: u64, rng: &mut Rng, plan: &Plan) -> Option<Request> {
        match rng.below(24) {
            20..=23 => self.call(rng),
            0..=7 if plan.submit => Some(self.submit(now, rng, plan)),
            8 if plan.cancels && self.next_seq > 0 => {
                let first = JobId { session: self.session, seq: rng.below(self.next_seq) };
                let jobs = JobRange { first, count: u32::try_from(rng.between(1..=4)).unwrap() };
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
        let options = effects::options(now, rng, plan);
        let prerequisites =
            if plan.holds && rng.chance(350) { self.prerequisites(rng, plan) } else { Vec::new() };
        let (first_seq, payloads) =
            self.payloads(if rng.chance(600) { 1 } else { rng.between(2..=12) });
        let session = self.session;
        let notify = if rng.chance(500) { Notify::Finished } else { Notify::No };
        if notify == Notify::Finished {
            self.awaited.extend((first_seq..self.next_seq).map(|seq| JobId { session, seq }));
        }
        let when_full = if rng.chance(500) { WhenFull::Wait } else { WhenFull::Refuse };
        let queue = rng.pick(&plan.queues).clone();
        let alike = options.priority == Priority::default() && options.delay_ms == 0;
        let ordered = alike && prerequisites.is_empty() && plan.keeps_order();
        let order = if ordered { Order::Fifo } else { Order::Free };
        self.note_submit(&queue, order, first_seq, &options, &payloads);
        if prerequisites.is_empty() {
            return self.asked(|request| Request::Submit {
                request,
                queue,
                first_seq,
                options,
                payloads,
                when_full,
                notify,
            });
        }
        self.asked(|request| Request::SubmitWhen {
            request,
            queue,
            first_seq,
            options,
            payloads,
            when_full,
            notify,
            prerequisites,
        })
    }

    /// Settles what is done, as a batch, and what ends with effects one by one.
    fn settle_done(&mut self, now: u64, rng: &mut Rng, plan: &Plan, healed: bool) -> Vec<Request> {
        let (mut settlements, mut finishing) = (Vec::<Settlement>::new(), Vec::new());
        for (&lease, work) in &mut self.works {
            if work.settling || work.done_at > now {
                continue;
            }
            let failure = || Failure::new("oops", "it did not work");
            let outcome = match work.will {
                Will::Hang if !healed => continue,
                Will::Finish => {
                    finishing.push(lease);
                    continue;
                }
                Will::Ack | Will::Hang => {
                    Outcome::Ack { outputs: Block::one(output(&work.payload, PLAIN, lease)) }
                }
                Will::Nack => Outcome::Nack { failure: failure(), retry_after_ms: None },
                Will::Dead => Outcome::Dead { failure: failure() },
                Will::Release => Outcome::Release { delay_ms: rng.below(2) * 500 },
                Will::Crash => Outcome::Crash { failure: failure() },
            };
            work.settling = true;
            // The history knows its first end, and that this was refused.
            if !work.refused {
                self.settling.insert(lease, work.job);
                self.notes.push(settle(work.job, lease, &outcome));
            }
            match settlements.last_mut() {
                Some(last) if joins(last, lease, &outcome) => {
                    if let (Outcome::Ack { outputs }, Outcome::Ack { outputs: more }) =
                        (&mut last.outcome, outcome)
                    {
                        *outputs = Block::concat([&*outputs, &more]);
                    }
                    last.leases.count += 1;
                }
                Some(_) | None => {
                    settlements.push(Settlement { leases: LeaseRange::one(lease), outcome });
                }
            }
        }
        let mut frames = Vec::new();
        if !settlements.is_empty() {
            frames.push(self.asked(|request| Request::Settle { request, settlements }));
        }
        frames.extend(finishing.into_iter().filter_map(|lease| self.finish(now, lease, rng, plan)));
        frames
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
            let (max, list) = (u32::try_from(rng.between(1..=8)).unwrap(), list.clone());
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
}

/// As a history names them.
fn jobs(range: JobRange) -> Jobs {
    Jobs { first: range.first, count: range.count }
}

/// A settlement of one lease, for the history.
fn settle(job: JobId, lease: LeaseId, outcome: &Outcome) -> What {
    let (told, results) = match outcome {
        Outcome::Ack { outputs } => (Told::Ack, outputs.slices().map(Hash::of).collect()),
        // What crashed is tried again, as after a nack.
        Outcome::Nack { .. } | Outcome::Crash { .. } => (Told::Nack, Vec::new()),
        Outcome::Dead { .. } => (Told::Dead, Vec::new()),
        Outcome::Release { .. } => (Told::Release, Vec::new()),
    };
    What::Settle { jobs: Jobs::one(job), lease, outcome: told, results }
}

/// What a request submits, and whether its client wants to be told of the ends.
fn submits(session: SessionId, request: &Request) -> Option<(JobRange, Notify)> {
    let (Request::Submit { first_seq, payloads, notify, .. }
    | Request::SubmitWhen { first_seq, payloads, notify, .. }) = request
    else {
        return None;
    };
    let first = JobId { session, seq: *first_seq };
    Some((JobRange { first, count: payloads.count() }, *notify))
}

/// In outputs of ends without effects.
const PLAIN: &str = " under ";

/// What a handler makes of a payload.
fn output(payload: &[u8], how: &str, lease: LeaseId) -> Vec<u8> {
    [payload, how.as_bytes(), lease.to_string().as_bytes()].concat()
}

fn joins(last: &Settlement, lease: LeaseId, outcome: &Outcome) -> bool {
    let alike = match (&last.outcome, outcome) {
        (Outcome::Ack { .. }, Outcome::Ack { .. }) => true,
        (a, b) => a == b,
    };
    last.leases.end() == lease.0 && alike
}

fn renumbered(mut request: Request, number: RequestId) -> Request {
    if let Request::Submit { request, .. }
    | Request::SubmitWhen { request, .. }
    | Request::Append { request, .. } = &mut request
    {
        *request = number;
    }
    request
}
