//! The whole state of record, said again as events: what a journal begins with once the records
//! before it are gone.
//!
//! Not a format of its own, and no second way to change the state while the machine runs: these
//! events are made by [`Machine::restate`] and taken by [`Replay`](crate::Replay).
//!
//! ```text
//!   Begins ─▶ Queue… ─▶ List… ─▶ Session… ─▶ Jobs… ─▶ Items, Values… ─▶ Object, Made, Part… ─▶ Answered…
//!          ─▶ Ended… ─▶ Complete
//! ```
//!
//! They follow each other in the journal with no other event between. A restatement without its
//! `Complete` was cut off by the end of the process and counts for nothing; what was before it is
//! there still, for it is removed only when the restatement is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ganger_shared::admin::{Pause, QueueSettings};
use ganger_shared::key::KeyId;
use ganger_shared::{
    Block, DeathReason, Durability, Ending, Failure, JobOptions, JobRange, LeaseId, Name,
    Prerequisite, SessionId, SubscriptionId, Time,
};
use serde::{Deserialize, Serialize};

use crate::answers::Answer;
use crate::backlog::Load;
use crate::event::{Event, StopCause};
use crate::finished::Finished;
use crate::held::{Held, awaited};
use crate::list::{Form, ItemRun, List, ListKey};
use crate::machine::Machine;
use crate::objects::typeid_name;
use crate::output::Output;
use crate::payloads::Payloads;
use crate::promise::is_kept;
use crate::queue::{Queue, QueueKey};
use crate::run::{Lease, Phase, Run, RunKey};
use crate::seq::Seq;
use crate::watching::{History, Watched};

pub use crate::numbers::Numbers;
pub use crate::queue::Totals;

/// One part of a restatement. Only what must survive is in it: nothing of objects in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stated {
    /// What follows, up to `Complete`, takes the place of everything before.
    Begins {
        /// When.
        at: Time,
        /// Every lease below this was granted.
        next_lease: u64,
    },
    /// A queue.
    Queue {
        /// Its name.
        queue: Name,
        /// All of them.
        settings: QueueSettings,
        /// What stops and why, if something does.
        pause: Option<(Pause, String)>,
        /// The place of the next job that is put behind all others.
        next_order: u64,
        /// What has happened in it.
        totals: Totals,
    },
    /// A list, empty so far.
    List {
        /// Its name.
        list: Name,
        /// What an answer about it promises.
        durability: Durability,
        /// Whether somebody has decided that.
        is_decided: bool,
        /// Index of the next item to be appended.
        end: u64,
        /// Queues whose jobs send results here; the flag is set for the one that it is named after.
        feeders: Vec<(Name, bool)>,
    },
    /// What must be remembered of a session.
    Session {
        /// Which.
        session: SessionId,
        /// Who may resume it.
        key: KeyId,
        /// What it calls itself.
        name: String,
        /// The numbers it has used for what must survive.
        numbers: Numbers,
        /// Leases that it has settled: start to end.
        settled: Vec<(u64, u64)>,
    },
    /// Jobs that have fared alike.
    Jobs(Box<Jobs>),
    /// Items of a list, those included that were popped and not confirmed. Their list is at its
    /// end, or behind: indexes rise.
    Items {
        /// The list.
        list: Name,
        /// Index of the first.
        start: u64,
        /// The jobs whose results they are.
        jobs: Option<JobRange>,
        /// They.
        items: Block,
    },
    /// Jobs that are gone, whose ending can still be asked for; oldest first.
    Ended {
        /// Which.
        jobs: JobRange,
        /// Their queue.
        queue: Name,
        /// How.
        ending: Ending,
        /// When they were submitted.
        submitted: Time,
        /// Attempts, failures and crashes of each.
        counts: (u32, u32, u32),
    },
    /// That was all.
    Complete,
    /// Items of a list that are encoded values. The rules of Items hold.
    Values {
        /// The list.
        list: Name,
        /// Index of the first.
        start: u64,
        /// They.
        values: Block,
    },
    /// A shared object, of which parts follow.
    Object {
        /// Its name.
        object: Name,
        /// Its type.
        typeid: Name,
        /// What an answer about it promises.
        durability: Durability,
        /// How often it was changed.
        revision: u64,
    },
    /// A part of the latest object, in its type's encoding.
    Part {
        /// The object.
        object: Name,
        /// It.
        part: Bytes,
    },
    /// An answer that a session may ask for again.
    Answered {
        /// The session.
        session: SessionId,
        /// The number of the first call.
        seq: u64,
        /// What the calls came to.
        answer: Answer,
    },
    /// What calls have made of a queue, if anything. It follows its queue.
    Fifo {
        /// The queue.
        queue: Name,
        /// Items that callers took and have not said to be done.
        taken: u64,
        /// Whether it takes no more jobs.
        is_shut_down: bool,
    },
    /// When the latest object was made.
    Made {
        /// The object.
        object: Name,
        /// When.
        made: Time,
    },
    /// A list that somebody has watched. It follows its list.
    Watched {
        /// The list.
        list: Name,
        /// When that was for the first time.
        made: Time,
        /// How often it has changed since then.
        revision: u64,
    },
}

