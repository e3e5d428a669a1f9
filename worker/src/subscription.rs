//! Jobs taken from a queue: whole runs, or one by one, each used up by the way it ends.
//!
//! Not who runs them: [`Worker`](crate::Worker) does, on top of this.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_shared::time::millis;
use ganger_shared::{
    Block, Effect, Failure, JobId, JobRange, LeaseId, LeaseRange, Name, Outcome, Rejection,
    Response, Settlement, SubscriptionId, Time,
};

use crate::calls::{Answered, unexpected};
use crate::client::Client;
use crate::error::Error;
use crate::inbox::{Inbox, Leased};
use crate::session::{Held, parts_that_fit};
use crate::stop::Stop;

/// Jobs of one queue, leased to this client as they come. Dropping it gives back what was not taken.
///
/// Several tasks may take from it at once.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    id: SubscriptionId,
    inbox: Arc<Inbox>,
}

impl Subscription {
    pub(crate) fn new(client: Client, queue: Name, credit: u32) -> Self {
        let inbox = Arc::new(Inbox::new(queue, credit));
        let id = client.session().subscribe(&inbox);
        Self { client, id, inbox }
    }

    /// The next job, waiting for it; `None` once the subscription has ended.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the broker refused the subscription: whatever else the client does goes
    /// on. [`Error::Closed`] and whatever else ended the connection for good.
    ///
    /// # Cancel safety
    /// A job that was not returned is returned by the next call.
    pub async fn pull(&self) -> Result<Option<Delivery>, Error> {
        let Some(run) = self.inbox.next_one().await? else { return Ok(None) };
        Ok(Delivery::first_of(self.run(run)))
    }

    /// The next jobs that came together, waiting for them; `None` once the subscription has ended.
    ///
    /// # Errors
    /// As for [`pull`](Self::pull).
    ///
    /// # Cancel safety
    /// A run that was not returned is returned by the next call.
    pub async fn next_run(&self) -> Result<Option<Run>, Error> {
        Ok(self.inbox.next_run().await?.map(|run| self.run(run)))
    }

    fn run(&self, run: Leased) -> Run {
        Run { client: self.client.clone(), queue: self.inbox.queue().clone(), left: Some(run) }
    }

    /// Takes nothing more: jobs that wait here go back to their queue, those that were taken stay
    /// leased. Further calls return `None`.
    pub fn unsubscribe(&self) {
        let left = self.inbox.empty();
        self.client.session().unlisten(self.id);
        for run in left {
            self.client.session().release(run.held);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}

/// Jobs that were leased together: same options, consecutive leases, one payload each.
///
/// What is dropped without being settled is released, with a warning.
#[must_use = "a run that is dropped goes back to its queue"]
pub struct Run {
    client: Client,
    queue: Name,
    /// Taken by what ends the run.
    left: Option<Leased>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.left.as_ref();
        f.debug_struct("Run")
            .field("queue", &self.queue)
            .field("jobs", &run.map(|run| run.jobs))
            .field("leases", &run.map(|run| run.held.leases))
            .finish_non_exhaustive()
    }
}

impl Run {
    fn leased(&self) -> &Leased {
        self.left.as_ref().expect("only what consumes the run takes it")
    }

    /// Their queue.
    #[must_use]
    pub const fn queue(&self) -> &Name {
        &self.queue
    }

    /// Their ids.
    #[must_use]
    pub fn jobs(&self) -> JobRange {
        self.leased().jobs
    }

    /// Their leases.
    #[must_use]
    pub fn leases(&self) -> LeaseRange {
        self.leased().held.leases
    }

    /// Which handler runs them.
    #[must_use]
    pub fn handler(&self) -> &Name {
        &self.leased().handler
    }

    /// Which attempt this is for each of them, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.leased().attempt
    }

