//! Stopping jobs: on request, and because their time is over.

use ganger_shared::{DeathReason, JobRange, LeaseId, RequestId, Response, SessionId};

use crate::event::{Event, StopCause, Verdict};
use crate::machine::Machine;
use crate::output::Output;
use crate::run::{Phase, RunKey};

impl Machine {
    pub(crate) fn cancel(
        &mut self,
        session: SessionId,
        request: RequestId,
        jobs: JobRange,
        out: &mut Output,
    ) {
        let (mut ended, mut told) = (0, 0);
        let mut promise = ganger_shared::Durability::Memory;
        let parts: Vec<JobRange> =
            self.isolate(jobs).into_iter().map(|key| self.runs[key].jobs).collect();
        for part in parts {
            // By job and not by key: each end makes room, and what moves up may join a later part.
            let Some(key) = self.runs.find(part.first) else { continue };
            let (run, at) = (&self.runs[key], self.now);
            promise = promise.max(self.promise(run.queue));
            match &run.phase {
                Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) => {
                    ended += part.count;
                    let verdict = Verdict::Cancelled;
                    self.happen(Event::Ended { at, jobs: part, verdict }, out);
                }
                Phase::Leased(lease) if lease.stopping.is_none() => {
                    told += part.count;
                    self.stop(key, StopCause::Request, out);
                }
                Phase::Leased(_) => told += part.count,
                Phase::Dead { .. } => {}
            }
        }
        let unknown = jobs.count - ended - told;
        out.promise(session, promise, Response::Cancelled { request, ended, told, unknown });
    }

    fn stop(&mut self, key: RunKey, cause: StopCause, out: &mut Output) {
        let (jobs, until) = (self.runs[key].jobs, self.now + self.config.cancel_grace);
        self.happen(Event::Stopping { jobs, until, cause }, out);
    }

    /// A run whose time is over: waiting jobs die, running ones are told to stop, and those that
    /// were told lose their leases.
    pub(crate) fn expire(&mut self, key: RunKey, out: &mut Output) {
        let run = &self.runs[key];
        let (jobs, at) = (run.jobs, self.now);
        match &run.phase {
            Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) => {
                let late = run.options.deadline.is_some_and(|deadline| deadline <= at);
                let reason = if late { DeathReason::Deadline } else { DeathReason::TimeToLive };
                let verdict = Verdict::Dead { reason, failure: None };
                self.happen(Event::Ended { at, jobs, verdict }, out);
            }
            Phase::Leased(lease) if lease.stopping.is_none() => {
                self.stop(key, StopCause::Deadline, out);
            }
            Phase::Leased(_) => {
                self.fence(&self.runs[key], out);
                if let Some(verdict) = self.stopped(key) {
                    self.happen(Event::Ended { at, jobs, verdict }, out);
                }
            }
            Phase::Dead { .. } => {}
        }
    }

    /// What a handler says of how far it is.
    pub(crate) fn progress(
        &mut self,
        session: SessionId,
        lease: LeaseId,
        progress: (u64, u64, String),
    ) {
        let Some((_, &key)) = self.leases.range(..=lease).next_back() else { return };
        let Phase::Leased(found) = &self.runs[key].phase else { return };
        let offset = lease.0 - found.first.0;
        let run = &self.runs[key];
        if found.session != session || offset >= u64::from(run.jobs.count) {
            return;
        }
        let offset = u32::try_from(offset).expect("within a run, counted in u32");
        let jobs = run.jobs.part(offset, 1);
        let progress = std::sync::Arc::new(progress);
        for key in self.isolate(jobs) {
            if let Phase::Leased(lease) = &mut self.runs[key].phase {
                lease.progress = Some(std::sync::Arc::clone(&progress));
            }
        }
    }
}
