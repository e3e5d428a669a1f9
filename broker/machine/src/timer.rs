//! Every reason for which the machine must be woken.

use std::collections::BTreeSet;

use ganger_shared::{JobId, SessionId, Time};

use crate::list::ListKey;
use crate::object::ObjectKey;
use crate::queue::QueueKey;
use crate::queue::callers::Wish;
use crate::run::RunKey;

/// One reason to wake up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Delayed jobs may start.
    Due(RunKey),
    /// Waiting jobs pass their time to live or deadline; running ones their deadline, or the grace
    /// after they were told to stop.
    Expire(RunKey),
    /// A session without a connection loses its leases.
    Grace(SessionId),
    /// A session with leases has been silent for as long as the shortest of them allows.
    Silence(SessionId),
    /// A session without a connection is forgotten.
    Forget(SessionId),
    /// The time of objects without a name is over.
    Unnamed,
    /// Something in an object ends by itself.
    Pass(ObjectKey),
    /// A call on an object that waits, known by its turn, is answered as one whose time is up.
    Call(ObjectKey, u64),
    /// A Pop that waits for items, known by its turn, is answered with none.
    Pop(ListKey, u64),
    /// A call on a queue that waits, known by its turn, is answered as one whose time is up.
    Caller(QueueKey, Wish, u64),
    /// A put that waits for room, known by its first job, is answered as one whose time is up.
    Put(QueueKey, JobId),
}

/// The set of reasons, by time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub(crate) fn unset(&mut self, at: Time, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.set.first().map(|&(at, _)| at)
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, timer)| timer)
    }

    pub(crate) fn contains(&self, at: Time, timer: Timer) -> bool {
        self.set.contains(&(at, timer))
    }

    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }
}
