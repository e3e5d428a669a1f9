//! What a submit's jobs wait for before they may start.

use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::{JobId, JobRange};

use super::{JobHandle, Submit, Submitted, add_range};
use crate::client::IntoName;

/// Jobs that others can be made to wait for.
pub trait IntoJobs {
    /// Their ids.
    fn into_jobs(self) -> Vec<JobRange>;
}

impl IntoJobs for JobId {
    fn into_jobs(self) -> Vec<JobRange> {
        vec![JobRange::one(self)]
    }
}

impl IntoJobs for JobRange {
    fn into_jobs(self) -> Vec<JobRange> {
        vec![self]
    }
}

impl IntoJobs for &[JobId] {
    fn into_jobs(self) -> Vec<JobRange> {
        let mut ranges = Vec::new();
        self.iter().for_each(|&job| add_range(&mut ranges, JobRange::one(job)));
        ranges
    }
}

impl IntoJobs for &[JobRange] {
    fn into_jobs(self) -> Vec<JobRange> {
        self.to_vec()
    }
}

impl IntoJobs for &JobHandle {
    fn into_jobs(self) -> Vec<JobRange> {
        self.id().into_jobs()
    }
}

impl IntoJobs for &Submitted {
    fn into_jobs(self) -> Vec<JobRange> {
        self.ranges().to_vec()
    }
}

/// Each of these adds something that has to come before the jobs may start; all of it has to. Nobody
/// polls: the broker lets them go in the step in which the last of it comes. What has come counts, also if
/// it is no longer so later.
///
/// ```
/// # async fn doc(client: ganger_worker::Client) -> Result<(), ganger_worker::Error> {
/// let pages = client.submit_many("render", (1..=9).map(|page| page.to_string())).await?;
/// client.submit("bind", "the book").after(&pages).await?;
/// client.submit("announce", "90 of 100").when_counter("rendered", 90).await?;
/// # Ok(()) }
/// ```
impl<K> Submit<K> {
    /// All of these jobs are done. If one of them is given up or cancelled, these are dead letters, unless
    /// [`even_if_failed`](Self::even_if_failed).
    pub fn after(self, jobs: impl IntoJobs) -> Self {
        self.after_jobs(jobs, Need::All)
    }

    /// One of these jobs is done. If all of them are given up or cancelled, these are dead letters, unless
    /// [`even_if_failed`](Self::even_if_failed).
    pub fn after_any(self, jobs: impl IntoJobs) -> Self {
        self.after_jobs(jobs, Need::Any)
    }

    /// Jobs that were named before this have to end, however they do.
    pub fn even_if_failed(mut self) -> Self {
        for prerequisite in &mut self.prerequisites {
            match prerequisite {
                Prerequisite::Jobs { on_failure, .. } => *on_failure = OnFailure::Run,
                Prerequisite::Counter { .. } | Prerequisite::List { .. } => {}
            }
        }
        self
    }

    /// A counter is at least at this number. It is made if there is none.
    pub fn when_counter(mut self, counter: impl IntoName, at_least: i64) -> Self {
        match counter.into_name() {
            Ok(object) => self.prerequisites.push(Prerequisite::Counter { object, at_least }),
            Err(error) => self.queue = Err(error.into()),
        }
        self
    }

    /// A list has at least so many items. It is made if there is none.
    pub fn when_list(mut self, list: impl IntoName, at_least: u64) -> Self {
        match list.into_name() {
            Ok(list) => self.prerequisites.push(Prerequisite::List { list, at_least }),
            Err(error) => self.queue = Err(error.into()),
        }
        self
    }

    fn after_jobs(mut self, jobs: impl IntoJobs, need: Need) -> Self {
        let (jobs, on_failure) = (jobs.into_jobs(), OnFailure::Fail);
        self.prerequisites.push(Prerequisite::Jobs { jobs, need, on_failure });
        self
    }
}
