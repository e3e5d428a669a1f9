//! Random histories on what makes callers wait: locks, semaphores, conditions, events and barriers, of
//! clients that leave, come back, time out and lose the leases of their jobs.
//!
//! Not who is right: that is the [`referee`]'s to say, after every step.

mod referee;

use std::collections::BTreeSet;

use ganger_chance::Rng;
use ganger_machine::Command;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, By, Durability, Failure, JobOptions, LeaseId, LeaseRange, Outcome as Ended, Request,
    Response, SessionId, Settlement, SubscriptionId, Value,
};

use self::referee::{Parked, Referee};
use super::desk::{Desk, Terms, answered, config, encoded, name};

/// What must have happened in many histories.
const SOMETIMES: [&str; 13] = [
    "granted after a wait",
    "time was up",
    "freed by the end of a lease",
    "a call of a lost lease was rejected",
    "freed by the end of a session",
    "a circle was found",
    "acquired again",
    "notified",
    "not notified in time",
    "a barrier let go",
    "a barrier broke",
    "an event let go",
    "a stale token was refused",
];

/// The objects: their types, and what each is made with.
const OBJECTS: [(&str, &str, Option<u64>); 8] = [
    ("l", "lock/1", None),
    ("l2", "lock/1", None),
    ("r", "rlock/1", None),
    ("s", "semaphore/1", Some(2)),
    ("b", "bounded_semaphore/1", Some(2)),
    ("c", "condition/1", None),
    ("g", "barrier/1", Some(3)),
    ("e", "event/1", None),
];

const CLIENTS: u64 = 4;

struct Client {
    session: SessionId,
    is_online: bool,
    next_seq: u64,
    leases: Vec<LeaseId>,
    /// Tokens it was given, of what it may have released since.
    tokens: Vec<(usize, u64)>,
}

struct World<'a> {
    rng: &'a mut Rng,
    desk: Desk,
    clients: Vec<Client>,
    referee: Referee,
}

