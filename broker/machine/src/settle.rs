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
    Block, DeathReason, Failure, JobId, LeaseId, LeaseRange, Outcome, Rejection, RequestId,
    Response, SessionId, Settlement,
};

use crate::event::{Event, Fault, StopCause, Verdict};
use crate::machine::Machine;
use crate::output::Output;
use crate::run::{Phase, Run, RunKey};

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
        let mut lost = Vec::new();
        let mut promise = ganger_shared::Durability::Memory;
        for settlement in settlements {
            let Settlement { leases, outcome } = settlement;
            let mut next = leases.first.0;
            while next < leases.end() {
                let rest = LeaseRange {
                    first: LeaseId(next),
                    count: u32::try_from(leases.end() - next).unwrap_or(u32::MAX),
                };
                let (part, run) = self.next_part(session, rest);
                let offset = u32::try_from(next - leases.first.0).unwrap_or(u32::MAX);
                match run {
                    Some(run) => {
                        promise = promise.max(self.promise(self.runs[run].queue));
                        self.end_attempt(run, part, outcome.clone(), offset, out);
                    }
                    None => self.note_lost(session, part, &mut lost),
                }
                next = part.end();
            }
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

    /// The first leases of `leases` that share a fate: those of one run of this session, or those
    /// up to the next such run.
    fn next_part(&self, session: SessionId, leases: LeaseRange) -> (LeaseRange, Option<RunKey>) {
        let count =
            |end: u64| u32::try_from(end - leases.first.0).expect("within a range, counted in u32");
        let mine = |key: RunKey| match &self.runs[key].phase {
            Phase::Leased(lease) => lease.session == session,
            Phase::Ready | Phase::Delayed { .. } | Phase::Dead { .. } => false,
        };
        let covering = self.leases.range(..=leases.first).next_back().and_then(|(_, &key)| {
            let range = self.runs[key].leases()?;
            (range.end() > leases.first.0).then_some((key, range))
        });
        if let Some((key, range)) = covering {
            let part = leases.part(0, count(range.end().min(leases.end())));
            return (part, mine(key).then_some(key));
        }
        let end = LeaseId(leases.end());
        let next = self.leases.range(leases.first..end).next();
        let end = next.map_or_else(|| leases.end(), |(first, _)| first.0);
        (leases.part(0, count(end)), None)
    }

    /// Leases that are not the session's: settled by it before, or lost.
    fn note_lost(&self, session: SessionId, part: LeaseRange, lost: &mut Vec<LeaseRange>) {
        let Some(settled) = self.sessions.get(&session).map(|found| &found.settled) else { return };
        // The settled part of a repeated settlement is usually all of it.
        for id in part.first.0..part.end() {
            if settled.contains(LeaseId(id)) {
                continue;
            }
            match lost.last_mut() {
                Some(last) if last.end() == id => last.count += 1,
                Some(_) | None => lost.push(LeaseRange::one(LeaseId(id))),
            }
        }
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
                // Each job has a wait of its own, unless the handler chose one for all.
                let each = if retry_after_ms.is_some() { jobs.count } else { 1 };
                let mut done = 0;
                while done < jobs.count {
                    let jobs = jobs.part(done, each);
                    let key = self.runs.find(jobs.first);
                    let Some(key) = key else { return };
                    let verdict = self.nacked(key, jobs.first, &failure, retry_after_ms);
                    self.happen(Event::Ended { at, jobs, verdict }, out);
                    done += each;
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
        jobs: ganger_shared::JobRange,
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
