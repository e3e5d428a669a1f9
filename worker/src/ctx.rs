//! What a handler knows of its job beside the payload, and what it can say while it runs.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ganger_shared::{JobId, LeaseId, Name, Request, Time};

use crate::client::Client;
use crate::effects::Effects;
use crate::stop::{Stop, StopReason};
use crate::subscription::Delivery;

/// How often one job's progress is sent at most: every 100 ms, as people read it.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Values that handlers share, one of each type.
#[derive(Clone, Default)]
pub(crate) struct States {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, state: T) {
        self.by_type.insert(TypeId::of::<T>(), Arc::new(state));
    }

    fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let found = self.by_type.get(&TypeId::of::<T>())?;
        Arc::clone(found).downcast().ok()
    }
}

/// The job that a handler runs. Clones share it.
#[derive(Clone)]
pub struct Ctx {
    shared: Arc<Shared>,
}

struct Shared {
    about: About,
    /// The earlier of the job's deadline and the end of its time limit.
    ends: Option<SystemTime>,
    stop: Arc<Stop>,
    states: Arc<States>,
    /// What is to happen with the end of the job.
    effects: Mutex<Effects>,
    /// Where progress goes, and when some was last sent; nowhere without a broker.
    progress: Option<(Client, Mutex<Option<Instant>>)>,
}

/// What there is to know of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) job: JobId,
    pub(crate) lease: LeaseId,
    pub(crate) queue: Name,
    pub(crate) handler: Name,
    pub(crate) attempt: u32,
    pub(crate) deadline: Option<Time>,
    pub(crate) time_limit: Option<Duration>,
}

impl About {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        Self {
            job: delivery.job(),
            lease: delivery.lease(),
            queue: delivery.queue().clone(),
            handler: delivery.handler().clone(),
            attempt: delivery.attempt(),
            deadline: delivery.deadline(),
            time_limit: delivery.time_limit(),
        }
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ctx").field(&self.shared.about).finish()
    }
}

impl Ctx {
    pub(crate) fn new(
        about: About,
        stop: Arc<Stop>,
        states: Arc<States>,
        client: Option<Client>,
    ) -> Self {
        let moment = |time: Time| SystemTime::UNIX_EPOCH + Duration::from_millis(time.as_millis());
        let limit = about.time_limit.map(|limit| SystemTime::now() + limit);
        let ends = [about.deadline.map(moment), limit].into_iter().flatten().min();
        let progress = client.map(|client| (client, Mutex::default()));
        let effects = Mutex::default();
        Self { shared: Arc::new(Shared { about, ends, stop, states, effects, progress }) }
    }

    /// The job's id.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.shared.about.job
    }

    /// The lease of this attempt. It grows from attempt to attempt, so an outside store that keeps the
    /// largest one can refuse what a late attempt writes.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.shared.about.lease
    }

    /// The queue it came from.
    #[must_use]
    pub fn queue(&self) -> &Name {
        &self.shared.about.queue
    }

    /// The handler's name, for one that serves several.
    #[must_use]
    pub fn handler(&self) -> &Name {
        &self.shared.about.handler
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.shared.about.attempt
    }

    /// When the handler must be through: the job's deadline or the end of its time limit, whichever
    /// comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.shared.ends
    }

    pub(crate) fn effects(&self) -> MutexGuard<'_, Effects> {
        self.shared.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client that its worker works with; none without a broker.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.shared.progress.as_ref().map(|(client, _)| client)
    }

    /// Says how far the job is: units done, units in all (0 where unknown), and a word for people.
    ///
    /// Never waits. Of what is said in quick succession some is left out, the end (`done == total`)
    /// never is.
    pub fn progress(&self, done: u64, total: u64, note: &str) {
        let Some((client, last)) = &self.shared.progress else { return };
        let now = Instant::now();
        {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let early = last.is_some_and(|last| now.duration_since(last) < PROGRESS_EVERY);
            if early && done != total {
                return;
            }
            *last = Some(now);
        }
        let note = note[..note.floor_char_boundary(200)].to_owned();
        client.session().tell(&Request::Progress { lease: self.lease(), done, total, note });
    }

    /// Waits until the handler is to stop, and says why.
    ///
    /// Only a cancelled job's handler still has a say; in the other cases its future is dropped too,
    /// so that it need not look at all.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn cancelled(&self) -> StopReason {
        self.shared.stop.stopped().await
    }

    /// Whether the handler is to stop: for loops, and for blocking handlers, which cannot be dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop_reason().is_some()
    }

    /// Why the handler is to stop, if it is.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.shared.stop.reason()
    }

    /// The state of type `T` that was given to the worker.
    ///
    /// # Panics
    /// If there was none: a mistake in the program, which counts as a crash of this attempt.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.states.find().unwrap_or_else(|| {
            panic!(
                "the worker has no state of type {}: give it one with state(..)",
                type_name::<T>()
            )
        })
    }
}