    /// When they must have ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.leased().deadline
    }

    /// How long one of them may take.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        self.leased().time_limit_ms.map(Duration::from_millis)
    }

    /// One payload per job.
    #[must_use]
    pub fn payloads(&self) -> &Block {
        &self.leased().payloads
    }

    /// Ends all of them as done, with one output each.
    ///
    /// # Panics
    /// If there are more or fewer outputs than jobs.
    pub fn ack(mut self, outputs: Block) -> Settling {
        let run = self.take();
        assert_eq!(outputs.count(), run.jobs.count, "a run is acked with one output per job");
        let session = self.client.session();
        if outputs.longest() > session.output_bytes_max() {
            return self.settle_each(&run, &outputs);
        }
        // Outputs that are too large together go out in several frames; the last answer stands for
        // all, as they are answered in order.
        let parts = parts_that_fit(&outputs, session.block_bytes_max());
        let mut settling = Settling { answers: Vec::new() };
        for (offset, count) in parts {
            let leases = run.held.leases.part(offset, count);
            let outcome = Outcome::Ack { outputs: outputs.part(offset, count) };
            let answered = session.settle(run.held.epoch, Settlement { leases, outcome });
            settling.answers.push(answered);
        }
        settling
    }

    /// An output over the limit must not take the others down with it.
    fn settle_each(&self, run: &Leased, outputs: &Block) -> Settling {
        let mut settling = Settling { answers: Vec::new() };
        for (offset, output) in (0_u32..).zip(outputs.iter()) {
            let leases = LeaseRange::one(run.held.leases.part(offset, 1).first);
            let outcome = ack_or_dead(output, self.client.session().output_bytes_max());
            let answered =
                self.client.session().settle(run.held.epoch, Settlement { leases, outcome });
            settling.answers.push(answered);
        }
        settling
    }

    /// Ends all of them as failed; they are tried again after their backoff, or become dead letters.
    pub fn nack(self, failure: Failure) -> Settling {
        self.settle(Outcome::Nack { failure, retry_after_ms: None })
    }

    /// Ends all of them as failed for good.
    pub fn dead(self, failure: Failure) -> Settling {
        self.settle(Outcome::Dead { failure })
    }

    /// Gives all of them back untouched, which costs no attempt.
    pub fn release(self) -> Settling {
        self.settle(Outcome::Release { delay_ms: 0 })
    }

    /// Ends all of them in one way.
    ///
    /// # Panics
    /// If an [`Outcome::Ack`] has more or fewer outputs than there are jobs.
    pub fn settle(mut self, outcome: Outcome) -> Settling {
        if let Outcome::Ack { outputs } = outcome {
            return self.ack(outputs);
        }
        let run = self.take();
        let Held { epoch, leases } = run.held;
        let answered = self.client.session().settle(epoch, Settlement { leases, outcome });
        Settling { answers: vec![answered] }
    }

    /// The first `count` of them as a run of their own; this one keeps the others.
    ///
    /// # Panics
    /// Unless `count` is at least 1 and less than the number of jobs.
    pub fn split_off_front(&mut self, count: u32) -> Self {
        let run = self.leased();
        assert!(0 < count && count < run.jobs.count, "a run of {} cut at {count}", run.jobs.count);
        let (start, rest) = (run.start(count), run.rest(count));
        self.left = Some(rest);
        Self { client: self.client.clone(), queue: self.queue.clone(), left: Some(start) }
    }

    /// Every job by itself.
    pub fn into_deliveries(mut self) -> impl Iterator<Item = Delivery> {
        let run = self.take();
        let payloads: Vec<Bytes> = run.payloads.iter().collect();
        let (client, queue) = (self.client.clone(), self.queue.clone());
        (0_u32..).zip(payloads).map(move |(offset, payload)| Delivery {
            client: client.clone(),
            queue: queue.clone(),
            epoch: run.held.epoch,
            lease: run.held.leases.part(offset, 1).first,
            job: run.jobs.part(offset, 1).first,
            attempt: run.attempt,
            handler: run.handler.clone(),
            deadline: run.deadline,
            time_limit_ms: run.time_limit_ms,
            payload,
            settled: false,
        })
    }

    fn take(&mut self) -> Leased {
        self.left.take().expect("only what consumes the run takes it")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(run) = self.left.take() {
            log::warn!(queue:% = self.queue, job:% = run.jobs.first, count = run.jobs.count; "run dropped unsettled, released");
            self.client.session().release(run.held);
        }
    }
}

/// One leased job. It is used up by the way it ends; dropped without one, it is released, with a
/// warning.
///
/// What is said of it is sent at once. The answer, which says whether the lease was still held, may
/// be awaited or not.
#[must_use = "a delivery that is dropped goes back to its queue"]
pub struct Delivery {
    client: Client,
    queue: Name,
    epoch: u64,
    lease: LeaseId,
    job: JobId,
    attempt: u32,
    handler: Name,
    deadline: Option<Time>,
    time_limit_ms: Option<u64>,
    payload: Bytes,
    settled: bool,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("job", &self.job)
            .field("lease", &self.lease)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    fn first_of(run: Run) -> Option<Self> {
        run.into_deliveries().next()
    }

    /// Its id.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The lease: the fencing token of this attempt.
    #[must_use]
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Its queue.
    #[must_use]
    pub const fn queue(&self) -> &Name {
        &self.queue
    }

    /// Which handler runs it.
    #[must_use]
    pub const fn handler(&self) -> &Name {
        &self.handler
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When it must have ended.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// How long it may take.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        self.time_limit_ms.map(Duration::from_millis)
    }

