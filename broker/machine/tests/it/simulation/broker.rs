//! A broker as the machine sees it: connections, a journal that becomes durable late, and a power
//! switch.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use ganger_chance::Rng;
use ganger_machine::config::Available;
use ganger_machine::{Command, Config, Event, Load, Machine, Output, Replay, Seq};
use ganger_shared::admin::{AdminAnswer, AdminVerb, JobState, ObjectInfo};
use ganger_shared::key::KeyId;
use ganger_shared::{
    Block, Durability, JobId, Name, Request, RequestId, Response, SessionId, Time,
};

use super::disk::{Disk, Left};
use super::payloads::{completed, payloads_in};
use super::record::{Record, State};

/// One connection of the simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection(pub(super) u64);

/// What leaves the broker at once, by connection, and which connections are thrown out.
pub(super) type Leaving = (Vec<(Connection, Response)>, Vec<Connection>);

/// How a restart found the journal.
#[derive(Debug)]
pub(super) struct Restart {
    /// It begins with a restatement.
    pub(super) restated: bool,
    /// It ends in the middle of one.
    pub(super) cut_off: bool,
    /// It has a whole one, and what that stands for before it.
    pub(super) unforgotten: bool,
    /// Something that was not durable is gone.
    pub(super) lost: bool,
}

/// All clients have the same key.
pub(crate) const KEY: KeyId = KeyId([1; 8]);

pub(super) struct Broker {
    pub(super) machine: Machine,
    pub(super) connections: BTreeMap<SessionId, Connection>,
    /// All that ever happened, restatements too; the record is made from it.
    pub(super) journal: Vec<Event>,
    disk: Box<dyn Disk>,
    /// Where a replay begins: what is before it may be forgotten.
    start: usize,
    /// The restatement that is not yet where a replay begins.
    restating: Option<Range<usize>>,
    /// How many events would survive a loss of power.
    durable: usize,
    /// Bytes that the disk has for new work, when of all that was taken so much was on it.
    free: u64,
    taken: u64,
    /// Responses that wait for the journal to get so far.
    held: VecDeque<(usize, Connection, Response)>,
    pub(super) record: Record,
    /// Of everything that was sent.
    pub(super) hash: blake3::Hasher,
    out: Output,
    /// Payloads that the machine waits for.
    loads: Vec<Load>,
    /// How many came.
    pub(super) loaded: u64,
}

/// The record of the event with this index: a record is known by its first event.
const fn position(index: usize) -> Seq {
    Seq(index as u64 + 1)
}

/// What is asked for. A payload is in the first event with its job at or after the record's first; parts
/// of a restatement are known by less than that.
fn payloads(journal: &[Event], load: &Load) -> Block {
    let first = load.records.first().expect("what is unloaded is in some record");
    let from = usize::try_from(first.0 - 1).unwrap();
    payloads_in(journal[from..].iter(), load.jobs)
}

impl Broker {
    pub(super) fn new(config: Config, now: Time, disk: Box<dyn Disk>) -> Self {
        assert_eq!(config.available, Available::All, "the journal is the judge's evidence");
        Self {
            machine: Machine::new(config, now),
            connections: BTreeMap::new(),
            journal: Vec::new(),
            disk,
            start: 0,
            restating: None,
            durable: 0,
            free: u64::MAX,
            taken: 0,
            held: VecDeque::new(),
            record: Record::default(),
            hash: blake3::Hasher::new(),
            out: Output::default(),
            loads: Vec::new(),
            loaded: 0,
        }
    }

    /// One step of the machine.
    pub(super) fn step(&mut self, now: Time, command: Command) -> Leaving {
        self.out.record = Some(position(self.journal.len()));
        self.machine.step(now, command, &mut self.out);
        self.put_out()
    }

    /// The journal first, then what rests on it.
    fn put_out(&mut self) -> Leaving {
        for event in &self.out.journal {
            self.record.apply(event);
        }
        self.record.judge_whole();
        if !self.out.journal.is_empty() {
            self.disk.append(&self.out.journal);
        }
        self.journal.append(&mut self.out.journal);
        self.loads.append(&mut self.out.loads);
        let mut leaving = Vec::new();
        for send in self.out.sends.drain(..) {
            self.hash.update(&postcard::to_stdvec(&(send.session, &send.response)).unwrap());
            judge_assign(&self.record, send.session, &send.response);
            let Some(&connection) = self.connections.get(&send.session) else { continue };
            if send.promise > Durability::Memory && self.durable < self.journal.len() {
                self.held.push_back((self.journal.len(), connection, send.response));
            } else {
                leaving.push((connection, send.response));
            }
        }
        let mut expelled = Vec::new();
        for (session, _) in self.out.expelled.drain(..) {
            expelled.extend(self.connections.remove(&session));
        }
        (leaving, expelled)
    }

