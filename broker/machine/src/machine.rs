//! The machine: the state of record and the one entrance to it.
//!
//! Not the rules, which live with the things they are about: [`crate::submit`], [`crate::dispatch`],
//! [`crate::settle`], [`crate::cancel`], [`crate::calls`], [`crate::clients`], [`crate::operator`].

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::{
    Durability, JobRange, Name, Rejection, Request, RequestId, Response, SessionId, Time,
};
use slab::Slab;
use smallvec::SmallVec;

use crate::backlog::Backlog;
use crate::command::Command;
use crate::config::{Available, Config};
use crate::event::Event;
use crate::finished::FinishedJobs;
use crate::held::Holds;
use crate::holding::Holdings;
use crate::list::{List, ListKey};
use crate::memory::Memory;
use crate::object::{Object, ObjectKey};
use crate::output::Output;
use crate::queue::methods::Did;
use crate::queue::{Queue, QueueKey, Size};
use crate::room::Room;
use crate::run::{RunKey, Runs};
use crate::session::Session;
use crate::timer::{Timer, Timers};
use crate::unnamed::Unnamed;

/// Everything the broker knows, as a deterministic state machine.
///
/// Two machines that are given the same commands with the same times are equal after each, and
/// have put out the same bytes.
#[derive(Debug)]
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) started: Time,
    /// The latest time it was told; never runs backwards.
    pub(crate) now: Time,
    pub(crate) queues: Slab<Queue>,
    pub(crate) queue_names: BTreeMap<Name, QueueKey>,
    pub(crate) lists: Slab<List>,
    pub(crate) list_names: BTreeMap<Name, ListKey>,
    pub(crate) objects: Slab<Object>,
    pub(crate) object_names: BTreeMap<Name, ObjectKey>,
    pub(crate) holdings: Holdings,
    pub(crate) holds: Holds,
    pub(crate) unnamed: Unnamed,
    pub(crate) runs: Runs,
    pub(crate) leases: BTreeMap<ganger_shared::LeaseId, RunKey>,
    pub(crate) next_lease: u64,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) finished: FinishedJobs,
    pub(crate) timers: Timers,
    /// In memory: payload bytes of jobs, of submits that wait for room, and of items; what is in objects,
    /// and what is remembered of their changes.
    pub(crate) bytes: u64,
    pub(crate) memory: Memory,
    pub(crate) backlog: Backlog,
    /// In the journal.
    pub(crate) room: Room,
    /// Queues that may have jobs to hand out.
    pub(crate) awake: BTreeSet<QueueKey>,
}

/// Leases per millisecond of a broker's life that its numbers allow for: 2^20, far beyond what any
/// machine grants. A restarted broker begins above every number of its former life.
const LEASES_PER_MS_BITS: u32 = 20;

