//! What has happened to the state of record: queues, jobs, leases, lists, and the numbers and names of
//! sessions.
//!
//! Connections, credit, waits and follows are not here: they are gone with the process, and no
//! event depends on them. Events are a journal's records, so the rules of the wire hold: append
//! variants, never change one.

use bytes::Bytes;
use ganger_shared::admin::{Pause, QueueSettings};
use ganger_shared::key::KeyId;
use ganger_shared::prerequisite::Prerequisite;
use ganger_shared::{
    Block, By, DeathReason, Durability, Failure, JobOptions, JobRange, LeaseRange, Name, SessionId,
    SubscriptionId, Time,
};
use serde::{Deserialize, Serialize};

use crate::invoke::Called;
use crate::object::Limits;
use crate::stated::Stated;

pub use crate::queue::methods::{Did, QueueCalled};

/// Whose fault a failed attempt was; the two are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The handler reported a failure.
    Handler,
    /// The worker crashed, vanished or fell silent.
    Worker,
}

/// Why a running job is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// Somebody asked for it.
    Request,
    /// Its deadline passed.
    Deadline,
}

/// What becomes of jobs when their attempt, or their wait, ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Done; one output per job, appended to the results list in the same step.
    Acked {
        /// The results.
        outputs: Block,
    },
    /// Tried again.
    Retried {
        /// Not before this.
        until: Time,
        /// What failed.
        failure: Failure,
        /// Which count it adds to.
        fault: Fault,
    },
    /// Given back; the attempt does not count.
    Released {
        /// Not before this.
        until: Time,
    },
    /// Given up.
    Dead {
        /// Why.
        reason: DeathReason,
        /// The last failure and which count it adds to, where an attempt ended by it.
        failure: Option<(Failure, Fault)>,
    },
    /// Ended on request.
    Cancelled,
    /// Given up before it could start: what it was to wait for cannot come any more.
    Unmet {
        /// What that is.
        failure: Failure,
    },
}

/// One step of the state of record. Every range lies within one run of the state it applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A queue exists, with these settings.
    QueueSet {
        /// Its name.
        queue: Name,
        /// All of them.
        settings: QueueSettings,
    },
    /// A queue was paused, or goes on.
    QueuePaused {
        /// Its name.
        queue: Name,
        /// What stops and why; `None` to go on.
        pause: Option<(Pause, String)>,
    },
    /// A list exists.
    ListMade {
        /// Its name.
        list: Name,
        /// What an answer about it promises.
        durability: Durability,
    },
    /// Jobs were accepted.
    Submitted {
        /// When.
        at: Time,
        /// The key of their session.
        key: KeyId,
        /// Their queue, which exists.
        queue: Name,
        /// Their numbers.
        jobs: JobRange,
        /// What they share.
        options: JobOptions,
        /// One each.
        payloads: Block,
    },
    /// The time of delayed jobs has come.
    Due {
        /// Which.
        jobs: JobRange,
    },
    /// Jobs were leased.
    Granted {
        /// When.
        at: Time,
        /// The key of the session.
        key: KeyId,
        /// Which jobs.
        jobs: JobRange,
        /// As many leases.
        leases: LeaseRange,
        /// To whom.
        session: SessionId,
        /// For which of its subscriptions.
        subscription: SubscriptionId,
    },
    /// Running jobs are to be stopped.
    Stopping {
        /// Which.
        jobs: JobRange,
        /// When their leases end.
        until: Time,
        /// Why.
        cause: StopCause,
    },
    /// An attempt, or a wait, has ended.
    Ended {
        /// When.
        at: Time,
        /// Whose.
        jobs: JobRange,
        /// How.
        verdict: Verdict,
    },
    /// Dead letters went back into their queue: their counts are zero, their time to live starts
    /// anew, and a deadline that has passed is lifted.
    Redriven {
        /// When.
        at: Time,
        /// Which.
        jobs: JobRange,
    },
    /// Dead letters were forgotten.
    Forgotten {
        /// Which.
        jobs: JobRange,
    },
    /// A client appended items to a list, which exists.
    Appended {
        /// The key of its session.
        key: KeyId,
        /// Its session.
        session: SessionId,
        /// The number it used for this.
        seq: u64,
        /// The list.
        list: Name,
        /// The items.
        items: Block,
    },
    /// Items have left a list for good.
    Removed {
        /// The list.
        list: Name,
        /// Index of the first.
        start: u64,
        /// How many indexes from there; those that are gone already do not matter.
        count: u64,
    },
    /// A list exists, and promises what somebody decided rather than what its first use asks for.
    ListSet {
        /// Its name.
        list: Name,
        /// What an answer about it promises from here on.
        durability: Durability,
        /// Index of its next item; a journal does not know of items that were only in memory.
        end: u64,
    },
    /// What a session calls itself, before the first other event that names the session.
    SessionNamed {
        /// The key of the session.
        key: KeyId,
        /// Which.
        session: SessionId,
        /// Its client's words.
        name: String,
    },
    /// Nothing is remembered of a session any more.
    Left {
        /// Which.
        session: SessionId,
    },
    /// A part of the whole state, said again.
    Stated(Stated),
    /// A shared object exists.
    ObjectMade {
        /// When.
        at: Time,
        /// Its name.
        object: Name,
        /// Its type.
        typeid: Name,
        /// What an answer about it promises.
        durability: Durability,
        /// How much there could be in it.
        limits: Limits,
        /// What it is made with.
        args: Bytes,
    },
    /// Methods were called and have changed an object.
    Called(Box<Called>),
    /// What an owner held is free: the owner has ended.
    Freed {
        /// The object.
        object: Name,
        /// The owner's session.
        session: SessionId,
        /// The owner in that session.
        by: By,
    },
    /// What was due in an object has ended.
    Passed {
        /// When.
        at: Time,
        /// The object.
        object: Name,
    },
    /// A shared object or a list does not exist any more.
    ObjectRemoved {
        /// Its name.
        object: Name,
    },
    /// Jobs that were submitted in this step wait for prerequisites.
    Held {
        /// Which.
        jobs: JobRange,
        /// All of which have to be met.
        prerequisites: Vec<Prerequisite>,
    },
    /// A prerequisite that jobs waited for is met, and gone; without any left they may start.
    Met {
        /// When.
        at: Time,
        /// Which jobs.
        jobs: JobRange,
        /// Which of their prerequisites, counted from 0.
        prerequisite: u32,
    },
    /// A method was called that has changed a queue otherwise than by putting something in.
    QueueCalled(Box<QueueCalled>),
    /// Somebody watches a list for the first time: its changes are counted from here on.
    ListWatched {
        /// When.
        at: Time,
        /// The list.
        list: Name,
    },
    /// A queue does not exist any more, nor how its jobs ended.
    QueueRemoved {
        /// Its name.
        queue: Name,
    },
}
