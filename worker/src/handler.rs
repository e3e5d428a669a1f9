//! Handlers by name, and how one attempt of a job is run by them.
//!
//! Not where jobs come from: [`Worker`](crate::Worker) takes them from queues, a test hands them over.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::FutureExt;
use futures_lite::future::or;
use ganger_shared::time::millis;
use ganger_shared::{
    Block, Effect, Failure, JobId, LeaseId, Name, Outcome, Packed, SessionId, value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, IntoName};
use crate::ctx::{About, Ctx, States};
use crate::effects::Effects;
use crate::error::{Error, sentence};
use crate::stop::{Stop, StopReason};

/// Why an attempt did not succeed, and what is to become of the job.
///
/// Any error converts into a retry of kind `error` that carries its chain of causes, so `?` just works.
/// It is therefore no [`std::error::Error`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// Try again, while the job has retries left.
    Retry {
        /// What failed.
        failure: Failure,
        /// When; after the job's backoff if not said.
        after: Option<Duration>,
    },
    /// Never try again: the job becomes a dead letter.
    Dead {
        /// What failed.
        failure: Failure,
    },
    /// Nothing failed, but not here or not now: the job goes back untouched, at no cost.
    Release {
        /// When it may start again.
        after: Duration,
    },
}

impl JobError {
    /// Try again after the job's backoff. `kind` is a short, stable word for policies.
    #[must_use]
    pub fn retry(kind: &str, message: &str) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: None }
    }

    /// Try again after a time of the handler's choice.
    #[must_use]
    pub fn retry_after(kind: &str, message: &str, after: Duration) -> Self {
        Self::Retry { failure: Failure::new(kind, message), after: Some(after) }
    }

    /// Never try again.
    #[must_use]
    pub fn dead(kind: &str, message: &str) -> Self {
        Self::Dead { failure: Failure::new(kind, message) }
    }

    /// Give the job back.
    #[must_use]
    pub const fn release(after: Duration) -> Self {
        Self::Release { after }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Retry { failure, after } => {
                Outcome::Nack { failure, retry_after_ms: after.map(millis) }
            }
            Self::Dead { failure } => Outcome::Dead { failure },
            Self::Release { after } => Outcome::Release { delay_ms: millis(after) },
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::retry("error", &sentence(&error))
    }
}

/// What becomes of a job whose handler this worker does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHandler {
    /// It goes back and waits 5 s, at no cost: another worker may have it, or this one's next version.
    #[default]
    Wait,
    /// It becomes a dead letter of kind `unknown-handler`.
    Dead,
}

/// How long a job that this worker cannot run waits before it is offered again: 5 s.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);

type Start = dyn Fn(Bytes, Ctx) -> Running + Send + Sync;
type Running = Pin<Box<dyn Future<Output = Result<Bytes, JobError>> + Send>>;

struct Handler {
    start: Box<Start>,
    /// Whether it runs on a thread of its own, where it cannot be dropped.
    blocking: bool,
}

/// Handlers by name, with the state that they share.
///
/// Runs without a broker too, for tests:
///
/// ```
/// use ganger_worker::{Ctx, JobError, Router};
///
/// async fn greet(name: String, ctx: Ctx) -> Result<String, JobError> {
///     Ok(format!("{}, {name}!", ctx.state::<&str>()))
/// }
///
/// let router = Router::new().state("Hello").handle("greet", greet);
/// let output = ganger_worker::block_on(router.run_once("greet", r#""Ann""#));
/// assert_eq!(output.unwrap(), r#""Hello, Ann!""#);
/// ```
#[derive(Default)]
pub struct Router {
    handlers: BTreeMap<Name, Handler>,
    /// Runs whatever no other one does.
    any: Option<Handler>,
    unknown: UnknownHandler,
    states: Arc<States>,
    mistake: Option<Error>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("handlers", &self.handlers.keys())
            .field("any", &self.any.is_some())
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// A router without handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Jobs for `name` are run by an `async fn` from the payload, as JSON, to the output, as JSON.
    ///
    /// A payload that cannot be read makes the job a dead letter of kind `bad-payload`. A panic counts
    /// as a crash of the worker. The future is dropped when the time limit is over, the lease is lost
    /// or the worker has waited long enough for it while draining.
    #[must_use]
    pub fn handle<J, U, E, F, R>(self, name: impl IntoName, handler: F) -> Self
    where
        J: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(J, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        let start = move |payload: Bytes, ctx| -> Running {
            let running = read(&payload).map(|job| handler(job, ctx));
            Box::pin(async move { write(&running?.await.map_err(Into::into)?) })
        };
        self.add(name, false, Box::new(start))
    }

