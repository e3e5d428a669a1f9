//! Jobs that wait for prerequisites: other jobs, a counter, a list.
//!
//! Not jobs that wait for a time or a worker.
//!
//! ```text
//!   Submitted, Held ─▶ in the place of what each prerequisite is about: a run, a counter, a list
//!                        │ that changes
//!                        ▼
//!                      ripe ─▶ looked at when the step ends ─▶ Met ─▶ … ─▶ Met: the last one, they are ready
//!                                                         └─▶ Ended(Unmet): it cannot come any more
//! ```
//!
//! What is decided is journaled, and a prerequisite that is met is gone: a replay decides nothing. How far a
//! prerequisite has come is not journaled: it is found again in the state of record, see [`Machine::count_ended`].

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::prerequisite::{Need, OnFailure, Pending, Prerequisite};
use ganger_shared::{
    Durability, Ending, Failure, JobId, JobRange, Name, Rejection, SessionId, Time,
};

use crate::event::{Event, Verdict};
use crate::machine::Machine;
use crate::objects::{Subject, typeid_name};
use crate::output::Output;
use crate::promise::is_kept;
use crate::run::{Phase, RunKey};
use crate::submit::not_found;

/// The kind of the failure of jobs whose prerequisite cannot be met.
const KIND: &str = "dependency";

/// What holds a run.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// When it may start at the earliest, if its submitter wants a delay as well.
    pub(crate) until: Time,
    /// Those that are not met.
    pub(crate) prerequisites: Vec<Awaited>,
}

/// A prerequisite, and how far it has come.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    pub(crate) prerequisite: Prerequisite,
    /// The most that was seen: jobs that have ended, the counter's number, the list's items.
    have: i64,
    /// One of the jobs is done.
    is_any_done: bool,
    /// The first job that was seen to have failed.
    failed: Option<JobId>,
}

/// Which runs are held by what.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// By the name of a counter or a list.
    by_name: BTreeMap<Name, BTreeSet<RunKey>>,
    /// Those for which something has come.
    ripe: BTreeSet<RunKey>,
    /// Those that have seen jobs end which were sent back since.
    miscounted: BTreeSet<RunKey>,
}

/// What became of a prerequisite.
enum Fate {
    Met,
    /// It cannot come any more.
    Unmet(Failure),
}

impl Awaited {
    const fn new(prerequisite: Prerequisite) -> Self {
        let mut awaited = Self { prerequisite, have: 0, is_any_done: false, failed: None };
        awaited.forget();
        awaited
    }

    /// Nothing was seen so far.
    const fn forget(&mut self) {
        self.have = match self.prerequisite {
            Prerequisite::Counter { .. } => i64::MIN,
            Prerequisite::Jobs { .. } | Prerequisite::List { .. } => 0,
        };
        (self.is_any_done, self.failed) = (false, None);
    }

    pub(crate) fn pending(&self) -> Pending {
        Pending { prerequisite: self.prerequisite.clone(), have: self.have }
    }

    fn note(&mut self, jobs: u64, first: JobId, is_done: bool) {
        self.have = self.have.saturating_add_unsigned(jobs);
        if jobs > 0 {
            self.is_any_done |= is_done;
            if !is_done {
                self.failed.get_or_insert(first);
            }
        }
    }
}

pub(crate) fn awaited(prerequisites: Vec<Prerequisite>) -> Vec<Awaited> {
    prerequisites.into_iter().map(Awaited::new).collect()
}

/// How many jobs are in both.
fn common(a: JobRange, b: JobRange) -> u64 {
    if a.first.session != b.first.session {
        return 0;
    }
    a.end_seq().min(b.end_seq()).saturating_sub(a.first.seq.max(b.first.seq))
}