impl Machine {
    /// An empty machine that starts at `start`.
    #[must_use]
    pub fn new(config: Config, start: Time) -> Self {
        let finished = FinishedJobs::new(config.finished_runs_max, config.finished_bytes_max);
        Self {
            started: start,
            now: start,
            queues: Slab::new(),
            queue_names: BTreeMap::new(),
            lists: Slab::new(),
            list_names: BTreeMap::new(),
            objects: Slab::new(),
            object_names: BTreeMap::new(),
            holdings: Holdings::default(),
            holds: Holds::default(),
            unnamed: Unnamed::default(),
            runs: Runs::default(),
            leases: BTreeMap::new(),
            next_lease: start.as_millis() << LEASES_PER_MS_BITS,
            sessions: BTreeMap::new(),
            finished,
            timers: Timers::default(),
            bytes: 0,
            memory: Memory::default(),
            backlog: Backlog::default(),
            room: Room::default(),
            awake: BTreeSet::new(),
            config,
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Carries out `command` at the time `now`, then hands out what jobs can be handed out.
    ///
    /// A time before an earlier one counts as that one.
    pub fn step(&mut self, now: Time, command: Command, out: &mut Output) {
        self.now = self.now.max(now);
        match command {
            Command::Open { session, key, held, name } => {
                self.open(session, key, &held, name, out);
            }
            Command::Disconnected { session } => self.disconnected(session, out),
            Command::Request { session, request } => self.request(session, request, out),
            Command::Tick => self.tick(out),
        }
        self.conclude(out);
    }

    /// Ends each change of the state: hands out what can be handed out, and lets go of what need not
    /// be in memory, which may let others in.
    pub(crate) fn conclude(&mut self, out: &mut Output) {
        self.judge_held(out);
        self.dispatch(out);
        // What is handed out may end: an item with whoever gets it, a job whose time is over.
        while self.is_any_ripe() {
            self.judge_held(out);
            self.dispatch(out);
        }
        self.unload_crowded();
        self.admit_for_memory(out);
    }

    /// When the next [`Command::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    fn request(&mut self, session: SessionId, request: Request, out: &mut Output) {
        if !self.sessions.get(&session).is_some_and(Session::connected) {
            return;
        }
        self.sign_of_life(session);
        match request {
            Request::Open { .. } => {
                let reason = "the session is open already; Open is the first frame and sent once";
                self.expel(session, reason.to_owned(), out);
            }
            Request::Heartbeat => out.send(session, Response::Heartbeat),
            Request::Submit { request, queue, first_seq, options, payloads, when_full, notify } => {
                let submit = crate::submit::Submit {
                    session,
                    request,
                    queue,
                    first_seq,
                    options,
                    payloads,
                    when_full,
                    notify,
                    prerequisites: Vec::new(),
                };
                let result = self.submit(submit, out);
                reject(session, request, result, out);
            }
            Request::SubmitWhen {
                request,
                queue,
                first_seq,
                options,
                payloads,
                when_full,
                notify,
                prerequisites,
            } => {
                let submit = crate::submit::Submit {
                    session,
                    request,
                    queue,
                    first_seq,
                    options,
                    payloads,
                    when_full,
                    notify,
                    prerequisites,
                };
                let result = self.submit(submit, out);
                reject(session, request, result, out);
            }
            Request::Subscribe { subscription, queue, credit } => {
                let result = self.subscribe(session, subscription, &queue, credit, out);
                if let Err(rejection) = result {
                    out.send(session, Response::NotSubscribed { subscription, rejection });
                }
            }
            Request::Credit { subscription, add } => self.credit(session, subscription, add, out),
            Request::Unsubscribe { subscription } => {
                self.unsubscribe(session, subscription);
                out.send(session, Response::Unsubscribed { subscription });
            }
            Request::Settle { request, settlements } => {
                let result = self.settle(session, request, settlements, out);
                reject(session, request, result, out);
            }
            Request::Progress { lease, done, total, note } => {
                self.progress(session, lease, (done, total, note));
            }
            Request::Wait { request, jobs } => {
                let result = self.wait(session, request, jobs, out);
                reject(session, request, result, out);
            }
            Request::Append { request, list, seq, items } => {
                let result = self.append(session, request, &list, seq, items, out);
                reject(session, request, result, out);
            }
            Request::Pop { request, list, receipt, confirmed, max, wait_ms } => {
                let pop = crate::calls::Pop { request, list, receipt, confirmed, max, wait_ms };
                let result = self.pop(session, pop, out);
                reject(session, request, result, out);
            }
            Request::Confirm { list, receipt } => {
                if let Some(&list) = self.list_names.get(&list) {
                    self.confirm(session, list, receipt, out);
                }
            }
            Request::Range { request, list, start, count } => {
                let result = self.range(session, request, &list, start, count, out);
                reject(session, request, result, out);
            }
            Request::Follow { request, subscription, list, start, window } => {
                let follow = crate::calls::Follow { request, subscription, list, start, window };
                let result = self.follow(session, follow, out);
                reject(session, request, result, out);
            }
            Request::Watch { request, subscription, object, made, from, window } => {
                let watch =
                    crate::watching::Watch { request, subscription, object, made, from, window };
                let result = self.watch_object(session, watch, out);
                reject(session, request, result, out);
            }
            Request::Cancel { request, jobs } => self.cancel(session, request, jobs, out),
            Request::Admin { request, verb } => {
                let result = self.operate(session, request, verb, out);
                reject(session, request, result, out);
            }
            Request::Close => self.close(session, out),
            Request::Finish { request, lease, output, effects } => {
                let finish = crate::completion::Finish { request, lease, output, effects };
                let result = self.finish_job(session, finish, out);
                reject(session, request, result, out);
            }
            Request::Use { request, object, typeid, schema, args, durability } => {
                let wanted =
                    crate::objects::Use { request, object, typeid, schema, args, durability };
                let result = self.use_object(session, wanted, out);
                reject(session, request, result, out);
            }
            Request::Call { request, object, typeid, method, seq, answered, by, wait_ms, args } => {
                let call = crate::invoke::Call {
                    request,
                    object,
                    typeid,
                    method,
                    seq,
                    answered,
                    by,
                    wait_ms,
                    args,
                };
                let result = self.call(session, call, out);
                reject(session, request, result, out);
            }
        }
    }

    fn tick(&mut self, out: &mut Output) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Due(run) => self.due(run, out),
                Timer::Expire(run) => self.expire(run, out),
                Timer::Grace(session) => self.grace_over(session, out),
                Timer::Silence(session) => self.check_silence(session, out),
                Timer::Forget(session) => self.happen(Event::Left { session }, out),
                Timer::Pop(list, turn) => self.pop_timed_out(list, turn, out),
                Timer::Unnamed => self.collect_unnamed(out),
                Timer::Pass(object) => self.object_passes(object, out),
                Timer::Call(object, turn) => self.call_timed_out(object, turn, out),
                Timer::Caller(queue, wish, turn) => {
                    self.caller_timed_out((queue, wish, turn), out);
                }
                Timer::Put(queue, job) => self.put_timed_out(queue, job, out),
            }
        }
    }

    /// Makes `event` happen, and has it journaled if its object must survive.
    pub(crate) fn happen(&mut self, event: Event, out: &mut Output) {
        if self.durability_of(&event) > Durability::Memory {
            self.keep_name(&event, out);
            if let Event::Submitted { payloads: new, .. } | Event::Appended { items: new, .. } =
                &event
            {
                self.take_room(Size::of(new));
            }
            if let Event::QueueCalled(called) = &event
                && let Did::Took { item, .. } = &called.did
            {
                self.take_room(Size { jobs: 0, bytes: item.as_bytes().len() as u64 });
            }
            out.journal.push(event.clone());
        }
        let ended = match &event {
            Event::Ended { jobs, .. } => self.holding_leases(*jobs),
            _ => Vec::new(),
        };
        self.apply(event, out);
        for (session, first, end) in ended {
            self.free_leases(session, first, end, out);
        }
    }

    /// Has the name of the session journaled that `event` is the first to name: after a restart people
    /// want to know whose jobs run, also if the client does not come back to say it again.
    pub(crate) fn keep_name(&mut self, event: &Event, out: &mut Output) {
        let session = match event {
            Event::Submitted { jobs, .. } => jobs.first.session,
            Event::Granted { session, .. } | Event::Appended { session, .. } => *session,
            Event::Called(called) => called.session,
            Event::QueueCalled(called) => called.session,
            Event::QueueSet { .. }
            | Event::QueuePaused { .. }
            | Event::QueueRemoved { .. }
            | Event::ListMade { .. }
            | Event::ListSet { .. }
            | Event::ListWatched { .. }
            | Event::Due { .. }
            | Event::Stopping { .. }
            | Event::Ended { .. }
            | Event::Redriven { .. }
            | Event::Forgotten { .. }
            | Event::Removed { .. }
            | Event::SessionNamed { .. }
            | Event::Left { .. }
            | Event::ObjectMade { .. }
            | Event::Freed { .. }
            | Event::Passed { .. }
            | Event::ObjectRemoved { .. }
            | Event::Held { .. }
            | Event::Met { .. }
            | Event::Stated(_) => return,
        };
        if let Some(found) = self.sessions.get_mut(&session)
            && !found.is_kept
        {
            found.is_kept = true;
            let (key, name) = (found.key, found.name.clone());
            out.journal.push(Event::SessionNamed { key, session, name });
        }
    }

    /// Whether an event goes to the journal, and how safe it must be before an answer.
    pub(crate) fn durability_of(&self, event: &Event) -> Durability {
        let queue = |name: &Name| {
            let key = self.queue_names.get(name);
            key.map_or(Durability::Memory, |key| self.queues[key.0].settings.durability)
        };
        let list = |name: &Name| {
            let key = self.list_names.get(name);
            key.map_or(Durability::Memory, |key| self.lists[key.0].durability)
        };
        let object = |name: &Name| {
            let subject = self.subject(name);
            subject.map_or(Durability::Memory, |subject| self.subject_durability(subject))
        };
        let jobs = |jobs: &JobRange| {
            let run = self.runs.find(jobs.first);
            run.map_or(Durability::Memory, |run| {
                self.queues[self.runs[run].queue.0].settings.durability
            })
        };
        match event {
            Event::QueueSet { queue: name, settings } => queue(name).max(settings.durability),
            Event::ListMade { durability, .. } => *durability,
            // Leaving a journal is kept by it too.
            Event::ListSet { list: name, durability, .. } => list(name).max(*durability),
            Event::QueuePaused { queue: name, .. } | Event::Submitted { queue: name, .. } => {
                queue(name)
            }
            Event::Due { jobs: range }
            | Event::Granted { jobs: range, .. }
            | Event::Stopping { jobs: range, .. }
            | Event::Ended { jobs: range, .. }
            | Event::Redriven { jobs: range, .. }
            | Event::Held { jobs: range, .. }
            | Event::Met { jobs: range, .. }
            | Event::Forgotten { jobs: range } => jobs(range),
            Event::Appended { list: name, .. }
            | Event::Removed { list: name, .. }
            | Event::ListWatched { list: name, .. } => list(name),
            // It goes with the event that it precedes.
            Event::SessionNamed { .. } => Durability::Memory,
            Event::Left { session } => match self.sessions.get(session) {
                Some(session) if session.is_kept => self.strongest_promise(),
                Some(_) | None => Durability::Memory,
            },
            Event::ObjectMade { durability, .. } => *durability,
            Event::Called(called) => object(&called.object),
            Event::QueueCalled(called) => queue(&called.queue),
            Event::QueueRemoved { queue: name } => queue(name),
            Event::Freed { object: name, .. }
            | Event::Passed { object: name, .. }
            | Event::ObjectRemoved { object: name } => object(name),
            Event::Stated(_) => Durability::Memory,
        }
    }

    /// What an answer promises that rests on events of any earlier step.
    pub(crate) const fn strongest_promise(&self) -> Durability {
        match self.config.available {
            Available::All => Durability::Strict,
            Available::MemoryOnly { .. } => Durability::Memory,
        }
    }

    /// What an answer about `queue` promises.
    pub(crate) fn promise(&self, queue: QueueKey) -> Durability {
        self.queues[queue.0].settings.durability
    }

    /// The runs that make up exactly `jobs`: those at its ends are split.
    pub(crate) fn isolate(&mut self, jobs: JobRange) -> SmallVec<[RunKey; 1]> {
        let mut keys: SmallVec<[RunKey; 1]> = self.runs.overlapping(jobs).collect();
        let offset = |key: RunKey, seq: u64, runs: &Runs| {
            u32::try_from(seq - runs[key].jobs.first.seq).expect("within a run, counted in u32")
        };
        if let Some(first) = keys.first_mut()
            && self.runs[*first].jobs.first.seq < jobs.first.seq
        {
            *first = self.split(*first, offset(*first, jobs.first.seq, &self.runs));
        }
        if let Some(&last) = keys.last()
            && self.runs[last].jobs.end_seq() > jobs.end_seq()
        {
            self.split(last, offset(last, jobs.end_seq(), &self.runs));
        }
        keys
    }
}

/// Tells the session if its request was refused.
pub(crate) fn reject(
    session: SessionId,
    request: RequestId,
    result: Result<(), Rejection>,
    out: &mut Output,
) {
    if let Err(rejection) = result {
        out.send(session, Response::Rejected { request, rejection });
    }
}
