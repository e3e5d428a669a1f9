//! What the broker sends once the handshake is through. The rules of [`crate::request`] hold.

use serde::{Deserialize, Serialize};

use crate::admin::AdminAnswer;
use crate::block::Block;
use crate::change::Change;
use crate::id::{JobRange, LeaseId, LeaseRange, RequestId, SubscriptionId};
use crate::job::{Durability, Ending};
use crate::name::Name;
use crate::object::CallError;
use crate::rejection::Rejection;
use crate::time::Time;

/// What the broker expects of a client, told when a session opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Send a Heartbeat at least this often, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long after a broken connection the session can be resumed with its leases, in milliseconds.
    pub grace_ms: u64,
    /// Largest frame the broker reads, in bytes.
    pub frame_bytes_max: u32,
    /// Largest payload of a job or item, in bytes.
    pub payload_bytes_max: u32,
}

/// Items of a list that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// The jobs whose results they are, one each; none for items that a client appended.
    pub jobs: Option<JobRange>,
    /// The items.
    pub block: Block,
}

/// One frame from the broker to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The session is open.
    Opened {
        /// Whether the broker knew it: its leases and numbers stand.
        resumed: bool,
        /// The first number that the session has not used.
        next_seq: u64,
        /// What the broker expects.
        terms: Terms,
    },
    /// Answers Heartbeat.
    Heartbeat,
    /// The jobs are the broker's.
    Accepted {
        /// Of the Submit.
        request: RequestId,
        /// What that means for them.
        durability: Durability,
        /// Whether the queue is paused, so that they wait for a person.
        paused: bool,
    },
    /// A request was refused and changed nothing.
    Rejected {
        /// Of the request.
        request: RequestId,
        /// Why.
        rejection: Rejection,
    },
    /// A run of jobs to do, leased one by one.
    Assign {
        /// For which subscription.
        subscription: SubscriptionId,
        /// The lease of the first job; the others follow on.
        first_lease: LeaseId,
        /// Which attempt this is for every job of the run, from 1.
        attempt: u32,
        /// The jobs.
        jobs: JobRange,
        /// Which handler runs them.
        handler: Name,
        /// When they must have ended.
        deadline: Option<Time>,
        /// How long one may take, in milliseconds.
        time_limit_ms: Option<u64>,
        /// One payload per job.
        payloads: Block,
    },
    /// No Assign, Followed or Changed of this subscription comes any more.
    Unsubscribed {
        /// Which.
        subscription: SubscriptionId,
    },
    /// The leases have ended.
    Settled {
        /// Of the Settle.
        request: RequestId,
        /// Leases of it that the session had lost before: what was said of them changed nothing.
        lost: Vec<LeaseRange>,
    },
    /// The job of a lease is to be stopped; the lease ends by itself after a grace.
    CancelRun {
        /// Which.
        lease: LeaseId,
        /// When the lease ends, if it was not settled by then.
        until: Time,
    },
    /// Leases have ended without the worker: expired, or cancelled past the grace.
    Fenced {
        /// Which.
        leases: LeaseRange,
    },
    /// Jobs that were waited for have ended.
    Finished {
        /// Of the Wait, or of the Submit that asked to be notified.
        request: RequestId,
        /// Which jobs.
        jobs: JobRange,
        /// How.
        ending: Ending,
    },
    /// The items are in the list.
    Length {
        /// Of the Append.
        request: RequestId,
        /// Items in the list, these included.
        length: u64,
    },
    /// Items of a list.
    Items {
        /// Of the Pop or Range.
        request: RequestId,
        /// Index of the first one.
        start: u64,
        /// Items in the list after this.
        length: u64,
        /// They, in order.
        items: Vec<Items>,
    },
    /// Further items of a followed list.
    Followed {
        /// Which follow.
        subscription: SubscriptionId,
        /// Index of the first one. Larger than expected where others popped items in between.
        start: u64,
        /// They, in order.
        items: Vec<Items>,
    },
    /// The request to cancel was carried out.
    Cancelled {
        /// Of the Cancel.
        request: RequestId,
        /// Jobs that have ended by it.
        ended: u32,
        /// Jobs whose worker was told.
        told: u32,
        /// Jobs that the broker does not know or that had ended before.
        unknown: u32,
    },
    /// Answers Admin.
    Admin {
        /// Of the request.
        request: RequestId,
        /// The answer.
        answer: AdminAnswer,
    },
    /// The broker closes this connection.
    Goodbye {
        /// Why, for people.
        reason: String,
        /// Whether to connect again makes sense.
        come_back: bool,
    },
    /// The Subscribe was refused and changed nothing: no Assign comes of it.
    NotSubscribed {
        /// Which.
        subscription: SubscriptionId,
        /// Why.
        rejection: Rejection,
    },
    /// The object is there.
    Using {
        /// Of the Use.
        request: RequestId,
        /// Its name; one that begins with `_/` was given by the broker.
        object: Name,
        /// What an answer about it promises.
        durability: Durability,
        /// Whether it was made for this.
        is_new: bool,
    },
    /// The calls were carried out.
    Returned {
        /// Of the Call.
        request: RequestId,
        /// What each has returned: an encoded value, or nothing for none and for those that failed.
        results: Block,
        /// Those that failed, by their place in the Call, and why; each of them changed nothing.
        errors: Vec<(u32, CallError)>,
    },
    /// The object is watched.
    Watching {
        /// Of the Watch.
        request: RequestId,
        /// When the object was made: for a Watch that is to go on where this one ends.
        made: Time,
        /// The revision after which it begins.
        revision: u64,
    },
    /// Further changes of a watched object.
    Changed {
        /// Which watch.
        subscription: SubscriptionId,
        /// They, in order; all of a revision or none.
        changes: Vec<Change>,
    },
}