impl Machine {
    /// Whether jobs of `queue` can wait for these.
    pub(crate) fn judge_prerequisites(
        &self,
        session: SessionId,
        queue: &Name,
        prerequisites: &[Prerequisite],
    ) -> Result<(), Rejection> {
        if prerequisites.is_empty() {
            return Ok(());
        }
        let settings = self.queue_names.get(queue).map(|key| &self.queues[key.0].settings);
        let settings = settings.unwrap_or(&self.config.queue_defaults);
        let outlives = |what: String, durability| {
            if is_kept(settings.durability) && !is_kept(durability) {
                return Err(Rejection::Conflict(format!(
                    "queue {queue} is {} and {what} is memory: what outlives the broker cannot wait for \
                     what does not",
                    settings.durability
                )));
            }
            Ok(())
        };
        for prerequisite in prerequisites {
            match prerequisite {
                Prerequisite::Jobs { jobs, .. } => {
                    if prerequisite.jobs_count() == 0 {
                        return Err(Rejection::Invalid("a prerequisite about no jobs".to_owned()));
                    }
                    for &range in jobs {
                        let durability = self.weakest_promise(range);
                        let durability = durability.map_err(|job| not_found("job", &job))?;
                        outlives(format!("the queue of job {}", range.first), durability)?;
                    }
                }
                Prerequisite::Counter { object: name, .. }
                | Prerequisite::List { list: name, .. } => {
                    self.judge_caller(session, name)?;
                    let (typeid, what) = match prerequisite {
                        Prerequisite::Counter { .. } => ("counter/1", "counter"),
                        Prerequisite::List { .. } | Prerequisite::Jobs { .. } => {
                            (crate::list::TYPEID, "list")
                        }
                    };
                    self.judge_name(name, typeid)?;
                    let found = self.subject(name).map(|found| self.subject_durability(found));
                    let durability = found.unwrap_or(self.config.queue_defaults.durability);
                    outlives(format!("{what} {name}"), durability)?;
                }
            }
        }
        Ok(())
    }

    /// The weakest promise among the queues of jobs; without one, the first of them that is not known.
    fn weakest_promise(&self, range: JobRange) -> Result<Durability, JobId> {
        let runs =
            self.runs.overlapping(range).map(|key| (self.runs[key].jobs, self.runs[key].queue));
        let ended = self.finished.overlapping(range).map(|found| (found.jobs, found.queue));
        let mut known: Vec<_> = runs.chain(ended).collect();
        known.sort_unstable_by_key(|(jobs, _)| jobs.first.seq);
        let mut next = range.first;
        for (jobs, _) in &known {
            if jobs.first.seq > next.seq {
                return Err(next);
            }
            next.seq = next.seq.max(jobs.end_seq());
        }
        if next.seq < range.end_seq() {
            return Err(next);
        }
        let promises = known.into_iter().map(|(_, queue)| self.promise(queue));
        promises.min().ok_or(range.first)
    }

    /// Makes the counters and lists that do not exist.
    pub(crate) fn make_awaited(
        &mut self,
        prerequisites: &[Prerequisite],
        out: &mut Output,
    ) -> Result<(), Rejection> {
        for prerequisite in prerequisites {
            match prerequisite {
                Prerequisite::Jobs { .. } => {}
                Prerequisite::Counter { object, .. } => {
                    self.subject_for_use(object, Some(&typeid_name("counter/1")), out)?;
                }
                Prerequisite::List { list, .. } => {
                    self.list_for_use(list, out)?;
                }
            }
        }
        Ok(())
    }

    /// Has jobs that were submitted in this step wait.
    pub(crate) fn hold(
        &mut self,
        jobs: JobRange,
        prerequisites: Vec<Prerequisite>,
        out: &mut Output,
    ) {
        if !prerequisites.is_empty() {
            self.happen(Event::Held { jobs, prerequisites }, out);
        }
    }

    pub(crate) fn apply_held(&mut self, jobs: JobRange, prerequisites: &[Prerequisite]) {
        for key in self.isolate(jobs) {
            let prerequisites = awaited(prerequisites.to_vec());
            self.change(key, |run| {
                let until = match run.phase {
                    Phase::Delayed { until } => until,
                    _ => Time::ZERO,
                };
                run.phase = Phase::Held(Held { until, prerequisites });
            });
        }
    }

    pub(crate) fn apply_met(&mut self, at: Time, jobs: JobRange, prerequisite: u32) {
        let prerequisite = usize::try_from(prerequisite).unwrap_or(usize::MAX);
        for key in self.isolate(jobs) {
            let order = self.queues[self.runs[key].queue.0].take_order();
            self.change(key, |run| {
                let Phase::Held(held) = &mut run.phase else { return };
                if prerequisite < held.prerequisites.len() {
                    held.prerequisites.remove(prerequisite);
                }
                if held.prerequisites.is_empty() {
                    run.phase = crate::apply::wait_until(held.until, at);
                    (run.order, run.last_order) = (order, order);
                }
            });
        }
    }

    /// Puts a held run into the places of what it waits for.
    pub(crate) fn enter_held(&mut self, key: RunKey) {
        let Phase::Held(held) = &mut self.runs[key].phase else { return };
        let mut prerequisites = core::mem::take(&mut held.prerequisites);
        for awaited in &mut prerequisites {
            match &awaited.prerequisite {
                Prerequisite::Jobs { jobs, .. } => {
                    for range in jobs.clone() {
                        self.await_jobs(key, range, awaited);
                    }
                }
                Prerequisite::Counter { object: name, .. }
                | Prerequisite::List { list: name, .. } => {
                    self.holds.by_name.entry(name.clone()).or_default().insert(key);
                    awaited.have = awaited.have.max(self.number_of(name));
                }
            }
        }
        if let Phase::Held(held) = &mut self.runs[key].phase {
            held.prerequisites = prerequisites;
        }
        self.holds.ripe.insert(key);
    }

