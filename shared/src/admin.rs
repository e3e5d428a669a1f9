//! Verbs and answers for operators: looking at the broker and changing it.
//!
//! Not on the path of jobs; answers may be large and are made to be shown.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::{JobId, JobRange, LeaseId, SessionId};
use crate::job::{DeathReason, Durability, Failure, JobOptions};
use crate::limits::{DEAD_ON_MAX, NOTE_BYTES_MAX};
use crate::name::Name;
use crate::object::By;
use crate::prerequisite::Pending;
use crate::time::Time;

/// What pausing stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// Jobs are accepted and none is handed out.
    Delivery,
    /// None is handed out, and submits are refused.
    DeliveryAndSubmits,
}

/// What an operator can set on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Unsettled and dead jobs together, at most.
    pub jobs_max: u64,
    /// Their payloads together, in bytes, at most.
    pub bytes_max: u64,
    /// How long a lease lasts without a sign of life of its session, in milliseconds. A change holds
    /// for leases that are granted or extended after it.
    pub lease_ms: u64,
    /// Kinds of failure that are never retried; at most 64.
    #[serde(deserialize_with = "bounded::vec::<_, _, DEAD_ON_MAX>")]
    pub dead_on: Vec<String>,
    /// What an acknowledgement means.
    pub durability: Durability,
}

/// Which dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadWhich {
    /// These jobs.
    Jobs(JobRange),
    /// All of a queue.
    Queue(Name),
}

/// One request of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminVerb {
    /// The broker as a whole. Answered by Status.
    Status,
    /// Every queue, by name. Answered by Queues.
    QueueList,
    /// One queue. Answered by Queue.
    QueueShow {
        /// Which.
        queue: Name,
    },
    /// Makes a queue, or changes its settings. Answered by Done.
    QueueSet {
        /// Which.
        queue: Name,
        /// All of them.
        settings: QueueSettings,
    },
    /// Stops a queue. Answered by Done.
    QueuePause {
        /// Which.
        queue: Name,
        /// What stops.
        pause: Pause,
        /// Why, for people; cut at 200 bytes.
        #[serde(deserialize_with = "bounded::cut::<_, NOTE_BYTES_MAX>")]
        reason: String,
    },
    /// Lets a queue go on. Answered by Done.
    QueueResume {
        /// Which.
        queue: Name,
    },
    /// Cancels every waiting job of a queue; running and dead ones stay. Answered by Done.
    QueuePurge {
        /// Which.
        queue: Name,
    },
    /// The next jobs of a queue, without taking them. Answered by Jobs.
    QueuePeek {
        /// Which.
        queue: Name,
        /// How many at most.
        count: u32,
    },
    /// One job. Answered by Jobs, or refused as not found.
    JobShow {
        /// Which.
        job: JobId,
    },
    /// Dead letters of a queue, oldest death first. Answered by Jobs.
    DeadList {
        /// Which queue.
        queue: Name,
        /// How many to pass over.
        skip: u64,
        /// How many at most.
        count: u32,
    },
    /// Puts dead letters back into their queue as if they were submitted then and had not been
    /// tried; a deadline that has passed is lifted. Answered by Done.
    DeadRetry {
        /// Which.
        which: DeadWhich,
    },
    /// Forgets dead letters. Answered by Done.
    DeadPurge {
        /// Which.
        which: DeadWhich,
    },
    /// Every list, by name. Answered by Lists.
    ListList,
    /// Forgets every item of a list. Answered by Done.
    ListPurge {
        /// Which.
        list: Name,
    },
    /// Every session, by id. Answered by Sessions.
    SessionList,
    /// Makes a list, or changes what an empty one promises. Answered by Done, which counts 0 where
    /// the list is so already.
    ListSet {
        /// Which.
        list: Name,
        /// What an answer about it promises. Without it a list that exists stays as it is, and a new
        /// one promises what its queue does, or else what new queues do.
        durability: Option<Durability>,
    },
    /// Every shared object other than queues and lists, by name. Answered by Objects.
    ObjectList,
    /// One object of any type, who holds it and who waits for it. Answered by Object.
    ObjectShow {
        /// Which.
        object: Name,
    },
    /// Removes an object, a list or a queue; who waits for it, follows or watches it is told. Where a
    /// queue has the name of another object too, [`QueueRemove`](Self::QueueRemove) means the queue.
    /// Answered by Done.
    ObjectRemove {
        /// Which.
        object: Name,
    },
    /// Makes an object, a list or a queue of items, also where clients may not. Answered by Done, which
    /// counts 0 where it is there already.
    ObjectMake {
        /// Its name.
        object: Name,
        /// Its type.
        typeid: Name,
        /// What it is made with: encoded values, one after the other.
        args: Bytes,
        /// What an answer about it promises. Without it, what those about new queues do.
        durability: Option<Durability>,
    },
    /// Removes a queue that has no jobs and no subscribers, with its own results list, which must be
    /// empty; who waits for something in it is told. How its jobs ended is forgotten. Answered by Done.
    QueueRemove {
        /// Which.
        queue: Name,
    },
}

