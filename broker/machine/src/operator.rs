//! What operators ask and change. Not on the path of jobs.

use ganger_shared::admin::{
    AdminAnswer, AdminVerb, DeadWhich, HolderInfo, JobInfo, JobState, ListInfo, ObjectDetails,
    ObjectInfo, QueueInfo, QueueSettings, SessionInfo, Status, WaiterInfo,
};
use ganger_shared::limits::DEAD_ON_MAX;
use ganger_shared::{
    By, Durability, Ending, JobId, JobRange, LeaseRange, Name, Rejection, RequestId, Response,
    SessionId, Time,
};

use crate::event::{Event, Verdict};
use crate::finished::Finished;
use crate::held::Awaited;
use crate::list::{List, ListKey};
use crate::machine::Machine;
use crate::object::{ObjectKey, Owner};
use crate::objects::typeid_name;
use crate::output::Output;
use crate::queue::{Queue, QueueKey};
use crate::registry::Registration;
use crate::run::{Phase, Run, RunKey};
use crate::session::Session;
use crate::submit::not_found;

/// Bytes of a payload that are shown: 1 KiB, a screenful.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Calls that wait for one object in one answer: 1,000.
const WAITERS_SHOWN_MAX: usize = 1_000;

/// Jobs in one answer: 10,000, which keeps it far below the frame limit.
const JOBS_SHOWN_MAX: u32 = 10_000;

impl Machine {
    pub(crate) fn operate(
        &mut self,
        session: SessionId,
        request: RequestId,
        verb: AdminVerb,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let mut promise = Durability::Memory;
        let answer = match verb {
            AdminVerb::Status => AdminAnswer::Status(self.status()),
            AdminVerb::QueueList => {
                let keys = self.queue_names.values();
                AdminAnswer::Queues(keys.map(|&key| self.queue_info(key)).collect())
            }
            AdminVerb::QueueShow { queue } => {
                let key = self.queue_key(&queue)?;
                AdminAnswer::Queue(Box::new(self.queue_info(key)))
            }
            AdminVerb::QueueSet { queue, settings } => {
                promise = self.set_queue(queue, settings, out)?;
                AdminAnswer::Done { count: 1 }
            }
            AdminVerb::QueuePause { queue, pause, reason } => {
                promise = self.promise(self.queue_key(&queue)?);
                self.happen(Event::QueuePaused { queue, pause: Some((pause, reason)) }, out);
                AdminAnswer::Done { count: 1 }
            }
            AdminVerb::QueueResume { queue } => {
                promise = self.promise(self.queue_key(&queue)?);
                self.happen(Event::QueuePaused { queue, pause: None }, out);
                AdminAnswer::Done { count: 1 }
            }
            AdminVerb::QueuePurge { queue } => {
                let key = self.queue_key(&queue)?;
                promise = self.promise(key);
                AdminAnswer::Done { count: self.purge(key, out) }
            }
            AdminVerb::QueuePeek { queue, count } => {
                let queue = &self.queues[self.queue_key(&queue)?.0];
                self.shown(queue.ready.in_order(), 0, count)
            }
            AdminVerb::JobShow { job } => AdminAnswer::Jobs(vec![self.job_info(job)?]),
            AdminVerb::DeadList { queue, skip, count } => {
                let queue = &self.queues[self.queue_key(&queue)?.0];
                self.shown(queue.dead.values().copied(), skip, count)
            }
            AdminVerb::DeadRetry { which } => {
                let dead = self.dead(&which)?;
                promise = self.promise_of(&dead);
                let count = self.count(&dead);
                for jobs in self.ranges(&dead) {
                    self.happen(Event::Redriven { at: self.now, jobs }, out);
                }
                AdminAnswer::Done { count }
            }
            AdminVerb::DeadPurge { which } => {
                let dead = self.dead(&which)?;
                promise = self.promise_of(&dead);
                let count = self.count(&dead);
                for jobs in self.ranges(&dead) {
                    self.happen(Event::Forgotten { jobs }, out);
                }
                AdminAnswer::Done { count }
            }
            AdminVerb::ListList => {
                let keys = self.list_names.values();
                AdminAnswer::Lists(keys.map(|&key| self.list_info(&self.lists[key.0])).collect())
            }
            AdminVerb::ListPurge { list } => {
                let key = *self.list_names.get(&list).ok_or_else(|| not_found("list", &list))?;
                promise = self.lists[key.0].durability;
                AdminAnswer::Done { count: self.purge_list(key, out) }
            }
            AdminVerb::ListSet { list, durability } => {
                let event = self.decide_list_set(&list, durability)?;
                // One that was made before may not be safe yet.
                let made = self.list_names.get(&list).map(|list| self.lists[list.0].durability);
                promise = event
                    .iter()
                    .map(|event| self.durability_of(event))
                    .chain(made)
                    .max()
                    .unwrap_or(Durability::Memory);
                let count = u64::from(event.is_some());
                if let Some(event) = event {
                    self.happen(event, out);
                }
                AdminAnswer::Done { count }
            }
            AdminVerb::ObjectList => {
                let keys = self.object_names.values();
                AdminAnswer::Objects(keys.map(|&key| self.object_info(key)).collect())
            }
            AdminVerb::ObjectShow { object } => {
                let found = self.object_names.get(&object);
                let key = *found.ok_or_else(|| not_found("object", &object))?;
                AdminAnswer::Object(Box::new(self.object_details(key)))
            }
            AdminVerb::ObjectRemove { object } => {
                self.judge_caller(session, &object)?;
                promise = match (self.subject(&object), self.queue_names.get(&object)) {
                    (Some(found), _) => {
                        self.judge_removal(found)?;
                        let promise = self.subject_durability(found);
                        self.remove(found, out);
                        promise
                    }
                    (None, Some(&queue)) => self.remove_unused(queue, out)?,
                    (None, None) => return Err(not_found("object", &object)),
                };
                AdminAnswer::Done { count: 1 }
            }
            AdminVerb::QueueRemove { queue } => {
                self.judge_caller(session, &queue)?;
                promise = self.remove_unused(self.queue_key(&queue)?, out)?;
                AdminAnswer::Done { count: 1 }
            }
            AdminVerb::ObjectMake { object, typeid, args, durability } => {
                self.judge_caller(session, &object)?;
                let is_new =
                    self.subject(&object).is_none() && !self.queue_names.contains_key(&object);
                let registration = Registration { args, durability, ..Registration::new(typeid) };
                self.register(&object, &registration, out)?;
                // One that was made before may not be safe yet.
                promise = match self.subject(&object) {
                    Some(subject) => self.subject_durability(subject),
                    None => self.promise(self.queue_key(&object)?),
                };
                AdminAnswer::Done { count: u64::from(is_new) }
            }
            AdminVerb::SessionList => {
                let all = self.sessions.iter();
                AdminAnswer::Sessions(
                    all.map(|(&id, found)| self.session_info(id, found)).collect(),
                )
            }
        };
        out.promise(session, promise, Response::Admin { request, answer });
        Ok(())
    }

