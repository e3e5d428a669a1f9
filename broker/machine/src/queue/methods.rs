//! `queue/1`: a job queue as a plain queue of values, which callers put in and get.
//!
//! Not who waits, which is [`super::callers`]', nor how jobs come to workers, which is
//! [`crate::dispatch`]'s: an item is a job like any other, so workers can have what callers put, and
//! callers what was submitted.
//!
//! ```text
//!   put ─▶ Event::Submitted ─▶ a job of handler `ganger/item` ──▶ a worker leases and settles it
//!                                  │
//!                                  └─ get ─▶ Did::Took: the job is done, its item the answer
//!                                               └─ task_done ─▶ Did::Done
//! ```
//!
//! The number of a put is that of its job, so a repeated one is known as a repeated submit is. The other
//! methods that change something are records of their own, which carry the answer: at a replay the
//! payload of a deep backlog is not in memory.

use bytes::Bytes;
use ganger_shared::key::KeyId;
use ganger_shared::object::{Method, Takes};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, By, CallError, Ending, JobId, JobOptions, JobRange, Name, Packed, Rejection, RequestId,
    Response, SessionId, Time, object,
};
use serde::{Deserialize, Serialize};

use super::callers::{Caller, Wish};
use super::{Counts, Put, QueueKey, WaitingSubmit};
use crate::answers::{Answer, Results, answer, failed};
use crate::event::Event;
use crate::invoke::Call;
use crate::list::value_of_string;
use crate::machine::{Machine, reject};
use crate::numbers::Standing;
use crate::object::Args;
use crate::objects::{Use, typeid_name};
use crate::output::Output;
use crate::promise::is_kept;
use crate::queue::Size;
use crate::run::RunKey;
use crate::submit::{Decision, Submit};

pub(crate) const TYPEID: &str = object::QUEUE;

/// A call that has changed a queue otherwise than by putting something in, as a journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCalled {
    /// When.
    pub at: Time,
    /// The key of the session.
    pub key: KeyId,
    /// Whose.
    pub session: SessionId,
    /// The queue.
    pub queue: Name,
    /// The number of the call.
    pub seq: u64,
    /// The answers to all calls below this number have come.
    pub answered: u64,
    /// What it has done.
    pub did: Did,
}

/// What a call has done with a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Did {
    /// It took an item.
    Took {
        /// The job that had it.
        job: JobId,
        /// It, as a value.
        item: Packed,
    },
    /// It said that an item which was taken is done.
    Done,
    /// It shut the queue down.
    ShutDown,
}

/// The answer to one call that returns a value.
pub(crate) fn value(value: impl Into<Packed>) -> Answer {
    Answer { results: Block::one(value.into().as_bytes().clone()), errors: Vec::new() }
}

/// The answer to calls that return nothing.
fn nothing(count: u32) -> Answer {
    Answer { results: Block::empties(count), errors: Vec::new() }
}

impl Machine {
    /// Answers with the queue of this name, which is made if there is none.
    pub(crate) fn use_queue(
        &mut self,
        session: SessionId,
        wanted: Use,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Use { request, object, args, durability, .. } = wanted;
        let found = object.as_ref().and_then(|name| self.queue_names.get(name).copied());
        let queue = match found {
            Some(queue) => {
                self.note_used(&self.queues[queue.0].name.clone());
                queue
            }
            None => {
                self.judge_new_object(object.as_ref())?;
                self.make_queue(object, args, durability, out)?
            }
        };
        let (name, promise) = (self.queues[queue.0].name.clone(), self.promise(queue));
        let is_new = found.is_none();
        out.promise(
            session,
            promise,
            Response::Using { request, object: name, durability: promise, is_new },
        );
        Ok(())
    }

