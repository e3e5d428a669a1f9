//! A shared object: what every type of them has to offer, and what a call may ask of its
//! surroundings.
//!
//! Not who calls and what becomes of the answer, which is `invoke`'s, nor who waits, which is
//! `waiting`'s.

mod args;
mod array;
mod barrier;
mod cell;
mod condition;
mod counter;
mod custom;
mod dict;
mod flag;
mod hold;
mod lock;
mod namespace;
mod semaphore;
mod set;

use core::any::Any;
use core::fmt;
use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::{
    By, CallError, Durability, Name, ObjectId, Packed, SessionId, SubscriptionId, Time, What,
};

pub(crate) use self::args::{Args, count_of, int_of, shown};
pub(crate) use self::custom::Custom;
pub(crate) use self::hold::Hold;
use crate::waiting::Waiters;
use crate::watching::{History, Watcher};

/// Where an object is kept, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey(pub(crate) usize);

/// Who calls, and will hold what the call acquires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) session: SessionId,
    pub(crate) by: By,
}

/// An object other than a queue or a list.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: Name,
    pub(crate) durability: Durability,
    /// When it was made, which tells it from others of its name.
    pub(crate) made: Time,
    /// How often it was changed.
    pub(crate) revision: u64,
    pub(crate) kind: Box<dyn Kind>,
    pub(crate) waiters: Waiters,
    /// When its timer is set for.
    pub(crate) passes: Option<Time>,
    pub(crate) history: History,
    pub(crate) watchers: BTreeMap<(SessionId, SubscriptionId), Watcher>,
}

/// How much there is in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
}

/// What a method answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Nothing in particular.
    None,
    Value(Packed),
    /// It has to wait, in this lane.
    Wait(Lane),
}

/// Who waits for the same is in one lane and is served in turn; who waits for something else does
/// not stand in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// For the thing itself.
    Turn,
    /// For a word of another caller.
    Word,
}

/// How far a call has come that may wait. Part of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Stage {
    /// It is made.
    Made,
    /// It waits, and the word that it waited for has come.
    Told,
    /// It waits, and its time is up.
    TimedOut,
}

/// What a call needs to know, and what it says beside its answer.
pub(crate) struct Cx<'a> {
    pub(crate) now: Time,
    pub(crate) owner: Owner,
    pub(crate) stage: Stage,
    /// The next fencing token.
    pub(crate) next_token: &'a mut u64,
    pub(crate) limits: Limits,
    /// It is the only call of its frame, as one that waits must be.
    pub(crate) is_alone: bool,
    /// How many calls wait for a word. A replay has none: what comes of it must not be journaled.
    pub(crate) waiting: u64,
    /// How many of them get it by this call.
    pub(crate) told: u64,
    /// The call has changed the object.
    pub(crate) changed: bool,
    /// What those who watch it see of that; of a call that fails nothing.
    pub(crate) whats: Vec<What>,
}

/// Bounds of one object. Part of the journal: what was refused as too much is refused by a replay,
/// and nothing else, whatever the bounds are by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// How many items there may be in it.
    pub items_max: u64,
    /// How many bytes they may have.
    pub bytes_max: u64,
}

/// Bytes of one answer: 16 MiB, a quarter of the largest frame. The last one in it may be as large again.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Cx<'_> {
    /// A fencing token that is larger than all before it.
    pub(crate) const fn take_token(&mut self) -> u64 {
        let token = *self.next_token;
        *self.next_token += 1;
        token
    }
}

impl Limits {
    /// Refuses what would have `now` grow by `more` beyond the bounds.
    pub(crate) fn judge(&self, now: Extent, more: Extent) -> Result<(), CallError> {
        let full = |used, limit, unit: &str| CallError::Full { used, limit, unit: unit.to_owned() };
        if more.items > self.items_max.saturating_sub(now.items) {
            return Err(full(now.items, self.items_max, "items"));
        }
        if more.bytes > self.bytes_max.saturating_sub(now.bytes) {
            return Err(full(now.bytes, self.bytes_max, "bytes"));
        }
        Ok(())
    }
}

/// Refuses an answer of so many bytes if it would not fit a frame.
pub(crate) fn judge_answer(bytes: usize) -> Result<(), CallError> {
    if bytes > ANSWER_BYTES_MAX {
        return Err(CallError::Value(format!(
            "an answer of {bytes} bytes is more than {ANSWER_BYTES_MAX}; ask for a part"
        )));
    }
    Ok(())
}

/// What has methods.
///
/// Calls are journaled and replayed: they depend on nothing but the state, the arguments and the
/// context, and a call that fails changes nothing.
pub(crate) trait Callable: fmt::Debug + Send {
    /// Carries out a method, which is one of the type's.
    fn call(&mut self, method: &str, args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError>;

    /// How much there is in it.
    fn extent(&self) -> Extent;

    /// Tells what its values refer to, as often as they do.
    fn references(&self, _tell: &mut dyn FnMut(ObjectId)) {}

    /// What a call is about to change, so that it can be taken back; none for a method that cannot be
    /// an effect of a job's end.
    fn savepoint(&self, _method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        None
    }

    /// Takes the latest call back.
    fn go_back(&mut self, _to: Savepoint) {}
}

/// What a call was about to change, in its type's own form.
#[derive(Debug)]
pub(crate) struct Savepoint(Box<dyn Any + Send>);

impl Savepoint {
    pub(crate) fn of<T: Any + Send>(state: T) -> Option<Self> {
        Some(Self(Box::new(state)))
    }

    /// What it was made of.
    pub(crate) fn state<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|state| *state)
    }
}

