//! How jobs end, as the broker says it frame by frame.
//!
//! Not who asks: a submit or a wait does, and the session routes the answers here.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use bytes::Bytes;
use ganger_shared::{DeathReason, Ending, Failure, JobId, JobRange, SessionId};

use crate::client::Client;
use crate::error::{Error, exit};
use crate::ranges::RangeSet;

/// Consecutive jobs that ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which jobs.
    pub jobs: JobRange,
    /// How; an `Acked` has one output per job.
    pub ending: Ending,
}

impl Ended {
    /// Every job with its result.
    pub fn each(self) -> impl Iterator<Item = (JobId, Result<Bytes, JobFailed>)> {
        let Self { jobs, ending } = self;
        let outputs: Vec<Bytes> = match &ending {
            Ending::Acked { outputs } => outputs.iter().collect(),
            Ending::Dead { .. } | Ending::Cancelled | Ending::Unknown => Vec::new(),
        };
        let mut outputs = outputs.into_iter();
        jobs.iter().map(move |job| {
            let result = match (&ending, outputs.next()) {
                (Ending::Acked { .. }, Some(output)) => Ok(output),
                (Ending::Dead { reason, failure }, _) => {
                    Err(JobFailed::Dead { job, reason: *reason, failure: failure.clone() })
                }
                (Ending::Cancelled, _) => Err(JobFailed::Cancelled { job }),
                (Ending::Acked { .. }, None) | (Ending::Unknown, _) => {
                    Err(JobFailed::Unknown { job })
                }
            };
            (job, result)
        })
    }
}

/// Why a job has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JobFailed {
    /// It was given up and lies among the dead letters of its queue.
    #[error("job {job} is a dead letter: {reason}{}", failure_suffix(failure))]
    Dead {
        /// Which job.
        job: JobId,
        /// Why it was given up.
        reason: DeathReason,
        /// The last failure, where there was one.
        failure: Option<Failure>,
    },
    /// It was cancelled, or purged with its queue.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// Which job.
        job: JobId,
    },
    /// The broker does not know it: never accepted, or ended too long ago.
    #[error("job {job} is not known to the broker, or ended too long ago to be remembered")]
    Unknown {
        /// Which job.
        job: JobId,
    },
    /// It is done, and its output is not what was expected of it.
    #[error("the output of job {job} does not have the expected form")]
    Output {
        /// Which job.
        job: JobId,
        /// What the decoder says.
        source: Arc<serde_json::Error>,
    },
    /// The broker did not say: the job may have ended or not.
    #[error(transparent)]
    NoAnswer(#[from] Error),
}

impl JobFailed {
    /// The exit code that stands for this at the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Dead { .. } => exit::DEAD,
            Self::Cancelled { .. } => exit::CANCELLED,
            Self::Unknown { .. } => exit::NOT_FOUND,
            Self::Output { .. } => exit::FAILED,
            Self::NoAnswer(error) => error.exit_code(),
        }
    }
}

fn failure_suffix(failure: &Option<Failure>) -> String {
    failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default()
}

/// The endings of a set of jobs, in the order in which they come; each job is named once.
///
/// Dropping it stops nothing: the jobs go on.
#[derive(Debug)]
pub struct Endings {
    collector: Arc<Collector>,
    /// Keeps the connection that brings them.
    _client: Client,
}

impl Endings {
    pub(crate) fn new(collector: Arc<Collector>, client: Client) -> Self {
        Self { collector, _client: client }
    }

    /// The next jobs that ended; `None` once every job was named.
    ///
    /// # Errors
    /// Why the broker will not tell: the request was refused, or the connection is over.
    ///
    /// # Cancel safety
    /// An ending that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<Option<Ended>, Error> {
        poll_fn(|cx| self.collector.poll_next(cx.waker())).await
    }

    /// The results of all jobs, in the order of their ids.
    ///
    /// # Errors
    /// The first job that has no result; the others are not waited for.
    ///
    /// # Cancel safety
    /// Not safe: endings that were already collected are lost.
    pub async fn results(mut self) -> Result<Vec<Bytes>, JobFailed> {
        let mut results = Vec::new();
        while let Some(ended) = self.next().await? {
            for (job, result) in ended.each() {
                results.push((job, result?));
            }
        }
        results.sort_unstable_by_key(|&(job, _)| job);
        Ok(results.into_iter().map(|(_, output)| output).collect())
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        self.collector.abandon();
    }
}

/// Where the session puts endings; bounded by the jobs, each of which is named once.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Whose jobs they are.
    session: SessionId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outstanding: RangeSet,
    arrived: VecDeque<Ended>,
    failed: Option<Error>,
    waiting: Option<Waker>,
    abandoned: bool,
}

