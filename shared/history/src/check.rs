//! The judge: reads a history once, notes what is known of each job and each item, then asks each
//! whether it may be so.
//!
//! Its work grows with the number of lines (times the depth of a few ordered maps), and with the
//! square of the leases of a single job, of which there are few.

mod calm;
mod job;
mod list;

use std::collections::BTreeMap;

use ganger_shared::{JobId, LeaseId, Name, SessionId};

use crate::event::{Ending, Event, Hash, Jobs, Outcome, Reply, What};
use crate::verdict::{Rule, Run, Verdict};
use calm::Calm;
use job::{Job, Lease, Settled, Submit};
use list::Lists;

/// Judges a history, whose lines are in the order of their time.
#[must_use]
pub fn check(events: &[Event]) -> Verdict {
    let mut records = Records {
        calm: Calm::of(events),
        jobs: BTreeMap::new(),
        leases: BTreeMap::new(),
        lists: Lists::default(),
        verdict: Verdict::new(),
    };
    for event in events {
        records.note(event);
    }
    records.judge(events)
}

/// What the lines say, by whom it is about.
struct Records {
    calm: Calm,
    jobs: BTreeMap<JobId, Job>,
    leases: BTreeMap<LeaseId, JobId>,
    lists: Lists,
    verdict: Verdict,
}

impl Records {
    fn note(&mut self, event: &Event) {
        let at = event.at_ns;
        match &event.what {
            What::Setup { seed, durability, scenario } => {
                let (seed, durability) = (*seed, *durability);
                self.verdict.run = Some(Run { seed, durability, scenario: scenario.clone() });
            }
            What::Submit { queue, order, jobs, payloads, results } => {
                let (queue, order, results) = (queue.clone(), *order, *results);
                let reply = Reply::Unknown;
                let asked = Submit {
                    at,
                    queue,
                    order,
                    results,
                    payload: Hash::of(b""),
                    ended_at: at,
                    reply,
                };
                self.submit(&asked, *jobs, payloads);
            }
            What::Submitted { jobs, reply } => self.submitted(at, *jobs, *reply),
            What::Granted { queue: _, jobs, lease, attempt, payloads } => {
                self.granted(at, *jobs, *lease, *attempt, payloads);
            }
            What::Settle { jobs, lease, outcome, results } => {
                self.settle(at, *jobs, *lease, *outcome, results);
            }
            What::Settled { jobs, lease, reply } => self.settled(at, *jobs, *lease, *reply),
            What::Read { list, items } => {
                for item in items {
                    self.verdict.counts.reads += 1;
                    let again = self.lists.read(at, &event.who, list, item, &mut self.verdict);
                    if !again {
                        self.jobs.entry(item.job).or_default().results.push(item.result);
                    }
                }
            }
            What::Confirmed { list } => self.lists.confirmed(at, &event.who, list, &self.calm),
            What::BrokerKilled => self.verdict.counts.kills += 1,
            What::Ended { jobs, ending } => {
                for id in jobs.iter() {
                    let job = self.jobs.entry(id).or_default();
                    (job.is_over, job.is_done) = (true, job.is_done || *ending == Ending::Acked);
                }
            }
            What::BrokerStarted
            | What::Disturbed { .. }
            | What::Redriven { .. }
            | What::Drained => {}
        }
    }

    fn submit(&mut self, asked: &Submit, jobs: Jobs, payloads: &[Hash]) {
        self.expect_one_per_job(jobs, payloads.len());
        for (id, &payload) in jobs.iter().zip(payloads) {
            let submit = Submit { payload, ..asked.clone() };
            if self.jobs.entry(id).or_default().submit.replace(submit).is_some() {
                self.verdict.broken(Rule::Contradiction, || format!("{id} is submitted twice"));
            }
        }
    }

    fn submitted(&mut self, at: u64, jobs: Jobs, reply: Reply) {
        for id in jobs.iter() {
            match self.jobs.get_mut(&id).and_then(|job| job.submit.as_mut()) {
                Some(submit) => (submit.ended_at, submit.reply) = (at, reply),
                None => self.verdict.broken(Rule::Contradiction, || {
                    format!("a submit of {id} is answered that was never made")
                }),
            }
        }
    }

