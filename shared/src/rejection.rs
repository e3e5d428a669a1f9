//! Why the broker refuses a request: readable by programs and by people.

use serde::{Deserialize, Serialize};

use crate::id::LeaseId;
use crate::job::Durability;
use crate::key::KeyId;
use crate::name::Name;
use crate::object::CallError;

/// A request that changed nothing, and why. Append variants, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The jobs do not fit their queue. Try again later, or submit with waiting.
    #[error("queue {queue} is full: {used} of {limit} {unit}")]
    QueueFull {
        /// The queue.
        queue: Name,
        /// What it holds.
        used: u64,
        /// What it may hold.
        limit: u64,
        /// `jobs` or `bytes`.
        unit: String,
    },
    /// The queue was paused for submits too.
    #[error("queue {queue} is paused and takes no jobs{}", reason_suffix(reason))]
    Paused {
        /// The queue.
        queue: Name,
        /// What the one who paused it said.
        reason: String,
    },
    /// Nothing of this name exists, and the configuration does not let it be made by use.
    #[error("there is no {what} {name}")]
    NotFound {
        /// `queue`, `list`, `job` or `dead letter`.
        what: String,
        /// Its name or id.
        name: String,
    },
    /// One payload or item is larger than the limit.
    #[error("{size} bytes are more than the limit of {limit} bytes for one payload")]
    TooLarge {
        /// The largest one, in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// A number of something is at its limit.
    #[error("{what}: the limit of {limit} is reached")]
    TooMany {
        /// Of what.
        what: String,
        /// How many there may be.
        limit: u64,
    },
    /// The payloads in memory are at the broker's limit. Try again later.
    #[error("the broker holds {used} bytes of payloads; its limit is {limit}")]
    MemoryFull {
        /// In bytes.
        used: u64,
        /// In bytes.
        limit: u64,
    },
    /// The list is full. Pop or purge items, then try again.
    #[error("list {list} is full: {used} of {limit} {unit}")]
    ListFull {
        /// The list.
        list: Name,
        /// What it holds.
        used: u64,
        /// What it may hold.
        limit: u64,
        /// `items` or `bytes`.
        unit: String,
    },
    /// The numbers lie so far back that the broker cannot tell whether they were accepted.
    #[error("number {seq} of this session is too old: the broker remembers from {floor} on")]
    TooOld {
        /// The first number of the request.
        seq: u64,
        /// The first number that can be judged.
        floor: u64,
    },
    /// Some numbers of the request were accepted before and some were not.
    #[error("numbers {first} to {last} of this session were accepted only in part before")]
    Overlap {
        /// The first number of the request.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The session belongs to another key.
    #[error("the session is not yours: it belongs to another key")]
    NotYours,
    /// The broker has no storage that keeps this promise.
    #[error("durability {durability} is not available: {reason}")]
    Durability {
        /// What was asked for.
        durability: Durability,
        /// Why not.
        reason: String,
    },
    /// The request does not make sense.
    #[error("{0}")]
    Invalid(String),
    /// The request clashes with the state of things.
    #[error("{0}")]
    Conflict(String),
    /// The journal's disk has no room for more work; what ends work goes on. Try again later: it
    /// heals by itself when there is room again.
    #[error("storage full: {needed} bytes are needed, {left} are left for new work")]
    StorageFull {
        /// In bytes.
        needed: u64,
        /// In bytes.
        left: u64,
    },
    /// Something else has this name.
    #[error("{name} is a {is}, not a {wanted}")]
    WrongType {
        /// The name.
        name: Name,
        /// The typeid of what has it.
        is: Name,
        /// The typeid that was asked for.
        wanted: Name,
    },
    /// The broker does not serve this type.
    #[error("this broker serves no type {typeid}; it serves {}", types.join(", "))]
    NoType {
        /// The typeid.
        typeid: Name,
        /// Those that it serves.
        types: Vec<String>,
    },
    /// The type has no such method, or clients may not call it.
    #[error("{typeid} has no method {method:?} for clients; it has {}", methods.join(", "))]
    NoMethod {
        /// The typeid.
        typeid: Name,
        /// The method.
        method: String,
        /// Those that can be called.
        methods: Vec<String>,
    },
    /// Client and broker understand different things by the same type.
    #[error(
        "the methods of {typeid} differ: the client's schema is {client}, the broker's is {broker}"
    )]
    Schema {
        /// The typeid.
        typeid: Name,
        /// The start of the client's hash, in hex.
        client: String,
        /// The start of the broker's.
        broker: String,
    },
    /// What was to be done on behalf of a job comes too late: its lease has ended.
    #[error("lease {lease} has ended; what its job does has no effect any more")]
    LeaseLost {
        /// The lease.
        lease: LeaseId,
    },
    /// One of the effects of a job's end cannot be had, so that none has happened and the job has not
    /// ended.
    #[error("effect {effect} ({about}) cannot be had: {reason}")]
    Effect {
        /// Which, counted from 0.
        effect: u32,
        /// What it is about: an object and its method, or a submit and its queue.
        about: String,
        /// Why.
        reason: String,
        /// The error of the call, if it was one.
        error: Option<Box<CallError>>,
    },
    /// The configuration names the keys that may call what has this name, and the session's is none of
    /// them.
    #[error("the configuration does not let key {key} call {name}")]
    NotACaller {
        /// The name.
        name: Name,
        /// The key of the session.
        key: KeyId,
    },
    /// Not all changes that were asked for are remembered. Watch from now on, then read the object.
    #[error(
        "the changes of {object} after revision {from} are not all remembered, those after {since} are; \
         watch it from now on, then read it"
    )]
    Forgotten {
        /// The object.
        object: Name,
        /// The revision after which they were wanted.
        from: u64,
        /// The one after which they are remembered.
        since: u64,
    },
}

fn reason_suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
