//! One job: everything that was seen of it, and whether it may be so.

use ganger_shared::{JobId, LeaseId, Name};

use super::calm::Calm;
use crate::event::{Hash, Order, Outcome, Reply, Results};
use crate::verdict::{Counts, Rule, Verdict};

/// What is known of a job. One that only others speak of has no submit.
#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) submit: Option<Submit>,
    /// In the order of their ids, once all are known.
    pub(super) leases: Vec<Lease>,
    /// Its results in all lists, each place once.
    pub(super) results: Vec<Hash>,
    /// The broker said so.
    pub(super) is_over: bool,
    /// The broker said that it was acked.
    pub(super) is_done: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Submit {
    pub(super) at: u64,
    pub(super) queue: Name,
    pub(super) order: Order,
    pub(super) results: Results,
    pub(super) payload: Hash,
    /// When the answer came; when it was asked, if none did.
    pub(super) ended_at: u64,
    pub(super) reply: Reply,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: LeaseId,
    pub(super) at: u64,
    pub(super) attempt: u32,
    pub(super) payload: Hash,
    pub(super) settled: Option<Settled>,
}

#[derive(Debug)]
pub(super) struct Settled {
    pub(super) at: u64,
    pub(super) outcome: Outcome,
    /// Only of an ack.
    pub(super) result: Option<Hash>,
    /// When the answer came; when it was asked, if none did.
    pub(super) ended_at: u64,
    pub(super) reply: Reply,
}

impl Settled {
    /// Whether it was answered that the job is over by it.
    fn has_ended_the_job(&self) -> bool {
        self.reply == Reply::Ok && matches!(self.outcome, Outcome::Ack | Outcome::Dead)
    }
}

impl Job {
    pub(super) fn judge(&self, id: JobId, calm: &Calm, verdict: &mut Verdict) {
        self.judge_submit(id, calm, verdict);
        self.judge_results(id, calm, verdict);
        self.judge_leases(id, calm, verdict);
        self.count(&mut verdict.counts);
    }

    fn settlements(&self) -> impl Iterator<Item = &Settled> {
        self.leases.iter().filter_map(|lease| lease.settled.as_ref())
    }

    /// Acks that were answered as done.
    fn acks(&self) -> impl Iterator<Item = &Settled> {
        self.settlements().filter(|s| s.outcome == Outcome::Ack && s.reply == Reply::Ok)
    }

    /// Whether anybody but its submitter has seen it.
    fn is_seen(&self) -> bool {
        !self.leases.is_empty() || !self.results.is_empty() || self.is_over
    }

    /// Whether this settlement gave it up, and an operator had it tried again before `until`.
    fn is_redriven(&self, settled: &Settled, until: u64, calm: &Calm) -> bool {
        let queue = self.submit.as_ref().map(|submit| &submit.queue);
        settled.outcome == Outcome::Dead
            && queue.is_some_and(|queue| calm.has_redrive(queue, settled.at, until))
    }

    fn judge_submit(&self, id: JobId, calm: &Calm, verdict: &mut Verdict) {
        match &self.submit {
            None => verdict.broken(Rule::Unexpected, || format!("nobody submitted {id}")),
            // A broker that died may have forgotten what it had accepted and given away, and have
            // refused it when it was asked again.
            Some(Submit { at, ended_at, reply: Reply::Fail, .. })
                if self.is_seen() && !calm.has_death(*at, *ended_at) =>
            {
                verdict.broken(Rule::Unexpected, || {
                    format!("{id} was refused and came to a queue nevertheless")
                });
            }
            Some(submit) => {
                if submit.reply == Reply::Ok && !self.may_have_ended() {
                    let leases = self.leases.len();
                    verdict.broken(Rule::Lost, || {
                        format!("{id} was accepted, delivered {leases} times and never finished")
                    });
                }
                for lease in self.leases.iter().filter(|lease| lease.payload != submit.payload) {
                    verdict.broken(Rule::Corrupt, || {
                        let Lease { id: lease, payload, .. } = lease;
                        let sent = submit.payload;
                        format!(
                            "{id} was submitted with payload {sent}, lease {lease} has {payload}"
                        )
                    });
                }
            }
        }
    }

    /// Whether there is a sign that it has ended. An unanswered ack is none: its result would be.
    fn may_have_ended(&self) -> bool {
        let ended = |s: &Settled| {
            s.has_ended_the_job() || (s.outcome == Outcome::Dead && s.reply == Reply::Unknown)
        };
        self.is_over || !self.results.is_empty() || self.settlements().any(ended)
    }

