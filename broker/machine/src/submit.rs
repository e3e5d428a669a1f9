//! Accepting jobs: the number is judged, the bounds are held, the queue is made if need be.
//!
//! Not what happens to a job afterwards.

use ganger_shared::admin::Pause;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, By, Durability, JobId, JobOptions, JobRange, Name, Prerequisite, Rejection, RequestId,
    Response, ResultsTo, SessionId,
};

use crate::config::{Available, Creation};
use crate::event::Event;
use crate::machine::{Machine, reject};
use crate::numbers::Standing;
use crate::output::Output;
use crate::promise::is_kept;
use crate::queue::methods::{self, shut_down};
use crate::queue::{Put, Queue, QueueKey, Size, WaitingSubmit};
use crate::timer::Timer;

/// The fields of a Submit.
pub(crate) struct Submit {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) queue: Name,
    pub(crate) first_seq: u64,
    pub(crate) options: JobOptions,
    pub(crate) payloads: Block,
    pub(crate) when_full: WhenFull,
    pub(crate) notify: Notify,
    /// All of which have to be met before the jobs may start.
    pub(crate) prerequisites: Vec<Prerequisite>,
}

/// What is to be done with a submit that is not refused.
pub(crate) enum Decision {
    /// It was accepted before.
    Repeat,
    /// It fits.
    Accept,
    /// It does not fit yet and its submitter waits.
    Park,
}

impl Submit {
    pub(crate) fn jobs(&self) -> JobRange {
        let first = JobId { session: self.session, seq: self.first_seq };
        JobRange { first, count: self.payloads.count() }
    }
}

impl Machine {
    pub(crate) fn submit(&mut self, submit: Submit, out: &mut Output) -> Result<(), Rejection> {
        let jobs = submit.jobs();
        self.judge_exposed(submit.session, methods::TYPEID, &submit.queue, "put")?;
        let decision = self.decide_submit(&submit, jobs)?;
        if let Decision::Repeat = decision {
            let queue = self.queue_names.get(&submit.queue).copied();
            return self.repeated(submit.session, submit.request, queue, jobs, submit.notify, out);
        }
        let queue = self.queue_for_use(&submit.queue, out)?;
        self.make_awaited(&submit.prerequisites, out)?;
        let waiting = WaitingSubmit {
            request: submit.request,
            jobs,
            options: submit.options,
            payloads: submit.payloads,
            notify: submit.notify,
            prerequisites: submit.prerequisites,
            put: None,
        };
        if let Decision::Park = decision {
            self.park_submit(queue, waiting);
        } else {
            self.accept(queue, waiting, out);
        }
        Ok(())
    }

    /// Has a submit wait behind the others of its queue.
    pub(crate) fn park_submit(&mut self, queue: QueueKey, submit: WaitingSubmit) {
        let bytes = submit.payloads.size_bytes() as u64;
        if self.is_crowded(bytes) {
            self.await_memory();
        }
        self.bytes += bytes;
        self.memory.parked_bytes += bytes;
        let first = submit.jobs.first;
        if let Some(put) = submit.put {
            self.timers.set(put.until, Timer::Put(queue, first));
        }
        if let Some(holder) = self.sessions.get_mut(&first.session) {
            holder.parked.insert(queue);
            holder.waiting_seqs.extend(submit.put.map(|_| first.seq));
        }
        self.queues[queue.0].submits.push_back(submit);
    }

    /// A submit that was taken out of its queue's line waits no more.
    pub(crate) fn forget_parked(&mut self, queue: QueueKey, submit: &WaitingSubmit) {
        let bytes = submit.payloads.size_bytes() as u64;
        self.bytes -= bytes;
        self.memory.parked_bytes -= bytes;
        let Some(put) = submit.put else { return };
        let first = submit.jobs.first;
        self.timers.unset(put.until, Timer::Put(queue, first));
        if let Some(holder) = self.sessions.get_mut(&first.session) {
            holder.waiting_seqs.remove(&first.seq);
        }
    }

