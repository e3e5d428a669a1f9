//! Runs handlers on the jobs of queues until it is told to drain.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use event_listener::{Event, listener};
use futures_lite::future::or;
use ganger_rt::Task;
use ganger_shared::{Effect, Failure, LeaseId, Name, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, IntoName};
use crate::ctx::{About, Ctx};
use crate::error::Error;
use crate::handler::{Attempted, JobError, Router, UnknownHandler};
use crate::stop::{Stop, StopReason};
use crate::subscription::{Delivery, NotFinished, Subscription};

/// How long a draining worker waits for its handlers unless told otherwise: 25 s, which leaves a
/// supervisor that kills after 30 s some time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Handlers at work on one or more queues.
///
/// ```no_run
/// # async fn example(client: ganger_worker::Client) -> Result<(), ganger_worker::Error> {
/// use ganger_worker::{Ctx, JobError, Worker};
///
/// async fn shout(text: String, _: Ctx) -> Result<String, JobError> {
///     Ok(text.to_uppercase())
/// }
///
/// let worker = Worker::new(client).queue("texts").concurrency(8).handle("shout", shout);
/// let drainer = worker.drainer(); // for whoever decides that it is time to stop
/// worker.run().await
/// # }
/// ```
pub struct Worker {
    client: Client,
    queues: Vec<Result<Name, Error>>,
    concurrency: u32,
    prefetch: u32,
    drain_timeout: Duration,
    time_limit: Option<Duration>,
    router: Router,
    drainer: Drainer,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queues", &self.queues)
            .field("concurrency", &self.concurrency)
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

/// Tells a [`Worker`] to finish what it has begun and to take nothing more. Clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Drainer {
    shared: Arc<Drain>,
}

#[derive(Debug, Default)]
struct Drain {
    /// The strongest [`Haste`] that was asked for.
    haste: AtomicU8,
    event: Event,
}

/// How a worker is to come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    Drain = 1,
    GiveUp = 2,
}

impl Drainer {
    /// Has the worker drain; does not wait for it. Asking twice does nothing more.
    pub fn drain(&self) {
        self.ask(Haste::Drain);
    }

    /// Has the worker give back what it still runs, at no cost to the jobs; does not wait for it.
    pub fn give_up(&self) {
        self.ask(Haste::GiveUp);
    }

    /// Whether the worker was told to give up.
    pub(crate) fn gave_up(&self) -> bool {
        self.shared.haste.load(Ordering::Acquire) >= Haste::GiveUp as u8
    }

    fn ask(&self, haste: Haste) {
        self.shared.haste.fetch_max(haste as u8, Ordering::AcqRel);
        self.shared.event.notify(usize::MAX);
    }

    async fn asked(&self, haste: Haste) {
        let asked = || self.shared.haste.load(Ordering::Acquire) >= haste as u8;
        while !asked() {
            listener!(self.shared.event => event);
            if asked() {
                return;
            }
            event.await;
        }
    }
}

