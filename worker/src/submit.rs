//! Handing jobs to a queue, and waiting for what becomes of them.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ganger_shared::prerequisite::Prerequisite;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::time::millis;
use ganger_shared::{
    Backoff, Block, Durability, Effect, JobId, JobOptions, JobRange, Name, Priority, Request,
    Response, ResultsTo, Time, limits,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::calls::{Answered, unexpected};
use crate::client::{Cancelled, Client, IntoName};
use crate::endings::{Collector, Endings, JobFailed};
use crate::error::Error;

mod prerequisites;

pub use self::prerequisites::IntoJobs;

/// Payload bytes of one frame of a large submit: 1 MiB. Larger frames are no faster and make others
/// wait longer.
const RUN_BYTES: usize = 1 << 20;

/// Runs of a large submit that are under way at once: 16, enough to hide a flush of the journal.
const RUNS_UNDER_WAY: usize = 16;

/// A submit of jobs that share their options, to be awaited.
///
/// Nothing happens before it is awaited. The handler's name is the queue's unless set.
///
/// # Cancel safety
/// Dropping the future before it is ready does not take back what was sent.
#[must_use = "a submit does nothing unless awaited"]
pub struct Submit<K> {
    client: Client,
    queue: Result<Name, Error>,
    handler: Option<Name>,
    /// Its handler is replaced when the submit is sent.
    options: JobOptions,
    when_full: WhenFull,
    notify: Notify,
    prerequisites: Vec<Prerequisite>,
    kind: K,
}

/// One job.
#[derive(Debug)]
pub struct One {
    payload: Result<Bytes, Error>,
}

/// One job for each payload of an iterator, which is read as the broker takes them.
#[derive(Debug)]
pub struct Many<I> {
    payloads: I,
}

impl<K> fmt::Debug for Submit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("queue", &self.queue)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Submit<One> {
    pub(crate) fn one(
        client: Client,
        queue: Result<Name, Error>,
        payload: Result<Bytes, Error>,
    ) -> Self {
        Self::new(client, queue, One { payload })
    }

    pub(crate) fn json(client: Client, queue: Name, payload: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(payload).map(Bytes::from);
        Self::one(client, Ok(queue), payload.map_err(|error| Error::Encode(Arc::new(error))))
    }

    /// What it is as an effect of another job's end; it gets its number when it is sent.
    pub(crate) fn into_effect(self) -> Result<Effect, Error> {
        let queue = self.queue?;
        let options = with_handler(self.options, self.handler, &queue);
        let payloads = Block::one(self.kind.payload?);
        judge_prerequisites(&self.prerequisites)?;
        Ok(match self.prerequisites {
            none if none.is_empty() => Effect::Submit { queue, first_seq: 0, options, payloads },
            prerequisites => {
                Effect::SubmitWhen { queue, first_seq: 0, options, payloads, prerequisites }
            }
        })
    }

    /// Submits the job and waits for its result.
    ///
    /// # Errors
    /// [`JobFailed::NoAnswer`] if it was not accepted, otherwise why it has no result.
    pub async fn result(self) -> Result<Bytes, JobFailed> {
        self.notify().await?.result().await
    }

    async fn send(self) -> Result<JobHandle, Error> {
        let Self { client, queue, handler, options, when_full, notify, prerequisites, kind } = self;
        let queue = queue?;
        let options = with_handler(options, handler, &queue);
        let payloads = Block::one(kind.payload?);
        let run = SubmitRun { queue, options, payloads, when_full, notify, prerequisites };
        let Accepted { jobs, durability, paused, endings } = client.submit_run(run).await?;
        Ok(JobHandle { client, job: jobs.first, durability, paused, endings })
    }
}

impl<I> Submit<Many<I>>
where
    I: Iterator<Item: AsRef<[u8]>>,
{
    pub(crate) fn many(client: Client, queue: Result<Name, Error>, payloads: I) -> Self {
        Self::new(client, queue, Many { payloads })
    }

    async fn send(self) -> Result<Submitted, Error> {
        let Self { client, queue, handler, options, when_full, notify, prerequisites, kind } = self;
        let queue = queue?;
        let options = with_handler(options, handler, &queue);
        let collector = match notify {
            Notify::No => None,
            Notify::Finished => Some(Arc::new(Collector::new(client.id()))),
        };
        let mut payloads = kind.payloads.peekable();
        let mut accepted = Vec::new();
        let mut refused = None;
        let mut paused = false;
        let mut under_way: VecDeque<(JobRange, Answered)> = VecDeque::new();
        let most = RUN_BYTES.min(client.session().block_bytes_max());
        while refused.is_none() && payloads.peek().is_some() || !under_way.is_empty() {
            let more = refused.is_none() && under_way.len() < RUNS_UNDER_WAY;
            let next = if more { next_run(&mut payloads, most) } else { None };
            if let Some(payloads) = next {
                let (queue, options) = (queue.clone(), options.clone());
                let prerequisites = prerequisites.clone();
                let run = SubmitRun { queue, options, payloads, when_full, notify, prerequisites };
                match client.send_run(run, collector.clone()).await {
                    Ok(sent) => under_way.push_back(sent),
                    Err(error) => refused = Some(error),
                }
                continue;
            }
            let Some((jobs, answered)) = under_way.pop_front() else { break };
            match answered.await {
                Ok(Response::Accepted { paused: held, .. }) => {
                    paused |= held;
                    add_range(&mut accepted, jobs);
                }
                Ok(_) => refused = Some(unexpected()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            None => {
                let endings = collector.map(|collector| Endings::new(collector, client));
                Ok(Submitted { ranges: accepted, paused, endings })
            }
            Some(error) if accepted.is_empty() => Err(error),
            Some(error) => Err(Error::Partial { accepted, source: Box::new(error) }),
        }
    }
}

fn next_run<T: AsRef<[u8]>>(
    payloads: &mut std::iter::Peekable<impl Iterator<Item = T>>,
    bytes_max: usize,
) -> Option<Block> {
    let mut builder = Block::builder();
    while let Some(next) = payloads.peek() {
        let full = builder.count() >= limits::RUN_COUNT_MAX
            || builder.size_bytes() + next.as_ref().len() > bytes_max;
        if builder.count() > 0 && full {
            break;
        }
        let Some(payload) = payloads.next() else { break };
        builder.push(payload.as_ref());
    }
    (builder.count() > 0).then(|| builder.finish())
}

/// Adds a range, as part of the last one where it follows on.
fn add_range(ranges: &mut Vec<JobRange>, jobs: JobRange) {
    if let Some(last) = ranges.last_mut()
        && last.end_seq() == jobs.first.seq
        && let Some(count) = last.count.checked_add(jobs.count)
    {
        last.count = count;
    } else {
        ranges.push(jobs);
    }
}

fn with_handler(options: JobOptions, handler: Option<Name>, queue: &Name) -> JobOptions {
    JobOptions { handler: handler.unwrap_or_else(|| queue.clone()), ..options }
}

impl<K> Submit<K> {
    fn new(client: Client, queue: Result<Name, Error>, kind: K) -> Self {
        // The handler is known when it is sent; until then any name stands for it.
        let handler = queue.as_ref().ok().cloned().or_else(|| Name::new("unnamed").ok());
        let options = JobOptions::new(handler.expect("`unnamed` keeps the rules of names"));
        let (when_full, notify) = (WhenFull::Refuse, Notify::No);
        let (handler, prerequisites) = (None, Vec::new());
        Self { client, queue, handler, options, when_full, notify, prerequisites, kind }
    }

    /// Which handler of a worker runs it; the queue's name unless set.
    pub fn handler(mut self, handler: impl IntoName) -> Self {
        match handler.into_name() {
            Ok(name) => self.handler = Some(name),
            Err(error) => self.queue = Err(error.into()),
        }
        self
    }

    /// How urgent it is within its queue, 0 to 9; 4 unless set.
    pub fn priority(mut self, level: u8) -> Self {
        match Priority::new(level) {
            Some(priority) => self.options.priority = priority,
            None => {
                let text = format!("priority {level} is not one of 0 (least urgent) to 9");
                self.queue = Err(Error::Invalid(text));
            }
        }
        self
    }

    /// It may start only after this time.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay_ms = millis(delay);
        self
    }

    /// It becomes a dead letter if it has not started by then.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl_ms = Some(millis(ttl));
        self
    }

    /// It must have ended by then: a waiting job is a dead letter then, a running one is cancelled.
    pub fn deadline(mut self, deadline: SystemTime) -> Self {
        let since = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.options.deadline = Some(Time::from_millis(millis(since)));
        self
    }

    /// How long one attempt may take; no limit unless set.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.time_limit_ms = Some(millis(limit));
        self
    }

    /// How many failures are followed by another try; 3 unless set.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How many crashes of its worker are followed by another try; 3 unless set.
    pub const fn crash_retries(mut self, retries: u32) -> Self {
        self.options.crash_retries = retries;
        self
    }

    /// The wait after a failure: between zero and `base`, doubling with each failure up to `cap`.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.options.backoff = Backoff { base_ms: millis(base), cap_ms: millis(cap) };
        self
    }

    /// Where its result goes; to the queue's own results list unless set.
    pub fn results(mut self, results: ResultsTo) -> Self {
        self.options.results = results;
        self
    }

    /// All options at once; the handler's name among them counts as set.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.handler = Some(options.handler.clone());
        self.options = options;
        self
    }

    /// A full queue makes the submit wait until there is room, in turn with others. It is refused
    /// otherwise.
    pub const fn wait_when_full(mut self) -> Self {
        self.when_full = WhenFull::Wait;
        self
    }

    /// The broker says how the jobs end without being asked again: for whoever wants their results.
    pub const fn notify(mut self) -> Self {
        self.notify = Notify::Finished;
        self
    }
}