    /// Jobs for `name` are run by an `async fn` from bytes to bytes.
    #[must_use]
    pub fn handle_bytes<U, E, F, R>(self, name: impl IntoName, handler: F) -> Self
    where
        U: Into<Bytes>,
        E: Into<JobError>,
        F: Fn(Bytes, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.add(name, false, bytes_handler(handler))
    }

    /// Items that were put into queues ([`typed_queue`](crate::Objects::typed_queue)) are run by an
    /// `async fn` from the item. What it returns counts as for [`handle`](Self::handle); nobody has the
    /// result.
    #[must_use]
    pub fn handle_items<T, U, E, F, R>(self, handler: F) -> Self
    where
        T: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(T, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        let start = move |payload: Bytes, ctx| -> Running {
            let running = read_item(payload).map(|item| handler(item, ctx));
            Box::pin(async move { write(&running?.await.map_err(Into::into)?) })
        };
        self.add(ganger_shared::object::ITEM, false, Box::new(start))
    }

    /// Jobs that no other handler is there for are run by an `async fn` from bytes to bytes.
    #[must_use]
    pub fn handle_any<U, E, F, R>(mut self, handler: F) -> Self
    where
        U: Into<Bytes>,
        E: Into<JobError>,
        F: Fn(Bytes, Ctx) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
    {
        self.any = Some(Handler { start: bytes_handler(handler), blocking: false });
        self
    }

    /// Jobs for `name` are run by a function that blocks or computes, on a thread of its own.
    ///
    /// It cannot be stopped from outside: when its time is over it is told ([`Ctx::is_cancelled`]) and
    /// keeps its place until it returns; what it returns then no longer counts.
    #[must_use]
    pub fn blocking<J, U, E, F>(self, name: impl IntoName, handler: F) -> Self
    where
        J: DeserializeOwned,
        U: Serialize,
        E: Into<JobError>,
        F: Fn(J, Ctx) -> Result<U, E> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let start = move |payload: Bytes, ctx| -> Running {
            let handler = Arc::clone(&handler);
            Box::pin(ganger_rt::unblock(move || {
                let output = handler(read(&payload)?, ctx).map_err(Into::into)?;
                write(&output)
            }))
        };
        self.add(name, true, Box::new(start))
    }

    /// Handlers get this from [`Ctx::state`], by its type; a later one of the same type replaces it.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        Arc::make_mut(&mut self.states).insert(state);
        self
    }

    /// What becomes of jobs that there is no handler for.
    #[must_use]
    pub const fn unknown_handler(mut self, policy: UnknownHandler) -> Self {
        self.unknown = policy;
        self
    }

    fn add(mut self, name: impl IntoName, blocking: bool, start: Box<Start>) -> Self {
        match name.into_name() {
            Ok(name) => {
                self.handlers.insert(name, Handler { start, blocking });
            }
            Err(error) => {
                self.mistake.get_or_insert_with(|| error.into());
            }
        }
        self
    }

    /// A handler was given something that is no name.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.mistake.clone().map_or(Ok(()), Err)
    }

    /// Runs the handler `name` on one payload, as a first attempt, without a broker.
    ///
    /// # Errors
    /// What the handler makes of it. A panic is a [`JobError::Dead`] of kind `panic`.
    pub async fn run_once(&self, name: &str, payload: impl Into<Bytes>) -> Result<Bytes, JobError> {
        let handler =
            Name::new(name).map_err(|error| JobError::dead("name", &error.to_string()))?;
        let about = About {
            job: JobId { session: SessionId(0), seq: 0 },
            lease: LeaseId(0),
            queue: handler.clone(),
            handler,
            attempt: 1,
            deadline: None,
            time_limit: None,
        };
        let attempted = self.attempt(about, payload.into(), &Arc::new(Stop::default()), None).await;
        match attempted.map(|attempted| attempted.outcome) {
            Some(Outcome::Ack { outputs }) => Ok(outputs.iter().next().unwrap_or_default()),
            Some(Outcome::Nack { failure, retry_after_ms }) => {
                let after = retry_after_ms.map(Duration::from_millis);
                Err(JobError::Retry { failure, after })
            }
            Some(Outcome::Dead { failure } | Outcome::Crash { failure }) => {
                Err(JobError::Dead { failure })
            }
            Some(Outcome::Release { delay_ms }) => {
                Err(JobError::release(Duration::from_millis(delay_ms)))
            }
            None => Err(JobError::release(Duration::ZERO)),
        }
    }

    /// Runs one attempt to its end; `None` if the lease is lost and there is nothing to say.
    pub(crate) async fn attempt(
        &self,
        about: About,
        payload: Bytes,
        stop: &Arc<Stop>,
        client: Option<Client>,
    ) -> Option<Attempted> {
        let Some(handler) = self.handlers.get(&about.handler).or(self.any.as_ref()) else {
            return Some(self.unknown(&about.handler).into());
        };
        let limit = about.time_limit;
        let ctx = Ctx::new(about, Arc::clone(stop), Arc::clone(&self.states), client);
        let effects = ctx.clone();
        let work = AssertUnwindSafe(async { (handler.start)(payload, ctx).await }).catch_unwind();
        let work = async { Ok(work.await) };
        let over = async {
            let clock = async {
                match limit {
                    Some(limit) => {
                        ganger_rt::sleep(limit).await;
                        stop.set(StopReason::TimeLimit);
                        pending().await
                    }
                    None => pending().await,
                }
            };
            // A blocking handler keeps its thread, so it keeps its place too, unless the process
            // is about to end.
            let abandoned = async {
                if handler.blocking { stop.drained().await } else { stop.abandoned().await }
            };
            Err(or(abandoned, clock).await)
        };
        match or(work, over).await {
            Ok(result) => match stop.reason() {
                None | Some(StopReason::Cancelled | StopReason::Drained) => {
                    Some(attempted(outcome(result), &effects))
                }
                Some(StopReason::TimeLimit) => Some(timed_out(limit).into()),
                Some(StopReason::LeaseLost) => None,
            },
            Err(StopReason::TimeLimit) => Some(timed_out(limit).into()),
            Err(StopReason::Cancelled | StopReason::Drained) => {
                Some(Outcome::Release { delay_ms: 0 }.into())
            }
            Err(StopReason::LeaseLost) => None,
        }
    }

    fn unknown(&self, handler: &Name) -> Outcome {
        match self.unknown {
            UnknownHandler::Wait => Outcome::Release { delay_ms: millis(UNKNOWN_WAIT) },
            UnknownHandler::Dead => {
                let message = format!("this worker has no handler {handler}");
                Outcome::Dead { failure: Failure::new("unknown-handler", &message) }
            }
        }
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) outcome: Outcome,
    /// What is to happen with it, where it is an ack.
    pub(crate) effects: Vec<Effect>,
}

