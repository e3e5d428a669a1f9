//! What a worker has happen together with the end of a job, and what jobs wait for.
//!
//! Each end with effects counts one: in the end the counter is the number of such ends. A mark is made
//! under the job, for which there is none before: one that was made without the end would be in the way
//! of the next. The output says that there were effects, so that the record knows to look for them.

use ganger_chance::Rng;
use ganger_history::{Hash, Order, Reply, Results, What};
use ganger_shared::prerequisite::{Need, OnFailure};
use ganger_shared::{
    Backoff, Block, CallError, Effect, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Name,
    Outcome, Prerequisite, Priority, Rejection, Request, ResultsTo, SessionId, Time, Value,
};

use super::{Client, Known, Will, Work, jobs as told, output, settle};
use crate::simulation::plan::Plan;
use crate::simulation::record::{COUNTER, MARKS, WITH_EFFECTS};
use crate::simulation::seen::Seen;

/// A revision that no entry ever has.
const WRONG: u64 = 1 << 40;

fn call(object: &Name, typeid: &str, method: &str, args: &[Value]) -> Effect {
    let mut bytes = Vec::new();
    args.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
    let typeid = Some(Name::new(typeid).unwrap());
    Effect::Call { object: object.clone(), typeid, method: method.to_owned(), args: bytes.into() }
}

fn mark(job: JobId, revision: u64, lease: LeaseId) -> Effect {
    let args = [job.to_string().into(), revision.into(), lease.0.into()];
    call(&Name::new(MARKS).unwrap(), "dict/1", "compare_and_set", &args)
}

/// What is submitted together with an end.
fn follow_ups(session: SessionId, effects: &[Effect]) -> impl Iterator<Item = JobRange> {
    effects.iter().filter_map(move |effect| match effect {
        Effect::Call { .. } => None,
        Effect::Submit { first_seq, payloads, .. }
        | Effect::SubmitWhen { first_seq, payloads, .. } => {
            let first = JobId { session, seq: *first_seq };
            Some(JobRange { first, count: payloads.count() })
        }
    })
}

impl Client {
    /// Ends a job with effects.
    pub(super) fn finish(
        &mut self,
        now: u64,
        lease: LeaseId,
        rng: &mut Rng,
        plan: &Plan,
    ) -> Option<Request> {
        let work = self.works.get_mut(&lease)?;
        work.settling = true;
        let (job, output) = (work.job, output(&work.payload, WITH_EFFECTS, lease));
        self.settling.insert(lease, job);
        let outcome = Outcome::Ack { outputs: Block::one(output.clone()) };
        self.notes.push(settle(job, lease, &outcome));
        let mut effects = Vec::new();
        if rng.chance(300) {
            effects.push(mark(job, 0, lease));
        }
        if rng.chance(200) {
            let item = Value::Bytes(format!("beside {lease}").into_bytes().into());
            effects.push(call(rng.pick(&plan.lists), "list/1", "append", &[item]));
        }
        if rng.chance(250) {
            effects.push(self.follow_up(now, job, rng, plan));
        }
        if rng.chance(150) {
            effects.push(mark(job, WRONG, lease));
        }
        let at = rng.below(effects.len() as u64 + 1);
        let count = call(&Name::new(COUNTER).unwrap(), "counter/1", "add", &[1.into()]);
        effects.insert(usize::try_from(at).unwrap(), count);
        let output = output.into();
        Some(self.asked(|request| Request::Finish { request, lease, output, effects }))
    }

    /// Jobs that come of a job's end, and may wait for that.
    fn follow_up(&mut self, now: u64, job: JobId, rng: &mut Rng, plan: &Plan) -> Effect {
        let options = options(now, rng, plan);
        let queue = rng.pick(&plan.queues).clone();
        let (first_seq, payloads) = self.payloads(rng.between(1..=2));
        self.note_submit(&queue, Order::Free, first_seq, &options, &payloads);
        let mut prerequisites =
            if plan.holds && rng.chance(400) { self.prerequisites(rng, plan) } else { Vec::new() };
        if plan.holds && rng.chance(200) {
            let (jobs, need, on_failure) = (vec![JobRange::one(job)], Need::All, OnFailure::Fail);
            prerequisites.push(Prerequisite::Jobs { jobs, need, on_failure });
        }
        if prerequisites.is_empty() {
            return Effect::Submit { queue, first_seq, options, payloads };
        }
        Effect::SubmitWhen { queue, first_seq, options, payloads, prerequisites }
    }

    /// Payloads under numbers that were not used, and the first of these.
    pub(super) fn payloads(&mut self, count: u64) -> (u64, Block) {
        let (session, first_seq) = (self.session, self.next_seq);
        self.next_seq += count;
        let payloads = (first_seq..self.next_seq).map(|seq| format!("{session}/{seq}"));
        (first_seq, payloads.collect::<Vec<_>>().iter().collect())
    }

    pub(super) fn note_submit(
        &mut self,
        queue: &Name,
        order: Order,
        first_seq: u64,
        options: &JobOptions,
        payloads: &Block,
    ) {
        let first = JobId { session: self.session, seq: first_seq };
        let jobs = JobRange { first, count: payloads.count() };
        self.submitted.push(jobs);
        self.notes.push(What::Submit {
            queue: queue.clone(),
            order,
            jobs: told(jobs),
            payloads: payloads.slices().map(Hash::of).collect(),
            results: match options.results {
                ResultsTo::Nowhere => Results::Dropped,
                ResultsTo::List(_) | ResultsTo::QueueList => Results::Kept,
            },
        });
    }