impl IntoFuture for Submit<One> {
    type Output = Result<JobHandle, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<I> IntoFuture for Submit<Many<I>>
where
    I: Iterator<Item: AsRef<[u8]> + Send> + Send + 'static,
{
    type Output = Result<Submitted, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A job that the broker has accepted.
#[derive(Debug)]
pub struct JobHandle {
    client: Client,
    job: JobId,
    durability: Durability,
    paused: bool,
    endings: Option<Endings>,
}

impl JobHandle {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.job
    }

    /// What its acceptance promises.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether its queue is paused, so that it waits for a person.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Waits for its result.
    ///
    /// # Errors
    /// Why it has none.
    pub async fn result(self) -> Result<Bytes, JobFailed> {
        let job = self.job;
        let endings = self.endings.unwrap_or_else(|| self.client.wait(JobRange::one(job)));
        let results = endings.results().await?;
        results.into_iter().next().ok_or(JobFailed::Unknown { job })
    }

    /// Waits for its result and reads it as JSON, as typed handlers write it.
    ///
    /// # Errors
    /// Why it has none, or [`JobFailed::Output`] if it is no such JSON.
    pub async fn result_json<T: DeserializeOwned>(self) -> Result<T, JobFailed> {
        let job = self.job;
        let output = self.result().await?;
        serde_json::from_slice(&output)
            .map_err(|error| JobFailed::Output { job, source: Arc::new(error) })
    }

    /// Cancels it.
    ///
    /// # Errors
    /// Those of [`Client::cancel`].
    pub async fn cancel(&self) -> Result<Cancelled, Error> {
        self.client.cancel(JobRange::one(self.job)).await
    }
}

/// Many jobs that the broker has accepted.
#[derive(Debug)]
pub struct Submitted {
    ranges: Vec<JobRange>,
    paused: bool,
    endings: Option<Endings>,
}

impl Submitted {
    /// Their ids, in the order of the payloads; usually one range.
    #[must_use]
    pub fn ranges(&self) -> &[JobRange] {
        &self.ranges
    }

