//! What a client sends once the handshake is through.
//!
//! Postcard numbers variants by position: append, never reorder or remove. A struct or variant
//! that has been released never changes; a wider one is a further variant.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::admin::AdminVerb;
use crate::block::Block;
use crate::bounded;
use crate::effect::Effect;
use crate::id::{JobRange, LeaseId, LeaseRange, RequestId, SessionId, SubscriptionId};
use crate::job::{Durability, JobOptions, Settlement};
use crate::limits::{
    EFFECTS_MAX, METHOD_BYTES_MAX, NOTE_BYTES_MAX, PREREQUISITES_MAX, SETTLEMENTS_MAX,
};
use crate::name::Name;
use crate::object::By;
use crate::prerequisite::Prerequisite;
use crate::time::Time;

/// What the broker does with a submit that does not fit its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenFull {
    /// Refuse it as a whole.
    Refuse,
    /// Accept it once it fits; submits wait in order.
    Wait,
}

/// Whether the submitter is told how its jobs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// Accepted is all that is sent.
    No,
    /// As if a Wait for the same jobs came with the submit: Finished follows as they end.
    Finished,
}

/// One frame from a client to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Opens a session, or resumes it after a broken connection: the first frame after the
    /// handshake, and sent once. Answered by Opened.
    Open {
        /// 64 random bits, chosen once by the client.
        session: SessionId,
        /// The leases that the client still works on. The broker takes back, at no cost to the
        /// jobs, those it granted to the session and that are not named: their Assign was lost.
        #[serde(deserialize_with = "bounded::vec::<_, _, SETTLEMENTS_MAX>")]
        held: Vec<LeaseRange>,
        /// What people see in lists: program, host, process id; cut at 200 bytes.
        #[serde(deserialize_with = "bounded::cut::<_, NOTE_BYTES_MAX>")]
        name: String,
    },
    /// Proof of life: extends every lease of the session. Answered by Heartbeat.
    Heartbeat,
    /// Hands a run of jobs to a queue. Answered by Accepted or Rejected; as a whole either way.
    /// Sent again after a broken connection it is accepted once.
    Submit {
        /// Answered under this number.
        request: RequestId,
        /// The queue; made on first use where the configuration allows it.
        queue: Name,
        /// The number of the first job in this session; the others follow on.
        first_seq: u64,
        /// What the jobs have in common.
        options: JobOptions,
        /// One payload per job.
        payloads: Block,
        /// What to do where they do not fit.
        when_full: WhenFull,
        /// Whether Finished is wanted.
        notify: Notify,
    },
    /// Asks for jobs of a queue. Each Assign spends one unit of credit per job and each settled
    /// lease returns it. Answered by NotSubscribed if it cannot be served, and else by jobs alone.
    Subscribe {
        /// Chosen by the client; unused in this session.
        subscription: SubscriptionId,
        /// The queue; made on first use where the configuration allows it.
        queue: Name,
        /// How many jobs may be leased to it at once.
        credit: u32,
    },
    /// Grants more credit to a subscription, more items to a follow, or more changes to a watch.
    Credit {
        /// Which.
        subscription: SubscriptionId,
        /// How much more.
        add: u32,
    },
    /// Ends a subscription, a follow or a watch; leases stay. Answered by Unsubscribed, after which no
    /// Assign of it comes.
    Unsubscribe {
        /// Which.
        subscription: SubscriptionId,
    },
    /// Ends leases. Answered by Settled, which names those that were lost before.
    Settle {
        /// Answered under this number.
        request: RequestId,
        /// Which, and how.
        #[serde(deserialize_with = "bounded::vec::<_, _, SETTLEMENTS_MAX>")]
        settlements: Vec<Settlement>,
    },
    /// Says how far a job is. Not answered; the latest stands.
    Progress {
        /// Whose job.
        lease: LeaseId,
        /// Units done.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// A word for people; cut at 200 bytes.
        #[serde(deserialize_with = "bounded::cut::<_, NOTE_BYTES_MAX>")]
        note: String,
    },
    /// Asks how jobs end. Answered by Finished frames that together name each job once, each as
    /// soon as its jobs have ended.
    Wait {
        /// Answered under this number.
        request: RequestId,
        /// Which jobs; of any session.
        jobs: JobRange,
    },
    /// Appends items to a list. Answered by Length. Sent again after a broken connection it takes
    /// effect once.
    Append {
        /// Answered under this number.
        request: RequestId,
        /// The list; made on first use where the configuration allows it.
        list: Name,
        /// A number of the session's own sequence, as a job has.
        seq: u64,
        /// The items.
        items: Block,
    },
    /// Takes items from the front of a list. Answered by Items.
    ///
    /// What was taken is kept until a later Pop of the same list, or a Confirm, says that it has
    /// arrived; a Pop that repeats a receipt gets the same items again, and a session that ends
    /// gives what is unconfirmed back to the front.
    Pop {
        /// Answered under this number.
        request: RequestId,
        /// The list.
        list: Name,
        /// Grows by one with each Pop of this list in this session, from 1.
        receipt: u64,
        /// Receipts up to this one have arrived; 0 for none.
        confirmed: u64,
        /// How many items at most.
        max: u32,
        /// How long to wait for the first item, in milliseconds; 0 answers at once, with nothing
        /// if the list is empty.
        wait_ms: u64,
    },
    /// Says that popped items have arrived. Not answered.
    Confirm {
        /// The list.
        list: Name,
        /// Receipts up to this one.
        receipt: u64,
    },
    /// Reads items without taking them. Answered by Items.
    Range {
        /// Answered under this number.
        request: RequestId,
        /// The list.
        list: Name,
        /// Index of the first item wanted, counted from the first ever appended; negative counts
        /// from the end.
        start: i64,
        /// How many at most.
        count: u32,
    },
    /// Reads items as they are appended, without taking them. Answered by Followed, again and again.
    Follow {
        /// Answered under this number if the list cannot be followed.
        request: RequestId,
        /// Chosen by the client; unused in this session.
        subscription: SubscriptionId,
        /// The list; made on first use where the configuration allows it.
        list: Name,
        /// Index of the first item wanted, as in Range.
        start: i64,
        /// How many items may be sent before Credit grants more.
        window: u32,
    },
    /// Cancels jobs: waiting ones end at once; the worker of a running one is told, and loses its
    /// lease if it goes on too long. Answered by Cancelled.
    Cancel {
        /// Answered under this number.
        request: RequestId,
        /// Which jobs; of any session.
        jobs: JobRange,
    },
    /// Looks at the broker or changes it. Answered by Admin or Rejected.
    Admin {
        /// Answered under this number.
        request: RequestId,
        /// What.
        verb: AdminVerb,
    },
    /// Ends the session in good order: its leases are released at no cost. Not answered.
    Close,
    /// Asks for a shared object, which is made if there is none. Answered by Using.
    Use {
        /// Answered under this number.
        request: RequestId,
        /// Its name; none for one that lives only while somebody uses it, and which the broker names.
        object: Option<Name>,
        /// Its type; another one's name is refused.
        typeid: Name,
        /// What the client takes the type's methods to be; none for types that every broker serves.
        schema: Option<[u8; 32]>,
        /// What it is made with where there is none: encoded values, one after the other.
        args: Bytes,
        /// What an answer about it promises where it is made; the broker's default if none.
        durability: Option<Durability>,
    },
    /// Calls a method of a shared object, once for each string of `args`, in order. Answered by
    /// Returned. Sent again after a broken connection it takes effect once.
    Call {
        /// Answered under this number.
        request: RequestId,
        /// The object.
        object: Name,
        /// Its type, where an object that does not exist is to be made; another one's name is refused.
        typeid: Option<Name>,
        /// The method; at most 64 bytes.
        #[serde(deserialize_with = "bounded::text::<_, METHOD_BYTES_MAX>")]
        method: String,
        /// The first of as many numbers of the session's own sequence as there are calls. None for
        /// a method that reads, which may be called twice.
        seq: Option<u64>,
        /// Every call with a number below this one was answered, and the answer has come.
        answered: u64,
        /// On whose behalf.
        by: By,
        /// How long the method may wait, in milliseconds; 0 has it answer at once.
        wait_ms: u64,
        /// For each call its arguments: encoded values, one after the other.
        args: Block,
    },
    /// Ends a lease as done, with effects: all of them together with the end of the job, or none and the
    /// lease is held as before. Answered by Settled, or Rejected with the effect that failed.
    Finish {
        /// Answered under this number.
        request: RequestId,
        /// Which lease.
        lease: LeaseId,
        /// The job's result.
        output: Bytes,
        /// What happens with it, in order.
        #[serde(deserialize_with = "bounded::vec::<_, _, EFFECTS_MAX>")]
        effects: Vec<Effect>,
    },
    /// A Submit of jobs that wait for prerequisites before they may start; without any it is a Submit.
    SubmitWhen {
        /// Answered under this number.
        request: RequestId,
        /// The queue; made on first use where the configuration allows it.
        queue: Name,
        /// The number of the first job in this session; the others follow on.
        first_seq: u64,
        /// What the jobs have in common.
        options: JobOptions,
        /// One payload per job.
        payloads: Block,
        /// What to do where they do not fit.
        when_full: WhenFull,
        /// Whether Finished is wanted.
        notify: Notify,
        /// All of which have to be met.
        #[serde(deserialize_with = "bounded::vec::<_, _, PREREQUISITES_MAX>")]
        prerequisites: Vec<Prerequisite>,
    },
    /// Tells the changes of a counter, value, dict or list as they happen. Answered by Watching and then by
    /// Changed, again and again; or by Rejected, be it later: when the object is removed, and when
    /// changes are forgotten that could not be sent.
    Watch {
        /// Answered under this number.
        request: RequestId,
        /// Chosen by the client; unused in this session.
        subscription: SubscriptionId,
        /// The object, which exists.
        object: Name,
        /// When it was made, as a former Watching said: another one of its name is refused.
        made: Option<Time>,
        /// The revision after which it begins; none for the one that the object has.
        from: Option<u64>,
        /// How many changes may be sent before Credit grants more; those that happened together are sent
        /// together, however many.
        window: u32,
    },
}
