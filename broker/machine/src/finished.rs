//! How jobs ended that are gone: enough to answer a late Wait or a person's question.
//!
//! Not the results lists, which keep results until somebody takes them; this is a bounded memory.

use std::collections::{BTreeMap, VecDeque};

use ganger_shared::{Ending, JobId, JobRange, SessionId, Time};

use crate::queue::QueueKey;

/// Jobs that ended together.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) jobs: JobRange,
    pub(crate) queue: QueueKey,
    pub(crate) ending: Ending,
    pub(crate) submitted: Time,
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
}

impl Finished {
    /// The ending of those of `jobs` that are here.
    pub(crate) fn part(&self, jobs: JobRange) -> Option<(JobRange, Ending)> {
        let from = jobs.first.seq.max(self.jobs.first.seq);
        let to = jobs.end_seq().min(self.jobs.end_seq());
        if jobs.first.session != self.jobs.first.session || from >= to {
            return None;
        }
        let count = |seq: u64| u32::try_from(seq).expect("within a run, which counts in u32");
        let (offset, count) = (count(from - self.jobs.first.seq), count(to - from));
        let ending = match &self.ending {
            Ending::Acked { outputs } => Ending::Acked { outputs: outputs.part(offset, count) },
            other @ (Ending::Dead { .. } | Ending::Cancelled | Ending::Unknown) => other.clone(),
        };
        Some((self.jobs.part(offset, count), ending))
    }

    fn output_bytes(&self) -> usize {
        match &self.ending {
            Ending::Acked { outputs } => outputs.size_bytes(),
            Ending::Dead { .. } | Ending::Cancelled | Ending::Unknown => 0,
        }
    }
}

/// The latest endings, up to a number of runs and of bytes.
#[derive(Debug)]
pub(crate) struct FinishedJobs {
    by_job: BTreeMap<JobId, Finished>,
    /// Oldest first.
    order: VecDeque<JobId>,
    bytes: usize,
    runs_max: usize,
    bytes_max: usize,
}

impl FinishedJobs {
    /// Of the outputs.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn new(runs_max: usize, bytes_max: usize) -> Self {
        Self { by_job: BTreeMap::new(), order: VecDeque::new(), bytes: 0, runs_max, bytes_max }
    }

    pub(crate) fn add(&mut self, finished: Finished) {
        let first = finished.jobs.first;
        self.bytes += finished.output_bytes();
        self.order.push_back(first);
        // Only a session that was forgotten in between can use a number again.
        if let Some(former) = self.by_job.insert(first, finished) {
            self.bytes -= former.output_bytes();
        }
        while self.order.len() > self.runs_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.by_job.remove(&oldest) {
                self.bytes -= gone.output_bytes();
            }
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finished> {
        self.order.iter().filter_map(|first| self.by_job.get(first))
    }

    /// Forgets how the jobs of a queue ended.
    pub(crate) fn forget(&mut self, queue: QueueKey) {
        let by_job = &mut self.by_job;
        for (_, gone) in by_job.extract_if(.., |_, finished| finished.queue == queue) {
            self.bytes -= gone.output_bytes();
        }
        self.order.retain(|first| by_job.contains_key(first));
    }

    pub(crate) fn find(&self, job: JobId) -> Option<&Finished> {
        let (_, finished) = self.by_job.range(..=job).next_back()?;
        finished.jobs.contains(job).then_some(finished)
    }

    /// The number after the highest job of `session` that is here; 0 if there is none.
    pub(crate) fn end_seq_of(&self, session: SessionId) -> u64 {
        let last = self.by_job.range(..=JobId { session, seq: u64::MAX }).next_back();
        last.filter(|(job, _)| job.session == session).map_or(0, |(_, found)| found.jobs.end_seq())
    }

    /// The runs that have jobs of `jobs`, in order.
    pub(crate) fn overlapping(&self, jobs: JobRange) -> impl Iterator<Item = &Finished> {
        let start = self.find(jobs.first).map_or(jobs.first, |found| found.jobs.first);
        let end = JobId { session: jobs.first.session, seq: jobs.end_seq() };
        self.by_job.range(start..end.max(start)).map(|(_, finished)| finished)
    }
}