/// Jobs of one queue that have fared alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// Their numbers.
    pub jobs: JobRange,
    /// Their queue.
    pub queue: Name,
    /// What they share.
    pub options: JobOptions,
    /// The list that their results go to.
    pub results: Option<Name>,
    /// One each.
    pub payloads: Block,
    /// When.
    pub submitted: Time,
    /// The places, among the ready jobs of their priority, of the first and of the last one.
    pub orders: (u64, u64),
    /// Attempts, failures and crashes of each.
    pub counts: (u32, u32, u32),
    /// The last failure.
    pub failure: Option<Failure>,
    /// Where they stand.
    pub standing: Standing,
}

/// Where jobs stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// They wait for a worker.
    Ready,
    /// They wait for their time.
    Delayed {
        /// Which is this.
        until: Time,
    },
    /// They run.
    Leased {
        /// Lease of the first one; the others follow on.
        first: LeaseId,
        /// Whose.
        session: SessionId,
        /// Under which of its subscriptions.
        subscription: SubscriptionId,
        /// Since when.
        since: Time,
        /// How long their leases last without a sign of life.
        length_ms: u64,
        /// Why they are to stop, and when their leases end.
        stopping: Option<(StopCause, Time)>,
    },
    /// They were given up.
    Dead {
        /// Why.
        reason: DeathReason,
        /// When.
        at: Time,
    },
    /// They wait for prerequisites.
    Held {
        /// When they may start at the earliest.
        until: Time,
        /// Those that are not met.
        prerequisites: Vec<Prerequisite>,
    },
}

/// Bytes of one part of a restatement, unless a single run of jobs or items has more: 1 MiB, as much
/// as one write to a disk needs to be worth its cost.
const PART_BYTES: usize = 1 << 20;

/// One part of a restatement, which becomes one record.
#[derive(Debug, Default)]
pub struct Restated {
    /// What it says.
    pub events: Vec<Event>,
    /// Payloads that are not in memory: which of the events they belong into, and where they are.
    pub missing: Vec<(usize, Load)>,
}

/// Parts that are being put together.
struct Teller {
    /// Position of the part.
    record: Seq,
    part: Restated,
    bytes: usize,
}

impl Teller {
    fn add(&mut self, stated: Stated, payloads: usize, tell: &mut impl FnMut(Restated)) {
        self.bytes += stated.size_bytes() + payloads;
        self.part.events.push(Event::Stated(stated));
        if self.bytes >= PART_BYTES {
            tell(std::mem::take(&mut self.part));
            self.bytes = 0;
            self.record = self.record.next();
        }
    }
}

/// Of one part beside payloads, items and outputs: names, numbers, options and a failure.
const PART_OVERHEAD_BYTES: u64 = 512;

impl Stated {
    /// How large it is as a record, about.
    fn size_bytes(&self) -> usize {
        // Names, numbers and options.
        let payloads = match self {
            Self::Begins { .. }
            | Self::Queue { .. }
            | Self::List { .. }
            | Self::Object { .. }
            | Self::Fifo { .. }
            | Self::Made { .. }
            | Self::Watched { .. }
            | Self::Complete => 0,
            Self::Values { values, .. } => values.size_bytes(),
            Self::Part { part, .. } => part.len(),
            Self::Answered { answer, .. } => answer.results.size_bytes(),
            Self::Session { settled, .. } => settled.len() * 8,
            // The caller knows their payloads, which may be unloaded.
            Self::Jobs(_) => 0,
            Self::Items { items, .. } => items.size_bytes(),
            Self::Ended { ending, .. } => match ending {
                Ending::Acked { outputs } => outputs.size_bytes(),
                Ending::Dead { .. } | Ending::Cancelled | Ending::Unknown => 0,
            },
        };
        payloads + 128
    }
}

