//! What a journal says, kept as plainly as possible: the judge of the machine's history.
//!
//! Everything is per job and per item here; there are no runs, no timers and no counts to go wrong.

use std::collections::BTreeMap;

use ganger_machine::Event;
use ganger_machine::event::{Did, Fault, Verdict};
use ganger_machine::invoke::Called;
use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::{By, JobId, JobRange, LeaseId, Name, Packed, ResultsTo, SessionId, Value};

/// Counts the jobs that have ended with effects.
pub(crate) const COUNTER: &str = "done";

/// A dict with an entry for some of these.
pub(crate) const MARKS: &str = "marks";

/// In the output of a job that ends with effects, and of no other.
pub(crate) const WITH_EFFECTS: &str = " with effects under ";

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Leased {
        lease: LeaseId,
        session: SessionId,
    },
    Dead,
    Acked {
        lease: LeaseId,
        output: Vec<u8>,
    },
    Cancelled,
    /// A call took it as an item.
    Taken,
    /// A dead letter that was purged.
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) queue: Name,
    pub(crate) results: Option<Name>,
    pub(crate) payload: Vec<u8>,
    pub(crate) state: State,
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) retries: u32,
    pub(crate) crash_retries: u32,
    /// Whether its queue was removed after it had ended.
    pub(crate) outlived_queue: bool,
    /// Whether it ever was a dead letter.
    pub(crate) died: bool,
    /// What has yet to come before it may start.
    pub(crate) prerequisites: Vec<Prerequisite>,
}

/// An item, and the job whose result it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) job: Option<JobId>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// Every item that was ever appended, by index.
    pub(crate) items: Vec<Item>,
    /// Which of them have left it for good.
    pub(crate) removed: Vec<bool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) lists: BTreeMap<Name, List>,
    pub(crate) last_lease: Option<LeaseId>,
    /// Who had which job under every lease there ever was.
    pub(crate) leases: BTreeMap<LeaseId, (JobId, SessionId)>,
    appends: BTreeMap<(SessionId, u64), u32>,
    /// Jobs that have ended with effects, each of which has counted one.
    pub(crate) counted: u64,
    /// Those of them that have made a mark, in order.
    pub(crate) marked: Vec<JobId>,
    /// Effects whose job is to end in the same record.
    ending: Option<Effects>,
}

/// What was done on behalf of a job that ends with it.
#[derive(Clone, Debug)]
struct Effects {
    lease: LeaseId,
    /// How often it has counted.
    counted: u32,
}