    /// Every id, in the order of the payloads.
    pub fn ids(&self) -> impl Iterator<Item = JobId> + '_ {
        self.ranges.iter().flat_map(JobRange::iter)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|jobs| u64::from(jobs.count)).sum()
    }

    /// Whether their queue is paused, so that they wait for a person.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How they end, as it happens; `None` unless [`Submit::notify`] asked for it.
    #[must_use]
    pub fn into_endings(self) -> Option<Endings> {
        self.endings
    }
}

/// A run of jobs as it goes over the wire: what all builders come down to.
#[derive(Clone, Debug)]
pub struct SubmitRun {
    /// The queue.
    pub queue: Name,
    /// What the jobs have in common.
    pub options: JobOptions,
    /// One payload per job: 1 to [`limits::RUN_COUNT_MAX`].
    pub payloads: Block,
    /// What happens if they do not fit.
    pub when_full: WhenFull,
    /// Whether to say how they end.
    pub notify: Notify,
    /// What has to come before they may start: at most [`limits::PREREQUISITES_MAX`].
    pub prerequisites: Vec<Prerequisite>,
}

/// A run of jobs that the broker has accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Their ids.
    pub jobs: JobRange,
    /// What that promises.
    pub durability: Durability,
    /// Whether their queue is paused, so that they wait for a person.
    pub paused: bool,
    /// How they end; present if [`Notify::Finished`] was asked for.
    pub endings: Option<Endings>,
}

