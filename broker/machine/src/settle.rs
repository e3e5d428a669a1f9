//! The end of an attempt: what a worker's outcome means for its jobs.
//!
//! ```text
//!   outcome    cost               then
//!   ack        –                  the result is appended, the job is gone
//!   nack       one failure        delayed by the backoff; dead when the retries are used up, or
//!                                 at once where the queue does not retry this kind
//!   dead       one failure        dead letter
//!   crash      one crash          back to its place; dead when it crashed too often
//!   release    nothing            back to its place, or delayed as asked
//! ```
//!
//! Of a job that was told to stop, every outcome but an ack is its end.

use ganger_shared::{
    Block, DeathReason, Durability, Failure, JobId, JobRange, LeaseId, LeaseRange, Outcome,
    Rejection, RequestId, Response, SessionId, Settlement,
};
use smallvec::SmallVec;

use crate::event::{Event, Fault, StopCause, Verdict};
use crate::machine::Machine;
use crate::output::Output;
use crate::run::{Phase, Run, RunKey};
use crate::session::SettledLeases;

impl Machine {
    pub(crate) fn settle(
        &mut self,
        session: SessionId,
        request: RequestId,
        settlements: Vec<Settlement>,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        for settlement in &settlements {
            self.judge_settlement(settlement)?;
        }
        // Start and end of what the session does not hold: it settled it before, or lost it.
        let mut not_held = Vec::new();
        let mut promise = Durability::Memory;
        for Settlement { leases, outcome } in settlements {
            let mut next = leases.first.0;
            for (run, part) in self.held_within(session, leases) {
                not_held.push((next, part.first.0));
                next = part.end();
                promise = promise.max(self.promise(self.runs[run].queue));
                let offset = part.first.0 - leases.first.0;
                let offset = u32::try_from(offset).expect("within a range, counted in u32");
                self.end_attempt(run, part, outcome.clone(), offset, out);
            }
            not_held.push((next, leases.end()));
        }
        not_held.retain(|(start, end)| start < end);
        let Some(holder) = self.sessions.get(&session) else { return Ok(()) };
        let lost = holder.settled.without(not_held.clone());
        if SettledLeases::default().without(not_held) != lost {
            // What was settled before may not be safe yet.
            promise = self.strongest_promise();
        }
        out.promise(session, promise, Response::Settled { request, lost });
        Ok(())
    }

    fn judge_settlement(&self, settlement: &Settlement) -> Result<(), Rejection> {
        let Settlement { leases, outcome } = settlement;
        if leases.count == 0 || leases.end() - leases.first.0 != u64::from(leases.count) {
            return Err(Rejection::Invalid(format!("a settlement of {} leases", leases.count)));
        }
        if let Outcome::Ack { outputs } = outcome {
            self.judge_size(outputs)?;
            if outputs.count() != leases.count {
                let (n, m) = (outputs.count(), leases.count);
                return Err(Rejection::Invalid(format!("{n} outputs for {m} leases")));
            }
        }
        Ok(())
    }

    /// Those of `leases` that the session holds, run by run and in order.
    pub(crate) fn held_within(
        &self,
        session: SessionId,
        leases: LeaseRange,
    ) -> SmallVec<[(RunKey, LeaseRange); 1]> {
        let Some(holder) = self.sessions.get(&session) else { return SmallVec::new() };
        let before = holder.leases.range(..leases.first).next_back();
        let within = holder.leases.range(leases.first..LeaseId(leases.end()));
        let runs = before.into_iter().chain(within).map(|first| self.leases[first]);
        runs.filter_map(|run| Some((run, overlap(self.runs[run].leases()?, leases)?))).collect()
    }