impl Collector {
    pub(crate) fn new(session: SessionId) -> Self {
        Self { session, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    /// Expects these jobs too.
    pub(crate) fn expect(&self, jobs: JobRange) {
        self.lock().outstanding.insert(jobs.first.seq..jobs.end_seq());
    }

    /// Does not expect them any more, as they were refused.
    pub(crate) fn forget(&self, jobs: JobRange) {
        let mut state = self.lock();
        state.outstanding.remove(jobs.first.seq..jobs.end_seq());
        wake(state);
    }

    /// Takes an ending, or the part of it that was not known: after a broken connection the
    /// broker may say things twice.
    pub(crate) fn push(&self, jobs: JobRange, ending: &Ending) {
        if jobs.first.session != self.session {
            return;
        }
        let mut state = self.lock();
        for part in state.outstanding.remove(jobs.first.seq..jobs.end_seq()) {
            let offset = len(&(jobs.first.seq..part.start));
            let jobs = jobs.part(offset, len(&part));
            let ending = match ending {
                Ending::Acked { outputs } if outputs.count() >= offset + jobs.count => {
                    Ending::Acked { outputs: outputs.part(offset, jobs.count) }
                }
                Ending::Acked { .. } => Ending::Unknown,
                Ending::Dead { .. } | Ending::Cancelled | Ending::Unknown => ending.clone(),
            };
            state.arrived.push_back(Ended { jobs, ending });
        }
        wake(state);
    }

    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        wake(state);
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.arrived.clear();
    }

    /// Whether nobody waits for a further frame about these jobs.
    pub(crate) fn is_done(&self, jobs: JobRange) -> bool {
        let state = self.lock();
        state.abandoned || !state.outstanding.overlaps(jobs.first.seq..jobs.end_seq())
    }

    /// Those of `jobs` whose end is not known yet.
    pub(crate) fn outstanding(&self, jobs: JobRange) -> Vec<JobRange> {
        let state = self.lock();
        if state.abandoned {
            return Vec::new();
        }
        let job = |seq| JobId { session: self.session, seq };
        let within = state.outstanding.within(jobs.first.seq..jobs.end_seq());
        within.map(|r| JobRange { first: job(r.start), count: len(&r) }).collect()
    }

    fn poll_next(&self, waker: &Waker) -> Poll<Result<Option<Ended>, Error>> {
        let mut state = self.lock();
        if let Some(ended) = state.arrived.pop_front() {
            return Poll::Ready(Ok(Some(ended)));
        }
        if state.outstanding.is_empty() {
            return Poll::Ready(Ok(None));
        }
        if let Some(error) = &state.failed {
            return Poll::Ready(Err(error.clone()));
        }
        state.waiting = Some(waker.clone());
        Poll::Pending
    }
}

/// Wakers are foreign code and run after the lock is gone.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = state.waiting.take();
    drop(state);
    if let Some(waker) = waiting {
        waker.wake();
    }
}

fn len(range: &std::ops::Range<u64>) -> u32 {
    u32::try_from(range.end - range.start).expect("a part of a run, whose count is a u32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::Block;

    fn jobs(first: u64, count: u32) -> JobRange {
        JobRange { first: JobId { session: SessionId(1), seq: first }, count }
    }

    fn next(collector: &Collector) -> Option<Ended> {
        match collector.poll_next(Waker::noop()) {
            Poll::Ready(Ok(ended)) => ended,
            other => panic!("expected an ending: {other:?}"),
        }
    }

    #[test]
    fn ending_that_is_told_twice_is_given_once() {
        let collector = Collector::new(SessionId(1));
        collector.expect(jobs(0, 4));
        let acked = |text: &[&str]| Ending::Acked { outputs: text.iter().collect() };
        collector.push(jobs(0, 2), &acked(&["a", "b"]));
        collector.push(jobs(0, 4), &acked(&["x", "x", "c", "d"]));
        let first = next(&collector).unwrap();
        assert_eq!((first.jobs, first.ending), (jobs(0, 2), acked(&["a", "b"])));
        let second = next(&collector).unwrap();
        assert_eq!((second.jobs, second.ending), (jobs(2, 2), acked(&["c", "d"])));
        assert_eq!(next(&collector), None);
    }

    #[test]
    fn outstanding_jobs_are_those_not_yet_named() {
        let collector = Collector::new(SessionId(1));
        collector.expect(jobs(0, 10));
        collector.push(jobs(3, 2), &Ending::Cancelled);
        assert_eq!(collector.outstanding(jobs(0, 10)), [jobs(0, 3), jobs(5, 5)]);
        assert_eq!(collector.outstanding(jobs(2, 4)), [jobs(2, 1), jobs(5, 1)]);
        assert!(collector.is_done(jobs(3, 2)));
        assert!(!collector.is_done(jobs(3, 3)));
    }

    #[test]
    fn each_pairs_jobs_with_their_outputs() {
        let outputs = Block::from_iter(["a", "b"]);
        let ended = Ended { jobs: jobs(7, 2), ending: Ending::Acked { outputs } };
        let pairs: Vec<_> = ended.each().map(|(job, r)| (job.seq, r.unwrap())).collect();
        assert_eq!(pairs, [(7, Bytes::from("a")), (8, Bytes::from("b"))]);
    }
}