impl Client {
    /// Submits a run of jobs in one frame, as a whole.
    ///
    /// Waits for room first if very much is unanswered.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a run that is empty or fits no frame, [`Error::Rejected`],
    /// [`Error::Closed`].
    pub async fn submit_run(&self, run: SubmitRun) -> Result<Accepted, Error> {
        let collector = match run.notify {
            Notify::No => None,
            Notify::Finished => Some(Arc::new(Collector::new(self.id()))),
        };
        let (jobs, answered) = self.send_run(run, collector.clone()).await?;
        match answered.await? {
            Response::Accepted { durability, paused, .. } => {
                let endings = collector.map(|collector| Endings::new(collector, self.clone()));
                Ok(Accepted { jobs, durability, paused, endings })
            }
            _ => Err(unexpected()),
        }
    }

    /// Sends a run; the answer is still to come.
    async fn send_run(
        &self,
        run: SubmitRun,
        collector: Option<Arc<Collector>>,
    ) -> Result<(JobRange, Answered), Error> {
        let SubmitRun { queue, options, payloads, when_full, notify, prerequisites } = run;
        let count = payloads.count();
        if count == 0 || count > limits::RUN_COUNT_MAX {
            let most = limits::RUN_COUNT_MAX;
            return Err(Error::Invalid(format!("a run has 1 to {most} jobs, this one {count}")));
        }
        judge_prerequisites(&prerequisites)?;
        let session = self.session();
        let (size, most) = (payloads.size_bytes(), session.block_bytes_max());
        if size > most {
            return Err(Error::Invalid(format!(
                "a run of {size} bytes does not fit a frame, which takes {most}; submit it in parts"
            )));
        }
        session.room().await;
        let (first_seq, answered) = session.numbered(count, collector, |request, first_seq| {
            if prerequisites.is_empty() {
                return Request::Submit {
                    request,
                    queue,
                    first_seq,
                    options,
                    payloads,
                    when_full,
                    notify,
                };
            }
            Request::SubmitWhen {
                request,
                queue,
                first_seq,
                options,
                payloads,
                when_full,
                notify,
                prerequisites,
            }
        });
        let first = JobId { session: session.id, seq: first_seq };
        Ok((JobRange { first, count }, answered))
    }
}

/// Whether the broker would read them: it closes the connection of a client that sends more.
fn judge_prerequisites(prerequisites: &[Prerequisite]) -> Result<(), Error> {
    let (count, most) = (prerequisites.len(), limits::PREREQUISITES_MAX);
    if count > most {
        let text = format!("{count} prerequisites of one submit are more than {most}");
        return Err(Error::Invalid(text));
    }
    let most = limits::PREREQUISITE_RANGES_MAX;
    for prerequisite in prerequisites {
        if let Prerequisite::Jobs { jobs, .. } = prerequisite
            && jobs.len() > most
        {
            return Err(Error::Invalid(format!(
                "{} separate ranges of jobs to wait for are more than {most}; have each job add to a \
                 counter, and wait for that",
                jobs.len()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_by_their_bytes_and_hold_at_least_one_payload() {
        let mut payloads = ["aaa", "bb", "cccccccccc", "d", "e"].iter().peekable();
        let runs: Vec<u32> =
            std::iter::from_fn(|| next_run(&mut payloads, 6)).map(|run| run.count()).collect();
        assert_eq!(runs, [2, 1, 2]);
    }

    #[test]
    fn ranges_that_follow_on_become_one() {
        let session = ganger_shared::SessionId(1);
        let range = |seq, count| JobRange { first: JobId { session, seq }, count };
        let mut ranges = Vec::new();
        for jobs in [range(0, 5), range(5, 5), range(11, 1)] {
            add_range(&mut ranges, jobs);
        }
        assert_eq!(ranges, [range(0, 10), range(11, 1)]);
    }
}