    /// Ends the leases `part` of the run by a worker's outcome; `offset` is where they stand in the
    /// settlement.
    fn end_attempt(
        &mut self,
        key: RunKey,
        part: LeaseRange,
        outcome: Outcome,
        offset: u32,
        out: &mut Output,
    ) {
        let run = &self.runs[key];
        let Phase::Leased(lease) = &run.phase else { return };
        let session = lease.session;
        let skip = u32::try_from(part.first.0 - lease.first.0).expect("within a run");
        let jobs = run.jobs.part(skip, part.count);
        if let Some(holder) = self.sessions.get_mut(&session) {
            holder.settled.add(part);
        }
        let at = self.now;
        match outcome {
            Outcome::Ack { outputs } => {
                let outputs = part_of(outputs, offset, part.count);
                self.happen(Event::Ended { at, jobs, verdict: Verdict::Acked { outputs } }, out);
            }
            Outcome::Release { delay_ms } => {
                let verdict = self
                    .stopped(key)
                    .unwrap_or(Verdict::Released { until: at.plus_millis(delay_ms) });
                self.happen(Event::Ended { at, jobs, verdict }, out);
            }
            Outcome::Dead { failure } => {
                let failure = Some((failure, Fault::Handler));
                let dead = Verdict::Dead { reason: DeathReason::Handler, failure };
                let verdict = self.stopped(key).unwrap_or(dead);
                self.happen(Event::Ended { at, jobs, verdict }, out);
            }
            Outcome::Crash { failure } => self.crashed(key, jobs, failure, out),
            Outcome::Nack { failure, retry_after_ms } => {
                let verdict = self.nacked(key, jobs.first, &failure, retry_after_ms);
                // Each job waits for a time of its own, unless the handler chose one for all.
                let is_retried = matches!(verdict, Verdict::Retried { .. });
                if !is_retried || retry_after_ms.is_some() {
                    return self.happen(Event::Ended { at, jobs, verdict }, out);
                }
                for job in jobs.iter() {
                    let Some(key) = self.runs.find(job) else { return };
                    let verdict = self.nacked(key, job, &failure, retry_after_ms);
                    let jobs = JobRange::one(job);
                    self.happen(Event::Ended { at, jobs, verdict }, out);
                }
            }
        }
    }

    fn nacked(
        &self,
        key: RunKey,
        job: JobId,
        failure: &Failure,
        retry_after_ms: Option<u64>,
    ) -> Verdict {
        if let Some(verdict) = self.stopped(key) {
            return verdict;
        }
        let run = &self.runs[key];
        let failure = Failure::new(&failure.kind, &failure.message);
        let dead_on = &self.queues[run.queue.0].settings.dead_on;
        let reason = if dead_on.contains(&failure.kind) {
            Some(DeathReason::Policy)
        } else if run.failures >= run.options.retries {
            Some(DeathReason::RetriesUsedUp)
        } else {
            None
        };
        if let Some(reason) = reason {
            return Verdict::Dead { reason, failure: Some((failure, Fault::Handler)) };
        }
        let wait_ms = retry_after_ms.unwrap_or_else(|| backoff_ms(run, job));
        let until = self.now.plus_millis(wait_ms);
        Verdict::Retried { until, failure, fault: Fault::Handler }
    }

    /// Ends an attempt because the worker crashed, vanished or fell silent.
    pub(crate) fn crashed(
        &mut self,
        key: RunKey,
        jobs: JobRange,
        failure: Failure,
        out: &mut Output,
    ) {
        let run = &self.runs[key];
        let failure = Failure::new(&failure.kind, &failure.message);
        let verdict = self.stopped(key).unwrap_or_else(|| {
            if run.crashes >= run.options.crash_retries {
                let reason = DeathReason::CrashesUsedUp;
                Verdict::Dead { reason, failure: Some((failure, Fault::Worker)) }
            } else {
                Verdict::Retried { until: self.now, failure, fault: Fault::Worker }
            }
        });
        self.happen(Event::Ended { at: self.now, jobs, verdict }, out);
    }

    /// The end of a run that was told to stop.
    pub(crate) fn stopped(&self, key: RunKey) -> Option<Verdict> {
        let Phase::Leased(lease) = &self.runs[key].phase else { return None };
        let (cause, _) = lease.stopping?;
        Some(match cause {
            StopCause::Request => Verdict::Cancelled,
            StopCause::Deadline => Verdict::Dead { reason: DeathReason::Deadline, failure: None },
        })
    }
}

/// The leases in both ranges, if there are any.
fn overlap(a: LeaseRange, b: LeaseRange) -> Option<LeaseRange> {
    let (from, to) = (a.first.0.max(b.first.0), a.end().min(b.end()));
    let count = u32::try_from(to.checked_sub(from)?).expect("within a range, counted in u32");
    (count > 0).then_some(LeaseRange { first: LeaseId(from), count })
}

fn part_of(outputs: Block, offset: u32, count: u32) -> Block {
    if outputs.count() == count { outputs } else { outputs.part(offset, count) }
}

/// Full jitter: any wait up to the bound, chosen by the job and the number of the failure, so that
/// jobs that failed together do not come back together, and replay chooses the same.
fn backoff_ms(run: &Run, job: JobId) -> u64 {
    let backoff = run.options.backoff;
    let doubled = 1_u64.checked_shl(run.failures).unwrap_or(u64::MAX);
    let bound = backoff.base_ms.saturating_mul(doubled).min(backoff.cap_ms);
    let seed = job.session.0 ^ job.seq.rotate_left(32) ^ u64::from(run.failures);
    // A product of 64 by 64 bits: its upper half is the mixed number scaled to the bound.
    let scaled = u128::from(mix(seed)) * (u128::from(bound) + 1);
    u64::try_from(scaled >> 64).expect("the upper half of 128 bits")
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