    pub(crate) fn decide_submit(
        &self,
        submit: &Submit,
        jobs: JobRange,
    ) -> Result<Decision, Rejection> {
        if jobs.count == 0 {
            return Err(Rejection::Invalid("a submit of no jobs".to_owned()));
        }
        self.judge_size(&submit.payloads)?;
        if jobs.end_seq() - jobs.first.seq != u64::from(jobs.count) {
            return Err(Rejection::Invalid("job numbers beyond 2^64".to_owned()));
        }
        if self.judge_numbers(submit.session, jobs.first.seq, jobs.end_seq())? == Standing::Used {
            return Ok(Decision::Repeat);
        }
        let existing = self.queue_names.get(&submit.queue).map(|key| &self.queues[key.0]);
        if existing.is_none() {
            self.judge_new_queue(&submit.queue)?;
        }
        self.judge_results_list(&submit.queue, existing, &submit.options.results)?;
        self.judge_prerequisites(submit.session, &submit.queue, &submit.prerequisites)?;
        if self.bytes + submit.payloads.size_bytes() as u64 > self.config.memory_bytes_max {
            let limit = self.config.memory_bytes_max;
            return Err(Rejection::MemoryFull { used: self.bytes, limit });
        }
        if let Some((Pause::DeliveryAndSubmits, reason)) = existing.and_then(|q| q.pause.as_ref()) {
            let queue = submit.queue.clone();
            return Err(Rejection::Paused { queue, reason: reason.clone() });
        }
        if existing.is_some_and(|queue| queue.is_shut_down) {
            return Err(shut_down(&submit.queue));
        }
        let (more, held) = (Size::of(&submit.payloads), existing.map(Queue::size));
        let settings = existing.map_or(&self.config.queue_defaults, |queue| &queue.settings);
        self.judge_storage(settings.durability, more)?;
        let passed = held.unwrap_or_default().bound_passed(more, settings);
        let waiting = existing.map_or(0, |queue| queue.submits.len());
        let can_wait = submit.when_full == WhenFull::Wait;
        let turn_comes = waiting == 0 && !self.is_crowded(more.bytes);
        if passed.is_none() && (turn_comes || !can_wait) {
            return Ok(Decision::Accept);
        }
        let fits_ever = Size::default().bound_passed(more, settings).is_none();
        if let Some((used, limit, unit)) = passed.filter(|_| !can_wait || !fits_ever) {
            let (queue, unit) = (submit.queue.clone(), unit.to_owned());
            return Err(Rejection::QueueFull { queue, used, limit, unit });
        }
        let limit = self.config.submits_waiting_max;
        if waiting >= limit {
            let what = format!("submits that wait for room in queue {}", submit.queue);
            return Err(Rejection::TooMany { what, limit: limit as u64 });
        }
        Ok(Decision::Park)
    }