    /// Makes a queue that holds as many items as `args` say.
    pub(crate) fn make_queue(
        &mut self,
        name: Option<Name>,
        args: Bytes,
        durability: Option<ganger_shared::Durability>,
        out: &mut Output,
    ) -> Result<QueueKey, Rejection> {
        let mut settings = self.config.queue_defaults.clone();
        settings.durability = durability.unwrap_or(settings.durability);
        let mut args = Args::new(args);
        let items_max = args.count_or(0).and_then(|count| args.end().map(|()| count));
        match items_max.map_err(|error| {
            Rejection::Invalid(format!("no {TYPEID} can be made with that: {error}"))
        })? {
            0 => {}
            items_max => settings.jobs_max = items_max,
        }
        let name = self.name_for_use(name, TYPEID)?;
        self.judge_count("queues", self.queues.len())?;
        self.judge_durability(settings.durability)?;
        self.happen(Event::QueueSet { queue: name.clone(), settings }, out);
        self.queue_key(&name)
    }

    /// Whether a call with this type, if it says one, is about a queue.
    pub(crate) fn is_about_queue(&self, name: &Name, typeid: Option<&Name>) -> bool {
        match typeid {
            Some(typeid) => typeid.as_str() == TYPEID,
            None => self.subject(name).is_none() && self.queue_names.contains_key(name),
        }
    }

    /// Carries out calls of a method of a queue.
    ///
    /// Of the methods that change something only puts can be several in a frame: all are accepted, or
    /// none is.
    pub(crate) fn call_queue(
        &mut self,
        session: SessionId,
        key: KeyId,
        call: Call,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let method = self.queue_method(&call)?;
        let is_put = matches!(method.name, "put" | "put_nowait");
        let again = if is_put {
            self.judge_put_again(session, &call)?
        } else {
            self.judge_repeat(session, &call)?
        };
        if let Some(again) = again {
            answer(session, call.request, self.strongest_promise(), again, out);
            return Ok(());
        }
        if let By::Lease(lease) = call.by {
            self.judge_lease(session, lease)?;
        }
        self.judge_size(&call.args)?;
        let count = call.args.count();
        if count > 1 && method.takes != Takes::Nothing && !is_put {
            let name = method.name;
            return Err(Rejection::Invalid(format!("{count} calls of {name} together; make one")));
        }
        let queue = match self.queue_names.get(&call.object) {
            Some(&queue) => {
                self.note_used(&call.object);
                queue
            }
            None => {
                self.judge_new_object(Some(&call.object))?;
                self.make_queue(Some(call.object.clone()), Bytes::new(), None, out)?
            }
        };
        if is_put {
            return self.put(session, queue, method, call, out);
        }
        if method.takes == Takes::Nothing {
            let told = self.read_queue(queue, &call);
            answer(session, call.request, self.promise(queue), told, out);
            return Ok(());
        }
        let done = self.change_queue((session, key), queue, method, &call, out)?;
        if let Some(told) = done {
            answer(session, call.request, self.promise(queue), told, out);
        }
        Ok(())
    }