/// An answer to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// How many jobs, items or queues it touched.
    Done {
        /// Their number.
        count: u64,
    },
    /// The broker as a whole.
    Status(Status),
    /// Queues, by name.
    Queues(Vec<QueueInfo>),
    /// One queue.
    Queue(Box<QueueInfo>),
    /// Jobs.
    Jobs(Vec<JobInfo>),
    /// Lists, by name.
    Lists(Vec<ListInfo>),
    /// Sessions, by id.
    Sessions(Vec<SessionInfo>),
    /// Objects, by name.
    Objects(Vec<ObjectInfo>),
    /// One object.
    Object(Box<ObjectDetails>),
}

/// The broker as a whole. Counters run from its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Time,
    /// Its clock.
    pub now: Time,
    /// What new queues promise.
    pub durability: Durability,
    /// Open sessions.
    pub sessions: u64,
    /// Queues.
    pub queues: u64,
    /// Jobs that wait, over all queues.
    pub waiting: u64,
    /// Jobs that run.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Payload bytes in memory, results included.
    pub payload_bytes: u64,
    /// The most there may be.
    pub payload_bytes_max: u64,
    /// Jobs accepted.
    pub submitted: u64,
    /// Jobs acked.
    pub acked: u64,
    /// Failures reported by handlers.
    pub nacked: u64,
    /// Attempts ended by a crash or an expired lease.
    pub crashed: u64,
}