    /// Makes a queue, or changes its settings: what the broker's own configuration asks for.
    ///
    /// # Errors
    /// A [`Rejection`] if the settings cannot be had; nothing has changed then.
    pub fn configure(
        &mut self,
        queue: Name,
        settings: QueueSettings,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        self.set_queue(queue, settings, out).map(drop)
    }

    /// Makes a queue, or changes its settings; returns what an answer promises.
    fn set_queue(
        &mut self,
        queue: Name,
        settings: QueueSettings,
        out: &mut Output,
    ) -> Result<Durability, Rejection> {
        let list_follows = self.judge_queue_set(&queue, &settings)?;
        let events = list_follows.into_iter().chain([Event::QueueSet { queue, settings }]);
        let mut promise = Durability::Memory;
        for event in events {
            promise = promise.max(self.durability_of(&event));
            self.happen(event, out);
        }
        Ok(promise)
    }

    /// Whether a queue can have these settings, and what has to happen to its results list.
    fn judge_queue_set(
        &self,
        queue: &Name,
        settings: &QueueSettings,
    ) -> Result<Option<Event>, Rejection> {
        self.judge_durability(settings.durability)?;
        if settings.dead_on.len() > DEAD_ON_MAX {
            let what = "kinds of failure in dead_on".to_owned();
            return Err(Rejection::TooMany { what, limit: DEAD_ON_MAX as u64 });
        }
        if settings.lease_ms == 0 {
            return Err(Rejection::Invalid("a lease of 0 ms would end as it begins".to_owned()));
        }
        let new = settings.durability;
        match self.queue_names.get(queue).map(|key| &self.queues[key.0]) {
            None => self.judge_count("queues", self.queues.len())?,
            Some(queue) => {
                let old = queue.settings.durability;
                if old == new {
                    return Ok(None);
                }
                if queue.counts.all() > 0 {
                    return Err(Rejection::Conflict(format!(
                        "queue {} holds {} jobs under durability {old}; empty it before it becomes {new}",
                        queue.name,
                        queue.counts.all()
                    )));
                }
                if queue.taken > 0 || queue.is_shut_down {
                    // The journal would know of neither.
                    return Err(Rejection::Conflict(format!(
                        "queue {} has {} items that were taken and are not done{}; that must be over \
                         before it becomes {new}",
                        queue.name,
                        queue.taken,
                        if queue.is_shut_down { ", and is shut down" } else { "" }
                    )));
                }
            }
        }
        self.decide_results_follow(queue, new)
    }