    /// Whether every string of `block` is within the limit for one payload.
    pub(crate) fn judge_size(&self, block: &Block) -> Result<(), Rejection> {
        let (size, limit) = (block.longest() as u64, self.config.payload_bytes_max);
        if size > limit { Err(Rejection::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// How the numbers `first .. end` stand; refused unless all are fresh or all were used.
    pub(crate) fn judge_numbers(
        &self,
        session: SessionId,
        first: u64,
        end: u64,
    ) -> Result<Standing, Rejection> {
        let Some(found) = self.sessions.get(&session) else { return Ok(Standing::Fresh) };
        match found.numbers.standing(first, end) {
            standing @ (Standing::Fresh | Standing::Used) => Ok(standing),
            Standing::Mixed => Err(Rejection::Overlap { first, last: end - 1 }),
            Standing::Forgotten => {
                Err(Rejection::TooOld { seq: first, floor: found.numbers.floor() })
            }
        }
    }

    /// Whether the results of a queue's jobs can go where they are to go.
    fn judge_results_list(
        &self,
        name: &Name,
        queue: Option<&Queue>,
        results: &ResultsTo,
    ) -> Result<(), Rejection> {
        let invalid = |error: ganger_shared::name::NameError| {
            Rejection::Invalid(format!("the results list of queue {name}: {error}"))
        };
        let list = match results {
            ResultsTo::Nowhere => return Ok(()),
            ResultsTo::List(name) => self.list_names.get(name).copied(),
            ResultsTo::QueueList => match queue.and_then(|queue| queue.results) {
                Some(list) => Some(list),
                None => {
                    let name = name.results_list().map_err(invalid)?;
                    self.list_names.get(&name).copied()
                }
            },
        };
        let Some(list) = list.map(|key| &self.lists[key.0]) else {
            return match results {
                ResultsTo::List(name) if self.config.creation == Creation::ByOperatorOnly => {
                    Err(not_found("list", name))
                }
                ResultsTo::List(_) | ResultsTo::QueueList | ResultsTo::Nowhere => {
                    self.judge_count("lists", self.lists.len())
                }
            };
        };
        let settings = queue.map_or(&self.config.queue_defaults, |queue| &queue.settings);
        if is_kept(list.durability) == is_kept(settings.durability) || list.is_undecided() {
            return Ok(());
        }
        Err(Rejection::Conflict(format!(
            "list {} is {} and queue {name} is {}: results that outlive the broker and results \
             that do not cannot share a list",
            list.name, list.durability, settings.durability
        )))
    }

    fn judge_new_queue(&self, name: &Name) -> Result<(), Rejection> {
        if self.config.creation == Creation::ByOperatorOnly {
            return Err(not_found("queue", name));
        }
        self.judge_durability(self.config.queue_defaults.durability)?;
        self.judge_count("queues", self.queues.len())
    }

    pub(crate) fn judge_count(&self, what: &str, count: usize) -> Result<(), Rejection> {
        let limit = self.config.names_max;
        if count >= limit {
            return Err(Rejection::TooMany { what: what.to_owned(), limit: limit as u64 });
        }
        Ok(())
    }

    /// Whether the broker's storage can keep this promise.
    pub(crate) fn judge_durability(&self, durability: Durability) -> Result<(), Rejection> {
        match &self.config.available {
            Available::MemoryOnly { reason } if durability > Durability::Memory => {
                Err(Rejection::Durability { durability, reason: reason.clone() })
            }
            Available::All | Available::MemoryOnly { .. } => Ok(()),
        }
    }

    /// The queue of this name, made if the configuration allows it.
    pub(crate) fn queue_for_use(
        &mut self,
        name: &Name,
        out: &mut Output,
    ) -> Result<QueueKey, Rejection> {
        if let Some(&key) = self.queue_names.get(name) {
            self.note_used(name);
            return Ok(key);
        }
        self.judge_new_queue(name)?;
        let settings = self.config.queue_defaults.clone();
        self.happen(Event::QueueSet { queue: name.clone(), settings }, out);
        self.queue_key(name)
    }

    /// The queue of this name.
    pub(crate) fn queue_key(&self, name: &Name) -> Result<QueueKey, Rejection> {
        self.queue_names.get(name).copied().ok_or_else(|| not_found("queue", name))
    }

    /// Accepts a submit that is fresh, or was when it began to wait.
    pub(crate) fn accept(&mut self, queue: QueueKey, submit: WaitingSubmit, out: &mut Output) {
        let session = submit.jobs.first.session;
        let Some(key) = self.sessions.get(&session).map(|session| session.key) else { return };
        // A submit that waited is judged again: its numbers may have been used in the meantime.
        match self.judge_again(queue, &submit) {
            Ok(Standing::Fresh) => {}
            Ok(_) if submit.put.is_some() => {
                return self.was_put(queue, (session, submit.request), submit.jobs.count, out);
            }
            Ok(_) => {
                let WaitingSubmit { request, jobs, notify, .. } = submit;
                let result = self.repeated(session, request, Some(queue), jobs, notify, out);
                return reject(session, request, result, out);
            }
            Err(rejection) => return reject(session, submit.request, Err(rejection), out),
        }
        let event = Event::Submitted {
            at: self.now,
            key,
            queue: self.queues[queue.0].name.clone(),
            jobs: submit.jobs,
            options: submit.options,
            payloads: submit.payloads,
        };
        self.happen(event, out);
        self.hold(submit.jobs, submit.prerequisites, out);
        if submit.put.is_some() {
            return self.was_put(queue, (session, submit.request), submit.jobs.count, out);
        }
        self.accepted(session, submit.request, Some(queue), out);
        if submit.notify == Notify::Finished {
            self.watch(session, submit.request, submit.jobs);
        }
    }

    fn judge_again(&self, key: QueueKey, submit: &WaitingSubmit) -> Result<Standing, Rejection> {
        let (queue, jobs) = (&self.queues[key.0], submit.jobs);
        let standing = self.judge_numbers(jobs.first.session, jobs.first.seq, jobs.end_seq())?;
        if let Some(Put { by: By::Lease(lease), .. }) = submit.put {
            self.judge_lease(jobs.first.session, lease)?;
        }
        if standing == Standing::Fresh {
            self.judge_results_list(&queue.name, Some(queue), &submit.options.results)?;
            // What is forgotten counts as done for those who waited for it before, and these did not.
            self.judge_prerequisites(jobs.first.session, &queue.name, &submit.prerequisites)?;
        }
        Ok(standing)
    }

    /// Answers a submit of jobs that were accepted before.
    fn repeated(
        &mut self,
        session: SessionId,
        request: RequestId,
        queue: Option<QueueKey>,
        jobs: JobRange,
        notify: Notify,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        if notify == Notify::No {
            self.accepted(session, request, queue, out);
            return Ok(());
        }
        self.judge_wait(jobs)?;
        self.accepted(session, request, queue, out);
        self.wait(session, request, jobs, out)
    }

    fn accepted(
        &self,
        session: SessionId,
        request: RequestId,
        queue: Option<QueueKey>,
        out: &mut Output,
    ) {
        let Some(queue) = queue.map(|key| &self.queues[key.0]) else {
            // Accepted before, and removed with its queue since: nothing is kept of it.
            let (durability, paused) = (Durability::Memory, false);
            let accepted = Response::Accepted { request, durability, paused };
            return out.promise(session, self.strongest_promise(), accepted);
        };
        let (durability, paused) = (queue.settings.durability, queue.pause.is_some());
        out.promise(session, durability, Response::Accepted { request, durability, paused });
    }

    /// Accepts what waits for something that all queues share.
    pub(crate) fn admit_all(&mut self, out: &mut Output) {
        let queues: Vec<QueueKey> = self.queue_names.values().copied().collect();
        for queue in queues {
            self.admit_waiting(queue, out);
        }
    }

    /// Accepts waiting submits, in order, as far as they fit.
    pub(crate) fn admit_waiting(&mut self, key: QueueKey, out: &mut Output) {
        loop {
            let queue = &mut self.queues[key.0];
            let Some(first) = queue.submits.front() else { return };
            let more = Size::of(&first.payloads);
            let takes_none = matches!(queue.pause, Some((Pause::DeliveryAndSubmits, _)));
            if takes_none || queue.size().bound_passed(more, &queue.settings).is_some() {
                return;
            }
            if self.judge_storage(self.promise(key), more).is_err() {
                self.await_room();
                return;
            }
            if self.is_crowded(more.bytes) {
                self.await_memory();
                return;
            }
            let queue = &mut self.queues[key.0];
            let submit = queue.submits.pop_front().expect("a front was just seen");
            self.forget_parked(key, &submit);
            self.accept(key, submit, out);
        }
    }
}

pub(crate) fn not_found(what: &str, name: &impl ToString) -> Rejection {
    Rejection::NotFound { what: what.to_owned(), name: name.to_string() }
}
