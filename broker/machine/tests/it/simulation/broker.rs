//! A broker as the machine sees it: connections, a journal that becomes durable late, and a power
//! switch.

use std::collections::{BTreeMap, VecDeque};

use ganger_machine::config::Available;
use ganger_machine::{Command, Config, Event, Machine, Output, Replay, Seq};
use ganger_shared::admin::{AdminAnswer, AdminVerb, JobState};
use ganger_shared::key::KeyId;
use ganger_shared::{Durability, JobId, Name, Request, RequestId, Response, SessionId, Time};

use super::record::{Record, State};

/// One connection of the simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection(pub(super) u64);

/// All clients have the same key.
pub(crate) const KEY: KeyId = KeyId([1; 8]);

pub(super) struct Broker {
    pub(super) machine: Machine,
    pub(super) connections: BTreeMap<SessionId, Connection>,
    /// All that ever happened; the record is made from it.
    pub(super) journal: Vec<Event>,
    /// The last restatement, and which events of `journal` came before it: a replay begins with it.
    restated: (Vec<Event>, usize),
    /// How many events of it would survive a loss of power.
    durable: usize,
    /// Responses that wait for the journal to get so far.
    held: VecDeque<(usize, Connection, Response)>,
    pub(super) record: Record,
    /// Of everything that was sent.
    pub(super) hash: blake3::Hasher,
    out: Output,
}

impl Broker {
    pub(super) fn new(config: Config, now: Time) -> Self {
        assert_eq!(config.available, Available::All, "the journal is the judge's evidence");
        Self {
            machine: Machine::new(config, now),
            connections: BTreeMap::new(),
            journal: Vec::new(),
            restated: (Vec::new(), 0),
            durable: 0,
            held: VecDeque::new(),
            record: Record::default(),
            hash: blake3::Hasher::new(),
            out: Output::default(),
        }
    }

    /// One step of the machine. Returns what leaves at once, by connection, and the connections
    /// that were thrown out.
    pub(super) fn step(
        &mut self,
        now: Time,
        command: Command,
    ) -> (Vec<(Connection, Response)>, Vec<Connection>) {
        self.machine.step(now, command, &mut self.out);
        for event in &self.out.journal {
            self.record.apply(event);
        }
        self.journal.append(&mut self.out.journal);
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

    /// The journal has become durable; returns what may leave now.
    pub(super) fn flushed(&mut self) -> Vec<(Connection, Response)> {
        self.durable = self.journal.len();
        self.held.drain(..).map(|(_, connection, response)| (connection, response)).collect()
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.durable == self.journal.len()
    }

    /// The power fails: the durable part of the journal is left, and the first `kept_beyond` events
    /// of what was not durable yet; a new process replays them.
    pub(super) fn restart(&mut self, config: Config, now: Time, kept_beyond: usize) {
        let kept = (self.durable + kept_beyond).min(self.journal.len());
        if kept == self.journal.len() {
            self.compare_with_replay(config.clone(), now);
        }
        self.journal.truncate(kept);
        self.record = Record::of(&self.journal);
        self.machine = self.replayed(config, now);
        self.connections.clear();
        self.held.clear();
        self.durable = self.journal.len();
    }

    /// A machine that was told what the journal has, as it is after its last compaction.
    fn replayed(&self, config: Config, now: Time) -> Machine {
        let (restated, before) = &self.restated;
        let mut replay = Replay::new(config, now);
        for event in restated.iter().chain(&self.journal[*before..]) {
            replay.take(Seq::FIRST, event.clone());
        }
        replay.machine().check();
        replay.finish()
    }

    /// The state is said again, and takes the place of the journal so far; not while something of that
    /// is on its way to the disk.
    pub(super) fn compact(&mut self) -> bool {
        if self.is_flushed() {
            let mut events = Vec::new();
            self.machine.restate(Seq::FIRST, |part| events.extend(part.events));
            self.restated = (events, self.journal.len());
        }
        self.is_flushed()
    }

    pub(super) fn began_with_restatement(&self) -> bool {
        !self.restated.0.is_empty()
    }

    /// A machine that replays the journal holds what this one holds: jobs in their order, lists
    /// and settings.
    pub(super) fn compare_with_replay(&mut self, config: Config, now: Time) {
        let mut replayed = self.replayed(config, now);
        let jobs: Vec<JobId> = self.record.jobs.keys().copied().collect();
        let expected = durable_state(&mut self.machine, now, &jobs);
        let found = durable_state(&mut replayed, now, &jobs);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected, "replayed, and as it was");
        }
        assert_eq!(found.len(), expected.len());
    }
}

/// The record and the machine agree about every job.
pub(crate) fn compare_with_record(machine: &mut Machine, record: &Record, now: Time) {
    for (&job, known) in &record.jobs {
        let state = match ask(machine, now, AdminVerb::JobShow { job }) {
            Some(AdminAnswer::Jobs(found)) => found[0].state.clone(),
            Some(other) => panic!("{other:?}"),
            None => {
                assert_eq!(known.state, State::Forgotten, "{job} is not known any more");
                continue;
            }
        };
        let alike = match (&known.state, &state) {
            (State::Waiting, JobState::Ready | JobState::Delayed { .. })
            | (State::Dead, JobState::Dead { .. })
            | (State::Cancelled, JobState::Cancelled) => true,
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
            state => format!("{state:?}"),
        };
        let counts = (info.attempts, info.failures, info.crashes);
        lines.push(format!("{job} {} {state} {counts:?} {:?}", info.queue, info.failure));
    }
    lines
}
