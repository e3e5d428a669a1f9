//! What clients send for the jobs of one queue, and the answers that they must get.

use ganger_machine::{Event, Machine};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Name, Outcome, Request, RequestId,
    Response, SessionId, Settlement, SubscriptionId, codec,
};

use crate::driver::{self, Driver, NOW};

const SUBMITTER: SessionId = SessionId(0xb5ad_4ece_da1c_e2a9);
const WORKER: SessionId = SessionId(0xe220_a839_7b1d_cdaf);
const SUBSCRIPTION: SubscriptionId = SubscriptionId(1);

/// What happens to every job, by a frame of a client each time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Submit,
    /// A worker asks for jobs and gets them.
    Assign,
    /// It sends their results.
    Settle,
}

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::Submit, Self::Assign, Self::Settle];

    /// Who sends it.
    pub(crate) const fn session(self) -> SessionId {
        match self {
            Self::Submit => SUBMITTER,
            Self::Assign | Self::Settle => WORKER,
        }
    }
}

/// Jobs of 16 bytes, so many in a frame, with results of 16 bytes for the list of their queue.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) run_jobs: u32,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("it is one")
}

fn frame(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(request, &mut bytes);
    bytes
}

impl Life {
    /// A broker with a client and a worker, and no jobs.
    pub(crate) fn begin() -> Driver {
        let mut driver = Driver::new(Machine::new(driver::config(), NOW));
        driver.open(SUBMITTER);
        driver.open(WORKER);
        let subscribe =
            Request::Subscribe { subscription: SUBSCRIPTION, queue: name("jobs"), credit: 0 };
        driver.handle(WORKER, &frame(&subscribe));
        driver
    }

    /// The frames of `step` for the first `runs` runs.
    pub(crate) fn frames(self, step: Step, runs: u32) -> Vec<Vec<u8>> {
        (0..runs).map(|run| self.frame(step, run)).collect()
    }

    fn frame(self, step: Step, run: u32) -> Vec<u8> {
        let request = RequestId(u64::from(run));
        frame(&match step {
            Step::Submit => Request::Submit {
                request,
                queue: name("jobs"),
                first_seq: self.jobs(run).first.seq,
                options: JobOptions::new(name("handler")),
                payloads: self.block(run),
                when_full: WhenFull::Wait,
                notify: Notify::No,
            },
            Step::Assign => Request::Credit { subscription: SUBSCRIPTION, add: self.run_jobs },
            Step::Settle => {
                let leases = LeaseRange { first: self.first_lease(run), count: self.run_jobs };
                let outcome = Outcome::Ack { outputs: self.block(run) };
                Request::Settle { request, settlements: vec![Settlement { leases, outcome }] }
            }
        })
    }

    fn jobs(self, run: u32) -> JobRange {
        let seq = u64::from(run) * u64::from(self.run_jobs);
        JobRange { first: JobId { session: SUBMITTER, seq }, count: self.run_jobs }
    }

    /// The machine counts leases from its start.
    fn first_lease(self, run: u32) -> LeaseId {
        LeaseId((NOW.as_millis() << 20) + self.jobs(run).first.seq)
    }

    fn block(self, run: u32) -> Block {
        self.jobs(run).iter().map(|job| u128::from(job.seq).to_le_bytes()).collect()
    }

    /// The records of the first `runs` runs while nobody has anything else: each is assigned as soon as
    /// it is submitted, and settled before the next comes. Two records a run.
    pub(crate) fn records(self, runs: u32) -> Vec<Vec<Event>> {
        let mut driver = Self::begin();
        // Spent by each run, and returned by its end.
        driver.handle(WORKER, &self.frame(Step::Assign, 0));
        for run in 0..runs {
            for (step, answer) in [(Step::Submit, Step::Assign), (Step::Settle, Step::Settle)] {
                driver.handle(step.session(), &self.frame(step, run));
                self.check(answer, run, &driver.last_answer());
            }
        }
        driver.into_records()
    }

    /// How many results are in the list of the queue.
    pub(crate) fn results(machine: Machine) -> u64 {
        let mut driver = Driver::new(machine);
        driver.open(SUBMITTER);
        let list = name("jobs").results_list().expect("it is short");
        let range = Request::Range { request: RequestId(0), list, start: 0, count: 1 };
        driver.handle(SUBMITTER, &frame(&range));
        match driver.last_answer() {
            Response::Items { length, .. } => length,
            other => panic!("asked for results and got {other:?}"),
        }
    }

    /// Whether `answer` is what the frame of `step` for `run` must be answered with.
    ///
    /// # Panics
    ///
    /// If it is another one: what was counted is not what was meant.
    pub(crate) fn check(self, step: Step, run: u32, answer: &Response) {
        let wanted = RequestId(u64::from(run));
        let is_right = match (step, answer) {
            (Step::Submit, Response::Accepted { request, .. }) => *request == wanted,
            (Step::Assign, Response::Assign { first_lease, jobs, .. }) => {
                *first_lease == self.first_lease(run) && *jobs == self.jobs(run)
            }
            (Step::Settle, Response::Settled { request, lost }) => {
                *request == wanted && lost.is_empty()
            }
            (Step::Submit | Step::Assign | Step::Settle, _) => false,
        };
        assert!(is_right, "run {run} was answered {answer:?}");
    }
}
