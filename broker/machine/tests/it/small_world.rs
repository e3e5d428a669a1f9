//! Every history of a small world: two jobs, two workers, and what can happen to them, to a depth
//! that takes seconds: four steps from nothing and five after both jobs were handed out, which is
//! 4.3 million histories.
//!
//! Histories that lead to the same machine go on as one, so far more of them are covered than are
//! run. After every step the machine's invariants hold and it agrees with the plain record of its
//! journal; from every machine at the end, everything can still be brought to an end.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_machine::config::Available;
use ganger_machine::{Command, Config, Machine, Output};
use ganger_shared::admin::{AdminAnswer, AdminVerb, QueueSettings};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Backoff, Block, Durability, Failure, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Name,
    Outcome, Request, RequestId, SessionId, Settlement, SubscriptionId, Time,
};

use crate::simulation::broker::{KEY, ask, compare_with_record};
use crate::simulation::record::{Record, State};

const START: Time = Time::from_millis(1_000_000);
const WORKERS: [SessionId; 2] = [SessionId(1), SessionId(2)];

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The first worker submits its job of this number; again, if it has done so.
    Submit(u64),
    /// A worker settles the oldest lease that runs, whoever has it; the last one, if none runs.
    Settle(usize, Kind),
    /// A worker settles the first lease there ever was, which may be long over.
    SettleFirst(usize),
    Disconnect(usize),
    /// The worker comes back, with its leases or without, and subscribes.
    Open(usize, Held),
    Cancel,
    /// Time passes, and whatever is due happens.
    Advance(u64),
    /// Time passes, and nobody looks.
    Jump(u64),
    Pop(usize),
    Confirm(usize),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ack,
    Nack,
    Release,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    All,
    None,
}

const GRACE_MS: u64 = 1_000;
const LEASE_MS: u64 = 5_000;

const STEPS: [Step; 21] = [
    Step::Submit(0),
    Step::Submit(1),
    Step::Settle(0, Kind::Ack),
    Step::Settle(1, Kind::Ack),
    Step::Settle(0, Kind::Nack),
    Step::Settle(1, Kind::Nack),
    Step::Settle(0, Kind::Release),
    Step::SettleFirst(0),
    Step::SettleFirst(1),
    Step::Disconnect(0),
    Step::Disconnect(1),
    Step::Open(0, Held::All),
    Step::Open(0, Held::None),
    Step::Open(1, Held::All),
    Step::Cancel,
    Step::Advance(GRACE_MS),
    Step::Advance(LEASE_MS),
    Step::Jump(GRACE_MS),
    Step::Pop(0),
    Step::Pop(1),
    Step::Confirm(1),
];

struct World {
    machine: Machine,
    record: Record,
    now: Time,
    receipts: [u64; 2],
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    fn new() -> Self {
        let config = Config {
            available: Available::All,
            grace: Duration::from_millis(GRACE_MS),
            cancel_grace: Duration::from_millis(GRACE_MS),
            session_memory: Duration::from_millis(2 * LEASE_MS),
            queue_defaults: QueueSettings {
                jobs_max: 2,
                bytes_max: 1_000,
                lease_ms: LEASE_MS,
                dead_on: Vec::new(),
                durability: Durability::Strict,
            },
            ..Config::default()
        };
        let machine = Machine::new(config, START);
        let record = Record::default();
        let mut world = Self { machine, record, now: START, receipts: [0; 2] };
        world.open(0, Held::All);
        world.open(1, Held::All);
        world
    }

    fn step(&mut self, command: Command) {
        let mut out = Output::default();
        self.machine.step(self.now, command, &mut out);
        for event in &out.journal {
            self.record.apply(event);
        }
    }

    fn request(&mut self, worker: usize, request: Request) {
        self.step(Command::Request { session: WORKERS[worker], request });
    }

    fn open(&mut self, worker: usize, held: Held) {
        let session = WORKERS[worker];
        let leases = self.record.leases.iter().filter(|(_, (_, holder))| *holder == session);
        let held = match held {
            Held::All => leases.map(|(&lease, _)| LeaseRange::one(lease)).collect(),
            Held::None => Vec::new(),
        };
        self.step(Command::Open { session, key: KEY, held, name: String::new() });
        let subscription = SubscriptionId(1);
        self.request(worker, Request::Subscribe { subscription, queue: name("q"), credit: 1 });
    }