impl Worker {
    /// A worker without queues and handlers, one job at a time.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            queues: Vec::new(),
            concurrency: 1,
            prefetch: 0,
            drain_timeout: DRAIN_TIMEOUT,
            time_limit: None,
            router: Router::new(),
            drainer: Drainer::default(),
        }
    }

    /// Takes jobs from this queue too.
    #[must_use]
    pub fn queue(mut self, name: impl IntoName) -> Self {
        self.queues.push(name.into_name().map_err(Error::from));
        self
    }

    /// Runs so many jobs of each queue at once, at least 1.
    #[must_use]
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// Holds so many further jobs of each queue ready. They hide the way to the broker, which pays for
    /// handlers that take less than a millisecond, and wait for this worker although another one may
    /// be idle; none unless set.
    #[must_use]
    pub const fn prefetch(mut self, jobs: u32) -> Self {
        self.prefetch = jobs;
        self
    }

    /// How long to wait for running handlers when draining; 25 s unless set. Then their jobs are given
    /// back, at no cost.
    #[must_use]
    pub const fn drain_timeout(mut self, wait: Duration) -> Self {
        self.drain_timeout = wait;
        self
    }

    /// No attempt may take longer, whatever its job allows; no limit unless set.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Runs jobs by these handlers, in place of all that were given before.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// Adds a handler: see [`Router::handle`].
    #[must_use]
    pub fn handle<J, U, E, F, R>(mut self, name: impl IntoName, handler: F) -> Self
    where
        J: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(J, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.router = self.router.handle(name, handler);
        self
    }

    /// Adds a handler: see [`Router::handle_bytes`].
    #[must_use]
    pub fn handle_bytes<U, E, F, R>(mut self, name: impl IntoName, handler: F) -> Self
    where
        U: Into<Bytes>,
        E: Into<JobError>,
        F: Fn(Bytes, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.router = self.router.handle_bytes(name, handler);
        self
    }

    /// Adds a handler: see [`Router::handle_items`].
    #[must_use]
    pub fn handle_items<T, U, E, F, R>(mut self, handler: F) -> Self
    where
        T: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(T, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.router = self.router.handle_items(handler);
        self
    }

    /// Adds a handler: see [`Router::blocking`].
    #[must_use]
    pub fn blocking<J, U, E, F>(mut self, name: impl IntoName, handler: F) -> Self
    where
        J: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(J, Ctx) -> Result<U, E> + Send + Sync + 'static,
    {
        self.router = self.router.blocking(name, handler);
        self
    }

    /// Shares state among handlers: see [`Router::state`].
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.router = self.router.state(state);
        self
    }

    /// Says what becomes of jobs that there is no handler for.
    #[must_use]
    pub fn unknown_handler(mut self, policy: UnknownHandler) -> Self {
        self.router = self.router.unknown_handler(policy);
        self
    }

    /// What tells this worker to drain.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        self.drainer.clone()
    }

    /// Works until it is told to drain, and then until the last settlement was answered.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a queue, [`Error::Name`]; [`Error::Rejected`] if the broker refused
    /// one of its queues, once the jobs that run are done; [`Error::Closed`] and whatever else ended
    /// the connection for good.
    ///
    /// # Cancel safety
    /// Dropping it stops the handlers and gives their jobs back.
    pub async fn run(self) -> Result<(), Error> {
        self.router.check()?;
        if self.queues.is_empty() {
            return Err(Error::Invalid("a worker needs a queue to take jobs from".to_owned()));
        }
        let (router, time_limit) = (self.router, self.time_limit);
        let crew = Arc::new(Crew { router, time_limit, running: Mutex::default() });
        let mut subscriptions = Vec::new();
        for queue in self.queues {
            let queue = self.client.queue(queue?)?;
            let credit = self.concurrency.saturating_add(self.prefetch);
            subscriptions.push(Arc::new(queue.subscribe(credit)));
        }
        let mut slots: Vec<Task<Result<(), Error>>> = Vec::new();
        for subscription in &subscriptions {
            for _ in 0..self.concurrency {
                let (crew, subscription) = (Arc::clone(&crew), Arc::clone(subscription));
                let drainer = self.drainer.clone();
                slots.push(ganger_rt::spawn(async move {
                    let over = crew.work(&subscription).await;
                    if over.is_err() {
                        drainer.drain();
                    }
                    over
                }));
            }
        }
        // A slot ends by itself with the connection, and then they all do; or because its queue was
        // refused, which has the others drain.
        let mut working = Box::pin(async move {
            let mut result = Ok(());
            for slot in slots {
                result = result.and(slot.await);
            }
            result
        });
        let drained = async {
            self.drainer.asked(Haste::Drain).await;
            None
        };
        if let Some(result) = or(async { Some(working.as_mut().await) }, drained).await {
            return result;
        }
        log::info!(running = crew.running().len(); "draining");
        for subscription in &subscriptions {
            subscription.unsubscribe();
        }
        let late = async {
            or(self.drainer.asked(Haste::GiveUp), ganger_rt::sleep(self.drain_timeout)).await;
            None
        };
        let result = match or(async { Some(working.as_mut().await) }, late).await {
            Some(result) => result,
            None => {
                crew.give_up();
                working.await
            }
        };
        self.client.settled().await;
        result
    }
}

/// Ends a job with effects; one that cannot be had fails the attempt.
async fn finish(delivery: Delivery, outcome: Outcome, effects: Vec<Effect>) {
    let Outcome::Ack { outputs } = outcome else { return drop(delivery.settle(outcome)) };
    let output = outputs.iter().next().unwrap_or_default();
    if let Err(NotFinished::Refused { delivery, rejection }) =
        delivery.finish(output, effects).await
    {
        log::warn!(job:% = delivery.job(), rejection:%; "effect refused, the attempt has failed");
        delivery.nack(Failure::new("effect-refused", &rejection.to_string()));
    }
}

/// What the slots of one worker share.
#[derive(Debug)]
struct Crew {
    router: Router,
    time_limit: Option<Duration>,
    running: Mutex<BTreeMap<LeaseId, Arc<Stop>>>,
}

impl Crew {
    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<LeaseId, Arc<Stop>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One slot: job after job, until the subscription ends.
    async fn work(&self, subscription: &Subscription) -> Result<(), Error> {
        while let Some(delivery) = subscription.pull().await? {
            self.run(delivery).await;
        }
        Ok(())
    }

    async fn run(&self, delivery: Delivery) {
        let lease = delivery.lease();
        let stop = Arc::new(Stop::default());
        self.running().insert(lease, Arc::clone(&stop));
        delivery.watch(&stop);
        let (mut about, payload) = (About::of(&delivery), delivery.payload().clone());
        about.time_limit = about.time_limit.into_iter().chain(self.time_limit).min();
        let client = Some(delivery.client().clone());
        log::debug!(job:% = about.job, attempt = about.attempt, handler:% = about.handler; "job starts");
        let outcome = self.router.attempt(about, payload, &stop, client).await;
        self.running().remove(&lease);
        match outcome {
            Some(Attempted { outcome, effects }) if effects.is_empty() => {
                // Nobody waits for the answer: if the lease was lost, the job runs elsewhere.
                delivery.settle(outcome);
            }
            Some(Attempted { outcome, effects }) => finish(delivery, outcome, effects).await,
            None => {
                log::warn!(job:% = delivery.job(), lease:%; "lease lost, what the handler did counts for nothing");
                delivery.forget();
            }
        }
    }

    /// Has every handler stop at once.
    fn give_up(&self) {
        let running = self.running();
        log::warn!(running = running.len(); "not waiting for handlers, their jobs are given back");
        let stops: Vec<Arc<Stop>> = running.values().map(Arc::clone).collect();
        drop(running);
        for stop in stops {
            stop.set(StopReason::Drained);
        }
    }
}