    /// Removes a queue if that can be; returns what an answer promises.
    fn remove_unused(
        &mut self,
        queue: QueueKey,
        out: &mut Output,
    ) -> Result<Durability, Rejection> {
        self.judge_queue_removal(queue)?;
        let promise = self.promise(queue);
        self.remove_queue(queue, out);
        Ok(promise)
    }

    pub(crate) fn purge(&mut self, key: QueueKey, out: &mut Output) -> u64 {
        let waiting: Vec<RunKey> = self.queues[key.0].waiting().collect();
        let count = self.count(&waiting);
        for jobs in self.ranges(&waiting) {
            self.happen(Event::Ended { at: self.now, jobs, verdict: Verdict::Cancelled }, out);
        }
        count
    }

    fn purge_list(&mut self, key: ListKey, out: &mut Output) -> u64 {
        let list = &self.lists[key.0];
        let (length, name) = (list.length(), list.name.clone());
        // What was popped lies between the stretches: it can come back, and stays on record.
        for (start, count) in list.stretches() {
            self.happen(Event::Removed { list: name.clone(), start, count }, out);
        }
        self.wake_feeders(key);
        length
    }

    /// The runs of dead letters that `which` means.
    fn dead(&mut self, which: &DeadWhich) -> Result<Vec<RunKey>, Rejection> {
        match which {
            DeadWhich::Queue(name) => {
                let key = self.queue_key(name)?;
                Ok(self.queues[key.0].dead.values().copied().collect())
            }
            DeadWhich::Jobs(jobs) => {
                let dead: Vec<RunKey> = self
                    .isolate(*jobs)
                    .into_iter()
                    .filter(|&key| matches!(self.runs[key].phase, Phase::Dead { .. }))
                    .collect();
                if dead.is_empty() {
                    return Err(not_found("dead letter", &jobs.first));
                }
                Ok(dead)
            }
        }
    }

    fn ranges(&self, runs: &[RunKey]) -> Vec<JobRange> {
        runs.iter().map(|&key| self.runs[key].jobs).collect()
    }

    fn count(&self, runs: &[RunKey]) -> u64 {
        runs.iter().map(|&key| u64::from(self.runs[key].jobs.count)).sum()
    }

    fn promise_of(&self, runs: &[RunKey]) -> Durability {
        let all = runs.iter().map(|&key| self.promise(self.runs[key].queue));
        all.max().unwrap_or(Durability::Memory)
    }

    fn status(&self) -> Status {
        let sum = |of: fn(&Queue) -> u64| self.queues.iter().map(|(_, queue)| of(queue)).sum();
        Status {
            version: self.config.version.clone(),
            started: self.started,
            now: self.now,
            durability: self.config.queue_defaults.durability,
            sessions: self.sessions.values().filter(|s| s.connected()).count() as u64,
            queues: self.queues.len() as u64,
            waiting: sum(|queue| queue.counts.ready + queue.counts.delayed + queue.counts.held),
            leased: sum(|queue| queue.counts.leased),
            dead: sum(|queue| queue.counts.dead),
            payload_bytes: self.bytes,
            payload_bytes_max: self.config.memory_bytes_max,
            submitted: sum(|queue| queue.totals.submitted),
            acked: sum(|queue| queue.totals.acked),
            nacked: sum(|queue| queue.totals.nacked),
            crashed: sum(|queue| queue.totals.crashed),
        }
    }