    fn judge_results(&self, id: JobId, calm: &Calm, verdict: &mut Verdict) {
        if self.results.len() > 1 {
            let times = self.results.len();
            verdict.broken(Rule::Doubled, || format!("{id} has {times} results"));
        }
        let ends = self.settlements().filter(|s| s.has_ended_the_job());
        let ends = ends.filter(|s| !self.is_redriven(s, u64::MAX, calm)).count();
        if ends > 1 {
            verdict.broken(Rule::Doubled, || format!("{ends} settlements have ended {id}"));
        }
        let dropped = self.submit.as_ref().is_some_and(|s| s.results == Results::Dropped);
        let ack = self.acks().next();
        if (ack.is_some() || self.is_done) && self.results.is_empty() && !dropped {
            verdict.broken(Rule::Unread, || match ack.and_then(|ack| ack.result) {
                Some(result) => format!("{id} was acked with {result}, which is in no list"),
                None => format!("{id} is done, as the broker says, and has no result in any list"),
            });
        }
        for &stored in &self.results {
            let mut sent = self.settlements().filter(|s| s.result == Some(stored)).peekable();
            if sent.peek().is_none() {
                verdict.broken(Rule::Corrupt, || {
                    format!("{id} has the result {stored}, which no worker sent")
                });
            }
            let refused =
                sent.find(|s| s.reply == Reply::Fail && !calm.has_disturbance(s.at, s.ended_at));
            if refused.is_some() {
                verdict.broken(Rule::RefusedTookEffect, || {
                    format!("the ack of {id} with {stored} was refused, and is stored")
                });
            }
            if let Some(ack) = self.acks().find(|ack| ack.result != Some(stored)) {
                verdict.broken(Rule::ResultDiffers, || {
                    let acked = ack.result.map(|result| result.to_string()).unwrap_or_default();
                    format!("{id} was acked with {acked}, and {stored} is stored")
                });
            }
        }
    }

    /// Lease ids grow with every grant. So a lease that took a settlement was held until then, and
    /// no later one may have been given before; none at all once the job was over.
    ///
    /// A broker that dies may forget the last leases that it gave, and hold the ones before again:
    /// the journal writes grants and nobody waits for them.
    fn judge_leases(&self, id: JobId, calm: &Calm, verdict: &mut Verdict) {
        for (number, lease) in self.leases.iter().enumerate() {
            let Some(settled) = lease.settled.as_ref().filter(|s| s.reply == Reply::Ok) else {
                continue;
            };
            for later in self.leases.iter().skip(number + 1).filter(|l| l.id > lease.id) {
                let (held, given) = (lease.id, later.id);
                if self.is_redriven(settled, later.at, calm) {
                    continue;
                }
                if settled.has_ended_the_job() && later.at > settled.ended_at {
                    verdict.broken(Rule::GrantAfterAck, || {
                        format!("{id} was over with lease {held}, then lease {given} was given")
                    });
                    continue;
                }
                // A retry or a release may be followed by a grant before its answer is read; the
                // end of a job may not.
                let until = if settled.has_ended_the_job() { settled.ended_at } else { settled.at };
                if later.at <= until && !calm.has_death(later.at, settled.ended_at) {
                    verdict.broken(Rule::Overlap, || {
                        format!("{id}: lease {given} was given while lease {held} was held")
                    });
                }
            }
        }
    }

    fn count(&self, counts: &mut Counts) {
        if let Some(submit) = &self.submit {
            counts.attempted += 1;
            match submit.reply {
                Reply::Ok => counts.acknowledged += 1,
                Reply::Fail => counts.refused += 1,
                Reply::Unknown => {
                    counts.unanswered += 1;
                    counts.recovered += u64::from(self.is_seen());
                }
            }
        }
        counts.completed += u64::from(!self.results.is_empty() || self.acks().next().is_some());
        counts.acked += self.acks().count() as u64;
        for refused in self.settlements().filter(|s| s.reply == Reply::Fail) {
            if let Some(result) = refused.result {
                counts.acks_refused += 1;
                counts.acks_refused_but_stored += u64::from(self.results.contains(&result));
            }
        }
        let asked_for = self.settlements().filter(|s| {
            s.reply == Reply::Ok && matches!(s.outcome, Outcome::Nack | Outcome::Release)
        });
        let expected = 1 + asked_for.count();
        counts.duplicate_deliveries += self.leases.len().saturating_sub(expected) as u64;
    }

    /// In which queue, and with which lease it was first delivered, if that says anything: a
    /// delivery that nobody lived to see may have been before.
    pub(super) fn place(&self, calm: &Calm) -> Option<(&Name, LeaseId)> {
        let submit = self.submit.as_ref().filter(|submit| submit.order == Order::Fifo)?;
        let first = self.leases.first().filter(|lease| lease.attempt == 1)?;
        (!calm.has_disturbance(submit.at, first.at)).then_some((&submit.queue, first.id))
    }
}