impl From<Outcome> for Attempted {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, effects: Vec::new() }
    }
}

/// An outcome with the effects that the handler has collected.
fn attempted(outcome: Outcome, ctx: &Ctx) -> Attempted {
    if !matches!(outcome, Outcome::Ack { .. }) {
        return outcome.into();
    }
    let Effects { list, mistake } = std::mem::take(&mut *ctx.effects());
    match mistake {
        None => Attempted { outcome, effects: list },
        Some(mistake) => Outcome::Dead { failure: Failure::new("bad-effect", &mistake) }.into(),
    }
}

fn bytes_handler<U, E, F, R>(handler: F) -> Box<Start>
where
    U: Into<Bytes>,
    E: Into<JobError>,
    F: Fn(Bytes, Ctx) -> R + Send + Sync + 'static,
    R: Future<Output = Result<U, E>> + Send + 'static,
{
    Box::new(move |payload, ctx| {
        let running = handler(payload, ctx);
        Box::pin(async move { running.await.map(Into::into).map_err(Into::into) })
    })
}

fn read<J: DeserializeOwned>(payload: &[u8]) -> Result<J, JobError> {
    serde_json::from_slice(payload).map_err(|error| {
        let what = std::any::type_name::<J>();
        JobError::dead("bad-payload", &format!("the payload is no {what} in JSON: {error}"))
    })
}

fn read_item<T: DeserializeOwned>(payload: Bytes) -> Result<T, JobError> {
    let bad = |error: &dyn fmt::Display| {
        let what = std::any::type_name::<T>();
        JobError::dead("bad-payload", &format!("the item is no {what}: {error}"))
    };
    let item = Packed::new(payload).map_err(|error| bad(&error))?;
    value::from_value(item.unpack()).map_err(|error| bad(&error))
}