impl<'a> World<'a> {
    fn new(rng: &'a mut Rng) -> Self {
        let durability = *rng.pick(&[Durability::Memory, Durability::Strict]);
        let mut desk = Desk::new(config());
        let mut clients = Vec::new();
        for number in 1..=CLIENTS {
            let session = SessionId(number);
            desk.open(session, "one", &[]);
            let (leases, tokens) = (Vec::new(), Vec::new());
            clients.push(Client { session, is_online: true, next_seq: 0, leases, tokens });
        }
        for (object, typeid, units) in OBJECTS {
            let made = Request::Use {
                request: desk.request(),
                object: Some(name(object)),
                typeid: name(typeid),
                schema: None,
                args: encoded(&units.map(Value::from).into_iter().collect::<Vec<_>>()),
                durability: Some(durability),
            };
            desk.ask(SessionId(1), made);
        }
        Self { rng, desk, clients, referee: Referee::new() }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..=69 => self.call(),
            70..=76 => self.take_job(),
            77..=81 => self.end_job(),
            82..=86 => self.come_or_go(),
            87..=88 => self.close(),
            _ => self.pass_time(),
        }
        self.referee.judge(&mut self.desk);
    }

    fn online(&mut self) -> Option<usize> {
        let online: Vec<usize> =
            (0..self.clients.len()).filter(|&index| self.clients[index].is_online).collect();
        (!online.is_empty()).then(|| *self.rng.pick(&online))
    }

    fn call(&mut self) {
        let Some(client) = self.online() else { return };
        let object = self.rng.size(0..=OBJECTS.len() as u64 - 1);
        let method = match OBJECTS[object].1 {
            "condition/1" => {
                *self.rng.pick(&["acquire", "acquire", "release", "wait", "notify", "notify_all"])
            }
            "event/1" => *self.rng.pick(&["wait", "wait", "set", "clear", "clear"]),
            "barrier/1" => *self.rng.pick(&["wait", "wait", "wait", "reset", "abort"]),
            _ => *self.rng.pick(&["acquire", "acquire", "release"]),
        };
        let (client, by) = self.caller(client, object, method);
        let mine = self.clients[client].tokens.iter().filter(|(other, _)| *other == object);
        let mine: Vec<u64> = mine.map(|&(_, token)| token).collect();
        let mut args = Vec::new();
        if method == "release" && !mine.is_empty() && self.rng.percent(30) {
            args.push(Value::from(*self.rng.pick(&mine)));
        }
        let may_wait = matches!(method, "acquire" | "wait") && self.rng.percent(75);
        let wait_ms = if may_wait { self.rng.between(1..=4_000) } else { 0 };
        let found = &mut self.clients[client];
        let terms = Terms { seq: Some(found.next_seq), answered: found.next_seq, by, wait_ms };
        found.next_seq += 1;
        let session = found.session;
        let until = self.desk.now.plus_millis(wait_ms);
        let call =
            self.desk.call(OBJECTS[object].0, None, method, terms, Block::one(encoded(&args)));
        let Request::Call { request, .. } = &call else { panic!("{call:?} is no call") };
        let parked =
            Parked { request: *request, session, by, object, method, until, is_told: false };
        let told = self.desk.ask(session, call);
        let is_answered = told.iter().any(|(_, r)| answered(r) == Some(parked.request));
        assert!(is_answered || wait_ms > 0, "{method} was not answered: {told:?}");
        self.referee.called(parked);
        self.hear(&told);
    }

    /// Who calls: mostly the holder, where only that one may.
    fn caller(&mut self, client: usize, object: usize, method: &str) -> (usize, By) {
        let needs_it = !matches!(method, "acquire" | "set" | "clear" | "reset" | "abort");
        if let Some((session, by)) = self.referee.holder(object).filter(|_| needs_it)
            && self.rng.percent(60)
            && let Some(found) = self.clients.iter().position(|c| c.session == session)
            && self.clients[found].is_online
        {
            return (found, by);
        }
        let by = match self.clients[client].leases.first() {
            Some(&lease) if self.rng.percent(50) => By::Lease(lease),
            _ if self.rng.percent(30) => By::Session,
            _ => By::Holder(u32::try_from(self.rng.below(2)).unwrap()),
        };
        (client, by)
    }

    fn hear(&mut self, told: &[(SessionId, Response)]) {
        for (session, response) in told {
            let client = self.clients.iter_mut().find(|client| client.session == *session).unwrap();
            match response {
                Response::Assign { first_lease, jobs, .. } => {
                    client.leases.extend((first_lease.0..).take(jobs.count as usize).map(LeaseId));
                }
                Response::Fenced { leases } => {
                    client.leases.retain(|l| !(leases.first.0..leases.end()).contains(&l.0));
                }
                response => client.tokens.extend(self.referee.heard(response)),
            }
        }
    }

    fn take_job(&mut self) {
        let Some(client) = self.online() else { return };
        let found = &mut self.clients[client];
        let (session, first_seq) = (found.session, found.next_seq);
        found.next_seq += 1;
        let submit = Request::Submit {
            request: self.desk.request(),
            queue: name("q"),
            first_seq,
            options: JobOptions::new(name("h")),
            payloads: Block::empties(1),
            when_full: WhenFull::Refuse,
            notify: Notify::No,
        };
        let subscription = SubscriptionId(1);
        let subscribe = Request::Subscribe { subscription, queue: name("q"), credit: 2 };
        for request in [submit, subscribe] {
            let told = self.desk.ask(session, request);
            self.hear(&told);
        }
    }

    fn end_job(&mut self) {
        let Some(client) = self.online() else { return };
        let found = &mut self.clients[client];
        let Some(lease) = found.leases.pop() else { return };
        let session = found.session;
        let failure = Failure::new("oops", "it did not work");
        let outcome = if self.rng.percent(50) {
            Ended::Ack { outputs: Block::empties(1) }
        } else {
            Ended::Nack { failure, retry_after_ms: Some(1_000) }
        };
        self.referee.ending(|by| *by == (session, By::Lease(lease)), "freed by the end of a lease");
        let settlements = vec![Settlement { leases: LeaseRange::one(lease), outcome }];
        let request = self.desk.request();
        let told = self.desk.ask(session, Request::Settle { request, settlements });
        self.hear(&told);
    }

    fn come_or_go(&mut self) {
        let client = self.rng.size(0..=CLIENTS - 1);
        let Client { session, is_online, leases, .. } = &mut self.clients[client];
        *is_online = !*is_online;
        let session = *session;
        let told = if *is_online {
            let held = leases.clone();
            self.desk.open(session, "one", &held)
        } else {
            self.referee.left(session);
            self.desk.step(Command::Disconnected { session })
        };
        self.hear(&told);
    }

    fn close(&mut self) {
        let Some(client) = self.online() else { return };
        let found = &mut self.clients[client];
        found.is_online = false;
        found.leases.clear();
        let session = found.session;
        self.referee.left(session);
        self.referee.ending(|(other, _)| *other == session, "freed by the end of a session");
        let told = self.desk.ask(session, Request::Close);
        self.hear(&told);
    }

    fn pass_time(&mut self) {
        let until = self.desk.now.plus_millis(self.rng.between(1..=3_000));
        while let Some(due) = self.desk.machine.next_deadline().filter(|due| *due <= until) {
            self.desk.now = self.desk.now.max(due);
            let told = self.desk.step(Command::Tick);
            self.hear(&told);
            self.referee.judge(&mut self.desk);
        }
        self.desk.now = until;
    }
}

#[test]
fn who_waits_is_served_in_turn_and_who_is_gone_holds_nothing() {
    let mut seen = BTreeSet::new();
    super::each_seed("waiting", 200, |rng| {
        let mut world = World::new(rng);
        for _ in 0..300 {
            world.step();
        }
        seen.append(&mut world.referee.seen);
    });
    let missing: Vec<_> = SOMETIMES.iter().filter(|what| !seen.contains(*what)).collect();
    assert!(super::number("SEED").is_some() || missing.is_empty(), "never happened: {missing:?}");
}