    /// Takes a held run out of the places of what it waits for. What it has seen of jobs is counted anew
    /// when it comes back.
    pub(crate) fn leave_held(&mut self, key: RunKey) {
        let Phase::Held(held) = &mut self.runs[key].phase else { return };
        let mut prerequisites = core::mem::take(&mut held.prerequisites);
        for awaited in &mut prerequisites {
            match &awaited.prerequisite {
                Prerequisite::Jobs { jobs, .. } => {
                    for &range in jobs {
                        let runs: Vec<RunKey> = self.runs.overlapping(range).collect();
                        for run in runs {
                            self.runs[run].dependents.remove(&key);
                        }
                    }
                    awaited.forget();
                }
                Prerequisite::Counter { object: name, .. }
                | Prerequisite::List { list: name, .. } => {
                    if let Some(runs) = self.holds.by_name.get_mut(name) {
                        runs.remove(&key);
                        if runs.is_empty() {
                            self.holds.by_name.remove(name);
                        }
                    }
                }
            }
        }
        if let Phase::Held(held) = &mut self.runs[key].phase {
            held.prerequisites = prerequisites;
        }
    }

    /// Has a held run told of the ends of jobs, and counts those that have ended.
    ///
    /// A job that is neither there nor remembered has ended. How, is known without looking: one that failed
    /// would have ended the wait of those who need all of them done, and one that is done that of those who
    /// need one.
    fn await_jobs(&mut self, key: RunKey, range: JobRange, awaited: &mut Awaited) {
        let mut gone = u64::from(range.count);
        let runs: Vec<RunKey> = self.runs.overlapping(range).collect();
        for other in runs {
            let run = &mut self.runs[other];
            let count = common(run.jobs, range);
            gone -= count;
            // Also of one that is dead: it may be sent back.
            run.dependents.insert(key);
            if matches!(run.phase, Phase::Dead { .. }) {
                awaited.note(count, run.jobs.first, false);
            }
        }
        for finished in self.finished.overlapping(range) {
            let count = common(finished.jobs, range).min(gone);
            gone -= count;
            let is_done = matches!(finished.ending, Ending::Acked { .. });
            awaited.note(count, finished.jobs.first, is_done);
        }
        let needs_all = matches!(awaited.prerequisite, Prerequisite::Jobs { need: Need::All, .. });
        awaited.note(gone, range.first, needs_all);
    }

    /// The counter's number, or the list's items.
    fn number_of(&self, name: &Name) -> i64 {
        match self.subject(name) {
            Some(Subject::Object(key)) => self.objects[key.0].kind.number().unwrap_or(0),
            Some(Subject::List(key)) => {
                i64::try_from(self.lists[key.0].length()).unwrap_or(i64::MAX)
            }
            None => 0,
        }
    }

    /// Jobs have ended: those who wait for them are to be looked at.
    pub(crate) fn note_ended(
        &mut self,
        dependents: &BTreeSet<RunKey>,
        jobs: JobRange,
        is_done: bool,
    ) {
        for &key in dependents {
            // A key may belong to another run by now.
            let Some(run) = self.runs.get_mut(key) else { continue };
            let Phase::Held(held) = &mut run.phase else { continue };
            for awaited in &mut held.prerequisites {
                if let Prerequisite::Jobs { jobs: ranges, .. } = &awaited.prerequisite {
                    let count = ranges.iter().map(|&range| common(range, jobs)).sum();
                    awaited.note(count, jobs.first, is_done);
                }
            }
            self.holds.ripe.insert(key);
        }
    }

    /// Jobs that had ended were sent back: those who wait for them count them anew, once for all that a step
    /// sends back.
    pub(crate) fn note_sent_back(&mut self, dependents: &BTreeSet<RunKey>) {
        self.holds.miscounted.extend(dependents);
    }

    /// What has this name has changed, or is gone: those who wait for it are to be looked at.
    pub(crate) fn note_number(&mut self, name: &Name) {
        // Nobody waits for most names, and most of the time for none.
        let Some(keys) = self.holds.by_name.get(name) else { return };
        let keys = keys.clone();
        let number = self.number_of(name);
        for &key in &keys {
            let Phase::Held(held) = &mut self.runs[key].phase else { continue };
            for awaited in &mut held.prerequisites {
                match &awaited.prerequisite {
                    Prerequisite::Counter { object: of, .. }
                    | Prerequisite::List { list: of, .. }
                        if of == name =>
                    {
                        awaited.have = awaited.have.max(number);
                    }
                    Prerequisite::Counter { .. }
                    | Prerequisite::List { .. }
                    | Prerequisite::Jobs { .. } => {}
                }
            }
        }
        self.holds.ripe.extend(keys);
    }

