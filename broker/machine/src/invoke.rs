//! Calls on shared objects: judged, carried out, recorded and answered.
//!
//! Not what a method does, which is its type's, nor which objects there are (`objects`), nor what
//! happens to a call that has to wait (`waiting`).
//!
//! ```text
//!   Call ─▶ judged ─▶ carried out ─▶ changed something? ─▶ Event::Called, its answer kept ─▶ Returned
//!                         │                                       for a repetition
//!                         └─ has to wait ─▶ parked ─▶ carried out again when its turn comes
//! ```
//!
//! The record of a call is the call itself: a replay carries it out again, with the time and the
//! fencing tokens that it had, and so comes to the same answer. That is why an answer that was lost
//! with a connection, or with the broker, can be given again.

use ganger_shared::key::KeyId;
use ganger_shared::object::{Method, Takes};
use ganger_shared::{
    Block, By, CallError, Durability, LeaseId, LeaseRange, Name, Rejection, RequestId, SessionId,
    What,
};
use serde::{Deserialize, Serialize};

use crate::answers::{Answer, Results, answer};
use crate::event::Event;
use crate::machine::Machine;
use crate::numbers::Standing;
use crate::object::{self, ANSWER_BYTES_MAX, Args, Cx, Extent, Limits, Owner, Reply, Stage};
use crate::objects::{Subject, typeid_name};
use crate::output::Output;
use crate::promise::is_kept;
use crate::queue::Size;
use crate::waiting::Made;

/// The fields of a Call.
pub(crate) struct Call {
    pub(crate) request: RequestId,
    pub(crate) object: Name,
    pub(crate) typeid: Option<Name>,
    pub(crate) method: String,
    pub(crate) seq: Option<u64>,
    pub(crate) answered: u64,
    pub(crate) by: By,
    pub(crate) wait_ms: u64,
    pub(crate) args: Block,
}

/// Calls of one method that were carried out, as a journal keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// When.
    pub at: ganger_shared::Time,
    /// The key of the session.
    pub key: KeyId,
    /// Whose.
    pub session: SessionId,
    /// On whose behalf.
    pub by: By,
    /// The object.
    pub object: Name,
    /// The method.
    pub method: String,
    /// The number of the first call; none for one that is not answered yet.
    pub seq: Option<u64>,
    /// The answers to all calls below this number have come.
    pub answered: u64,
    /// How far a call that waits has come.
    pub stage: Stage,
    /// The first fencing token that it may have taken.
    pub first_token: u64,
    /// How much there could be in the object.
    pub limits: Limits,
    /// Their arguments.
    pub args: Block,
}

/// What came of calls that were carried out.
pub(crate) struct Carried {
    pub(crate) answer: Answer,
    /// Something has changed.
    pub(crate) changed: bool,
    /// The call, which was the only one, has to wait.
    pub(crate) waits: Option<object::Lane>,
    /// So many of those who wait for a word get it.
    pub(crate) told: u64,
    /// What those who watch the object see of it.
    pub(crate) whats: Vec<What>,
}