impl Record {
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut record = Self::default();
        for event in events {
            record.apply(event);
        }
        record.judge_whole();
        record
    }

    /// # Panics
    /// If a record of the journal ends here that has the effects of a job's end, and not the end.
    pub(crate) fn judge_whole(&self) {
        assert!(self.ending.is_none(), "without its end: {:?}", self.ending);
    }

    /// # Panics
    /// If the event cannot follow on what is recorded.
    pub(crate) fn apply(&mut self, event: &Event) {
        if let Some(effects) = &self.ending {
            let belongs = matches!(
                event,
                Event::Called(_)
                    | Event::SessionNamed { .. }
                    | Event::Submitted { .. }
                    | Event::Held { .. }
                    | Event::Ended { .. }
            );
            assert!(belongs, "{event:?} is between {effects:?} and the end of the job");
        }
        match event {
            Event::QueueSet { .. }
            | Event::QueuePaused { .. }
            | Event::SessionNamed { .. }
            | Event::Left { .. }
            | Event::ObjectMade { .. }
            | Event::Freed { .. }
            | Event::Passed { .. }
            | Event::ObjectRemoved { .. }
            | Event::ListWatched { .. }
            | Event::Stated(_) => {}
            Event::QueueCalled(called) => match called.did {
                Did::Took { job, .. } => self.each(JobRange::one(job), |id, job| {
                    assert_eq!(job.state, State::Waiting, "{id} was taken");
                    job.state = State::Taken;
                }),
                Did::Done | Did::ShutDown => {}
            },
            Event::QueueRemoved { queue } => {
                for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.queue == *queue) {
                    let is_over = match job.state {
                        State::Acked { .. }
                        | State::Cancelled
                        | State::Taken
                        | State::Forgotten => true,
                        State::Waiting | State::Leased { .. } | State::Dead => false,
                    };
                    assert!(is_over, "{id} is {:?} and its queue is removed", job.state);
                    job.outlived_queue = true;
                }
            }
            Event::Called(called) => self.called(called),
            Event::ListMade { list, .. } | Event::ListSet { list, .. } => {
                self.lists.entry(list.clone()).or_default();
            }
            Event::Submitted { queue, jobs, options, payloads, .. } => {
                let results = match &options.results {
                    ResultsTo::Nowhere => None,
                    ResultsTo::List(name) => Some(name.clone()),
                    ResultsTo::QueueList => Some(queue.results_list().unwrap()),
                };
                for (job, payload) in jobs.iter().zip(payloads.slices()) {
                    let new = Job {
                        queue: queue.clone(),
                        results: results.clone(),
                        payload: payload.to_vec(),
                        state: State::Waiting,
                        attempts: 0,
                        failures: 0,
                        crashes: 0,
                        retries: options.retries,
                        crash_retries: options.crash_retries,
                        outlived_queue: false,
                        died: false,
                        prerequisites: Vec::new(),
                    };
                    assert!(self.jobs.insert(job, new).is_none(), "{job} was accepted twice");
                }
            }
            Event::Due { jobs } => self.each(*jobs, |id, job| {
                assert_eq!(job.state, State::Waiting, "{id} became due");
            }),
            Event::Granted { jobs, leases, session, .. } => {
                assert_eq!(jobs.count, leases.count);
                assert!(self.last_lease.is_none_or(|last| last < leases.first), "a lease reused");
                self.last_lease = Some(LeaseId(leases.end() - 1));
                for (job, lease) in jobs.iter().zip(leases.first.0..) {
                    let lease = LeaseId(lease);
                    self.leases.insert(lease, (job, *session));
                    let found = self.job(job);
                    assert_eq!(found.state, State::Waiting, "{job} was leased");
                    assert_eq!(found.prerequisites, [], "{job} starts before what it waits for");
                    found.state = State::Leased { lease, session: *session };
                    found.attempts += 1;
                }
            }
            Event::Stopping { jobs, .. } => self.each(*jobs, |id, job| {
                assert!(matches!(job.state, State::Leased { .. }), "{id} is told to stop");
            }),
            Event::Ended { jobs, verdict, .. } => self.ended(*jobs, verdict),
            Event::Redriven { jobs, .. } => self.each(*jobs, |id, job| {
                assert_eq!(job.state, State::Dead, "{id} is redriven");
                job.state = State::Waiting;
                (job.attempts, job.failures, job.crashes) = (0, 0, 0);
                job.prerequisites.clear();
            }),
            Event::Forgotten { jobs } => self.each(*jobs, |id, job| {
                assert_eq!(job.state, State::Dead, "{id} is forgotten");
                job.state = State::Forgotten;
            }),
            Event::Held { jobs, prerequisites } => self.each(*jobs, |_, job| {
                job.prerequisites.clone_from(prerequisites);
            }),
            Event::Met { jobs, prerequisite, .. } => self.met(*jobs, *prerequisite),
            Event::Appended { session, seq, list, items, .. } => {
                let before = self.appends.insert((*session, *seq), items.count());
                assert_eq!(before, None, "append {seq} of {session} twice");
                for bytes in items.slices() {
                    self.append(list, Item { job: None, bytes: bytes.to_vec() });
                }
            }
            Event::Removed { list, start, count } => {
                let list = self.lists.get_mut(list).unwrap();
                for index in *start..start + count {
                    let removed = &mut list.removed[usize::try_from(index).unwrap()];
                    assert!(!*removed, "item {index} is removed twice");
                    *removed = true;
                }
            }
        }
    }

    fn called(&mut self, called: &Called) {
        let By::Lease(lease) = called.by else {
            assert!(self.ending.is_none(), "{called:?} goes between effects and their end");
            return;
        };
        let (job, session) = self.leases[&lease];
        assert_eq!(session, called.session, "{lease} is not its caller's");
        let state = State::Leased { lease, session };
        assert_eq!(self.jobs[&job].state, state, "{job} has effects under {lease}");
        let effects = self.ending.get_or_insert(Effects { lease, counted: 0 });
        assert_eq!(effects.lease, lease, "two ends in one record");
        match called.method.as_str() {
            "add" => effects.counted += 1,
            "compare_and_set" => {
                assert!(!self.marked.contains(&job), "{job} is marked twice");
                self.marked.push(job);
            }
            "append" => {
                for item in called.args.iter() {
                    let Value::Bytes(bytes) = Packed::new(item).unwrap().unpack() else {
                        panic!("{lease} appends what is not bytes")
                    };
                    self.append(&called.object, Item { job: None, bytes: bytes.to_vec() });
                }
            }
            method => panic!("{method} is no effect of a job here"),
        }
    }

    /// What was done with the end of a job is what its output promises.
    fn judge_effects(&mut self, id: JobId, lease: LeaseId, output: &[u8]) {
        let promised =
            output.windows(WITH_EFFECTS.len()).any(|part| part == WITH_EFFECTS.as_bytes());
        let done = self.ending.take().map(|effects| (effects.lease, effects.counted));
        assert_eq!(done, promised.then_some((lease, 1)), "what {id} was to count under {lease}");
        self.counted += u64::from(promised);
    }

    fn met(&mut self, jobs: JobRange, prerequisite: u32) {
        let at = usize::try_from(prerequisite).unwrap();
        for id in jobs.iter() {
            let met = self.job(id).prerequisites.remove(at);
            let Prerequisite::Jobs { jobs, need, on_failure } = met else { continue };
            let counts = |id: JobId| match (&self.jobs[&id].state, on_failure) {
                (State::Acked { .. } | State::Taken, _) => true,
                (_, OnFailure::Fail) | (State::Waiting | State::Leased { .. }, _) => false,
                (State::Dead | State::Cancelled | State::Forgotten, OnFailure::Run) => true,
            };
            let mut all = all_of(&jobs);
            let is_met = match need {
                Need::All => all.all(counts),
                Need::Any => all.any(counts),
            };
            assert!(
                is_met,
                "{id} may start although not what it waits for has ended: {need:?} {on_failure:?} of {:?}",
                all_of(&jobs).map(|id| (id, &self.jobs[&id].state)).collect::<Vec<_>>()
            );
        }
    }

    /// Whether all that has to come for a job can come.
    fn can_start(&self, id: JobId) -> bool {
        self.jobs[&id].prerequisites.iter().all(|prerequisite| match prerequisite {
            Prerequisite::Counter { .. }
            | Prerequisite::List { .. }
            | Prerequisite::Jobs { on_failure: OnFailure::Run, .. } => true,
            Prerequisite::Jobs { jobs, need, on_failure: OnFailure::Fail } => {
                let has_failed = |id: JobId| {
                    let Job { state, died, .. } = &self.jobs[&id];
                    *died || *state == State::Cancelled
                };
                let mut all = all_of(jobs);
                match need {
                    Need::All => !all.any(has_failed),
                    Need::Any => !all.all(has_failed),
                }
            }
        })
    }

    fn ended(&mut self, jobs: JobRange, verdict: &Verdict) {
        if !matches!(verdict, Verdict::Acked { .. }) {
            assert!(self.ending.is_none(), "{:?} ends otherwise: {verdict:?}", self.ending);
        }
        for (id, at) in jobs.iter().zip(0..) {
            let job = self.job(id);
            let open = matches!(job.state, State::Waiting | State::Leased { .. });
            assert!(open, "{id} ends again: {verdict:?}, {:?}", job.state);
            let count = |job: &mut Job, fault: &Fault| match fault {
                Fault::Handler => job.failures += 1,
                Fault::Worker => job.crashes += 1,
            };
            match verdict {
                Verdict::Acked { outputs } => {
                    let State::Leased { lease, .. } = job.state else {
                        panic!("{id} was acked without a lease")
                    };
                    let output = outputs.part(at, 1).slices().next().unwrap().to_vec();
                    job.state = State::Acked { lease, output: output.clone() };
                    let results = job.results.clone();
                    self.judge_effects(id, lease, &output);
                    if let Some(list) = results {
                        self.append(&list, Item { job: Some(id), bytes: output });
                    }
                }
                Verdict::Retried { fault, .. } => {
                    assert!(matches!(job.state, State::Leased { .. }), "{id} is retried");
                    count(job, fault);
                    assert!(job.failures <= job.retries, "{id} has failed too often");
                    assert!(job.crashes <= job.crash_retries, "{id} has crashed too often");
                    job.state = State::Waiting;
                }
                Verdict::Released { .. } => {
                    assert!(matches!(job.state, State::Leased { .. }), "{id} is released");
                    job.attempts -= 1;
                    job.state = State::Waiting;
                }
                Verdict::Dead { failure, .. } => {
                    if let Some((_, fault)) = failure {
                        count(job, fault);
                    }
                    job.state = State::Dead;
                    job.died = true;
                }
                Verdict::Unmet { .. } => {
                    assert!(!self.can_start(id), "{id} is given up although all may come");
                    let job = self.job(id);
                    job.state = State::Dead;
                    job.died = true;
                }
                Verdict::Cancelled => job.state = State::Cancelled,
            }
        }
    }

    fn append(&mut self, list: &Name, item: Item) {
        let list = self.lists.entry(list.clone()).or_default();
        list.items.push(item);
        list.removed.push(false);
    }

    fn job(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).unwrap_or_else(|| panic!("{id} was never accepted"))
    }

    fn each(&mut self, jobs: JobRange, mut change: impl FnMut(JobId, &mut Job)) {
        for id in jobs.iter() {
            change(id, self.job(id));
        }
    }

    /// Jobs that wait for a number that may never come, if only such and those that wait for these are left.
    pub(crate) fn stuck(&self) -> Vec<JobId> {
        if self.open().any(|(_, job)| job.prerequisites.is_empty()) {
            return Vec::new();
        }
        let waits = |job: &Job| {
            let mut all = job.prerequisites.iter();
            all.any(|one| !matches!(one, Prerequisite::Jobs { .. }))
        };
        self.open().filter(|(_, job)| waits(job)).map(|(&id, _)| id).collect()
    }

    /// Whether a restart lets jobs go that wait for a list: popped items that nobody has confirmed come back.
    pub(crate) fn is_list_full_after_restart(&self) -> bool {
        let has_come = |one: &Prerequisite| match one {
            Prerequisite::List { list, at_least } => {
                let left = |list: &List| list.removed.iter().filter(|removed| !**removed).count();
                self.lists.get(list).is_some_and(|list| left(list) as u64 >= *at_least)
            }
            Prerequisite::Counter { .. } | Prerequisite::Jobs { .. } => false,
        };
        self.open().any(|(_, job)| job.prerequisites.iter().any(has_come))
    }

    /// Jobs that have not ended.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Waiting | State::Leased { .. }))
    }
}

fn all_of(jobs: &[JobRange]) -> impl Iterator<Item = JobId> {
    jobs.iter().flat_map(JobRange::iter)
}