    /// Whether something has come that a held run waits for.
    pub(crate) fn is_any_ripe(&self) -> bool {
        !self.holds.ripe.is_empty()
    }

    /// Whether somebody waits for the counter or list of this name.
    pub(crate) fn is_awaited(&self, name: &Name) -> bool {
        self.holds.by_name.contains_key(name)
    }

    /// Counts anew how far all prerequisites have come, at the end of a replay. A restatement may have had those who
    /// wait before what they wait for. And lists were longer than they ever were: a journal hears of popped
    /// items when they are confirmed.
    pub(crate) fn count_ended(&mut self) {
        let held: Vec<RunKey> = self.runs.iter().map(|(key, _)| key).collect();
        for key in held {
            if matches!(self.runs[key].phase, Phase::Held(_)) {
                self.change(key, |run| {
                    if let Phase::Held(held) = &mut run.phase {
                        held.prerequisites.iter_mut().for_each(Awaited::forget);
                    }
                });
            }
        }
    }

    /// Lets go those for whom all has come, and gives up those for whom it cannot come any more.
    pub(crate) fn judge_held(&mut self, out: &mut Output) {
        for key in core::mem::take(&mut self.holds.miscounted) {
            // A key may belong to another run by now.
            if self.runs.get(key).is_some_and(|run| matches!(run.phase, Phase::Held(_))) {
                self.change(key, |_| {});
            }
        }
        while let Some(key) = self.holds.ripe.pop_first() {
            while let Some((jobs, prerequisite, fate)) = self.fate_of(key) {
                let at = self.now;
                match fate {
                    Fate::Met => self.happen(Event::Met { at, jobs, prerequisite }, out),
                    Fate::Unmet(failure) => {
                        let verdict = Verdict::Unmet { failure };
                        self.happen(Event::Ended { at, jobs, verdict }, out);
                    }
                }
            }
        }
    }

    fn fate_of(&self, key: RunKey) -> Option<(JobRange, u32, Fate)> {
        let run = self.runs.get(key)?;
        let Phase::Held(held) = &run.phase else { return None };
        let fates = held.prerequisites.iter().map(|awaited| self.fate(awaited));
        let mut fates: Vec<_> =
            (0..).zip(fates).filter_map(|(at, fate)| Some((at, fate?))).collect();
        // What cannot come is said first: a failed job may be forgotten already, and whoever is told that
        // something else has come counts anew.
        fates.sort_by_key(|(_, fate)| matches!(fate, Fate::Met));
        let (prerequisite, fate) = fates.into_iter().next()?;
        Some((run.jobs, prerequisite, fate))
    }

    fn fate(&self, awaited: &Awaited) -> Option<Fate> {
        let have = awaited.have;
        match &awaited.prerequisite {
            Prerequisite::Jobs { need, on_failure, .. } => {
                let all = have.unsigned_abs() >= awaited.prerequisite.jobs_count();
                let unmet = |job: JobId| {
                    let message = format!("job {job}, which it was to run after, was not done");
                    Fate::Unmet(Failure::new(KIND, &message))
                };
                match (need, on_failure, awaited.failed) {
                    (Need::All, OnFailure::Fail, Some(job)) => Some(unmet(job)),
                    (Need::All, _, _) => all.then_some(Fate::Met),
                    (Need::Any, OnFailure::Run, _) => (have > 0).then_some(Fate::Met),
                    (Need::Any, OnFailure::Fail, _) if awaited.is_any_done => Some(Fate::Met),
                    (Need::Any, OnFailure::Fail, failed) => failed.filter(|_| all).map(unmet),
                }
            }
            Prerequisite::Counter { object: name, at_least } => {
                self.fate_of_number(name, have >= *at_least)
            }
            Prerequisite::List { list: name, at_least } => {
                self.fate_of_number(name, have >= 0 && have.unsigned_abs() >= *at_least)
            }
        }
    }

    fn fate_of_number(&self, name: &Name, is_met: bool) -> Option<Fate> {
        if is_met {
            return Some(Fate::Met);
        }
        let message = format!("{name}, which it was to wait for, was removed");
        self.subject(name).is_none().then(|| Fate::Unmet(Failure::new(KIND, &message)))
    }
}