impl Machine {
    /// Says everything again that must survive, so that the journal's earlier records are not needed.
    ///
    /// `tell` gets it in parts of about 1 MiB, in order, each of which becomes a record: the first one
    /// that at `first`, the others follow on. Payloads in memory are shared, not copied; there is one
    /// event for each queue, list, session, run of jobs and run of items.
    ///
    /// From then on payloads are [asked for](crate::Load) in these records.
    pub fn restate(&mut self, first: Seq, mut tell: impl FnMut(Restated)) {
        let mut teller = Teller { record: first, part: Restated::default(), bytes: 0 };
        self.state_small(|stated| teller.add(stated, 0, &mut tell));
        let kept = self.runs.iter().filter(|(_, run)| self.keeps_queue(run.queue));
        let kept: Vec<RunKey> = kept.map(|(key, _)| key).collect();
        for key in kept {
            let run = &self.runs[key];
            if run.payloads.loaded().is_none() {
                let records = run.records.as_slice().to_vec();
                teller
                    .part
                    .missing
                    .push((teller.part.events.len(), Load { jobs: run.jobs, records }));
            }
            let bytes = run.payloads.size_bytes();
            let record = teller.record;
            teller.add(self.state_jobs(run), bytes, &mut tell);
            self.runs[key].records = Some(record).into();
        }
        self.state_rest(|stated| teller.add(stated, 0, &mut tell));
        tell(teller.part);
    }

    /// About how many bytes a restatement would have: no less than it has.
    #[must_use]
    pub fn restated_bytes(&self) -> u64 {
        let payloads: u64 = self.kept_queues().map(|key| self.queues[key.0].bytes).sum();
        let items: u64 = self.kept_lists().map(|key| self.lists[key.0].bytes()).sum();
        let parts = self.queues.len() + self.lists.len() + self.sessions.len() + self.runs.len();
        let parts = parts + self.objects.len();
        // What an entry of an object has beside key and value is smaller than 32 bytes.
        let objects = self.objects.iter().map(|(_, object)| object.kind.extent());
        let objects: u64 = objects.map(|extent| extent.bytes + extent.items * 32).sum();
        let answers: u64 = self.sessions.values().map(|session| session.answers.bytes()).sum();
        let sizes = self.kept_jobs().saturating_mul(4);
        let finished = self.finished.bytes() as u64;
        payloads + items + sizes + finished + objects + answers + parts as u64 * PART_OVERHEAD_BYTES
    }

    fn state_small(&self, mut tell: impl FnMut(Stated)) {
        tell(Stated::Begins { at: self.now, next_lease: self.next_lease });
        for key in self.kept_queues() {
            tell(self.state_queue(key));
            let Queue { name, taken, is_shut_down, .. } = &self.queues[key.0];
            if *taken > 0 || *is_shut_down {
                let (queue, taken, is_shut_down) = (name.clone(), *taken, *is_shut_down);
                tell(Stated::Fifo { queue, taken, is_shut_down });
            }
        }
        for key in self.kept_lists() {
            tell(self.state_list(key));
            let List { name, watched, .. } = &self.lists[key.0];
            if let Some(watched) = watched {
                let (list, made, revision) = (name.clone(), watched.made, watched.revision);
                tell(Stated::Watched { list, made, revision });
            }
        }
        for (&id, session) in self.sessions.iter().filter(|(_, session)| session.is_kept) {
            tell(Stated::Session {
                session: id,
                key: session.key,
                name: session.name.clone(),
                numbers: session.kept.clone(),
                settled: session.settled.ranges(),
            });
        }
    }

    fn state_rest(&self, mut tell: impl FnMut(Stated)) {
        let mut popped = self.popped_items();
        for key in self.kept_lists() {
            let list = &self.lists[key.0];
            let mut items: Vec<ItemRun> = popped.remove(&key).unwrap_or_default();
            items.extend(list.runs().cloned());
            items.sort_by_key(|run| run.start);
            for ItemRun { start, jobs, form, block } in items {
                let list = list.name.clone();
                tell(match form {
                    Form::Strings => Stated::Items { list, start, jobs, items: block },
                    Form::Values => Stated::Values { list, start, values: block },
                });
            }
        }
        self.state_objects(&mut tell);
        for finished in self.finished.iter().filter(|found| self.keeps_queue(found.queue)) {
            tell(Stated::Ended {
                jobs: finished.jobs,
                queue: self.queues[finished.queue.0].name.clone(),
                ending: finished.ending.clone(),
                submitted: finished.submitted,
                counts: (finished.attempts, finished.failures, finished.crashes),
            });
        }
        tell(Stated::Complete);
    }