    fn queue_method(&self, call: &Call) -> Result<&'static Method, Rejection> {
        let method = self.method_named(TYPEID, &call.object, &call.method)?;
        if method.takes != Takes::Nothing && call.seq.is_none() {
            let name = method.name;
            return Err(Rejection::Invalid(format!("{name} changes the object: number the call")));
        }
        Ok(method)
    }

    /// The answer to a put that was accepted before: its number, which is its job's, tells it.
    fn judge_put_again(
        &self,
        session: SessionId,
        call: &Call,
    ) -> Result<Option<Answer>, Rejection> {
        let (seq, count) = (call.seq.unwrap_or_default(), call.args.count());
        let end = seq.checked_add(u64::from(count)).ok_or_else(|| {
            Rejection::Invalid("the number of a call is beyond 2^64 - 2".to_owned())
        })?;
        if self.judge_numbers(session, seq, end)? == Standing::Used {
            return Ok(Some(nothing(count)));
        }
        if self.sessions.get(&session).is_some_and(|found| found.waiting_seqs.contains(&seq)) {
            return Err(Rejection::Conflict(format!("call {seq} waits already")));
        }
        Ok(None)
    }

    /// Has jobs submitted, each with the value that one call brings.
    fn put(
        &mut self,
        session: SessionId,
        queue: QueueKey,
        method: &Method,
        call: Call,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let (request, count) = (call.request, call.args.count());
        let promise = self.promise(queue);
        let first = JobId { session, seq: call.seq.unwrap_or_default() };
        let jobs = JobRange { first, count };
        let wrong: Vec<(u32, CallError)> = (0..)
            .zip(call.args.iter())
            .filter_map(|(place, args)| {
                let mut args = Args::new(args);
                let error = args.value().and_then(|_| args.end()).err()?;
                Some((place, error))
            })
            .collect();
        if let Some((_, error)) = wrong.first() {
            let told = if count == 1 {
                failed(error.clone(), 1)
            } else {
                let why = format!("nothing was put, for call {} says: {error}", wrong[0].0);
                failed(CallError::Value(why), count)
            };
            answer(session, request, promise, told, out);
            return Ok(());
        }
        if self.queues[queue.0].is_shut_down {
            answer(session, request, promise, failed(CallError::ShutDown, count), out);
            return Ok(());
        }
        let waits = call.wait_ms > 0 && method.name == "put";
        let submit = Submit {
            session,
            request,
            queue: call.object,
            first_seq: first.seq,
            options: JobOptions::item(),
            payloads: call.args,
            when_full: if waits { WhenFull::Wait } else { WhenFull::Refuse },
            notify: Notify::No,
            prerequisites: Vec::new(),
        };
        match self.decide_submit(&submit, jobs) {
            Ok(Decision::Repeat) => {
                answer(session, request, self.strongest_promise(), nothing(count), out);
            }
            Ok(decision @ (Decision::Accept | Decision::Park)) => {
                let until = self.now.plus_millis(call.wait_ms);
                let put = Some(Put { by: call.by, until });
                let Submit { options, payloads, notify, prerequisites, .. } = submit;
                let submit =
                    WaitingSubmit { request, jobs, options, payloads, notify, prerequisites, put };
                match decision {
                    Decision::Park => self.park_submit(queue, submit),
                    Decision::Accept | Decision::Repeat => self.accept(queue, submit, out),
                }
            }
            Err(Rejection::QueueFull { used, limit, unit, .. }) => {
                answer(session, request, promise, failed(full(used, limit, &unit), count), out);
            }
            Err(rejection) => return Err(rejection),
        }
        Ok(())
    }

    /// Answers a put that was accepted.
    pub(crate) fn was_put(
        &self,
        queue: QueueKey,
        (session, request): (SessionId, RequestId),
        count: u32,
        out: &mut Output,
    ) {
        answer(session, request, self.promise(queue), nothing(count), out);
    }

    /// The time of a put that waits is up.
    pub(crate) fn put_timed_out(&mut self, queue: QueueKey, job: JobId, out: &mut Output) {
        let is_it = |submit: &WaitingSubmit| submit.put.is_some() && submit.jobs.first == job;
        let Some(at) = self.queues[queue.0].submits.iter().position(is_it) else { return };
        let Some(submit) = self.queues[queue.0].submits.remove(at) else { return };
        self.forget_parked(queue, &submit);
        let (found, more) = (&self.queues[queue.0], Size::of(&submit.payloads));
        let passed = found.size().bound_passed(more, &found.settings);
        // What has no bound of the queue to wait for waits for memory, or behind others that do.
        let (used, limit, unit) =
            passed.unwrap_or((self.bytes, self.config.memory_bytes_max, "bytes in memory"));
        let told = failed(full(used, limit, unit), submit.jobs.count);
        answer(submit.jobs.first.session, submit.request, self.promise(queue), told, out);
        // It may have been in the way of those behind it.
        self.admit_waiting(queue, out);
    }

    fn read_queue(&self, queue: QueueKey, call: &Call) -> Answer {
        let mut results = Results::new(call.args.count());
        let mut errors = Vec::new();
        for (place, args) in (0..).zip(call.args.iter()) {
            match Args::new(args).end() {
                Ok(()) => results.push(self.queues[queue.0].read(&call.method).as_bytes()),
                Err(error) => {
                    errors.push((place, error));
                    results.push(&[]);
                }
            }
        }
        Answer { results: results.finish(), errors }
    }

    /// Carries out the single call of a method; there is no answer yet if it waits.
    fn change_queue(
        &mut self,
        (session, key): (SessionId, KeyId),
        queue: QueueKey,
        method: &Method,
        call: &Call,
        out: &mut Output,
    ) -> Result<Option<Answer>, Rejection> {
        let mut args = Args::new(call.args.get(0));
        let is_immediate = match method.name {
            "shutdown" => args.flag(),
            _ => Ok(false),
        };
        let is_immediate = match is_immediate.and_then(|flag| args.end().map(|()| flag)) {
            Ok(flag) => flag,
            Err(error) => return Ok(Some(failed(error, 1))),
        };
        let found = &self.queues[queue.0];
        let until = (call.wait_ms > 0).then(|| self.now.plus_millis(call.wait_ms));
        let seq = call.seq.unwrap_or_default();
        let Call { request, by, answered, .. } = *call;
        let caller = Caller { session, request, by, seq, answered, until };
        let did = match method.name {
            "get" | "get_nowait" => {
                let until = until.filter(|_| method.name == "get");
                return self.get(queue, Caller { until, ..caller });
            }
            "join" if found.unfinished() == 0 => return Ok(Some(value(true))),
            "join" if until.is_none() => return Ok(Some(value(false))),
            "join" => {
                self.judge_calls(session, None)?;
                self.have_wait(queue, Wish::Done, caller);
                return Ok(None);
            }
            "task_done" if found.taken == 0 => {
                let why = "task_done was called more often than items were taken".to_owned();
                return Ok(Some(failed(CallError::Value(why), 1)));
            }
            "task_done" => Did::Done,
            "shutdown" => Did::ShutDown,
            _ => return Ok(Some(failed(crate::object::no_method(TYPEID, method.name), 1))),
        };
        let is_over = did == Did::ShutDown;
        let (at, queue_name) = (self.now, found.name.clone());
        let called = QueueCalled { at, key, session, queue: queue_name, seq, answered, did };
        self.happen(Event::QueueCalled(Box::new(called)), out);
        self.awake.insert(queue);
        if is_over {
            let refusal = shut_down(&self.queues[queue.0].name);
            self.refuse_waiting(queue, &CallError::ShutDown, &refusal, out);
        }
        if is_immediate {
            self.purge(queue, out);
        }
        Ok(Some(nothing(1)))
    }

    /// Has the caller take the next item, at its turn; or says that there is none.
    fn get(&mut self, queue: QueueKey, caller: Caller) -> Result<Option<Answer>, Rejection> {
        let found = &self.queues[queue.0];
        if found.is_used_up() {
            return Ok(Some(failed(CallError::ShutDown, 1)));
        }
        if caller.until.is_none() {
            if let Some((_, reason)) = &found.pause {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let name = &found.name;
                return Err(Rejection::Conflict(format!("queue {name} is paused{why}")));
            }
            if found.ready.next().is_none() {
                return Ok(Some(failed(CallError::Empty, 1)));
            }
        }
        self.judge_calls(caller.session, None)?;
        self.have_wait(queue, Wish::Item, caller);
        Ok(None)
    }

    /// Gives the first item of a run, which is in memory, to the caller whose turn it is.
    pub(crate) fn give(&mut self, queue: QueueKey, turn: u64, run: RunKey, out: &mut Output) {
        let Some(caller) = self.stop_waiting((queue, Wish::Item, turn)) else { return };
        let Caller { session, request, seq, answered, .. } = caller;
        let Some(key) = self.sessions.get(&session).map(|found| found.key) else { return };
        let run = &self.runs[run];
        let Some(payload) = run.payloads.loaded().map(|payloads| payloads.get(0)) else { return };
        let item = match run.options.handler.as_str() {
            object::ITEM => {
                Packed::new(payload.clone()).unwrap_or_else(|_| value_of_string(payload))
            }
            _ => value_of_string(payload),
        };
        let (at, name) = (self.now, self.queues[queue.0].name.clone());
        let did = Did::Took { job: run.jobs.first, item: item.clone() };
        let called = QueueCalled { at, key, session, queue: name, seq, answered, did };
        self.happen(Event::QueueCalled(Box::new(called)), out);
        answer(session, request, self.promise(queue), value(item), out);
    }

    pub(crate) fn apply_queue_called(&mut self, called: QueueCalled, out: &mut Output) {
        let QueueCalled { key, session, queue, seq, answered, did, .. } = called;
        let Some(&queue) = self.queue_names.get(&queue) else { return };
        let told = match did {
            Did::Took { job, item } => {
                for run in self.isolate(JobRange::one(job)) {
                    let run = self.take(run);
                    let found = &mut self.queues[queue.0];
                    found.taken += 1;
                    found.totals.acked += 1;
                    self.finish(run, Ending::Acked { outputs: Block::empties(1) }, out);
                }
                value(item)
            }
            Did::Done => {
                let taken = &mut self.queues[queue.0].taken;
                *taken = taken.saturating_sub(1);
                nothing(1)
            }
            Did::ShutDown => {
                self.queues[queue.0].is_shut_down = true;
                nothing(1)
            }
        };
        let is_kept = is_kept(self.promise(queue));
        self.remember((session, key), (Some(seq), answered), &told, is_kept);
    }

    /// Refuses what waits to be put into a queue, or submitted to it.
    pub(crate) fn refuse_waiting(
        &mut self,
        queue: QueueKey,
        put: &CallError,
        submitted: &Rejection,
        out: &mut Output,
    ) {
        while let Some(submit) = self.queues[queue.0].submits.pop_front() {
            self.forget_parked(queue, &submit);
            let (session, request) = (submit.jobs.first.session, submit.request);
            if submit.put.is_some() {
                let told = failed(put.clone(), submit.jobs.count);
                answer(session, request, self.promise(queue), told, out);
            } else {
                reject(session, request, Err(submitted.clone()), out);
            }
        }
    }
}