fn write<U: Serialize>(output: &U) -> Result<Bytes, JobError> {
    serde_json::to_vec(output).map(Bytes::from).map_err(|error| {
        JobError::dead("bad-output", &format!("the output cannot be written as JSON: {error}"))
    })
}

fn timed_out(limit: Option<Duration>) -> Outcome {
    let message = format!("took longer than its time limit of {:?}", limit.unwrap_or_default());
    Outcome::Nack { failure: Failure::new("timeout", &message), retry_after_ms: None }
}

fn outcome(result: Result<Result<Bytes, JobError>, Box<dyn Any + Send>>) -> Outcome {
    match result {
        Ok(Ok(output)) => Outcome::Ack { outputs: Block::one(output) },
        Ok(Err(error)) => error.outcome(),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let failure = Failure::new("panic", text.unwrap_or("the handler panicked"));
            Outcome::Crash { failure }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(router: &Router, name: &str, payload: &'static str) -> Result<Bytes, JobError> {
        ganger_rt::block_on(router.run_once(name, payload))
    }

    fn kind(result: Result<Bytes, JobError>) -> String {
        match result {
            Err(JobError::Retry { failure, .. }) => format!("retry {}", failure.kind),
            Err(JobError::Dead { failure }) => format!("dead {}", failure.kind),
            Err(JobError::Release { after }) => format!("release {after:?}"),
            Ok(output) => format!("ok {output:?}"),
        }
    }

    #[test]
    fn typed_handlers_read_and_write_json() {
        async fn add((a, b): (u32, u32), _: Ctx) -> Result<u32, JobError> {
            a.checked_add(b).ok_or_else(|| JobError::retry("overflow", "too large"))
        }
        let router = Router::new().handle("add", add);
        assert_eq!(run(&router, "add", "[2, 3]").unwrap(), "5");
        assert_eq!(kind(run(&router, "add", "[4294967295, 1]")), "retry overflow");
        assert_eq!(kind(run(&router, "add", "nonsense")), "dead bad-payload");
    }

    #[test]
    fn panic_is_a_crash_and_carries_its_text() {
        async fn fail(_: (), _: Ctx) -> Result<(), JobError> {
            panic!("out of {}", "luck")
        }
        fn fail_too(_: (), _: Ctx) -> Result<(), JobError> {
            panic!("same here")
        }
        let router = Router::new().handle("fail", fail).blocking("fail-too", fail_too);
        let dead = |text| Err(JobError::dead("panic", text));
        assert_eq!(run(&router, "fail", "null"), dead("out of luck"));
        assert_eq!(run(&router, "fail-too", "null"), dead("same here"));
    }

    #[test]
    fn any_error_becomes_a_retry_with_its_causes() {
        async fn open(path: String, _: Ctx) -> Result<u64, JobError> {
            Ok(std::fs::metadata(path)?.len())
        }
        let router = Router::new().handle("open", open);
        assert_eq!(kind(run(&router, "open", r#""/does/not/exist""#)), "retry error");
    }

    #[test]
    fn unknown_handler_waits_or_dies_as_the_policy_says() {
        let router = Router::new();
        assert_eq!(kind(run(&router, "other", "")), "release 5s");
        let router = router.unknown_handler(UnknownHandler::Dead);
        assert_eq!(kind(run(&router, "other", "")), "dead unknown-handler");
    }

    #[test]
    fn time_limit_drops_the_future_and_counts_as_a_failure() {
        struct Dropped(async_channel::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.try_send(());
            }
        }
        let (sender, dropped) = async_channel::bounded(1);
        let router = Router::new().handle_bytes("hang", move |_, _| {
            let guard = Dropped(sender.clone());
            async move {
                let _guard = guard;
                pending::<Result<Bytes, JobError>>().await
            }
        });
        let name = Name::new("hang").unwrap();
        let about = About {
            job: JobId { session: SessionId(0), seq: 0 },
            lease: LeaseId(0),
            queue: name.clone(),
            handler: name,
            attempt: 1,
            deadline: None,
            time_limit: Some(Duration::from_millis(1)),
        };
        let stop = Arc::new(Stop::default());
        let outcome = ganger_rt::block_on(router.attempt(about, Bytes::new(), &stop, None));
        let Some(Attempted { outcome: Outcome::Nack { failure, .. }, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(failure.kind, "timeout");
        assert!(dropped.try_recv().is_ok());
    }
}