    fn queue_info(&self, key: QueueKey) -> QueueInfo {
        let queue = &self.queues[key.0];
        let credit = queue.takers.values().filter_map(|(session, subscription)| {
            Some(u64::from(self.sessions.get(session)?.room(*subscription)))
        });
        // Of several, the one whose jobs would have their turn first.
        let full = queue.ready.lanes().filter(|&(list, ..)| self.room_in(list) == 0);
        let full = full.min_by_key(|&(_, first, _)| first).map(|(list, ..)| &self.lists[list.0]);
        QueueInfo {
            name: queue.name.clone(),
            settings: queue.settings.clone(),
            paused: queue.pause.as_ref().map(|(pause, _)| *pause),
            pause_reason: queue.pause.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
            ready: queue.counts.ready,
            delayed: queue.counts.delayed,
            leased: queue.counts.leased,
            dead: queue.counts.dead,
            bytes: queue.bytes,
            submits_waiting: queue.submits.len() as u64,
            subscribers: queue.subscribers,
            credit: credit.sum(),
            // Of those whose turn is next: to look at all would take too long.
            oldest_ready: queue.ready.firsts().map(|run| self.runs[run].submitted).min(),
            held_by_list: full.map(|list| list.name.clone()),
            submitted: queue.totals.submitted,
            acked: queue.totals.acked,
            nacked: queue.totals.nacked,
            crashed: queue.totals.crashed,
            held: queue.counts.held,
        }
    }

    fn object_info(&self, key: ObjectKey) -> ObjectInfo {
        let object = &self.objects[key.0];
        let extent = object.kind.extent();
        ObjectInfo {
            name: object.name.clone(),
            typeid: typeid_name(object.kind.typeid()),
            durability: object.durability,
            revision: object.revision,
            items: extent.items,
            bytes: extent.bytes,
            holders: object.kind.holds().len() as u64,
            waiting: object.waiters.len() as u64,
        }
    }

    fn object_details(&self, key: ObjectKey) -> ObjectDetails {
        let object = &self.objects[key.0];
        let name = |session| {
            let found = self.sessions.get(&session);
            found.map_or_else(String::new, |session: &Session| session.name.clone())
        };
        let holders = object.kind.holds().into_iter().map(|hold| HolderInfo {
            token: hold.token,
            count: hold.count,
            session: hold.owner.session,
            name: name(hold.owner.session),
            by: hold.owner.by,
            job: self.job_under(hold.owner),
            since: hold.since,
        });
        let waiters = object.waiters.iter().take(WAITERS_SHOWN_MAX).map(|(_, waiter)| WaiterInfo {
            method: waiter.method.to_owned(),
            session: waiter.session,
            name: name(waiter.session),
            by: waiter.by,
            since: waiter.since,
            until: waiter.until.unwrap_or(Time::NEVER),
        });
        let (holders, waiters) = (holders.collect(), waiters.collect());
        ObjectDetails { info: self.object_info(key), holders, waiters }
    }

    /// The job that runs under an owner's lease.
    fn job_under(&self, owner: Owner) -> Option<JobId> {
        let By::Lease(lease) = owner.by else { return None };
        let held = self.held_within(owner.session, LeaseRange::one(lease));
        let (key, part) = held.first()?;
        let run = &self.runs[*key];
        let offset = u32::try_from(part.first.0 - run.leases()?.first.0).ok()?;
        Some(run.jobs.part(offset, 1).first)
    }

    fn list_info(&self, list: &List) -> ListInfo {
        ListInfo {
            name: list.name.clone(),
            length: list.length(),
            start: list.start(),
            bytes: list.bytes(),
            unconfirmed: list.unconfirmed,
            followers: list.followers.len() as u64,
            items_max: self.config.list_items_max,
            bytes_max: self.config.list_bytes_max,
            durability: list.durability,
        }
    }

    fn session_info(&self, id: SessionId, session: &Session) -> SessionInfo {
        let leases =
            session.leases.iter().map(|lease| u64::from(self.runs[self.leases[lease]].jobs.count));
        SessionInfo {
            session: id,
            name: session.name.clone(),
            connected: session.connected(),
            seen: session.seen,
            leases: leases.sum(),
            subscriptions: session.streams() as u64,
        }
    }

