//! A queue: which jobs are ready, in which order, who takes them, and how much there is of each.
//!
//! Not the jobs themselves, which are runs: see [`crate::run`].

pub(crate) mod callers;
pub(crate) mod methods;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ganger_shared::admin::{Pause, QueueSettings};
use ganger_shared::request::Notify;
use ganger_shared::{
    Block, By, JobId, JobOptions, JobRange, Name, Prerequisite, RequestId, SessionId,
    SubscriptionId, Time,
};

use serde::{Deserialize, Serialize};

use self::callers::Callers;
use crate::list::ListKey;
use crate::ready::Ready;
use crate::run::RunKey;

/// Where a queue is kept. A key is good as long as there are jobs, subscriptions or calls of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueKey(pub(crate) usize);

/// A submit that waits for room.
#[derive(Debug)]
pub(crate) struct WaitingSubmit {
    pub(crate) request: RequestId,
    pub(crate) jobs: JobRange,
    pub(crate) options: JobOptions,
    pub(crate) payloads: Block,
    pub(crate) notify: Notify,
    pub(crate) prerequisites: Vec<Prerequisite>,
    /// It is a put rather than a submit, and answered as one.
    pub(crate) put: Option<Put>,
}

/// What a put is beside a submit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    pub(crate) by: By,
    /// When it gives up.
    pub(crate) until: Time,
}

/// Jobs of one queue in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    pub(crate) delayed: u64,
    pub(crate) leased: u64,
    pub(crate) dead: u64,
    pub(crate) held: u64,
}

impl Counts {
    pub(crate) const fn all(&self) -> u64 {
        self.ready + self.delayed + self.leased + self.dead + self.held
    }
}

/// What has happened in a queue since it was made or the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Jobs that were accepted.
    pub submitted: u64,
    /// Jobs that were done.
    pub acked: u64,
    /// Attempts that their handler reported as failed.
    pub nacked: u64,
    /// Attempts whose worker was lost.
    pub crashed: u64,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Name,
    pub(crate) settings: QueueSettings,
    pub(crate) pause: Option<(Pause, String)>,
    pub(crate) ready: Ready,
    /// By the time they are due.
    pub(crate) delayed: BTreeMap<(Time, JobId), RunKey>,
    /// Those that wait for prerequisites.
    pub(crate) held: BTreeMap<JobId, RunKey>,
    /// Dead letters, oldest death first.
    pub(crate) dead: BTreeMap<(Time, JobId), RunKey>,
    /// Subscriptions of connected sessions.
    pub(crate) subscribers: u64,
    /// Subscriptions with room, by their turn.
    pub(crate) takers: BTreeMap<u64, (SessionId, SubscriptionId)>,
    /// Calls that wait, by their turn among the takers.
    pub(crate) callers: Callers,
    pub(crate) next_turn: u64,
    pub(crate) next_order: u64,
    pub(crate) counts: Counts,
    pub(crate) totals: Totals,
    /// Payload bytes of all its jobs.
    pub(crate) bytes: u64,
    /// Submits that wait for room, in order.
    pub(crate) submits: VecDeque<WaitingSubmit>,
    /// The options of the latest submit: most submits repeat them, and then share them.
    pub(crate) latest_options: Option<Arc<JobOptions>>,
    /// Items that callers took and have not said to be done.
    pub(crate) taken: u64,
    /// It takes no more jobs.
    pub(crate) is_shut_down: bool,
    /// The list `<name>.results`, once a job needed it.
    pub(crate) results: Option<ListKey>,
    /// The lists that know it as a feeder.
    pub(crate) feeds: BTreeSet<ListKey>,
}

impl Queue {
    pub(crate) const fn new(name: Name, settings: QueueSettings) -> Self {
        Self {
            name,
            settings,
            pause: None,
            ready: Ready::new(),
            delayed: BTreeMap::new(),
            held: BTreeMap::new(),
            dead: BTreeMap::new(),
            subscribers: 0,
            takers: BTreeMap::new(),
            callers: Callers::new(),
            next_turn: 0,
            next_order: 0,
            counts: Counts { ready: 0, delayed: 0, leased: 0, dead: 0, held: 0 },
            totals: Totals { submitted: 0, acked: 0, nacked: 0, crashed: 0 },
            bytes: 0,
            submits: VecDeque::new(),
            latest_options: None,
            taken: 0,
            is_shut_down: false,
            results: None,
            feeds: BTreeSet::new(),
        }
    }

    /// The options as shared by the jobs of this queue.
    pub(crate) fn share(&mut self, options: JobOptions) -> Arc<JobOptions> {
        match &self.latest_options {
            Some(latest) if **latest == options => Arc::clone(latest),
            Some(_) | None => {
                let options = Arc::new(options);
                self.latest_options = Some(Arc::clone(&options));
                options
            }
        }
    }

    /// A place behind every ready job of the same priority.
    pub(crate) const fn take_order(&mut self) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        order
    }

    /// What it holds, as its settings bound it.
    pub(crate) const fn size(&self) -> Size {
        Size { jobs: self.counts.all(), bytes: self.bytes }
    }

    /// The runs of the jobs that wait, ready ones first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = RunKey> {
        let later = self.delayed.values().chain(self.held.values());
        self.ready.in_order().chain(later.copied())
    }
}

/// Jobs and their payload bytes: what a queue holds, or what is to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) jobs: u64,
    pub(crate) bytes: u64,
}

impl Size {
    pub(crate) fn of(payloads: &Block) -> Self {
        Self { jobs: u64::from(payloads.count()), bytes: payloads.size_bytes() as u64 }
    }

    /// The bound of `settings` that `more` on top of this would pass: used, limit, unit.
    pub(crate) const fn bound_passed(
        self,
        more: Self,
        settings: &QueueSettings,
    ) -> Option<(u64, u64, &'static str)> {
        if self.jobs.saturating_add(more.jobs) > settings.jobs_max {
            Some((self.jobs, settings.jobs_max, "jobs"))
        } else if self.bytes.saturating_add(more.bytes) > settings.bytes_max {
            Some((self.bytes, settings.bytes_max, "bytes"))
        } else {
            None
        }
    }
}