    fn settle(&mut self, worker: usize, lease: LeaseId, kind: Kind) {
        let outcome = match kind {
            Kind::Ack => Outcome::Ack { outputs: Block::one(lease.to_string()) },
            Kind::Nack => Outcome::Nack { failure: Failure::new("oops", ""), retry_after_ms: None },
            Kind::Release => Outcome::Release { delay_ms: 0 },
        };
        let settlements = vec![Settlement { leases: LeaseRange::one(lease), outcome }];
        self.request(worker, Request::Settle { request: RequestId(1), settlements });
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Submit(first_seq) => {
                let mut options = JobOptions::new(name("work"));
                (options.retries, options.crash_retries) = (1, 1);
                options.backoff = Backoff { base_ms: GRACE_MS, cap_ms: GRACE_MS };
                let submit = Request::Submit {
                    request: RequestId(1),
                    queue: name("q"),
                    first_seq,
                    options,
                    payloads: Block::one(first_seq.to_string()),
                    when_full: WhenFull::Wait,
                    notify: Notify::No,
                };
                self.request(0, submit);
            }
            Step::Settle(worker, kind) => {
                let running = self.record.jobs.values().filter_map(|job| match job.state {
                    State::Leased { lease, .. } => Some(lease),
                    _ => None,
                });
                if let Some(lease) = running.min().or(self.record.last_lease) {
                    self.settle(worker, lease, kind);
                }
            }
            Step::SettleFirst(worker) => {
                if let Some((&lease, _)) = self.record.leases.first_key_value() {
                    self.settle(worker, lease, Kind::Ack);
                }
            }
            Step::Disconnect(worker) => {
                self.step(Command::Disconnected { session: WORKERS[worker] });
            }
            Step::Open(worker, held) => self.open(worker, held),
            Step::Cancel => {
                let first = JobId { session: WORKERS[0], seq: 0 };
                let jobs = JobRange { first, count: 2 };
                self.request(1, Request::Cancel { request: RequestId(1), jobs });
            }
            Step::Advance(millis) => self.advance(millis),
            Step::Jump(millis) => self.now = self.now.plus_millis(millis),
            Step::Pop(worker) => {
                self.receipts[worker] += 1;
                let pop = Request::Pop {
                    request: RequestId(1),
                    list: name("q.results"),
                    receipt: self.receipts[worker],
                    confirmed: 0,
                    max: 1,
                    wait_ms: GRACE_MS,
                };
                self.request(worker, pop);
            }
            Step::Confirm(worker) => {
                let (list, receipt) = (name("q.results"), self.receipts[worker]);
                self.request(worker, Request::Confirm { list, receipt });
            }
        }
    }

    fn advance(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.step(Command::Tick);
        }
        self.now = until;
    }

    /// What holds after every step.
    fn check(&mut self) {
        self.machine.check();
        compare_with_record(&mut self.machine, &self.record, self.now);
        // A result is there exactly once for every ack, until it has been confirmed.
        let acked = |state: &State| matches!(state, State::Acked { .. });
        let acks = self.record.jobs.values().filter(|job| acked(&job.state)).count();
        let list = self.record.lists.get("q.results");
        assert_eq!(list.map_or(0, |list| list.items.len()), acks, "results for acks");
        let left = list.map_or(0, |list| list.removed.iter().filter(|gone| !**gone).count());
        let Some(AdminAnswer::Lists(lists)) = ask(&mut self.machine, self.now, AdminVerb::ListList)
        else {
            panic!("no lists");
        };
        let held: u64 = lists.iter().map(|list| list.length + list.unconfirmed).sum();
        assert_eq!(held, left as u64, "results that were not confirmed");
    }

    /// From here everything can be brought to an end.
    fn finish(&mut self) {
        for _ in 0..12 {
            if self.record.open().next().is_none() {
                return;
            }
            self.open(0, Held::All);
            self.open(1, Held::All);
            self.take(Step::Settle(0, Kind::Ack));
            self.take(Step::Settle(1, Kind::Ack));
            self.advance(GRACE_MS);
        }
        panic!("never ends: {:?}", self.record.open().collect::<Vec<_>>());
    }
}

fn told(history: &[u8]) -> Vec<Step> {
    history.iter().map(|&step| STEPS[usize::from(step)]).collect()
}

/// Prints the history if a step of it panics.
struct OnPanic<'a>(&'a [u8]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history: {:?}", told(self.0));
        }
    }
}

/// Checks every history of `depth` steps after those of `start`; `DEPTH=n` goes further.
#[expect(clippy::print_stdout, reason = "how much was covered")]
fn explore(start: &[Step], depth: usize) {
    let more = std::env::var("DEPTH").ok().and_then(|more| more.parse::<usize>().ok());
    let depth = more.unwrap_or(depth);
    let mut histories: Vec<Vec<u8>> = vec![Vec::new()];
    let (mut known, mut run) = (BTreeSet::new(), 0_u64);
    for length in 1..=depth {
        let mut longer = Vec::new();
        for history in &histories {
            for step in 0..u8::try_from(STEPS.len()).unwrap() {
                let mut history = history.clone();
                history.push(step);
                let _on_panic = OnPanic(&history);
                let mut world = World::new();
                start.iter().copied().chain(told(&history)).for_each(|step| world.take(step));
                run += 1;
                let state = format!("{:?} {:?} {:?}", world.machine, world.now, world.receipts);
                if !known.insert(*blake3::hash(state.as_bytes()).as_bytes()) {
                    continue;
                }
                world.check();
                if length == depth {
                    world.finish();
                } else {
                    longer.push(history.clone());
                }
            }
        }
        histories = longer;
    }
    let all = (STEPS.len() as u64).pow(u32::try_from(depth).unwrap());
    println!("{all} histories of {depth} steps: {run} run, {} machines", known.len());
}

#[test]
fn every_history_from_an_empty_broker_keeps_its_promises() {
    explore(&[], 4);
}

#[test]
fn every_history_of_two_running_jobs_keeps_its_promises() {
    explore(&[Step::Submit(0), Step::Submit(1)], 5);
}
