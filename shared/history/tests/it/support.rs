//! Short words for long lines.

use ganger_history::{
    Ending, Event, Hash, Item, Jobs, Order, Outcome, Reply, Results, Rule, Verdict, What, check,
};
use ganger_shared::{JobId, LeaseId, Name, SessionId};

/// A history under construction; every line is a nanosecond later than the one before.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
}

pub(crate) fn job(seq: u64) -> JobId {
    JobId { session: SessionId(7), seq }
}

pub(crate) fn queue() -> Name {
    Name::new("mail").unwrap()
}

pub(crate) fn list() -> Name {
    Name::new("mail.results").unwrap()
}

/// What job `seq` carries.
pub(crate) fn payload(seq: u64) -> Hash {
    Hash::of(&seq.to_le_bytes())
}

/// The result of an attempt: another one for each lease.
pub(crate) fn result(lease: u64) -> Hash {
    Hash::of(format!("result of {lease}").as_bytes())
}

impl Story {
    pub(crate) fn line(mut self, who: &str, what: What) -> Self {
        let at_ns = self.events.len() as u64 + 1;
        self.events.push(Event { at_ns, who: who.to_owned(), what });
        self
    }

    fn submit_as(self, seq: u64, order: Order, results: Results) -> Self {
        let (jobs, payloads) = (Jobs::one(job(seq)), vec![payload(seq)]);
        self.line("submitter", What::Submit { queue: queue(), order, jobs, payloads, results })
    }

    /// One whose result nobody wants.
    pub(crate) fn accepted_without_results(self, seq: u64) -> Self {
        self.submit_as(seq, Order::Fifo, Results::Dropped).submitted(seq, Reply::Ok)
    }

    pub(crate) fn submit(self, seq: u64) -> Self {
        self.submit_as(seq, Order::Fifo, Results::Kept)
    }

    pub(crate) fn submit_free(self, seq: u64) -> Self {
        self.submit_as(seq, Order::Free, Results::Kept)
    }

    pub(crate) fn submitted(self, seq: u64, reply: Reply) -> Self {
        self.line("submitter", What::Submitted { jobs: Jobs::one(job(seq)), reply })
    }

    /// Submitted and accepted.
    pub(crate) fn accepted(self, seq: u64) -> Self {
        self.submit(seq).submitted(seq, Reply::Ok)
    }

    pub(crate) fn granted_with(self, seq: u64, lease: u64, payload: Hash) -> Self {
        let (jobs, lease, payloads) = (Jobs::one(job(seq)), LeaseId(lease), vec![payload]);
        self.line("worker", What::Granted { queue: queue(), jobs, lease, attempt: 1, payloads })
    }

    pub(crate) fn granted(self, seq: u64, lease: u64) -> Self {
        self.granted_with(seq, lease, payload(seq))
    }

    pub(crate) fn settle(self, seq: u64, lease: u64, outcome: Outcome) -> Self {
        let results = if outcome == Outcome::Ack { vec![result(lease)] } else { Vec::new() };
        let (jobs, lease) = (Jobs::one(job(seq)), LeaseId(lease));
        self.line("worker", What::Settle { jobs, lease, outcome, results })
    }

    pub(crate) fn settled(self, seq: u64, lease: u64, reply: Reply) -> Self {
        let (jobs, lease) = (Jobs::one(job(seq)), LeaseId(lease));
        self.line("worker", What::Settled { jobs, lease, reply })
    }

    /// Acked, and told so.
    pub(crate) fn acked(self, seq: u64, lease: u64) -> Self {
        self.settle(seq, lease, Outcome::Ack).settled(seq, lease, Reply::Ok)
    }

    /// Tried, and to be tried again.
    pub(crate) fn nacked(self, seq: u64, lease: u64) -> Self {
        self.settle(seq, lease, Outcome::Nack).settled(seq, lease, Reply::Ok)
    }

    pub(crate) fn read_by(self, who: &str, index: u64, seq: u64, result: Hash) -> Self {
        let items = vec![Item { index, job: job(seq), result }];
        self.line(who, What::Read { list: list(), items })
    }

    /// The result of `lease` is read.
    pub(crate) fn read(self, index: u64, seq: u64, lease: u64) -> Self {
        self.read_by("reader", index, seq, result(lease))
    }

    pub(crate) fn confirmed(self) -> Self {
        self.line("reader", What::Confirmed { list: list() })
    }

    pub(crate) fn ended(self, seq: u64, ending: Ending) -> Self {
        self.line("operator", What::Ended { jobs: Jobs::one(job(seq)), ending })
    }

    pub(crate) fn redriven(self) -> Self {
        self.line("operator", What::Redriven { queue: queue() })
    }

    pub(crate) fn killed(self) -> Self {
        self.line("killer", What::BrokerKilled)
    }

    pub(crate) fn started(self) -> Self {
        self.line("killer", What::BrokerStarted)
    }

    pub(crate) fn disturbed(self) -> Self {
        let since_ns = self.events.len() as u64 + 1;
        self.line("worker", What::Disturbed { since_ns })
    }

    /// A worker has left, and began to do so with the line `since_ns`.
    pub(crate) fn left(self, since_ns: u64) -> Self {
        self.line("worker", What::Disturbed { since_ns })
    }

    pub(crate) fn verdict(self) -> Verdict {
        check(&self.line("everybody", What::Drained).events)
    }

    /// # Panics
    /// Unless it breaks this rule, once, and no other.
    #[track_caller]
    pub(crate) fn breaks(self, rule: Rule) {
        let verdict = self.verdict();
        assert_eq!(verdict.count(rule), 1, "{rule}: {verdict:#?}");
        assert_eq!(verdict.violations.len(), 1, "only {rule}: {verdict:#?}");
        assert!(!verdict.passed);
    }

    /// # Panics
    /// Unless it keeps all rules.
    #[track_caller]
    pub(crate) fn passes(self) -> Verdict {
        let verdict = self.verdict();
        assert!(verdict.passed && verdict.complaint().is_none(), "{verdict:#?}");
        verdict
    }
}