/// One queue. Counters run from its making or the broker's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueInfo {
    /// Its name.
    pub name: Name,
    /// What an operator can set.
    pub settings: QueueSettings,
    /// Whether and how it is paused.
    pub paused: Option<Pause>,
    /// What the one who paused it said.
    pub pause_reason: String,
    /// Jobs that could start.
    pub ready: u64,
    /// Jobs whose time has not come.
    pub delayed: u64,
    /// Jobs that run.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Payload bytes of all these.
    pub bytes: u64,
    /// Submits that wait for room.
    pub submits_waiting: u64,
    /// Subscriptions of workers.
    pub subscribers: u64,
    /// Their credit that is left.
    pub credit: u64,
    /// When the oldest ready job was submitted.
    pub oldest_ready: Option<Time>,
    /// A full results list that holds jobs back.
    pub held_by_list: Option<Name>,
    /// Jobs accepted.
    pub submitted: u64,
    /// Jobs acked.
    pub acked: u64,
    /// Failures reported by handlers.
    pub nacked: u64,
    /// Attempts ended by a crash or an expired lease.
    pub crashed: u64,
    /// Jobs that wait for prerequisites.
    pub held: u64,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It could start.
    Ready,
    /// Its time has not come.
    Delayed {
        /// When it may start.
        until: Time,
    },
    /// It runs.
    Leased {
        /// Under this lease.
        lease: LeaseId,
        /// In this session.
        session: SessionId,
        /// The worker's name.
        worker: String,
        /// Since when.
        since: Time,
        /// When the lease ends without a further sign of life.
        expires: Time,
        /// Whether its worker was told to stop.
        cancelling: bool,
        /// Units done and in all, and a note, as its handler last said.
        progress: Option<(u64, u64, String)>,
    },
    /// It was given up.
    Dead {
        /// Why.
        reason: DeathReason,
        /// When.
        at: Time,
    },
    /// It is done.
    Acked {
        /// Its result, in bytes.
        output_bytes: u64,
    },
    /// It was cancelled or purged.
    Cancelled,
    /// It waits for prerequisites before it may start.
    Held {
        /// Those that are not met.
        waits_for: Vec<Pending>,
    },
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its id.
    pub job: JobId,
    /// Its queue.
    pub queue: Name,
    /// Where it stands.
    pub state: JobState,
    /// What its submitter asked; absent once it has ended.
    pub options: Option<JobOptions>,
    /// When it was accepted.
    pub submitted: Time,
    /// Attempts that have started.
    pub attempts: u32,
    /// Failures that its handlers reported.
    pub failures: u32,
    /// Crashes of its workers.
    pub crashes: u32,
    /// The last failure.
    pub failure: Option<Failure>,
    /// The start of its payload, at most 1 KiB.
    pub payload: Vec<u8>,
    /// The payload's size in bytes.
    pub payload_bytes: u64,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListInfo {
    /// Its name.
    pub name: Name,
    /// Items in it.
    pub length: u64,
    /// Index of its first item: how many were popped or purged before.
    pub start: u64,
    /// Bytes of its items.
    pub bytes: u64,
    /// Items popped and not yet confirmed.
    pub unconfirmed: u64,
    /// Clients that follow it.
    pub followers: u64,
    /// The most items it may have.
    pub items_max: u64,
    /// The most bytes.
    pub bytes_max: u64,
    /// What an answer about it promises.
    pub durability: Durability,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its id.
    pub session: SessionId,
    /// What its client calls itself.
    pub name: String,
    /// Whether a connection is open.
    pub connected: bool,
    /// Its last sign of life.
    pub seen: Time,
    /// Jobs leased to it.
    pub leases: u64,
    /// Its subscriptions and follows.
    pub subscriptions: u64,
}

/// One shared object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub typeid: Name,
    /// What an answer about it promises.
    pub durability: Durability,
    /// How often it was changed.
    pub revision: u64,
    /// How many items it has; 1 for a single value.
    pub items: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many hold it or units of it.
    pub holders: u64,
    /// Calls that wait for it.
    pub waiting: u64,
}

/// One object, and who has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDetails {
    /// What lists say of it.
    pub info: ObjectInfo,
    /// Who holds it or units of it, in the order of their tokens.
    pub holders: Vec<HolderInfo>,
    /// Who waits, in their order; the first 1,000.
    pub waiters: Vec<WaiterInfo>,
}

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderInfo {
    /// The fencing token of the grant.
    pub token: u64,
    /// How often it was acquired and not released: more than 1 for an `rlock` only.
    pub count: u32,
    /// Whose session.
    pub session: SessionId,
    /// What its client calls itself.
    pub name: String,
    /// For whom in that session.
    pub by: By,
    /// The job that runs under the lease, where it is held for one.
    pub job: Option<JobId>,
    /// Since when.
    pub since: Time,
}

/// Who waits for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiterInfo {
    /// The method that waits.
    pub method: String,
    /// Whose session.
    pub session: SessionId,
    /// What its client calls itself.
    pub name: String,
    /// For whom in that session.
    pub by: By,
    /// Since when.
    pub since: Time,
    /// When it gives up.
    pub until: Time,
}
