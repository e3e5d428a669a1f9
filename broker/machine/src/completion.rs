//! The end of a job with effects: all of them happen in one step with it, or none and the job goes on.
//!
//! Not the end without effects, which is [`crate::settle`]'s; that one comes last here.
//!
//! ```text
//!   judged ─▶ calls are carried out, each after a savepoint ─▶ recorded ─▶ jobs submitted ─▶ settled
//!                       │ one fails
//!                       └─▶ all go back, and the worker is told which it was
//! ```
//!
//! Records of one step are one entry of the journal, which is there as a whole or not at all.

use bytes::Bytes;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, By, CallError, Durability, Effect, JobRange, LeaseId, LeaseRange, Name, Outcome,
    Rejection, RequestId, Response, SessionId, Settlement,
};

use crate::event::Event;
use crate::invoke::{Called, Carried};
use crate::machine::Machine;
use crate::object::{Args, Owner, Savepoint, Stage};
use crate::objects::Subject;
use crate::output::Output;
use crate::queue::methods;
use crate::submit::{Decision, Submit};

/// The fields of a Finish.
pub(crate) struct Finish {
    pub(crate) request: RequestId,
    pub(crate) lease: LeaseId,
    pub(crate) output: Bytes,
    pub(crate) effects: Vec<Effect>,
}

/// A call that was carried out and can be taken back.
struct Done {
    subject: Subject,
    called: Called,
    carried: Carried,
    savepoint: Savepoint,
}

/// What an effect submits, if it does.
fn follow_up(session: SessionId, effect: &Effect) -> Option<Submit> {
    let (queue, first_seq, options, payloads, prerequisites) = match effect {
        Effect::Call { .. } => return None,
        Effect::Submit { queue, first_seq, options, payloads } => {
            (queue, first_seq, options, payloads, Vec::new())
        }
        Effect::SubmitWhen { queue, first_seq, options, payloads, prerequisites } => {
            (queue, first_seq, options, payloads, prerequisites.clone())
        }
    };
    Some(Submit {
        session,
        request: RequestId(0),
        queue: queue.clone(),
        first_seq: *first_seq,
        options: options.clone(),
        payloads: payloads.clone(),
        when_full: WhenFull::Refuse,
        notify: Notify::No,
        prerequisites,
    })
}

/// Why an effect cannot be had.
enum Refusal {
    Rejected(Rejection),
    Failed(CallError),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self::Failed(error)
    }
}

impl Machine {
    pub(crate) fn finish_job(
        &mut self,
        session: SessionId,
        finish: Finish,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Finish { request, lease, output, effects } = finish;
        let outputs = Block::one(output);
        self.judge_size(&outputs)?;
        let leases = LeaseRange::one(lease);
        let settlements = vec![Settlement { leases, outcome: Outcome::Ack { outputs } }];
        if self.held_within(session, leases).is_empty() {
            // Lost, or settled before: nothing happens.
            return self.settle(session, request, settlements, out);
        }
        let mut made = Vec::new();
        let done = self.carry_out_effects(session, lease, &effects, &mut made, out);
        let (done, promise) = match done {
            Ok(done) => done,
            Err((at, refusal)) => {
                // What was made for it is not wanted.
                for object in made {
                    self.happen(Event::ObjectRemoved { object }, out);
                }
                return Err(refused(at, &effects, refusal));
            }
        };
        let subjects: Vec<(Subject, u64)> =
            done.iter().map(|done| (done.subject, done.carried.told)).collect();
        for Done { subject, called, mut carried, .. } in done {
            if carried.changed {
                self.called(subject, called, &mut carried, out);
            }
        }
        let mut promise = promise;
        for submit in effects.iter().filter_map(|effect| follow_up(session, effect)) {
            let Some(key) = self.sessions.get(&session).map(|found| found.key) else { break };
            let jobs = submit.jobs();
            let Submit { queue, options, payloads, prerequisites, .. } = submit;
            let at = self.now;
            let durability = self.queue_names.get(&queue).map(|&key| self.promise(key));
            promise = promise.max(durability.unwrap_or(Durability::Memory));
            self.happen(Event::Submitted { at, key, queue, jobs, options, payloads }, out);
            self.hold(jobs, prerequisites, out);
        }
        let answers = out.sends.len();
        self.settle(session, request, settlements, out)?;
        for send in &mut out.sends[answers..] {
            if matches!(send.response, Response::Settled { request: of, .. } if of == request) {
                send.promise = send.promise.max(promise);
            }
        }
        for (subject, told) in subjects {
            match subject {
                Subject::Object(key) => self.serve(key, told, out),
                Subject::List(key) => self.list_changed(key, out),
            }
        }
        Ok(())
    }

