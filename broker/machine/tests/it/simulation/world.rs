//! Time and links: what reaches whom, and when.
//!
//! Not what goes wrong, and not the judgement: those are [`faults`] and [`end`].

mod end;
mod faults;

use std::collections::{BTreeMap, BTreeSet};

use ganger_chance::Rng;
use ganger_history::What;
use ganger_machine::event::Verdict;
use ganger_machine::{Command, Event};
use ganger_shared::admin::{AdminVerb, DeadWhich};
use ganger_shared::{JobId, Name, Prerequisite, Request, Response, SessionId, Time};

use super::broker::{Broker, Connection, KEY, Leaving, ask, compare_with_record};
use super::client::{Client, Known, LINE};
use super::disk::Disk;
use super::history::{History, nanoseconds};
use super::plan::Plan;
use super::record::State;
use super::seen::Seen;
use faults::FULL_BYTES;

/// Simulated milliseconds in which everything must have ended once nothing goes wrong any more.
const DRAIN_MS: u64 = 120_000;

/// What is due.
#[derive(Debug)]
enum Due {
    /// A frame reaches the broker.
    ToBroker(Connection, Request),
    /// A frame reaches a client.
    ToClient(Connection, Response),
    /// The broker sees that a connection is gone.
    BrokerNotices(Connection),
    ClientNotices(Connection),
    /// A client looks what there is to do.
    Wake(usize),
    Flushed,
    Tick,
    Fault,
}

#[derive(Debug)]
struct Link {
    client: usize,
    session: SessionId,
    /// When the last frame of each direction arrives: later ones do not overtake it.
    up: u64,
    down: u64,
    cut: bool,
    /// Since when what is on its way reaches nobody.
    lost_since: u64,
}

pub(crate) struct World {
    rng: Rng,
    plan: Plan,
    now: u64,
    /// How far the broker's clock is ahead of the clients'.
    skew: u64,
    agenda: BTreeMap<(u64, u64), Due>,
    serial: u64,
    links: BTreeMap<Connection, Link>,
    clients: Vec<Client>,
    sessions: u64,
    known: Known,
    pub(super) history: History,
    healed: bool,
    flushing: bool,
    tick_at: Option<u64>,
    pub(super) broker: Broker,
    pub(crate) seen: Seen,
}

impl World {
    pub(crate) fn new(seed: u64, disk: Box<dyn Disk>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let now = 1_000_000;
        let broker = Broker::new(plan.config(), Time::from_millis(now), disk);
        let mut world = Self {
            rng,
            plan,
            now,
            skew: 0,
            agenda: BTreeMap::new(),
            serial: 0,
            links: BTreeMap::new(),
            clients: Vec::new(),
            sessions: 1,
            known: Known::default(),
            history: History::new(seed, now),
            healed: false,
            flushing: false,
            tick_at: None,
            broker,
            seen: Seen::default(),
        };
        for index in 0..world.plan.clients {
            let session = world.new_session();
            world.clients.push(Client::new(session));
            world.at(now + 1, Due::Wake(index));
        }
        world.at(now + 50, Due::Fault);
        world
    }

    /// Jobs whose submit was answered as accepted.
    pub(super) fn accepted(&self) -> &BTreeSet<JobId> {
        &self.known.accepted
    }

    fn new_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    fn at(&mut self, time: u64, due: Due) {
        self.serial += 1;
        self.agenda.insert((time, self.serial), due);
    }

    fn broker_now(&self) -> Time {
        Time::from_millis(self.now + self.skew)
    }