    fn granted(&mut self, at: u64, jobs: Jobs, first: LeaseId, attempt: u32, payloads: &[Hash]) {
        self.expect_one_per_job(jobs, payloads.len());
        for ((id, lease), &payload) in jobs.iter().zip(first.0..).zip(payloads) {
            self.verdict.counts.deliveries += 1;
            let lease = LeaseId(lease);
            if let Some(before) = self.leases.insert(lease, id) {
                self.verdict.broken(Rule::LeaseReused, || {
                    format!("lease {lease} of {id} was a lease of {before} before")
                });
            }
            let granted = Lease { id: lease, at, attempt, payload, settled: None };
            self.jobs.entry(id).or_default().leases.push(granted);
        }
    }

    fn settle(&mut self, at: u64, jobs: Jobs, first: LeaseId, how: Outcome, results: &[Hash]) {
        if how == Outcome::Ack {
            self.expect_one_per_job(jobs, results.len());
        }
        let results = results.iter().copied().map(Some).chain(std::iter::repeat(None));
        for ((id, lease), result) in jobs.iter().zip(first.0..).zip(results) {
            let settled = Settled { at, outcome: how, result, ended_at: at, reply: Reply::Unknown };
            match self.lease(id, LeaseId(lease)) {
                Some(Lease { settled: slot @ None, .. }) => *slot = Some(settled),
                Some(_) | None => self.verdict.broken(Rule::Contradiction, || {
                    format!("{id} is settled twice, or without its lease {lease:x}")
                }),
            }
        }
    }

    fn settled(&mut self, at: u64, jobs: Jobs, first: LeaseId, reply: Reply) {
        for (id, lease) in jobs.iter().zip(first.0..) {
            match self.lease(id, LeaseId(lease)).and_then(|lease| lease.settled.as_mut()) {
                Some(settled) => (settled.ended_at, settled.reply) = (at, reply),
                None => self.verdict.broken(Rule::Contradiction, || {
                    format!("a settlement of {id}, lease {lease:x}, is answered and was not made")
                }),
            }
        }
    }

    fn lease(&mut self, job: JobId, lease: LeaseId) -> Option<&mut Lease> {
        self.jobs.get_mut(&job)?.leases.iter_mut().rfind(|known| known.id == lease)
    }

    fn expect_one_per_job(&mut self, jobs: Jobs, entries: usize) {
        if usize::try_from(jobs.count) != Ok(entries) {
            self.verdict.broken(Rule::Contradiction, || {
                format!("{} jobs from {} on have {entries} entries", jobs.count, jobs.first)
            });
        }
    }

    fn judge(self, events: &[Event]) -> Verdict {
        let Self { calm, jobs, mut verdict, .. } = self;
        verdict.counts.events = events.len() as u64;
        // Everybody's last words: what comes after them was not waited for.
        if !matches!(events.last(), Some(Event { what: What::Drained, .. })) {
            verdict.broken(Rule::Unfinished, || "the last line is not `drained`".to_owned());
        }
        if events.windows(2).any(|pair| pair[1].at_ns < pair[0].at_ns) {
            verdict.broken(Rule::Contradiction, || "the lines are not in order".to_owned());
        }
        let mut last: BTreeMap<(Name, SessionId), (LeaseId, JobId)> = BTreeMap::new();
        for (id, mut job) in jobs {
            job.leases.sort_by_key(|lease| lease.id);
            job.judge(id, &calm, &mut verdict);
            let Some((queue, lease)) = job.place(&calm) else { continue };
            verdict.counts.ordered += 1;
            let latest = last.entry((queue.clone(), id.session)).or_insert((lease, id));
            if lease < latest.0 {
                let (after, earlier) = *latest;
                verdict.broken(Rule::OutOfOrder, || {
                    format!(
                        "{id} was first delivered with lease {lease}, \
                         before {earlier} with lease {after}"
                    )
                });
            } else {
                *latest = (lease, id);
            }
        }
        verdict
    }
}
