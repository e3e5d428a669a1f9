//! Runs of jobs: consecutive jobs of one submit that have fared alike so far.
//!
//! Not what happens to them: see [`crate::settle`] and [`crate::dispatch`].
//!
//! ```text
//!            Submitted                 Granted                 Ended(Acked)
//!   (new) ───────────────▶ Ready ─────────────────▶ Leased ────────────────▶ (gone; outcome remembered)
//!     │                     ▲  ▲                      │ │
//!     │ with a delay        │  └──────────────────────┘ │ Ended(Retried | Released), at once
//!     ▼           Due       │                           │
//!   Delayed ────────────────┘◀──────────────────────────┘ Ended(Retried | Released), later
//!                           │
//!   Held ── Met, the last ──┘  (from (new), with prerequisites; to Delayed where a delay is not over)
//!
//!   Ready, Delayed, Held, Leased ── Ended(Cancelled) ──▶ (gone; outcome remembered)
//!   Ready, Delayed, Held, Leased ── Ended(Dead), Held ── Ended(Unmet) ──▶ Dead ── Redriven ──▶ Ready
//!                                              └───── Forgotten ─▶ (gone)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ganger_shared::{
    DeathReason, Failure, JobId, JobOptions, JobRange, LeaseId, LeaseRange, RequestId, SessionId,
    SubscriptionId, Time,
};
use slab::Slab;
use smallvec::SmallVec;

use crate::event::StopCause;
use crate::held::Held;
use crate::list::ListKey;
use crate::payloads::{Payloads, Records};
use crate::queue::QueueKey;

/// Where a run is kept; reused once the run is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunKey(usize);

/// Who is told how the jobs of a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watcher {
    pub(crate) session: SessionId,
    /// Which of the session's connections asked; the wait ends with it.
    pub(crate) connection: u64,
    pub(crate) request: RequestId,
}

/// Consecutive jobs of one submit that have fared alike so far. A single job is a run of one; a
/// run is split only where its jobs part.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) jobs: JobRange,
    pub(crate) queue: QueueKey,
    pub(crate) options: Arc<JobOptions>,
    /// Where results go.
    pub(crate) results: Option<ListKey>,
    /// One per job.
    pub(crate) payloads: Payloads,
    /// Where the payloads are in the journal.
    pub(crate) records: Records,
    pub(crate) submitted: Time,
    /// Its place among the ready jobs of its priority. Kept while it is leased, so that a job that
    /// comes back untouched stands where it stood.
    pub(crate) order: u64,
    /// The place of its last job when that was submitted; later than `order` where runs were joined.
    pub(crate) last_order: u64,
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) failure: Option<Arc<Failure>>,
    pub(crate) watchers: SmallVec<[Watcher; 1]>,
    /// Runs of jobs that wait for the ends of its jobs.
    pub(crate) dependents: BTreeSet<RunKey>,
    pub(crate) phase: Phase,
}

/// Where a run stands.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Ready,
    Delayed { until: Time },
    Held(Held),
    Leased(Lease),
    Dead { reason: DeathReason, at: Time },
}

/// The leases of a run, one per job, consecutive.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) first: LeaseId,
    pub(crate) session: SessionId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) since: Time,
    /// How long it lasts without a sign of life: as its queue had it when it was granted or, later,
    /// extended.
    pub(crate) length_ms: u64,
    /// Set once the worker was told to stop: why, and when the leases end.
    pub(crate) stopping: Option<(StopCause, Time)>,
    /// What the handler last said; on runs of one job only.
    pub(crate) progress: Option<Arc<(u64, u64, String)>>,
}