    /// The whole life: the faulty part, the mending, the end and the judgement.
    pub(crate) fn live(&mut self) {
        let until = self.now + self.plan.faulty_ms;
        self.run(until);
        let now = self.broker_now();
        compare_with_record(&mut self.broker.machine, &self.broker.record, now);
        self.heal();
        let until = self.now + DRAIN_MS;
        while !self.is_drained() {
            assert!(self.now < until, "not at rest after {DRAIN_MS} ms: {}", self.unrest());
            self.run(self.now + 500);
            for queue in self.plan.queues.clone() {
                // Dead letters take room, and what waits for it must come in.
                self.note_dead_letters(&queue);
                self.operate(AdminVerb::DeadPurge { which: DeadWhich::Queue(queue) });
            }
            // Nobody takes items any more.
            self.operate(AdminVerb::QueuePurge { queue: Name::new(LINE.0).unwrap() });
            self.give_up_stuck();
        }
        self.confirm_everything();
        self.note_endings();
        self.note(What::Drained);
        self.judge();
    }

    fn run(&mut self, until: u64) {
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= until) {
            self.now = entry.key().0;
            let due = entry.remove();
            self.happen(due);
        }
        self.now = until;
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::ToBroker(connection, request) => self.deliver_to_broker(connection, request),
            Due::ToClient(connection, response) => self.deliver_to_client(connection, response),
            Due::BrokerNotices(connection) => {
                let Link { session, lost_since, .. } = self.links[&connection];
                self.note(What::Disturbed { since_ns: nanoseconds(lost_since) });
                if self.broker.connections.get(&session) == Some(&connection) {
                    self.broker.connections.remove(&session);
                    self.step(Command::Disconnected { session });
                }
            }
            Due::ClientNotices(connection) => {
                let client = &mut self.clients[self.links[&connection].client];
                if client.connection == Some(connection) {
                    client.disconnected();
                }
            }
            Due::Wake(index) => self.wake(index),
            Due::Flushed => {
                self.flushing = false;
                self.flushed();
            }
            Due::Tick if self.tick_at == Some(self.now) => {
                self.tick_at = None;
                self.step(Command::Tick);
            }
            // An earlier one was asked for in the meantime.
            Due::Tick => {}
            Due::Fault => self.fault(),
        }
    }

    // --- the network

    fn deliver_to_broker(&mut self, connection: Connection, request: Request) {
        let link = &self.links[&connection];
        if link.cut {
            return;
        }
        let session = link.session;
        if let Request::Open { session, held, name } = request {
            assert_eq!(self.broker.machine.judge_open(session, KEY), Ok(()));
            if let Some(former) = self.broker.connections.insert(session, connection) {
                self.cut(former);
            }
            self.step(Command::Open { session, key: KEY, held, name });
        } else if self.broker.connections.get(&session) == Some(&connection) {
            self.step(Command::Request { session, request });
        }
    }

    fn deliver_to_client(&mut self, connection: Connection, response: Response) {
        let link = &self.links[&connection];
        let client = &mut self.clients[link.client];
        if link.cut {
            return;
        }
        if client.frozen_until > self.now && client.connection == Some(connection) {
            client.note_arrival(&response);
        }
        client.inbox.push_back((connection, response));
        let client = link.client;
        if self.clients[client].frozen_until <= self.now {
            self.read_inbox(client);
        } else {
            self.note_of(client);
        }
    }

    fn read_inbox(&mut self, index: usize) {
        while let Some((connection, response)) = self.clients[index].inbox.pop_front() {
            let client = &mut self.clients[index];
            if client.connection != Some(connection) {
                continue;
            }
            let world = (&mut self.rng, &self.plan, &mut self.seen);
            let frames = client.hear(self.now, response, &mut self.known, world);
            self.note_of(index);
            self.send_up(index, frames);
        }
    }

    fn send_up(&mut self, client: usize, frames: Vec<Request>) {
        let Some(connection) = self.clients[client].connection else { return };
        for frame in frames {
            let arrives = self.arrival(connection, true);
            self.at(arrives, Due::ToBroker(connection, frame));
        }
    }

    fn send_down(&mut self, connection: Connection, response: Response) {
        let arrives = self.arrival(connection, false);
        self.at(arrives, Due::ToClient(connection, response));
    }

    /// When the next frame arrives; it may be the one at which the connection breaks.
    fn arrival(&mut self, connection: Connection, up: bool) -> u64 {
        let delay = self.rng.below(self.plan.delay_ms) + 1;
        if !self.healed && self.rng.chance(self.plan.cuts) {
            self.cut(connection);
        }
        let link = self.links.get_mut(&connection).unwrap();
        let last = if up { &mut link.up } else { &mut link.down };
        *last = (*last).max(self.now + delay);
        *last
    }

    /// Everything on its way is lost, in both directions; either end notices in its own time.
    fn cut(&mut self, connection: Connection) {
        let link = self.links.get_mut(&connection).unwrap();
        if core::mem::replace(&mut link.cut, true) {
            return;
        }
        link.lost_since = self.now;
        let notices = [Due::BrokerNotices(connection), Due::ClientNotices(connection)];
        for due in notices {
            let after = 1 + self.rng.below(self.plan.notice_ms);
            self.at(self.now + after, due);
        }
    }

    fn wake(&mut self, index: usize) {
        let pause = 1 + self.rng.below(120);
        let next = (self.now + pause).max(self.clients[index].frozen_until);
        self.at(next, Due::Wake(index));
        let client = &mut self.clients[index];
        if client.frozen_until > self.now {
            return;
        }
        self.read_inbox(index);
        let client = &mut self.clients[index];
        if client.connection.is_none() {
            let connection = Connection(self.links.len() as u64);
            let (up, down, session) = (0, 0, client.session);
            let link = Link { client: index, session, up, down, cut: false, lost_since: 0 };
            self.links.insert(connection, link);
            let open = client.open(connection);
            return self.send_up(index, vec![open]);
        }
        let frames = client.wake(self.now, &mut self.rng, &self.plan, self.healed);
        self.note_of(index);
        self.send_up(index, frames);
    }

    // --- the broker

    fn step(&mut self, command: Command) {
        let before = self.broker.journal.len();
        let repeats = self.is_repeat(&command);
        let opens = matches!(command, Command::Open { .. });
        let repeats_call = self.is_repeated_call(&command);
        let repeats_end = self.is_repeated_end(&command);
        let leaving = self.broker.step(self.broker_now(), command);
        if self.serial.is_multiple_of(16) {
            self.broker.machine.check();
        }
        let events: Vec<Event> = self.broker.journal[before..].to_vec();
        for event in &events {
            self.seen.event(event);
            if let Event::Ended { verdict: Verdict::Acked { .. }, .. } = event
                && self.broker.free() < FULL_BYTES
            {
                self.seen.hit("a full storage took an ack");
            }
            if let Event::Ended { verdict, .. } = event {
                match verdict {
                    Verdict::Released { .. } if opens => self.seen.hit("leases released on resume"),
                    Verdict::Cancelled => self.seen.hit("a job cancelled while it waited"),
                    _ => {}
                }
            }
        }
        self.note_stopped_acks(&events);
        self.note_met(&events);
        if repeats_end && events.is_empty() {
            self.seen.hit("an end with effects repeated");
        }
        let mut answers = leaving.0.iter().map(|(_, response)| response);
        if repeats && answers.any(|response| matches!(response, Response::Accepted { .. })) {
            self.seen.hit("a repeated submit recognised");
        }
        if repeats_call && events.is_empty() {
            self.seen.hit("a repeated call answered from memory");
        }
        self.put_out(leaving);
    }

    /// The journal is on the disk.
    fn flushed(&mut self) {
        // Now and then the power may fail before what a restatement stands for is forgotten.
        let forget = self.rng.chance(700);
        let before = self.broker.journal.len();
        let leaving = self.broker.flushed(forget);
        if std::mem::take(&mut self.broker.loaded) > 0 {
            self.seen.hit("payloads came back from the journal");
        }
        for event in &self.broker.journal[before..] {
            self.seen.event(event);
            if matches!(event, Event::Submitted { .. }) {
                self.seen.hit("a submit waited for the storage");
            }
        }
        self.put_out(leaving);
    }

    /// Sends what leaves the broker, and sees to what it has left to be done.
    fn put_out(&mut self, (leaving, expelled): Leaving) {
        for (connection, response) in leaving {
            self.send_down(connection, response);
        }
        for connection in expelled {
            self.cut(connection);
        }
        if !self.broker.is_flushed() && !self.flushing {
            self.flushing = true;
            let after = 1 + self.rng.below(self.plan.slow_disk_ms);
            self.at(self.now + after, Due::Flushed);
        }
        if let Some(due) = self.broker.machine.next_deadline()
            && due != Time::NEVER
        {
            let due = due.as_millis().saturating_sub(self.skew).max(self.now + 1);
            if self.tick_at.is_none_or(|earlier| due < earlier) {
                self.tick_at = Some(due);
                self.at(due, Due::Tick);
            }
        }
    }

    fn is_repeat(&self, command: &Command) -> bool {
        let Command::Request { session, request } = command else { return false };
        let (Request::Submit { first_seq, .. } | Request::SubmitWhen { first_seq, .. }) = request
        else {
            return false;
        };
        let first = JobId { session: *session, seq: *first_seq };
        self.broker.record.jobs.contains_key(&first)
    }

    /// Whether the journal has the call.
    fn is_repeated_call(&self, command: &Command) -> bool {
        let Command::Request { session, request } = command else { return false };
        let Request::Call { seq, .. } = request else { return false };
        let mut latest = self.broker.journal.iter().rev().take(500);
        latest.any(|event| match event {
            Event::Called(called) => (called.session, called.seq) == (*session, *seq),
            Event::QueueCalled(called) => (called.session, Some(called.seq)) == (*session, *seq),
            Event::Submitted { jobs, .. } => {
                (jobs.first.session, Some(jobs.first.seq)) == (*session, *seq)
            }
            _ => false,
        })
    }

    /// Whether the job has ended by this end with effects.
    fn is_repeated_end(&self, command: &Command) -> bool {
        let Command::Request { request: Request::Finish { lease, .. }, .. } = command else {
            return false;
        };
        let record = &self.broker.record;
        let job = record.leases.get(lease).and_then(|(job, _)| record.jobs.get(job));
        let by_it = |state: &State| matches!(state, State::Acked { lease: by, .. } if by == lease);
        job.is_some_and(|job| by_it(&job.state))
    }

    /// What has come was not there when the jobs were submitted.
    fn note_met(&mut self, events: &[Event]) {
        for event in events {
            let Event::Met { jobs, .. } = event else { continue };
            let held = |event: &&Event| matches!(event, Event::Held { jobs: held, .. } if held.contains(jobs.first));
            if events.iter().any(|event| held(&event)) {
                continue;
            }
            let Some(Event::Held { prerequisites, .. }) =
                self.broker.journal.iter().rev().find(held)
            else {
                continue;
            };
            let for_jobs = |one: &Prerequisite| matches!(one, Prerequisite::Jobs { .. });
            if prerequisites.iter().all(for_jobs) {
                self.seen.hit("a job waited for others");
            } else if !prerequisites.iter().any(for_jobs) {
                self.seen.hit("a job waited for a counter or a list");
            }
        }
    }

    fn note_stopped_acks(&mut self, events: &[Event]) {
        for event in events {
            let Event::Ended { jobs, verdict: Verdict::Acked { .. }, .. } = event else { continue };
            let stopped = self.broker.journal.iter().rev().take(200).any(|earlier| {
                matches!(earlier, Event::Stopping { jobs: stopping, .. } if stopping.contains(jobs.first))
            });
            if stopped {
                self.seen.hit("acked although told to stop");
            }
        }
    }

    // --- the history

    fn note(&mut self, what: What) {
        self.history.note(self.now, "world", what);
    }

    /// What a client has just asked or was told.
    fn note_of(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.notes.is_empty() {
            return;
        }
        let name = client.name();
        for what in client.notes.drain(..) {
            self.history.note(self.now, &name, what);
        }
    }
}