    /// What comes sooner or later, or never: jobs of its own before these, a number, items.
    pub(super) fn prerequisites(&self, rng: &mut Rng, plan: &Plan) -> Vec<Prerequisite> {
        let count = if rng.chance(200) { 2 } else { 1 };
        (0..count).filter_map(|_| self.prerequisite(rng, plan)).collect()
    }

    fn prerequisite(&self, rng: &mut Rng, plan: &Plan) -> Option<Prerequisite> {
        match rng.below(10) {
            0 | 1 => {
                let (object, at_least) = (Name::new(COUNTER).unwrap(), rng.between(1..=40));
                Some(Prerequisite::Counter { object, at_least: at_least.try_into().unwrap() })
            }
            2 => {
                let list = rng.pick(&plan.lists).clone();
                Some(Prerequisite::List { list, at_least: rng.between(1..=4) })
            }
            _ => {
                let recent = &self.submitted[self.submitted.len().saturating_sub(6)..];
                if recent.is_empty() {
                    return None;
                }
                let jobs = (0..rng.between(1..=3)).map(|_| *rng.pick(recent)).collect();
                let need = *rng.pick(&[Need::All, Need::Any]);
                let on_failure = *rng.pick(&[OnFailure::Fail, OnFailure::Run]);
                Some(Prerequisite::Jobs { jobs, need, on_failure })
            }
        }
    }

    /// An end with effects was answered: all of it has happened, or nothing.
    pub(super) fn finished_with(
        &mut self,
        lease: LeaseId,
        output: &[u8],
        effects: &[Effect],
        lost: &[LeaseRange],
        known: &mut Known,
        seen: &mut Seen,
    ) {
        let is_lost = lost.iter().any(|lost| (lost.first.0..lost.end()).contains(&lease.0));
        let reply = if is_lost { Reply::Fail } else { Reply::Ok };
        self.note_finished(lease, effects, reply);
        if is_lost {
            seen.hit("a late end with effects did nothing");
        } else {
            for jobs in follow_ups(self.session, effects) {
                known.accepted.extend(jobs.iter());
            }
        }
        let Some(Work { job, .. }) = self.works.remove(&lease) else { return };
        if is_lost {
            known.lost.insert(lease, job);
        } else {
            known.settled.insert(lease, (job, output.to_vec()));
        }
    }

    /// An effect cannot be had, so that the job has not ended: its worker ends it otherwise.
    pub(super) fn finish_refused(
        &mut self,
        lease: LeaseId,
        effects: &[Effect],
        rejection: &Rejection,
        rng: &mut Rng,
        seen: &mut Seen,
    ) {
        let Rejection::Effect { effect, reason, error, .. } = rejection else {
            panic!("the end under {lease} was rejected: {rejection}")
        };
        let job = self.works.get(&lease).map(|work| work.job);
        let is_wrong =
            job.is_some_and(|job| effects.get(*effect as usize) == Some(&mark(job, WRONG, lease)));
        match error.as_deref() {
            Some(CallError::Revision { .. }) => {
                assert!(is_wrong || job.is_none(), "{lease}: there was a mark: {reason}");
                seen.hit("an effect refused");
            }
            // The list is small.
            Some(CallError::Full { .. }) => {}
            Some(error) => panic!("effect {effect} under {lease}: {error}"),
            // No room, a queue that pauses, jobs to wait for that are forgotten or were refused.
            None => assert!(!reason.contains("before"), "{lease}: {reason}"),
        }
        self.note_finished(lease, effects, Reply::Fail);
        if let Some(work) = self.works.get_mut(&lease) {
            work.settling = false;
            work.refused = true;
            work.will = match rng.below(4) {
                0 => Will::Release,
                1 => Will::Crash,
                _ => Will::Nack,
            };
        }
    }

    fn note_finished(&mut self, lease: LeaseId, effects: &[Effect], reply: Reply) {
        if let Some(job) = self.settling.remove(&lease) {
            self.notes.push(What::Settled { jobs: told(JobRange::one(job)), lease, reply });
        }
        for jobs in follow_ups(self.session, effects) {
            self.notes.push(What::Submitted { jobs: told(jobs), reply });
        }
    }
}

/// How jobs are to be treated.
pub(super) fn options(now: u64, rng: &mut Rng, plan: &Plan) -> JobOptions {
    let mut options = JobOptions::new(Name::new("work").unwrap());
    if rng.chance(500) {
        options.priority = Priority::new(u8::try_from(rng.below(10)).unwrap()).unwrap();
    }
    options.retries = u32::try_from(rng.below(4)).unwrap();
    options.crash_retries = u32::try_from(rng.below(4)).unwrap();
    options.backoff = Backoff { base_ms: 100, cap_ms: 2_000 };
    if rng.chance(200) {
        options.delay_ms = rng.below(3_000);
    }
    if rng.chance(50) {
        options.ttl_ms = Some(rng.below(3_000));
    }
    if rng.chance(50) {
        options.deadline = Some(Time::from_millis(now + rng.below(5_000)));
    }
    options.results = match rng.below(4) {
        0 => ResultsTo::Nowhere,
        1 => ResultsTo::List(plan.lists[0].clone()),
        _ => ResultsTo::QueueList,
    };
    options
}