    /// Carries the calls out and sees to it that the submits can be had, or changes nothing and says which
    /// effect cannot. `made` gets the objects that did not exist.
    fn carry_out_effects(
        &mut self,
        session: SessionId,
        lease: LeaseId,
        effects: &[Effect],
        made: &mut Vec<Name>,
        out: &mut Output,
    ) -> Result<(Vec<Done>, Durability), (usize, Refusal)> {
        let (mut done, mut promise) = (Vec::new(), Durability::Memory);
        let mut submits: Vec<JobRange> = Vec::new();
        for (at, effect) in effects.iter().enumerate() {
            let result = match effect {
                Effect::Call { object, typeid, method, args } => {
                    let is_new = self.subject(object).is_none();
                    let subject = self.effect_subject(object, typeid.as_ref(), out);
                    if is_new && let Ok(Subject::Object(_)) = subject {
                        made.push(object.clone());
                    }
                    subject.and_then(|subject| {
                        promise = promise.max(self.subject_durability(subject));
                        let call = (object.clone(), method.clone(), args.clone());
                        self.carry_out_effect(session, lease, subject, call)
                    })
                }
                Effect::Submit { .. } | Effect::SubmitWhen { .. } => {
                    let submit = follow_up(session, effect);
                    let judged =
                        submit.map(|submit| self.judge_follow_up(&submit, &mut submits, out));
                    judged.unwrap_or(Ok(())).map(|()| None)
                }
            };
            match result {
                Ok(Some(one)) => done.push(one),
                Ok(None) => {}
                Err(refusal) => {
                    self.go_back(done);
                    return Err((at, refusal));
                }
            }
        }
        Ok((done, promise))
    }

    fn effect_subject(
        &mut self,
        object: &Name,
        typeid: Option<&Name>,
        out: &mut Output,
    ) -> Result<Subject, Refusal> {
        if self.is_about_queue(object, typeid) {
            // A job needs a number, which only a submit brings.
            let why = format!("calls of queue {object} cannot be effects; submit a job instead");
            return Err(Refusal::Failed(CallError::Type(why)));
        }
        Ok(self.subject_for_use(object, typeid, out)?)
    }

    fn carry_out_effect(
        &mut self,
        session: SessionId,
        lease: LeaseId,
        subject: Subject,
        (object, method, args): (Name, String, Bytes),
    ) -> Result<Option<Done>, Refusal> {
        let Some(key) = self.sessions.get(&session).map(|found| found.key) else { return Ok(None) };
        let owner = Owner { session, by: By::Lease(lease) };
        self.judge_caller(session, &object)?;
        self.judge_effect(subject, &method, args.len() as u64)?;
        let kind = self.callable(subject);
        let savepoint = kind.savepoint(&method, &Args::new(args.clone()), owner);
        let called = Called {
            at: self.now,
            key,
            session,
            by: owner.by,
            object,
            method,
            seq: None,
            answered: 0,
            stage: Stage::Made,
            first_token: self.next_lease,
            limits: self.limits(),
            args: Block::one(args),
        };
        let Some(savepoint) = savepoint else {
            let Called { object, method, .. } = called;
            return Err(Refusal::Failed(CallError::Type(format!(
                "{method} of {object} cannot be an effect, or its arguments make no sense"
            ))));
        };
        let carried = self.carry_out(subject, &called);
        let error = carried.answer.errors.first().map(|(_, error)| error.clone());
        let done = Done { subject, called, carried, savepoint };
        match error {
            None => Ok(Some(done)),
            Some(error) => {
                // Only a program's own method fails and has changed something all the same.
                if done.carried.changed {
                    self.go_back(vec![done]);
                }
                Err(Refusal::Failed(error))
            }
        }
    }

    /// Takes calls back, the last one first.
    fn go_back(&mut self, done: Vec<Done>) {
        for Done { subject, savepoint, .. } in done.into_iter().rev() {
            let kind = self.callable(subject);
            let before = kind.extent();
            kind.go_back(savepoint);
            let after = kind.extent();
            self.count_extent(before, after);
        }
    }

    /// Whether jobs can be submitted together with the end of another, after those of `others`; makes
    /// their queue.
    fn judge_follow_up(
        &mut self,
        submit: &Submit,
        others: &mut Vec<JobRange>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let jobs = submit.jobs();
        self.judge_exposed(submit.session, methods::TYPEID, &submit.queue, "put")?;
        match self.decide_submit(submit, jobs)? {
            Decision::Accept => {}
            Decision::Repeat | Decision::Park => {
                let reason = format!("jobs {} and on were submitted before", jobs.first);
                return Err(Rejection::Conflict(reason).into());
            }
        }
        // Nobody has used their numbers so far.
        let overlaps = |other: &&JobRange| {
            other.first.seq < jobs.end_seq() && jobs.first.seq < other.end_seq()
        };
        if let Some(other) = others.iter().find(overlaps) {
            let (first, last) = (jobs.first.seq.max(other.first.seq), jobs.end_seq() - 1);
            return Err(Rejection::Overlap { first, last }.into());
        }
        others.push(jobs);
        self.queue_for_use(&submit.queue, out)?;
        self.make_awaited(&submit.prerequisites, out)?;
        Ok(())
    }
}

fn refused(at: usize, effects: &[Effect], refusal: Refusal) -> Rejection {
    let (reason, error) = match refusal {
        Refusal::Rejected(rejection) => (rejection.to_string(), None),
        Refusal::Failed(error) => (error.to_string(), Some(Box::new(error))),
    };
    let about = effects.get(at).map(Effect::about).unwrap_or_default();
    Rejection::Effect { effect: u32::try_from(at).unwrap_or(u32::MAX), about, reason, error }
}