    fn state_objects(&self, tell: &mut impl FnMut(Stated)) {
        let kept = self.object_names.values().map(|key| &self.objects[key.0]);
        for object in kept.filter(|object| is_kept(object.durability)) {
            tell(Stated::Object {
                object: object.name.clone(),
                typeid: typeid_name(object.kind.typeid()),
                durability: object.durability,
                revision: object.revision,
            });
            tell(Stated::Made { object: object.name.clone(), made: object.made });
            object.kind.parts(&mut |part| {
                tell(Stated::Part { object: object.name.clone(), part });
            });
        }
        for (&session, found) in self.sessions.iter().filter(|(_, session)| session.is_kept) {
            for (&seq, answer) in &found.answers.kept {
                tell(Stated::Answered { session, seq, answer: answer.clone() });
            }
        }
    }

    fn keeps_queue(&self, key: QueueKey) -> bool {
        self.promise(key) > Durability::Memory
    }

    fn kept_queues(&self) -> impl Iterator<Item = QueueKey> {
        self.queue_names.values().copied().filter(|&key| self.keeps_queue(key))
    }

    fn kept_lists(&self) -> impl Iterator<Item = ListKey> {
        let kept = |key: &ListKey| self.lists[key.0].durability > Durability::Memory;
        self.list_names.values().copied().filter(kept)
    }

    fn state_queue(&self, key: QueueKey) -> Stated {
        let queue = &self.queues[key.0];
        Stated::Queue {
            queue: queue.name.clone(),
            settings: queue.settings.clone(),
            pause: queue.pause.clone(),
            next_order: queue.next_order,
            totals: queue.totals,
        }
    }

    fn state_list(&self, key: ListKey) -> Stated {
        let list = &self.lists[key.0];
        let feeder = |&queue: &QueueKey| {
            let queue = &self.queues[queue.0];
            (queue.name.clone(), queue.results == Some(key))
        };
        Stated::List {
            list: list.name.clone(),
            durability: list.durability,
            is_decided: list.is_decided,
            end: list.end,
            feeders: list.feeders.iter().map(feeder).collect(),
        }
    }

    fn state_jobs(&self, run: &Run) -> Stated {
        let standing = match &run.phase {
            Phase::Ready => Standing::Ready,
            &Phase::Delayed { until } => Standing::Delayed { until },
            Phase::Held(held) => {
                let prerequisites =
                    held.prerequisites.iter().map(|held| held.prerequisite.clone()).collect();
                Standing::Held { until: held.until, prerequisites }
            }
            Phase::Leased(lease) => Standing::Leased {
                first: lease.first,
                session: lease.session,
                subscription: lease.subscription,
                since: lease.since,
                length_ms: lease.length_ms,
                stopping: lease.stopping,
            },
            &Phase::Dead { reason, at } => Standing::Dead { reason, at },
        };
        Stated::Jobs(Box::new(Jobs {
            jobs: run.jobs,
            queue: self.queues[run.queue.0].name.clone(),
            options: (*run.options).clone(),
            results: run.results.map(|key| self.lists[key.0].name.clone()),
            payloads: run.payloads.loaded().cloned().unwrap_or_else(|| Block::empties(0)),
            submitted: run.submitted,
            orders: (run.order, run.last_order),
            counts: (run.attempts, run.failures, run.crashes),
            failure: run.failure.as_deref().cloned(),
            standing,
        }))
    }

    /// What was popped of each list and not confirmed: it comes back with a restart.
    fn popped_items(&self) -> BTreeMap<ListKey, Vec<ItemRun>> {
        let mut popped: BTreeMap<ListKey, Vec<ItemRun>> = BTreeMap::new();
        for session in self.sessions.values() {
            for (&list, receipts) in &session.popped {
                popped.entry(list).or_default().extend(receipts.values().flatten().cloned());
            }
        }
        popped
    }