/// The state of an object of one type.
pub(crate) trait Kind: Callable {
    /// Its type.
    fn typeid(&self) -> &'static str;

    /// What jobs can wait for: the number of a counter.
    fn number(&self) -> Option<i64> {
        None
    }

    /// What it is made of, in parts of about [`PART_BYTES`], for [`take`](Self::take) to put together
    /// again.
    fn parts(&self, tell: &mut dyn FnMut(Bytes));

    /// Takes a part that an object of its type has told. Those that make no sense are passed over.
    fn take(&mut self, part: &[u8]);

    /// When something in it ends by itself.
    fn deadline(&self) -> Option<Time> {
        None
    }

    /// Ends what is due; returns what those who watch it see of that.
    fn pass(&mut self, _now: Time) -> Vec<What> {
        Vec::new()
    }

    /// The method that reads what is told to those who watch it; none where nothing is told.
    fn watched_by(&self) -> Option<&'static str> {
        None
    }

    /// Who holds it, in the order of their tokens.
    fn holds(&self) -> Vec<Hold> {
        Vec::new()
    }

    /// Whether this owner holds it or a unit of it.
    fn is_held_by(&self, _owner: Owner) -> bool {
        false
    }

    /// The owner has ended: what it held is free.
    fn let_go(&mut self, _owner: Owner) {}
}

/// Bytes of a part of an object, unless one item has more: 256 KiB.
pub(crate) const PART_BYTES: usize = 256 << 10;

/// An object of a type, made with `args`.
pub(crate) fn make(typeid: &str, args: Args, cx: &Cx<'_>) -> Result<Box<dyn Kind>, CallError> {
    Ok(match typeid {
        array::TYPEID => Box::new(array::Array::make(args, cx)?),
        barrier::TYPEID => Box::new(barrier::Barrier::make(args)?),
        cell::TYPEID => Box::new(cell::Cell::make(args, cx)?),
        condition::TYPEID => Box::new(condition::Condition::make(args)?),
        counter::TYPEID => Box::new(counter::Counter::make(args)?),
        dict::TYPEID => Box::new(dict::Dict::make(args)?),
        flag::TYPEID => Box::new(flag::Flag::make(args)?),
        lock::LOCK => Box::new(lock::Lock::make(lock::LOCK, args)?),
        lock::RLOCK => Box::new(lock::Lock::make(lock::RLOCK, args)?),
        namespace::TYPEID => Box::new(namespace::Namespace::make(args, cx)?),
        semaphore::SEMAPHORE => Box::new(semaphore::Semaphore::make(semaphore::SEMAPHORE, args)?),
        semaphore::BOUNDED => Box::new(semaphore::Semaphore::make(semaphore::BOUNDED, args)?),
        set::TYPEID => Box::new(set::Set::make(args, cx)?),
        _ => return Err(CallError::Type(format!("{typeid} cannot be made"))),
    })
}

/// An object of a type, to be put together from its parts.
pub(crate) fn blank(typeid: &str) -> Option<Box<dyn Kind>> {
    Some(match typeid {
        array::TYPEID => Box::new(array::Array::default()),
        barrier::TYPEID => Box::new(barrier::Barrier::default()),
        cell::TYPEID => Box::new(cell::Cell::default()),
        condition::TYPEID => Box::new(condition::Condition::default()),
        counter::TYPEID => Box::new(counter::Counter::default()),
        dict::TYPEID => Box::new(dict::Dict::default()),
        flag::TYPEID => Box::new(flag::Flag::default()),
        lock::LOCK => Box::new(lock::Lock::blank(lock::LOCK)),
        lock::RLOCK => Box::new(lock::Lock::blank(lock::RLOCK)),
        namespace::TYPEID => Box::new(namespace::Namespace::default()),
        semaphore::SEMAPHORE => Box::new(semaphore::Semaphore::blank(semaphore::SEMAPHORE)),
        semaphore::BOUNDED => Box::new(semaphore::Semaphore::blank(semaphore::BOUNDED)),
        set::TYPEID => Box::new(set::Set::default()),
        _ => return None,
    })
}

/// What a part holds, in the journal's encoding.
pub(crate) fn part_of(value: &impl serde::Serialize) -> Bytes {
    let mut part = Vec::new();
    ganger_shared::codec::append(value, &mut part);
    part.into()
}

/// A part again.
pub(crate) fn part_to<T: serde::de::DeserializeOwned>(part: &[u8]) -> Option<T> {
    ganger_shared::codec::read(part).ok()
}

/// An answer of one value.
pub(crate) fn reply(value: impl Into<Packed>) -> Reply {
    Reply::Value(value.into())
}

/// The answer of a list of values, refused once they are more than an answer may have.
pub(crate) fn reply_items(
    items: impl Iterator<Item = Result<Packed, CallError>>,
) -> Result<Reply, CallError> {
    let (mut bytes, mut listed) = (0, Vec::new());
    for item in items {
        let item = item?;
        bytes += item.as_bytes().len();
        judge_answer(bytes)?;
        listed.push(item);
    }
    let list = Packed::list(&listed).map_err(|error| CallError::Value(error.to_string()))?;
    Ok(Reply::Value(list))
}

/// The answer of a tuple of values.
pub(crate) fn reply_tuple(values: &[Packed]) -> Result<Reply, CallError> {
    args::tuple(values).map(Reply::Value)
}

/// A method of the table that its type does not carry out: the two disagree.
pub(crate) fn no_method(typeid: &str, method: &str) -> CallError {
    CallError::Type(format!("{typeid} does not carry out {method}"))
}