impl Machine {
    pub(crate) fn call(
        &mut self,
        session: SessionId,
        call: Call,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Some(key) = self.sessions.get(&session).map(|found| found.key) else { return Ok(()) };
        let count = call.args.count();
        if count == 0 || call.wait_ms > 0 && count > 1 {
            let what = if count == 0 {
                "a call without arguments for any"
            } else {
                "calls that wait together"
            };
            return Err(Rejection::Invalid(what.to_owned()));
        }
        self.judge_caller(session, &call.object)?;
        if self.is_about_queue(&call.object, call.typeid.as_ref()) {
            return self.call_queue(session, key, call, out);
        }
        if let Some(again) = self.judge_repeat(session, &call)? {
            answer(session, call.request, self.strongest_promise(), again, out);
            return Ok(());
        }
        if let By::Lease(lease) = call.by {
            self.judge_lease(session, lease)?;
        }
        self.judge_size(&call.args)?;
        let subject = self.subject_for_use(&call.object, call.typeid.as_ref(), out)?;
        let method = self.judge_method(subject, &call)?;
        self.judge_popped(subject, method)?;
        let promise = self.subject_durability(subject);
        if method.takes == Takes::Room {
            self.judge_call_room(promise, call.args.size_bytes() as u64)?;
        }
        let called = Called {
            at: self.now,
            key,
            session,
            by: call.by,
            object: call.object,
            method: call.method,
            seq: call.seq,
            answered: call.answered,
            stage: Stage::Made,
            first_token: self.next_lease,
            limits: self.limits(),
            args: call.args,
        };
        if method.takes == Takes::Nothing {
            let carried = self.carry_out(subject, &called);
            answer(session, call.request, promise, carried.answer, out);
            return Ok(());
        }
        let object = match subject {
            Subject::Object(object) => object,
            Subject::List(list) => {
                let carried = self.carry_out_now(subject, called, out);
                answer(session, call.request, promise, carried.answer, out);
                if carried.changed {
                    self.list_changed(list, out);
                }
                return Ok(());
            }
        };
        let until = (call.wait_ms > 0).then(|| self.now.plus_millis(call.wait_ms));
        let made = Made { request: call.request, method: method.name, until };
        self.attempt(object, made, called, out)
    }

    /// The answer to a call that was answered before.
    pub(crate) fn judge_repeat(
        &self,
        session: SessionId,
        call: &Call,
    ) -> Result<Option<Answer>, Rejection> {
        let Some(seq) = call.seq else { return Ok(None) };
        let end = seq.checked_add(u64::from(call.args.count())).ok_or_else(|| {
            Rejection::Invalid("the number of a call is beyond 2^64 - 2".to_owned())
        })?;
        let Some(found) = self.sessions.get(&session) else { return Ok(None) };
        if self.judge_numbers(session, seq, end)? == Standing::Used {
            let forgotten = || {
                Rejection::Conflict(format!("call {seq} was answered, and the answer forgotten"))
            };
            return found.answers.find(seq).cloned().map(Some).ok_or_else(forgotten);
        }
        let limit = self.config.calls_per_session_max;
        if found.answers.len() >= limit && found.answers.count_from(call.answered) >= limit {
            let what = "answers that the session has not said to have come".to_owned();
            return Err(Rejection::TooMany { what, limit: limit as u64 });
        }
        if found.waiting_seqs.contains(&seq) {
            return Err(Rejection::Conflict(format!("call {seq} waits already")));
        }
        Ok(None)
    }

    pub(crate) fn judge_lease(&self, session: SessionId, lease: LeaseId) -> Result<(), Rejection> {
        if self.held_within(session, LeaseRange::one(lease)).is_empty() {
            return Err(Rejection::LeaseLost { lease });
        }
        Ok(())
    }

