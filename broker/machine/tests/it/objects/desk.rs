//! A machine with its clock and its journal, and clients that talk to it one after the other.
//!
//! Not what they say: see [`super::history`] and [`super::sync`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ganger_machine::config::Available;
use ganger_machine::{Command, Config, Event, Machine, Output, Replay, Seq};
use ganger_shared::{
    Block, By, CallError, Durability, JobId, JobRange, LeaseId, LeaseRange, Name, Packed, Request,
    RequestId, Response, SessionId, Time, Value,
};

use crate::simulation::broker::KEY;

pub(crate) struct Desk {
    pub(crate) config: Config,
    pub(crate) machine: Machine,
    pub(crate) now: Time,
    pub(crate) journal: Vec<Event>,
    next_request: u64,
    submitted: Vec<(JobRange, Block)>,
    /// When connections broke.
    left: BTreeMap<SessionId, Time>,
}

/// How long a session is waited for.
const GRACE_MS: u64 = 2_000;

/// What a call says beside its object, method and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) seq: Option<u64>,
    pub(crate) answered: u64,
    pub(crate) by: By,
    pub(crate) wait_ms: u64,
}

/// What came of a call.
pub(crate) type Outcome = Result<Value, CallError>;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Arguments as a call has them.
pub(crate) fn encoded(values: &[Value]) -> Bytes {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
    bytes.into()
}

/// A machine whose journal keeps everything, unless told otherwise.
pub(crate) fn config() -> Config {
    let mut config = Config {
        available: Available::All,
        grace: Duration::from_millis(GRACE_MS),
        session_memory: Duration::from_secs(60),
        ..Config::default()
    };
    config.queue_defaults.durability = Durability::Strict;
    config.queue_defaults.lease_ms = 5_000;
    config
}

impl Desk {
    pub(crate) fn new(config: Config) -> Self {
        let now = Time::from_millis(1_000_000);
        let machine = Machine::new(config.clone(), now);
        Self {
            config,
            machine,
            now,
            journal: Vec::new(),
            next_request: 1,
            submitted: Vec::new(),
            left: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self, command: Command) -> Vec<(SessionId, Response)> {
        match &command {
            Command::Disconnected { session } => drop(self.left.insert(*session, self.now)),
            Command::Open { session, .. } => drop(self.left.remove(session)),
            Command::Request { session, request: Request::Submit { first_seq, payloads, .. } } => {
                let first = JobId { session: *session, seq: *first_seq };
                let jobs = JobRange { first, count: payloads.count() };
                self.submitted.push((jobs, payloads.clone()));
            }
            Command::Request { .. } | Command::Tick => {}
        }
        let mut out = Output { record: Some(self.record()), ..Output::default() };
        self.machine.step(self.now, command, &mut out);
        self.machine.check();
        assert!(out.loads.is_empty(), "all payloads are in memory");
        self.journal.append(&mut out.journal);
        out.sends.into_iter().map(|send| (send.session, send.response)).collect()
    }

    /// Position of the next event; each is a record of its own.
    fn record(&self) -> Seq {
        Seq(self.journal.len() as u64 + 1)
    }

    pub(crate) fn open(
        &mut self,
        session: SessionId,
        name: &str,
        held: &[LeaseId],
    ) -> Vec<(SessionId, Response)> {
        let (name, held) = (name.to_owned(), held.iter().map(|&l| LeaseRange::one(l)).collect());
        self.step(Command::Open { session, key: KEY, held, name })
    }

    pub(crate) fn ask(
        &mut self,
        session: SessionId,
        request: Request,
    ) -> Vec<(SessionId, Response)> {
        self.step(Command::Request { session, request })
    }

    /// The same without a look at the whole machine, where that would take long.
    pub(crate) fn ask_unchecked(
        &mut self,
        session: SessionId,
        request: Request,
    ) -> Vec<(SessionId, Response)> {
        let mut out = Output { record: Some(self.record()), ..Output::default() };
        self.machine.step(self.now, Command::Request { session, request }, &mut out);
        self.journal.append(&mut out.journal);
        out.sends.into_iter().map(|send| (send.session, send.response)).collect()
    }

    pub(crate) const fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) fn call(
        &mut self,
        object: &str,
        typeid: Option<&str>,
        method: &str,
        terms: Terms,
        args: Block,
    ) -> Request {
        let Terms { seq, answered, by, wait_ms } = terms;
        Request::Call {
            request: self.request(),
            object: name(object),
            typeid: typeid.map(name),
            method: method.to_owned(),
            seq,
            answered,
            by,
            wait_ms,
            args,
        }
    }

    /// What the job was submitted with.
    pub(crate) fn payload_of(&self, job: JobId) -> Option<Bytes> {
        self.submitted.iter().find_map(|(jobs, payloads)| {
            let at = job.seq.checked_sub(jobs.first.seq)?;
            jobs.contains(job).then(|| payloads.get(u32::try_from(at).unwrap()))
        })
    }

    /// Whether a session is no more waited for.
    pub(crate) fn is_gone(&self, session: SessionId) -> bool {
        let left = self.left.get(&session);
        left.is_some_and(|left| left.plus_millis(GRACE_MS) <= self.now)
    }

    /// What a machine makes of the journal that is started at this time.
    pub(crate) fn replayed(&self, at: Time) -> Machine {
        let mut replay = Replay::new(self.config.clone(), at);
        for (record, event) in (1..).zip(&self.journal) {
            replay.take(Seq(record), event.clone());
        }
        let machine = replay.finish();
        machine.check();
        machine
    }

    /// The process ends, and another one replays the journal.
    pub(crate) fn restart(&mut self) {
        self.machine = self.replayed(self.now);
    }
}

/// What the machine says of itself.
pub(crate) fn restated(machine: &mut Machine) -> Vec<Event> {
    let mut events = Vec::new();
    machine.restate(Seq::FIRST, |part| {
        assert!(part.missing.is_empty(), "all payloads are in memory");
        events.extend(part.events);
    });
    events
}

/// What each call of a frame came to.
pub(crate) fn returned(response: &Response) -> Option<Vec<Outcome>> {
    let Response::Returned { results, errors, .. } = response else { return None };
    let outcome =
        |(index, result): (u32, Bytes)| match errors.iter().find(|(place, _)| *place == index) {
            Some((_, error)) => Err(error.clone()),
            None if result.is_empty() => Ok(Value::None),
            None => Ok(Packed::new(result).unwrap().unpack()),
        };
    Some((0..).zip(results.iter()).map(outcome).collect())
}

/// The request that is answered.
pub(crate) const fn answered(response: &Response) -> Option<RequestId> {
    match response {
        Response::Returned { request, .. }
        | Response::Using { request, .. }
        | Response::Rejected { request, .. }
        | Response::Items { request, .. }
        | Response::Length { request, .. } => Some(*request),
        _ => None,
    }
}
