//! Shared objects: who calls them, and how a call fails.
//!
//! Not which methods there are, which is in [`types`], nor what they do, which is the machine's.
//! [`proxy`] has them as functions.

pub mod custom;
pub mod proxy;
pub mod types;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::LeaseId;
use crate::limits::NOTE_BYTES_MAX;
use crate::value::Packed;

pub use custom::SharedObject;
pub use types::{Method, ObjectType, Takes};

/// The typeid of queues as they are called: jobs and items are in one and the same queue.
pub const QUEUE: &str = "queue/1";

/// The handler of the jobs that puts make. Their payload is the item as an encoded value; where they
/// are taken by a call, it is the item, and of any other job it is what its payload says as JSON, or
/// else its bytes.
pub const ITEM: &str = "ganger/item";

/// On whose behalf an object is called: who will hold what the call acquires, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum By {
    /// The session: what is acquired is released when it ends.
    Session,
    /// One of several holders within the session, which tell themselves apart by a number: an `rlock`
    /// that one of them holds keeps the others out.
    Holder(u32),
    /// A job: what is acquired is released when its lease ends, and a call under a lost lease is
    /// refused.
    Lease(LeaseId),
}

/// A call that was carried out, changed nothing and failed. Append variants, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// There is no item of this index.
    #[error("index {index} is out of range: there are {length} items")]
    Index {
        /// As it was given; negative ones count from the end.
        index: i64,
        /// How many there are.
        length: u64,
    },
    /// There is no such key.
    #[error("there is no key {key}")]
    Key {
        /// It, as JSON; cut at 200 bytes.
        #[serde(deserialize_with = "bounded::cut::<_, NOTE_BYTES_MAX>")]
        key: String,
    },
    /// There is no such item.
    #[error("{value} is not in it")]
    Absent {
        /// It, as JSON; cut at 200 bytes.
        #[serde(deserialize_with = "bounded::cut::<_, NOTE_BYTES_MAX>")]
        value: String,
    },
    /// A value of another type is needed.
    #[error("{0}")]
    Type(String),
    /// The value cannot be used.
    #[error("{0}")]
    Value(String),
    /// There is nothing to take.
    #[error("it is empty")]
    Empty,
    /// There is no room.
    #[error("it is full: {used} of {limit} {unit}")]
    Full {
        /// What it holds.
        used: u64,
        /// What it may hold.
        limit: u64,
        /// `items` or `bytes`.
        unit: String,
    },
    /// Somebody else has changed it meanwhile.
    #[error("it is at revision {revision}, not at {wanted}; read it again and decide anew")]
    Revision {
        /// The revision that the caller knows.
        wanted: u64,
        /// The one it has; 0 where there is nothing.
        revision: u64,
    },
    /// The caller does not hold it.
    #[error("{0}")]
    NotHeld(String),
    /// The caller held it once; since then it was granted anew.
    #[error("token {token} is stale: the latest is {latest}")]
    StaleToken {
        /// As it was given.
        token: u64,
        /// Of the latest grant.
        latest: u64,
    },
    /// To wait would be to wait for oneself.
    #[error("this would wait for ever: {0}")]
    Deadlock(String),
    /// The barrier was broken: somebody gave up, or it was aborted.
    #[error("the barrier is broken; reset it")]
    Broken,
    /// The object takes nothing more.
    #[error("it was shut down")]
    ShutDown,
    /// The object was removed while the call waited.
    #[error("it was removed while the call waited")]
    Removed,
    /// A method of it panicked once; its state is not to be trusted.
    #[error("it is poisoned: {0}")]
    Poisoned(String),
    /// The method itself returned an error.
    #[error("{message}")]
    User {
        /// What people read.
        message: String,
        /// The error as its type serializes it.
        value: Packed,
    },
}