    /// The jobs of `runs`, in order, `skip` passed over.
    fn shown(&self, runs: impl Iterator<Item = RunKey>, skip: u64, count: u32) -> AdminAnswer {
        let mut skip = skip;
        let mut left = count.min(JOBS_SHOWN_MAX);
        let mut found = Vec::new();
        for key in runs {
            if left == 0 {
                break;
            }
            let run = &self.runs[key];
            let passed = u32::try_from(skip).unwrap_or(u32::MAX).min(run.jobs.count);
            skip -= u64::from(passed);
            let taken = left.min(run.jobs.count - passed);
            left -= taken;
            found.extend((passed..passed + taken).map(|offset| self.run_info(run, offset)));
        }
        AdminAnswer::Jobs(found)
    }

    fn job_info(&self, job: JobId) -> Result<JobInfo, Rejection> {
        if let Some(key) = self.runs.find(job) {
            let run = &self.runs[key];
            let offset = u32::try_from(job.seq - run.jobs.first.seq).expect("within a run");
            return Ok(self.run_info(run, offset));
        }
        match self.finished.find(job) {
            Some(finished) => Ok(self.finished_info(finished, job)),
            None => Err(not_found("job", &job)),
        }
    }

    fn run_info(&self, run: &Run, offset: u32) -> JobInfo {
        let payload = run.payloads.loaded().map(|payloads| payloads.part(offset, 1));
        let bytes = payload.as_ref().and_then(|payload| payload.slices().next());
        JobInfo {
            job: run.jobs.part(offset, 1).first,
            queue: self.queues[run.queue.0].name.clone(),
            state: self.state(run, offset),
            options: Some((*run.options).clone()),
            submitted: run.submitted,
            attempts: run.attempts,
            failures: run.failures,
            crashes: run.crashes,
            failure: run.failure.as_deref().cloned(),
            // Nothing of one that is in the journal only: nobody waits for a disk to look at a job.
            payload: bytes.map_or_else(Vec::new, |b| b[..b.len().min(SHOWN_BYTES_MAX)].to_vec()),
            payload_bytes: run.payloads.shape().part(offset, 1).size_bytes() as u64,
        }
    }

    fn state(&self, run: &Run, offset: u32) -> JobState {
        match &run.phase {
            Phase::Ready => JobState::Ready,
            Phase::Delayed { until } => JobState::Delayed { until: *until },
            Phase::Held(held) => {
                let waits_for = held.prerequisites.iter().map(Awaited::pending).collect();
                JobState::Held { waits_for }
            }
            Phase::Dead { reason, at } => JobState::Dead { reason: *reason, at: *at },
            Phase::Leased(lease) => {
                let holder = self.sessions.get(&lease.session);
                JobState::Leased {
                    lease: ganger_shared::LeaseId(lease.first.0 + u64::from(offset)),
                    session: lease.session,
                    worker: holder.map(|session| session.name.clone()).unwrap_or_default(),
                    since: lease.since,
                    expires: self.lease_end(run),
                    cancelling: lease.stopping.is_some(),
                    progress: lease.progress.as_deref().cloned(),
                }
            }
        }
    }

    fn lease_end(&self, run: &Run) -> Time {
        self.runs.find(run.jobs.first).map_or(self.now, |key| self.lease_until(key))
    }

    fn finished_info(&self, finished: &Finished, job: JobId) -> JobInfo {
        let part = finished.part(JobRange::one(job));
        let state = match part {
            Some((_, Ending::Acked { outputs })) => {
                JobState::Acked { output_bytes: outputs.size_bytes() as u64 }
            }
            Some((_, Ending::Cancelled | Ending::Dead { .. } | Ending::Unknown)) | None => {
                JobState::Cancelled
            }
        };
        JobInfo {
            job,
            queue: self.queues[finished.queue.0].name.clone(),
            state,
            options: None,
            submitted: finished.submitted,
            attempts: finished.attempts,
            failures: finished.failures,
            crashes: finished.crashes,
            failure: None,
            payload: Vec::new(),
            payload_bytes: 0,
        }
    }
}
