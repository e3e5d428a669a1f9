//! Calls on a queue that wait: for an item, or until all that was put is done.
//!
//! Not puts, which wait for room among the submits of the queue, nor the turn of those who take items,
//! which they share with the subscriptions: see [`crate::dispatch`]. Nothing of this is in the journal.

use std::collections::BTreeMap;

use ganger_shared::{By, CallError, Rejection, RequestId, SessionId, Time};

use super::QueueKey;
use crate::answers::{Answer, answer, failed};
use crate::machine::{Machine, reject};
use crate::output::Output;
use crate::queue::methods::value;
use crate::timer::Timer;

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// An item.
    Item,
    /// That nothing is left to do.
    Done,
}

/// Where a call waits: its queue, what for, and its turn.
pub(crate) type Place = (QueueKey, Wish, u64);

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) by: By,
    pub(crate) seq: u64,
    pub(crate) answered: u64,
    /// When it gives up; none for one that waits only until the item that is there is in memory.
    pub(crate) until: Option<Time>,
}

/// The calls that wait at one queue, in their order.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    waiting: BTreeMap<(Wish, u64), Caller>,
    /// Those that do not wait for others.
    hasty: usize,
}

impl Callers {
    pub(crate) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), hasty: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Wish, u64, &Caller)> {
        self.waiting.iter().map(|(&(wish, turn), caller)| (wish, turn, caller))
    }

    pub(crate) fn first(&self, wish: Wish) -> Option<(u64, &Caller)> {
        let (&(_, turn), caller) = self.waiting.range((wish, 0)..=(wish, u64::MAX)).next()?;
        Some((turn, caller))
    }

    fn first_hasty(&self) -> Option<u64> {
        if self.hasty == 0 {
            return None;
        }
        let hasty = |(wish, turn, caller): (_, _, &Caller)| {
            (wish == Wish::Item && caller.until.is_none()).then_some(turn)
        };
        self.iter().find_map(hasty)
    }
}

impl Machine {
    /// Has a call wait behind the others.
    pub(crate) fn have_wait(&mut self, queue: QueueKey, wish: Wish, caller: Caller) {
        let found = &mut self.queues[queue.0];
        let turn = found.next_turn;
        found.next_turn += 1;
        found.callers.hasty += usize::from(caller.until.is_none());
        found.callers.waiting.insert((wish, turn), caller);
        if let Some(until) = caller.until {
            self.timers.set(until, Timer::Caller(queue, wish, turn));
        }
        if let Some(session) = self.sessions.get_mut(&caller.session) {
            session.queue_calls.insert((queue, wish, turn), caller.seq);
            session.waiting_seqs.insert(caller.seq);
        }
        self.holdings.leases_waiting += usize::from(matches!(caller.by, By::Lease(_)));
        self.awake.insert(queue);
    }

    /// Takes a call out of all places where it waits.
    pub(crate) fn stop_waiting(&mut self, place: Place) -> Option<Caller> {
        let (queue, wish, turn) = place;
        let callers = &mut self.queues[queue.0].callers;
        let caller = callers.waiting.remove(&(wish, turn))?;
        callers.hasty -= usize::from(caller.until.is_none());
        if let Some(until) = caller.until {
            self.timers.unset(until, Timer::Caller(queue, wish, turn));
        }
        if let Some(session) = self.sessions.get_mut(&caller.session) {
            session.queue_calls.remove(&place);
            session.waiting_seqs.remove(&caller.seq);
        }
        self.holdings.leases_waiting -= usize::from(matches!(caller.by, By::Lease(_)));
        Some(caller)
    }

    /// Answers those who need not wait any more, once what could be handed out is.
    pub(crate) fn serve_callers(&mut self, key: QueueKey, out: &mut Output) {
        if self.queues[key.0].callers.is_empty() {
            return;
        }
        while self.queues[key.0].unfinished() == 0
            && let Some((turn, _)) = self.queues[key.0].callers.first(Wish::Done)
        {
            self.tell_caller((key, Wish::Done, turn), value(true), out);
        }
        while self.queues[key.0].is_used_up()
            && let Some((turn, _)) = self.queues[key.0].callers.first(Wish::Item)
        {
            self.tell_caller((key, Wish::Item, turn), failed(CallError::ShutDown, 1), out);
        }
        let queue = &self.queues[key.0];
        let has_none = queue.pause.is_some() || queue.ready.next().is_none();
        while has_none && let Some(turn) = self.queues[key.0].callers.first_hasty() {
            self.tell_caller((key, Wish::Item, turn), failed(CallError::Empty, 1), out);
        }
    }

    /// Answers all that wait that the queue is gone.
    pub(crate) fn end_callers(&mut self, key: QueueKey, out: &mut Output) {
        for wish in [Wish::Item, Wish::Done] {
            while let Some((turn, _)) = self.queues[key.0].callers.first(wish) {
                self.tell_caller((key, wish, turn), failed(CallError::Removed, 1), out);
            }
        }
    }

    fn tell_caller(&mut self, place: Place, told: Answer, out: &mut Output) {
        let promise = self.promise(place.0);
        if let Some(caller) = self.stop_waiting(place) {
            answer(caller.session, caller.request, promise, told, out);
        }
    }

    /// The time of a call that waits is up.
    pub(crate) fn caller_timed_out(&mut self, place: Place, out: &mut Output) {
        let told = match place.1 {
            Wish::Item => failed(CallError::Empty, 1),
            Wish::Done => value(false),
        };
        self.tell_caller(place, told, out);
    }

    /// Gives up what a session waits for at queues.
    pub(crate) fn drop_queue_calls(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let places: Vec<Place> = session.queue_calls.keys().copied().collect();
        for place in places {
            self.stop_waiting(place);
        }
    }

    /// Rejects what a session waits for at queues on behalf of leases between `first` and `last`, which
    /// are over.
    pub(crate) fn reject_queue_calls(
        &mut self,
        id: SessionId,
        first: By,
        last: By,
        out: &mut Output,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let places: Vec<Place> = session.queue_calls.keys().copied().collect();
        for place in places {
            let (queue, wish, turn) = place;
            let caller = self.queues[queue.0].callers.waiting.get(&(wish, turn));
            let Some(&Caller { by, request, .. }) = caller else { continue };
            if let By::Lease(lease) = by
                && (first..=last).contains(&by)
            {
                self.stop_waiting(place);
                reject(id, request, Err(Rejection::LeaseLost { lease }), out);
            }
        }
    }
}