    /// The journal has become durable, and with it a restatement, before which it can `forget` all.
    pub(super) fn flushed(&mut self, forget: bool) -> Leaving {
        self.disk.sync();
        self.durable = self.journal.len();
        // Before anything else happens: what is answered from here on waits for the next flush.
        let released: Vec<_> =
            self.held.drain(..).map(|(_, connection, response)| (connection, response)).collect();
        let (mut leaving, mut expelled) = self.load();
        if let Some(restated) = self.restating.take_if(|_| forget) {
            self.disk.forget(restated.start);
            self.start = restated.start;
        }
        let more = self.tell_room();
        leaving.splice(..0, released);
        leaving.extend(more.0);
        expelled.extend(more.1);
        (leaving, expelled)
    }

    /// Gives the machine the payloads that it has asked for, which the journal still has.
    fn load(&mut self) -> Leaving {
        for load in std::mem::take(&mut self.loads) {
            let asked = usize::try_from(load.records[0].0).unwrap();
            assert!(asked > self.start, "record {asked} is forgotten: {:?}", self.start);
            self.loaded += 1;
            self.out.record = Some(position(self.journal.len()));
            let payloads = payloads(&self.journal, &load);
            self.machine.load(load.jobs, &payloads, &mut self.out);
        }
        self.put_out()
    }

    /// The disk has room for so many bytes of new work; it says so after the next sync.
    pub(super) const fn set_free(&mut self, bytes: u64) {
        self.free = bytes;
    }

    pub(super) const fn free(&self) -> u64 {
        self.free
    }

    fn tell_room(&mut self) -> Leaving {
        let taken = self.machine.room_taken();
        if self.free < u64::MAX {
            self.free = self.free.saturating_sub(taken - self.taken);
        }
        self.taken = taken;
        self.out.record = Some(position(self.journal.len()));
        self.machine.set_room(self.free, taken, &mut self.out);
        self.put_out()
    }

    /// Nothing waits for the disk.
    pub(super) fn is_flushed(&self) -> bool {
        self.durable == self.journal.len() && self.loads.is_empty()
    }

    /// The power fails, and a new process replays what is left of the journal.
    pub(super) fn restart(&mut self, config: Config, now: Time, rng: &mut Rng) -> Restart {
        let Left { first, events } = self.disk.lose_power(rng);
        let kept = first + events.len();
        assert!(kept >= self.durable, "{kept} of {} durable events are left", self.durable);
        assert!(first <= self.start, "the journal begins with {first}, not {}", self.start);
        assert!(self.journal[first..kept] == events, "the journal is not what was written");
        let restating = self.restating.take().filter(|range| range.start < kept);
        let restart = Restart {
            restated: first > 0,
            cut_off: restating.as_ref().is_some_and(|range| kept < range.end),
            unforgotten: restating.is_some_and(|range| range.end <= kept),
            lost: kept < self.journal.len(),
        };
        if !restart.lost {
            self.compare_with_replay(config.clone(), now);
        }
        self.journal.truncate(kept);
        self.record = Record::of(&self.journal);
        self.machine = replayed(first, &events, config, now);
        self.loads.clear();
        self.connections.clear();
        self.held.clear();
        (self.start, self.durable, self.taken) = (first, kept, 0);
        self.machine.set_room(self.free, 0, &mut self.out);
        restart
    }

    /// The state is said again, in parts, and is to take the place of the journal so far. Not while
    /// an earlier one is on its way.
    pub(super) fn restate(&mut self) -> bool {
        if self.restating.is_some() {
            return false;
        }
        let Self { machine, disk, journal, .. } = self;
        let start = journal.len();
        machine.restate(position(start), |part| {
            let events = completed(part, |load| payloads(journal, load));
            disk.append(&events);
            journal.extend(events);
        });
        self.restating = Some(start..journal.len());
        true
    }

    /// A machine that replays the journal holds what this one holds: jobs in their order, lists
    /// and settings.
    pub(super) fn compare_with_replay(&mut self, config: Config, now: Time) {
        if self.record.is_list_full_after_restart() {
            return;
        }
        let mut replayed = replayed(self.start, &self.journal[self.start..], config, now);
        let jobs: Vec<JobId> = self.record.jobs.keys().copied().collect();
        let expected = durable_state(&mut self.machine, now, &jobs);
        let found = durable_state(&mut replayed, now, &jobs);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected, "replayed, and as it was");
        }
        assert_eq!(found.len(), expected.len());
    }
}

/// A machine that was told what the journal has, whose first event has the index `first`.
fn replayed(first: usize, journal: &[Event], config: Config, now: Time) -> Machine {
    let mut replay = Replay::new(config, now);
    for (index, event) in (first..).zip(journal) {
        replay.take(position(index), event.clone());
    }
    replay.machine().check();
    replay.finish()
}

