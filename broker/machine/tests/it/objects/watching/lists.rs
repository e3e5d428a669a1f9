//! Everything that changes a list, and all of it together with those who pop from it.

use ganger_machine::Command;
use ganger_shared::admin::AdminVerb;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, Effect, JobOptions, JobRange, LeaseId, LeaseRange, Outcome, Request, Response,
    ResultsTo, SessionId, Settlement, SubscriptionId, Value,
};

use super::super::desk::{encoded, name, returned};
use super::super::values;
use super::{CALLER, LIST, State, World, pack};

const POPPER: SessionId = SessionId(2);
const WORKER: SessionId = SessionId(3);

/// How far the pops of a client have come.
#[derive(Default)]
pub(super) struct Popped {
    receipt: u64,
    /// The latest receipt that it can confirm.
    arrived: u64,
    online: bool,
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_int().and_then(ganger_shared::value::Integer::as_u64).unwrap()
}

impl World<'_> {
    /// The other sessions of the list are there, at the start and after a restart.
    pub(super) fn lists_come_back(&mut self) {
        for (session, called) in [(POPPER, "the popper"), (WORKER, "the worker")] {
            let told = self.desk.open(session, called, &[]);
            self.heard(told);
        }
        (self.popped.arrived, self.popped.online) = (0, true);
        let subscription = SubscriptionId(9);
        let subscribe = Request::Subscribe { subscription, queue: name("q"), credit: 1_000 };
        self.tell(WORKER, subscribe);
    }

    fn tell(&mut self, session: SessionId, request: Request) -> Vec<(SessionId, Response)> {
        let told = self.desk.ask(session, request);
        self.heard(told.clone());
        told
    }

    pub(super) fn change_list(&mut self) {
        match self.rng.between(0..=99) {
            0..=49 => self.edit(),
            50..=59 => self.append(),
            60..=69 => self.run_jobs(),
            70..=79 => self.pop(),
            80..=89 => self.confirm(),
            90..=95 => self.come_and_go(),
            _ => {
                let (request, verb) =
                    (self.desk.request(), AdminVerb::ListPurge { list: name("l") });
                self.tell(CALLER, Request::Admin { request, verb });
            }
        }
    }

    fn edit(&mut self) {
        let rng = &mut *self.rng;
        let place = |rng: &mut ganger_chance::Rng| {
            Value::from(i64::try_from(rng.between(0..=12)).unwrap() - 4)
        };
        let values = |rng: &mut ganger_chance::Rng| {
            Value::List((0..rng.size(0..=4)).map(|_| values::value(rng)).collect())
        };
        let method = *rng.pick(&[
            "append",
            "append",
            "append",
            "extend",
            "extend",
            "insert",
            "insert",
            "set",
            "set_slice",
            "pop",
            "delete",
            "delete_slice",
            "remove",
            "trim",
            "clear",
            "reverse",
            "sort",
        ]);
        let count = if rng.percent(5) { rng.between(1..=300) } else { rng.between(1..=3) };
        let large = rng.percent(2);
        let args: Vec<_> = (0..count)
            .map(|_| {
                encoded(&match method {
                    "append" if large => vec!["x".repeat(rng.size(1_000..=40_000)).as_str().into()],
                    "append" | "remove" => vec![values::value(rng)],
                    "extend" => vec![values(rng)],
                    "insert" | "set" => vec![place(rng), values::value(rng)],
                    "set_slice" => vec![place(rng), place(rng), values(rng)],
                    "delete_slice" => vec![place(rng), place(rng)],
                    "pop" | "delete" => vec![place(rng)],
                    "trim" => vec![rng.between(0..=20).into()],
                    _ => vec![],
                })
            })
            .collect();
        let told = self.call(LIST, method, args.iter().collect());
        self.heard(told);
    }

    fn strings(&mut self, count: u64) -> Block {
        let of = ["7", "not json", "[1, 2]", ""];
        let strings: Vec<&str> = (0..count).map(|_| *self.rng.pick(&of)).collect();
        strings.iter().collect()
    }

    fn append(&mut self) {
        let count = self.rng.between(1..=3);
        let (request, seq, items) = (self.desk.request(), self.next_seq, self.strings(count));
        self.next_seq += 1;
        self.tell(CALLER, Request::Append { request, list: name("l"), seq, items });
    }

    /// Jobs whose results come to the list, some with effects on it, which may be taken back.
    fn run_jobs(&mut self) {
        let count = self.rng.between(1..=6);
        let payloads = self.strings(count);
        let submit = Request::Submit {
            request: self.desk.request(),
            queue: name("q"),
            first_seq: self.next_seq,
            options: JobOptions {
                results: ResultsTo::List(name("l")),
                ..JobOptions::new(name("h"))
            },
            payloads,
            when_full: WhenFull::Refuse,
            notify: Notify::No,
        };
        self.next_seq += count;
        let told = self.tell(CALLER, submit);
        for (session, response) in told {
            let Response::Assign { first_lease, jobs, .. } = response else { continue };
            assert_eq!(session, WORKER);
            if self.rng.percent(30) {
                // Those who wait for some of the jobs part them from the others, which no journal knows.
                let (request, jobs) = (self.desk.request(), JobRange::one(jobs.first));
                self.tell(CALLER, Request::Wait { request, jobs });
            }
            let first = u32::try_from(self.rng.between(0..=u64::from(jobs.count))).unwrap();
            self.acknowledge(first_lease, first);
            self.finish_each(LeaseId(first_lease.0 + u64::from(first)), jobs.count - first);
        }
    }

    fn acknowledge(&mut self, first: LeaseId, count: u32) {
        if count == 0 {
            return;
        }
        let outputs = self.strings(u64::from(count));
        let leases = LeaseRange { first, count };
        let settlements = vec![Settlement { leases, outcome: Outcome::Ack { outputs } }];
        let request = self.desk.request();
        self.tell(WORKER, Request::Settle { request, settlements });
    }

    fn finish_each(&mut self, first: LeaseId, count: u32) {
        for lease in (first.0..first.0 + u64::from(count)).map(LeaseId) {
            let call = |object: &str, method: &str, args: &[Value]| Effect::Call {
                object: name(object),
                typeid: None,
                method: method.to_owned(),
                args: encoded(args),
            };
            let mut effects = vec![
                call("l", "append", &[values::value(self.rng)]),
                call("l", "extend", &[Value::List(vec![1.into(), 2.into()])]),
            ];
            if self.rng.percent(30) {
                effects.push(call("v", "compare_and_set", &[1_000_000.into(), 1.into()]));
            }
            let (request, output) = (self.desk.request(), "3".into());
            self.tell(WORKER, Request::Finish { request, lease, output, effects });
            // What was taken back ends without.
            self.acknowledge(lease, 1);
        }
    }

    fn pop(&mut self) {
        if !self.popped.online {
            return;
        }
        self.popped.receipt += 1;
        let (request, receipt) = (self.desk.request(), self.popped.receipt);
        let (list, max) = (name("l"), u32::try_from(self.rng.between(1..=4)).unwrap());
        let confirmed = if self.rng.percent(50) { self.popped.arrived } else { 0 };
        let pop = Request::Pop { request, list, receipt, confirmed, max, wait_ms: 0 };
        let told = self.tell(POPPER, pop);
        let is_taken = told.iter().any(|(_, response)| matches!(response, Response::Items { .. }));
        self.popped.arrived = if is_taken { receipt } else { 0 };
    }

    fn confirm(&mut self) {
        let receipt = self.popped.arrived;
        if self.popped.online && receipt > 0 {
            self.tell(POPPER, Request::Confirm { list: name("l"), receipt });
        }
    }

    fn come_and_go(&mut self) {
        self.popped.online ^= true;
        let told = if self.popped.online {
            self.desk.open(POPPER, "the popper", &[])
        } else {
            self.desk.step(Command::Disconnected { session: POPPER })
        };
        self.heard(told);
    }

    /// What a replay finds in the list is what the copies have.
    pub(super) fn compare_with_journal(&mut self) {
        self.desk.restart();
        self.desk.open(CALLER, "the caller", &[]);
        let told = self.call(LIST, "slice", Block::one(encoded(&[])));
        let answer = told.iter().find_map(|(_, response)| returned(response)).unwrap();
        let Ok(Value::List(items)) = &answer[0] else { panic!("{answer:?}") };
        let expected = State { items: items.iter().map(pack).collect(), ..State::default() };
        for copy in self.copies.iter().filter(|copy| copy.object == LIST) {
            assert_eq!(copy.state.shown(), expected.shown(), "{}", copy.session);
        }
    }
}