/// The refusal of a submit to a queue that was shut down.
pub(crate) fn shut_down(queue: &Name) -> Rejection {
    Rejection::Conflict(format!(
        "queue {queue} was shut down; resume it to have it take jobs again"
    ))
}

fn full(used: u64, limit: u64, unit: &str) -> CallError {
    let unit = if unit == "jobs" { "items" } else { unit };
    CallError::Full { used, limit, unit: unit.to_owned() }
}

impl super::Queue {
    /// What is put in or taken out and not done: jobs that wait or run, and items that callers have.
    pub(crate) const fn unfinished(&self) -> u64 {
        let Counts { ready, delayed, held, leased, dead: _ } = self.counts;
        ready + delayed + held + leased + self.taken
    }

    /// Whether nobody will get anything from it.
    pub(crate) const fn is_used_up(&self) -> bool {
        let Counts { ready, delayed, held, .. } = self.counts;
        self.is_shut_down && ready + delayed + held == 0
    }

    /// What a method that reads returns.
    fn read(&self, method: &str) -> Packed {
        let ready = self.counts.ready - self.ready.held_back();
        let (size, settings) = (self.size(), &self.settings);
        match method {
            "len" => ready.into(),
            "empty" => (ready == 0).into(),
            "full" => (size.jobs >= settings.jobs_max || size.bytes >= settings.bytes_max).into(),
            "maxsize" => settings.jobs_max.into(),
            "unfinished" => self.unfinished().into(),
            "is_shut_down" => self.is_shut_down.into(),
            _ => Packed::none(),
        }
    }
}

/// The name of the type.
pub(crate) fn typeid() -> Name {
    typeid_name(TYPEID)
}