/// The record and the machine agree about every job.
pub(crate) fn compare_with_record(machine: &mut Machine, record: &Record, now: Time) {
    for (&job, known) in &record.jobs {
        let state = match ask(machine, now, AdminVerb::JobShow { job }) {
            Some(AdminAnswer::Jobs(found)) => found[0].state.clone(),
            Some(other) => panic!("{other:?}"),
            None => {
                let is_forgotten = known.state == State::Forgotten || known.outlived_queue;
                assert!(is_forgotten, "{job} is not known any more");
                continue;
            }
        };
        assert!(!known.outlived_queue, "{job} is known, and its queue was removed");
        let alike = match (&known.state, &state) {
            (State::Waiting, JobState::Ready | JobState::Delayed { .. }) => {
                known.prerequisites.is_empty()
            }
            (State::Waiting, JobState::Held { waits_for }) => {
                let waits_for = waits_for.iter().map(|pending| &pending.prerequisite);
                !known.prerequisites.is_empty() && waits_for.eq(&known.prerequisites)
            }
            (State::Dead, JobState::Dead { .. })
            | (State::Cancelled, JobState::Cancelled)
            | (State::Taken, JobState::Acked { output_bytes: 0 }) => true,
            (State::Leased { lease, session }, JobState::Leased { lease: l, session: s, .. }) => {
                lease == l && session == s
            }
            (State::Acked { output, .. }, JobState::Acked { output_bytes }) => {
                output.len() as u64 == *output_bytes
            }
            _ => false,
        };
        assert!(alike, "{job} is {:?} on record and {state:?} in the machine", known.state);
    }
}

/// An Assign grants what the record says was granted.
fn judge_assign(record: &Record, session: SessionId, response: &Response) {
    let Response::Assign { first_lease, attempt, jobs, payloads, .. } = response else { return };
    assert_eq!(payloads.count(), jobs.count);
    for ((job, lease), payload) in jobs.iter().zip(first_lease.0..).zip(payloads.slices()) {
        let known = &record.jobs[&job];
        let lease = ganger_shared::LeaseId(lease);
        assert_eq!(known.state, State::Leased { lease, session }, "{job} is assigned");
        assert_eq!(known.attempts, *attempt, "attempt of {job}");
        assert_eq!(known.payload, payload, "payload of {job}");
    }
}

/// Asks the machine as an operator does, on a session that leaves nothing behind.
pub(crate) fn ask(machine: &mut Machine, now: Time, verb: AdminVerb) -> Option<AdminAnswer> {
    let (session, request) = (SessionId(u64::MAX), RequestId(0));
    let mut out = Output::default();
    let open = Command::Open { session, key: KEY, held: Vec::new(), name: String::new() };
    machine.step(now, open, &mut out);
    let mut answers = Output::default();
    let admin = Command::Request { session, request: Request::Admin { request, verb } };
    machine.step(now, admin, &mut answers);
    machine.step(now, Command::Request { session, request: Request::Close }, &mut out);
    answers.sends.into_iter().find_map(|send| match send.response {
        Response::Admin { answer, .. } => Some(answer),
        _ => None,
    })
}

/// What must be the same after a replay, in words.
fn durable_state(machine: &mut Machine, now: Time, jobs: &[JobId]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut queues: Vec<Name> = Vec::new();
    if let Some(AdminAnswer::Queues(all)) = ask(machine, now, AdminVerb::QueueList) {
        for queue in all {
            lines.push(format!(
                "{} {:?} {:?} {:?} {:?} {} bytes",
                queue.name,
                queue.settings,
                queue.paused,
                (queue.ready, queue.delayed, queue.leased, queue.dead),
                (queue.submitted, queue.acked, queue.nacked, queue.crashed),
                queue.bytes
            ));
            queues.push(queue.name);
        }
    }
    if let Some(AdminAnswer::Lists(all)) = ask(machine, now, AdminVerb::ListList) {
        for list in all {
            let held = list.length + list.unconfirmed;
            lines.push(format!("{} {held} items {} bytes", list.name, list.bytes));
        }
    }
    if let Some(AdminAnswer::Objects(all)) = ask(machine, now, AdminVerb::ObjectList) {
        // Who waits is gone with the process.
        lines
            .extend(all.into_iter().map(|info| format!("{:?}", ObjectInfo { waiting: 0, ..info })));
    }
    for queue in queues {
        let (dead, count) = (queue.clone(), 10_000);
        for verb in [
            AdminVerb::QueuePeek { queue, count },
            AdminVerb::DeadList { queue: dead, skip: 0, count },
        ] {
            let Some(AdminAnswer::Jobs(found)) = ask(machine, now, verb) else { continue };
            lines.push(format!("{:?}", found.iter().map(|info| info.job).collect::<Vec<_>>()));
        }
    }
    for &job in jobs {
        let Some(AdminAnswer::Jobs(found)) = ask(machine, now, AdminVerb::JobShow { job }) else {
            lines.push(format!("{job} unknown"));
            continue;
        };
        let info = &found[0];
        let state = match &info.state {
            // What a connection knows is gone with it.
            JobState::Leased { lease, session, cancelling, .. } => {
                format!("leased {lease} {session} {cancelling}")
            }
            // How far it has come is counted anew.
            JobState::Held { waits_for } => {
                format!("held {:?}", waits_for.iter().map(|p| &p.prerequisite).collect::<Vec<_>>())
            }
            state => format!("{state:?}"),
        };
        let counts = (info.attempts, info.failures, info.crashes);
        lines.push(format!("{job} {} {state} {counts:?} {:?}", info.queue, info.failure));
    }
    lines
}