    /// Takes one part. What names a queue or a list that was not stated is passed over, as `apply`
    /// does.
    pub(crate) fn take_stated(&mut self, stated: Stated, record: Seq) {
        match stated {
            Stated::Begins { at, next_lease } => {
                self.now = self.now.max(at);
                self.next_lease = self.next_lease.max(next_lease);
            }
            Stated::Queue { queue, settings, pause, next_order, totals } => {
                let mut nothing = Output::default();
                self.apply(Event::QueueSet { queue: queue.clone(), settings }, &mut nothing);
                let queue = &mut self.queues[self.queue_names[&queue].0];
                (queue.pause, queue.next_order, queue.totals) = (pause, next_order, totals);
            }
            Stated::List { list, durability, is_decided, end, feeders } => {
                let key = self.list_named(&list, durability);
                let list = &mut self.lists[key.0];
                (list.is_decided, list.end) = (is_decided, end);
                for (queue, named_after) in feeders {
                    let Some(&queue) = self.queue_names.get(&queue) else { continue };
                    self.note_feeder(queue, key);
                    if named_after {
                        self.queues[queue.0].results = Some(key);
                    }
                }
            }
            Stated::Session { session, key, name, numbers, settled } => {
                let session = self.session_of(session, key);
                (session.name, session.is_kept) = (name, true);
                session.kept = numbers.clone();
                session.numbers = numbers;
                session.settled.extend(settled);
            }
            Stated::Jobs(jobs) => self.take_jobs(*jobs, record),
            Stated::Items { list, start, jobs, items } => {
                if let Some(&list) = self.list_names.get(&list) {
                    self.bytes += items.size_bytes() as u64;
                    let form = Form::Strings;
                    self.lists[list.0].put_back(ItemRun { start, jobs, form, block: items });
                }
            }
            Stated::Values { list, start, values } => {
                if let Some(&list) = self.list_names.get(&list) {
                    self.bytes += values.size_bytes() as u64;
                    let run = ItemRun { start, jobs: None, form: Form::Values, block: values };
                    self.lists[list.0].put_back(run);
                }
            }
            Stated::Object { object, typeid, durability, revision } => {
                if let Some(kind) = self.config.registry.blank(&typeid) {
                    let key = self.add_object(&object, durability, kind);
                    self.objects[key.0].revision = revision;
                    self.objects[key.0].history = History::since(revision);
                }
            }
            Stated::Made { object, made } => {
                if let Some(key) = self.object_names.get(&object) {
                    self.objects[key.0].made = made;
                }
            }
            Stated::Watched { list, made, revision } => {
                if let Some(&list) = self.list_names.get(&list) {
                    let watched = Box::new(Watched::since(made, revision));
                    self.lists[list.0].watched = Some(watched);
                }
            }
            Stated::Part { object, part } => self.take_part(&object, &part),
            Stated::Answered { session, seq, answer } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    self.bytes += answer.results.size_bytes() as u64;
                    session.answers.kept.insert(seq, answer);
                }
            }
            Stated::Ended { jobs, queue, ending, submitted, counts } => {
                let Some(&queue) = self.queue_names.get(&queue) else { return };
                let (attempts, failures, crashes) = counts;
                self.finished.add(Finished {
                    jobs,
                    queue,
                    ending,
                    submitted,
                    attempts,
                    failures,
                    crashes,
                });
            }
            Stated::Fifo { queue, taken, is_shut_down } => {
                if let Some(&queue) = self.queue_names.get(&queue) {
                    let queue = &mut self.queues[queue.0];
                    (queue.taken, queue.is_shut_down) = (taken, is_shut_down);
                }
            }
            Stated::Complete => {}
        }
    }

    fn take_jobs(&mut self, stated: Jobs, record: Seq) {
        let Some(&queue) = self.queue_names.get(&stated.queue) else { return };
        let phase = match stated.standing {
            Standing::Ready => Phase::Ready,
            Standing::Delayed { until } => Phase::Delayed { until },
            Standing::Held { until, prerequisites } => {
                Phase::Held(Held { until, prerequisites: awaited(prerequisites) })
            }
            Standing::Leased { first, session, subscription, since, length_ms, stopping } => {
                if !self.sessions.contains_key(&session) {
                    return;
                }
                Phase::Leased(Lease {
                    first,
                    session,
                    subscription,
                    since,
                    length_ms,
                    stopping,
                    progress: None,
                })
            }
            Standing::Dead { reason, at } => Phase::Dead { reason, at },
        };
        let holder = match &phase {
            Phase::Leased(lease) => Some((lease.session, lease.length_ms)),
            Phase::Ready | Phase::Delayed { .. } | Phase::Held(_) | Phase::Dead { .. } => None,
        };
        let options = self.queues[queue.0].share(stated.options);
        let (order, last_order) = stated.orders;
        let (attempts, failures, crashes) = stated.counts;
        self.add(Run {
            jobs: stated.jobs,
            queue,
            options,
            results: stated.results.and_then(|name| self.list_names.get(&name).copied()),
            payloads: Payloads::Loaded(stated.payloads),
            records: Some(record).into(),
            submitted: stated.submitted,
            order,
            last_order,
            attempts,
            failures,
            crashes,
            failure: stated.failure.map(Arc::new),
            watchers: smallvec::SmallVec::new(),
            dependents: BTreeSet::new(),
            phase,
        });
        if let Some((session, length_ms)) = holder {
            self.watch_silence(session, length_ms);
        }
    }
}