    fn judge_method(&self, subject: Subject, call: &Call) -> Result<&'static Method, Rejection> {
        let method = self.method_of(subject, &call.method)?;
        if method.takes != Takes::Nothing && call.seq.is_none() {
            let name = method.name;
            return Err(Rejection::Invalid(format!("{name} changes the object: number the call")));
        }
        Ok(method)
    }

    /// Whether a method can be called together with the end of a job.
    pub(crate) fn judge_effect(
        &self,
        subject: Subject,
        method: &str,
        bytes: u64,
    ) -> Result<(), Rejection> {
        let method = self.method_of(subject, method)?;
        self.judge_popped(subject, method)?;
        if method.takes == Takes::Room {
            self.judge_call_room(self.subject_durability(subject), bytes)?;
        }
        Ok(())
    }

    fn method_of(&self, subject: Subject, name: &str) -> Result<&'static Method, Rejection> {
        self.method_named(self.subject_typeid(subject), self.subject_name(subject), name)
    }

    /// The method of a type, if clients may call it on this object.
    pub(crate) fn method_named(
        &self,
        typeid: &str,
        object: &Name,
        name: &str,
    ) -> Result<&'static Method, Rejection> {
        let registry = &self.config.registry;
        let methods = registry.find(typeid).map_or(&[][..], |found| found.methods);
        let found = methods.iter().find(|method| method.name == name);
        let found = found.filter(|method| registry.exposes(object, method.name));
        found.ok_or_else(|| self.no_method(typeid, object, name))
    }

    /// Something of this name and type has no such method for clients.
    pub(crate) fn no_method(&self, typeid: &str, object: &Name, method: &str) -> Rejection {
        let registry = &self.config.registry;
        let methods = registry.find(typeid).map_or(&[][..], |found| found.methods).iter();
        let names = methods.map(|method| method.name);
        let may = names.filter(|name| registry.exposes(object, name)).map(str::to_owned);
        let (typeid, method) = (typeid_name(typeid), method.to_owned());
        Rejection::NoMethod { typeid, method, methods: may.collect() }
    }

    /// Whether positions in a list mean what they say: what was popped from it and not confirmed may come
    /// back, and the journal has it there still.
    fn judge_popped(&self, subject: Subject, method: &Method) -> Result<(), Rejection> {
        let Subject::List(list) = subject else { return Ok(()) };
        let list = &self.lists[list.0];
        if list.unconfirmed == 0 || matches!(method.takes, Takes::Nothing) || method.appends() {
            return Ok(());
        }
        Err(Rejection::Conflict(format!(
            "{} items of list {} are popped and not confirmed; {} it once they are",
            list.unconfirmed, list.name, method.name
        )))
    }

    fn judge_call_room(&self, durability: Durability, bytes: u64) -> Result<(), Rejection> {
        if self.bytes + bytes > self.config.memory_bytes_max {
            let limit = self.config.memory_bytes_max;
            return Err(Rejection::MemoryFull { used: self.bytes, limit });
        }
        self.judge_storage(durability, Size { jobs: 0, bytes })
    }

    pub(crate) const fn limits(&self) -> Limits {
        Limits { items_max: self.config.list_items_max, bytes_max: self.config.list_bytes_max }
    }

    /// Carries calls out and records what they have changed.
    pub(crate) fn carry_out_now(
        &mut self,
        subject: Subject,
        called: Called,
        out: &mut Output,
    ) -> Carried {
        let carried = self.carry_out(subject, &called);
        let mut carried = carried;
        if carried.changed {
            self.called(subject, called, &mut carried, out);
        }
        carried
    }

    /// Carries calls out, one after the other, on the object as it is.
    pub(crate) fn carry_out(&mut self, subject: Subject, called: &Called) -> Carried {
        // Not the machine's next one: a replay may have begun above what it repeats. And not the machine's
        // limits: they may have been others when the call was made.
        let mut next_token = called.first_token;
        let owner = Owner { session: called.session, by: called.by };
        let (kind, waiting): (&mut dyn object::Callable, u64) = match subject {
            Subject::Object(key) => {
                let object = &mut self.objects[key.0];
                (&mut *object.kind, object.waiters.for_word())
            }
            Subject::List(key) => (&mut self.lists[key.0], 0),
        };
        let before = kind.extent();
        let count = called.args.count();
        let mut cx = context(called.at, owner, called.stage, &mut next_token, called.limits);
        cx.is_alone = count == 1;
        let (mut changed, mut told) = (false, 0);
        let (mut waits, mut errors) = (None, Vec::new());
        let mut results = Results::new(count);
        for (index, args) in (0..).zip(called.args.iter()) {
            if results.size_bytes() > ANSWER_BYTES_MAX {
                let reason = "the answers before this one fill the frame; call it again";
                errors.push((index, CallError::Value(reason.to_owned())));
                results.push(&[]);
                continue;
            }
            (cx.changed, cx.told, cx.waiting) = (false, 0, waiting.saturating_sub(told));
            let seen = cx.whats.len();
            let mut reply = kind.call(&called.method, Args::new(args.clone()), &mut cx);
            if !cx.is_alone && matches!(reply, Ok(Reply::Wait(_))) {
                // Only a call that is alone in its frame can wait.
                cx.stage = Stage::TimedOut;
                reply = kind.call(&called.method, Args::new(args), &mut cx);
                cx.stage = called.stage;
            }
            changed |= cx.changed;
            told += cx.told;
            match reply {
                Ok(Reply::None) => results.push(&[]),
                Ok(Reply::Value(value)) => results.push(value.as_bytes()),
                Ok(Reply::Wait(lane)) => {
                    waits = Some(lane);
                    results.push(&[]);
                }
                Err(error) => {
                    cx.whats.truncate(seen);
                    errors.push((index, error));
                    results.push(&[]);
                }
            }
        }
        let whats = cx.whats;
        let after = kind.extent();
        self.next_lease = self.next_lease.max(next_token);
        self.count_extent(before, after);
        let answer = Answer { results: results.finish(), errors };
        Carried { answer, changed, waits, told, whats }
    }

    pub(crate) fn callable(&mut self, subject: Subject) -> &mut dyn object::Callable {
        match subject {
            Subject::Object(key) => &mut *self.objects[key.0].kind,
            Subject::List(key) => &mut self.lists[key.0],
        }
    }

    pub(crate) fn count_extent(&mut self, before: Extent, after: Extent) {
        self.bytes = self.bytes + after.bytes - before.bytes;
    }

    /// Records calls that have changed something: for the journal, if the object must survive, and for
    /// whoever asks again.
    pub(crate) fn called(
        &mut self,
        subject: Subject,
        called: Called,
        carried: &mut Carried,
        out: &mut Output,
    ) {
        let bytes = called.args.size_bytes() as u64;
        let is_kept = is_kept(self.subject_durability(subject));
        self.note_called(subject, &called, carried, is_kept);
        if is_kept {
            let event = Event::Called(Box::new(called));
            self.keep_name(&event, out);
            self.take_room(Size { jobs: 0, bytes });
            out.journal.push(event);
        }
        self.serve_watchers(subject, out);
    }

    /// Keeps an answer for whoever asks again, and forgets those that have come.
    pub(crate) fn remember(
        &mut self,
        (session, key): (SessionId, KeyId),
        (seq, answered): (Option<u64>, u64),
        answer: &Answer,
        is_kept: bool,
    ) {
        let session = self.session_of(session, key);
        let forgotten = session.answers.forget(answered, is_kept);
        let mut remembered = 0;
        if let Some(seq) = seq {
            session.take_numbers(seq, seq + u64::from(answer.results.count()), is_kept);
            remembered = answer.size_bytes();
            let answers =
                if is_kept { &mut session.answers.kept } else { &mut session.answers.passing };
            answers.insert(seq, answer.clone());
        }
        self.bytes = self.bytes + remembered - forgotten;
    }

    /// What calls that have changed something mean for the object and the session.
    pub(crate) fn note_called(
        &mut self,
        subject: Subject,
        called: &Called,
        carried: &mut Carried,
        is_kept: bool,
    ) {
        let caller = (called.session, called.key);
        self.remember(caller, (called.seq, called.answered), &carried.answer, is_kept);
        let whats = core::mem::take(&mut carried.whats);
        match subject {
            Subject::Object(key) => {
                let object = &mut self.objects[key.0];
                object.revision += 1;
                self.remember_changes(key, whats);
                self.note_holder(key, Owner { session: called.session, by: called.by });
                self.note_deadline(key);
            }
            Subject::List(key) => self.note_list_changes(key, 1, whats),
        }
        self.note_number(&called.object);
        self.note_references(&called.object, &called.args);
    }
}

pub(crate) fn context(
    now: ganger_shared::Time,
    owner: Owner,
    stage: Stage,
    next_token: &mut u64,
    limits: Limits,
) -> Cx<'_> {
    Cx {
        now,
        owner,
        stage,
        next_token,
        limits,
        is_alone: true,
        waiting: 0,
        told: 0,
        changed: false,
        whats: Vec::new(),
    }
}
