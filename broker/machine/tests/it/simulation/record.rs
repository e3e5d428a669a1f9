//! What a journal says, kept as plainly as possible: the judge of the machine's history.
//!
//! Everything is per job and per item here; there are no runs, no timers and no counts to go wrong.

use std::collections::BTreeMap;

use ganger_machine::Event;
use ganger_machine::event::{Fault, Verdict};
use ganger_shared::{JobId, JobRange, LeaseId, Name, ResultsTo, SessionId};

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
    /// A dead letter that was purged.
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) results: Option<Name>,
    pub(crate) payload: Vec<u8>,
    pub(crate) state: State,
    pub(crate) attempts: u32,
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) retries: u32,
    pub(crate) crash_retries: u32,
    /// Whether it ever was a dead letter.
    pub(crate) died: bool,
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
}

impl Record {
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut record = Self::default();
        for event in events {
            record.apply(event);
        }
        record
    }

    /// # Panics
    /// If the event cannot follow on what is recorded.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::QueueSet { .. }
            | Event::QueuePaused { .. }
            | Event::SessionNamed { .. }
            | Event::Left { .. }
            | Event::ObjectMade { .. }
            | Event::Called(_)
            | Event::Freed { .. }
            | Event::Passed { .. }
            | Event::ObjectRemoved { .. }
            | Event::Stated(_) => {}
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
                        results: results.clone(),
                        payload: payload.to_vec(),
                        state: State::Waiting,
                        attempts: 0,
                        failures: 0,
                        crashes: 0,
                        retries: options.retries,
                        crash_retries: options.crash_retries,
                        died: false,
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
            }),
            Event::Forgotten { jobs } => self.each(*jobs, |id, job| {
                assert_eq!(job.state, State::Dead, "{id} is forgotten");
                job.state = State::Forgotten;
            }),
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

    fn ended(&mut self, jobs: JobRange, verdict: &Verdict) {
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
                    if let Some(list) = job.results.clone() {
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

    /// Jobs that have not ended.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Waiting | State::Leased { .. }))
    }
}
