//! What a handler has happen together with the end of its job.
//!
//! Not when that is: [`Worker`](crate::Worker) sends it once the handler has returned.

use std::fmt;

use bytes::Bytes;
use ganger_shared::{Block, Effect, JobOptions, Value, value};
use serde::{Serialize, Serializer};

use crate::client::IntoName;
use crate::ctx::Ctx;
use crate::error::{Error, sentence};
use crate::submit::{One, Submit};

/// A job's output, and what is to happen with it: made by [`Ctx::finish`] and returned by the handler as
/// if it were the output.
///
/// Nothing is visible before the broker has ended the job, and then all of it is. If the lease was lost
/// nothing happens. If one effect cannot be had, none happens, and the attempt has failed with kind
/// `effect-refused`.
///
/// ```
/// use ganger_worker::{Ctx, Done, JobError};
///
/// async fn render(page: u32, ctx: Ctx) -> Result<Done<String>, JobError> {
///     Ok(ctx
///         .finish(format!("page-{page}.png"))
///         .append("pages.done", &page)
///         .incr("pages.rendered", 1)
///         .set("pages.by", &page, &"this worker"))
/// }
/// ```
#[must_use = "return it from the handler; else it counts for nothing"]
pub struct Done<U> {
    output: U,
    ctx: Ctx,
}

/// Effects as they are collected, and the first mistake among them.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) list: Vec<Effect>,
    pub(crate) mistake: Option<String>,
}

impl<U: fmt::Debug> fmt::Debug for Done<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("output", &self.output).field("ctx", &self.ctx).finish()
    }
}

impl Ctx {
    /// Begins the end of the job with this output. What an earlier call has collected is forgotten.
    pub fn finish<U>(&self, output: U) -> Done<U> {
        *self.effects() = Effects::default();
        Done { output, ctx: self.clone() }
    }
}

impl<U> Done<U> {
    /// Appends an item to a list.
    pub fn append<T: Serialize + ?Sized>(self, list: impl IntoName, item: &T) -> Self {
        self.call_of(list, "list/1", "append", || Ok(vec![value::to_value(item)?]))
    }

    /// Adds to a counter.
    pub fn incr(self, counter: impl IntoName, by: i64) -> Self {
        self.call_of(counter, "counter/1", "add", || Ok(vec![by.into()]))
    }

    /// Sets a key of a dict.
    pub fn set<K, V>(self, dict: impl IntoName, key: &K, value: &V) -> Self
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        let args = || Ok(vec![value::to_value(key)?, value::to_value(value)?]);
        self.call_of(dict, "dict/1", "set", args)
    }

    /// Sets a key of a dict if it is at `revision`, or with 0 if it is not there; otherwise nothing of
    /// all this happens.
    pub fn compare_and_set<K, V>(
        self,
        dict: impl IntoName,
        key: &K,
        revision: u64,
        value: &V,
    ) -> Self
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        let args = || Ok(vec![value::to_value(key)?, revision.into(), value::to_value(value)?]);
        self.call_of(dict, "dict/1", "compare_and_set", args)
    }

    /// Adds an item to a set.
    pub fn add<T: Serialize + ?Sized>(self, set: impl IntoName, item: &T) -> Self {
        self.call_of(set, "set/1", "add", || Ok(vec![value::to_value(item)?]))
    }

    /// Releases a lock or a unit of a semaphore that the job has acquired.
    pub fn release(self, object: impl IntoName) -> Self {
        self.call(object, "release", &[])
    }

    /// Calls a method of an object that exists: one that `docs/objects.md` says can be an effect.
    pub fn call(self, object: impl IntoName, method: &str, args: &[Value]) -> Self {
        let effect = effect(object, None, method, args);
        self.push(effect)
    }

    /// Puts an item into a queue, as [`typed_queue`](crate::Objects::typed_queue) puts it.
    pub fn put<T: Serialize + ?Sized>(self, queue: impl IntoName, item: &T) -> Self {
        let effect = put(queue, item);
        self.push(effect)
    }

    /// Submits a job, as `client.submit(…)` and its options describe it. It is not waited for.
    pub fn submit(self, job: Submit<One>) -> Self {
        let effect = job.into_effect();
        self.push(effect)
    }

    fn call_of(
        self,
        object: impl IntoName,
        typeid: &str,
        method: &str,
        args: impl FnOnce() -> Result<Vec<Value>, Error>,
    ) -> Self {
        let effect = args().and_then(|args| effect(object, Some(typeid), method, &args));
        self.push(effect)
    }

    fn push(self, effect: Result<Effect, Error>) -> Self {
        let mut effects = self.ctx.effects();
        match effect {
            Ok(effect) => effects.list.push(effect),
            Err(error) => {
                effects.mistake.get_or_insert_with(|| sentence(&error));
            }
        }
        drop(effects);
        self
    }
}

/// Calls of queues have no effects that could be taken back; a put is the submit that it comes to.
fn put<T: Serialize + ?Sized>(queue: impl IntoName, item: &T) -> Result<Effect, Error> {
    let payloads = Block::one(crate::object::encoded(&[value::to_value(item)?])?);
    let (queue, options) = (queue.into_name()?, JobOptions::item());
    Ok(Effect::Submit { queue, first_seq: 0, options, payloads })
}

fn effect(
    object: impl IntoName,
    typeid: Option<&str>,
    method: &str,
    args: &[Value],
) -> Result<Effect, Error> {
    Ok(Effect::Call {
        object: object.into_name()?,
        typeid: typeid.map(IntoName::into_name).transpose()?,
        method: method.to_owned(),
        args: crate::object::encoded(args)?,
    })
}

impl<U: Serialize> Serialize for Done<U> {
    /// As the output.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.output.serialize(serializer)
    }
}

impl<U: Into<Self>> From<Done<U>> for Bytes {
    /// The output.
    fn from(done: Done<U>) -> Self {
        done.output.into()
    }
}