    /// What it is about.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Done, with this result. One that is over the limit makes the job a dead letter of kind
    /// `output-too-large` instead.
    pub fn ack(self, output: impl Into<Bytes>) -> Settling {
        self.settle(Outcome::Ack { outputs: Block::one(output) })
    }

    /// Done, with this result and with effects: all of them happen together with the end of the job, or
    /// none does.
    ///
    /// # Errors
    /// [`NotFinished::Refused`] gives the delivery back, to be ended otherwise.
    pub async fn finish(
        mut self,
        output: impl Into<Bytes>,
        effects: Vec<Effect>,
    ) -> Result<(), NotFinished> {
        let output = output.into();
        let session = Arc::clone(self.client.session());
        if output.len() > session.output_bytes_max() {
            return Ok(self.ack(output).await?);
        }
        let (epoch, lease) = (self.epoch, self.lease);
        self.settled = true;
        let answers = vec![session.finish(epoch, lease, output, effects)];
        match (Settling { answers }).await {
            Ok(()) => Ok(()),
            Err(Error::Rejected(rejection)) => {
                self.settled = false;
                Err(NotFinished::Refused { delivery: Box::new(self), rejection })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Failed: it is tried again after its backoff, or becomes a dead letter.
    pub fn nack(self, failure: Failure) -> Settling {
        self.settle(Outcome::Nack { failure, retry_after_ms: None })
    }

    /// Failed: it is tried again after `wait`, or becomes a dead letter.
    pub fn nack_after(self, failure: Failure, wait: Duration) -> Settling {
        self.settle(Outcome::Nack { failure, retry_after_ms: Some(millis(wait)) })
    }

    /// Failed for good.
    pub fn dead(self, failure: Failure) -> Settling {
        self.settle(Outcome::Dead { failure })
    }

    /// Given back untouched: costs no attempt.
    pub fn release(self) -> Settling {
        self.release_after(Duration::ZERO)
    }

    /// Given back untouched, not to start before `wait` has passed: costs no attempt.
    pub fn release_after(self, wait: Duration) -> Settling {
        self.settle(Outcome::Release { delay_ms: millis(wait) })
    }

    /// Ended in any way; an [`Outcome::Ack`] has one output, with the limit of [`ack`](Self::ack).
    pub fn settle(mut self, outcome: Outcome) -> Settling {
        let outcome = match outcome {
            Outcome::Ack { outputs } => {
                let output = outputs.iter().next().unwrap_or_default();
                ack_or_dead(output, self.client.session().output_bytes_max())
            }
            outcome => outcome,
        };
        self.settled = true;
        let settlement = Settlement { leases: LeaseRange::one(self.lease), outcome };
        let answered = self.client.session().settle(self.epoch, settlement);
        Settling { answers: vec![answered] }
    }

    /// Says nothing: the lease is lost, and there is nothing to say.
    pub(crate) fn forget(mut self) {
        self.settled = true;
    }

    /// Has `stop` told when the job is to stop.
    pub(crate) fn watch(&self, stop: &Arc<Stop>) {
        self.client.session().watch(self.epoch, self.lease, stop);
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            log::warn!(queue:% = self.queue, job:% = self.job; "delivery dropped unsettled, released");
            let leases = LeaseRange::one(self.lease);
            self.client.session().release(Held { epoch: self.epoch, leases });
        }
    }
}

/// Why a job has not ended with its effects.
#[derive(Debug, thiserror::Error)]
pub enum NotFinished {
    /// One effect cannot be had, so none has happened, and the job is still leased.
    #[error("the job goes on")]
    Refused {
        /// The job, to be ended otherwise.
        delivery: Box<Delivery>,
        /// Which effect, and why.
        #[source]
        rejection: Rejection,
    },
    /// The lease was lost, or the connection has ended.
    #[error(transparent)]
    Failed(#[from] Error),
}

fn ack_or_dead(output: Bytes, bytes_max: usize) -> Outcome {
    if output.len() <= bytes_max {
        return Outcome::Ack { outputs: Block::one(output) };
    }
    let message = format!("the output has {} bytes, the limit is {bytes_max}", output.len());
    Outcome::Dead { failure: Failure::new("output-too-large", &message) }
}

/// A settlement that was sent. Awaiting it tells whether it took effect; not awaiting it is fine.
#[derive(Debug)]
pub struct Settling {
    answers: Vec<Answered>,
}

impl Settling {
    async fn finish(self) -> Result<(), Error> {
        for answered in self.answers {
            match answered.await? {
                Response::Settled { lost, .. } => match lost.first() {
                    None => {}
                    Some(lost) => return Err(Error::LeaseLost { lease: lost.first }),
                },
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }
}

impl IntoFuture for Settling {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}