impl Run {
    /// When the run must be looked at because time has passed, other than for becoming due.
    pub(crate) fn expires(&self) -> Option<Time> {
        let ttl = || self.options.ttl_ms.map(|ttl| self.submitted.plus_millis(ttl));
        match &self.phase {
            Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) => {
                let ttl = if self.attempts == 0 { ttl() } else { None };
                ttl.into_iter().chain(self.options.deadline).min()
            }
            Phase::Leased(lease) => {
                lease.stopping.map_or(self.options.deadline, |(_, until)| Some(until))
            }
            Phase::Dead { .. } => None,
        }
    }

    /// The leases of a leased run.
    pub(crate) const fn leases(&self) -> Option<LeaseRange> {
        match &self.phase {
            Phase::Leased(lease) => Some(LeaseRange { first: lease.first, count: self.jobs.count }),
            Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) | Phase::Dead { .. } => None,
        }
    }

    /// Cuts off the jobs from `at` on.
    fn split_off(&mut self, at: u32) -> Self {
        let rest = self.jobs.count - at;
        let mut phase = self.phase.clone();
        if let Phase::Leased(lease) = &mut phase {
            lease.first = LeaseId(lease.first.0 + u64::from(at));
        }
        let tail = Self {
            jobs: self.jobs.part(at, rest),
            queue: self.queue,
            options: Arc::clone(&self.options),
            results: self.results,
            payloads: self.payloads.part(at, rest),
            records: self.records.clone(),
            submitted: self.submitted,
            order: self.order,
            last_order: self.last_order,
            attempts: self.attempts,
            failures: self.failures,
            crashes: self.crashes,
            failure: self.failure.clone(),
            watchers: self.watchers.clone(),
            dependents: self.dependents.clone(),
            phase,
        };
        self.jobs.count = at;
        self.payloads = self.payloads.part(0, at);
        tail
    }
}

/// Every run, and the way from a job to its run.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    slab: Slab<Run>,
    /// First job to run; runs do not overlap.
    by_job: BTreeMap<JobId, RunKey>,
}

impl Runs {
    pub(crate) fn insert(&mut self, run: Run) -> RunKey {
        let first = run.jobs.first;
        let key = RunKey(self.slab.insert(run));
        self.by_job.insert(first, key);
        key
    }

    pub(crate) fn remove(&mut self, key: RunKey) -> Run {
        let run = self.slab.remove(key.0);
        self.by_job.remove(&run.jobs.first);
        run
    }

    /// Cuts a run in two; the first part keeps the key. The caller keeps the places that point at
    /// the run in step.
    pub(crate) fn split(&mut self, key: RunKey, at: u32) -> RunKey {
        let tail = self.slab[key.0].split_off(at);
        self.insert(tail)
    }

    pub(crate) fn get(&self, key: RunKey) -> Option<&Run> {
        self.slab.get(key.0)
    }

    pub(crate) fn get_mut(&mut self, key: RunKey) -> Option<&mut Run> {
        self.slab.get_mut(key.0)
    }

    pub(crate) fn find(&self, job: JobId) -> Option<RunKey> {
        let (_, &key) = self.by_job.range(..=job).next_back()?;
        self[key].jobs.contains(job).then_some(key)
    }

    /// The runs that have jobs of `jobs`, in order.
    pub(crate) fn overlapping(&self, jobs: JobRange) -> impl Iterator<Item = RunKey> + '_ {
        let start = self.find(jobs.first).map_or(jobs.first, |key| self[key].jobs.first);
        let end = JobId { session: jobs.first.session, seq: jobs.end_seq() };
        self.by_job.range(start..end.max(start)).map(|(_, &key)| key)
    }

    /// The number after the highest job of `session`; 0 if there is none.
    pub(crate) fn end_seq_of(&self, session: SessionId) -> u64 {
        let last = self.by_job.range(..=JobId { session, seq: u64::MAX }).next_back();
        last.filter(|(job, _)| job.session == session)
            .map_or(0, |(_, &key)| self[key].jobs.end_seq())
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RunKey, &Run)> {
        self.by_job.values().map(|&key| (key, &self[key]))
    }
}

impl core::ops::Index<RunKey> for Runs {
    type Output = Run;

    fn index(&self, key: RunKey) -> &Run {
        &self.slab[key.0]
    }
}

impl core::ops::IndexMut<RunKey> for Runs {
    fn index_mut(&mut self, key: RunKey) -> &mut Run {
        &mut self.slab[key.0]
    }
}
