//! Leases: held until the broker says that they are over, ended by settlements.

use std::sync::Arc;

use event_listener::listener;
use ganger_shared::{Block, LeaseId, LeaseRange, Outcome, Request, Settlement};

use super::{Link, Session, State};
use crate::calls::{Answer, Answered, Call};
use crate::error::Error;
use crate::oneshot;
use crate::stop::{Stop, StopReason};

/// Leases, with the epoch in which they were granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) leases: LeaseRange,
}

impl Session {
    /// Ends leases. The answer says whether they were still held.
    ///
    /// Consecutive acks of what is handed in together become one settlement.
    pub(crate) fn settle(&self, epoch: u64, settlements: Vec<Settlement>) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        for settlement in &settlements {
            let leases = settlement.leases;
            if leases.count == 1 {
                state.running.remove(&leases.first);
            }
        }
        if let Link::Ended(error) = &state.link {
            sender.send(Err(error.clone()));
            return Answered::new(receiver);
        }
        if epoch != state.epoch {
            let lease = settlements.first().map_or(LeaseId(0), |s| s.leases.first);
            sender.send(Err(Error::LeaseLost { lease }));
            return Answered::new(receiver);
        }
        let id = state.take_request();
        let request = Request::Settle { request: id, settlements };
        let leave = state.send_call(&request);
        state.keep(id, Call { request: Some(request), answer: Answer::Once(sender) });
        drop(state);
        self.flusher.carry_out(leave);
        Answered::new(receiver)
    }

    /// Has a handler told when its job is to stop; at once, if that was said before.
    pub(crate) fn watch(&self, epoch: u64, lease: LeaseId, stop: &Arc<Stop>) {
        let mut state = self.lock();
        if epoch != state.epoch || !state.held.contains(lease.0) {
            stop.set(StopReason::LeaseLost);
        } else {
            if state.told.contains(lease.0) {
                stop.set(StopReason::Cancelled);
            }
            state.running.insert(lease, Arc::clone(stop));
        }
    }

    /// Waits until every settlement was answered.
    pub(crate) async fn settled(&self) {
        let done = || {
            let state = self.lock();
            state.settles == 0 || matches!(state.link, Link::Ended(_))
        };
        while !done() {
            listener!(self.room => room);
            if done() {
                return;
            }
            room.await;
        }
    }

    /// Gives leases back untouched, without waiting for the answer.
    pub(crate) fn release(&self, held: Held) {
        let outcome = Outcome::Release { delay_ms: 0 };
        drop(self.settle(held.epoch, vec![Settlement { leases: held.leases, outcome }]));
    }
}

impl State {
    pub(super) fn release_held(&mut self, leases: LeaseRange) {
        self.held.remove(leases.first.0..leases.end());
        if !self.told.is_empty() {
            self.told.remove(leases.first.0..leases.end());
        }
    }
}

/// Parts of `outputs` that fit a frame each: their offsets and counts.
pub(crate) fn parts_that_fit(outputs: &Block, bytes_max: usize) -> Vec<(u32, u32)> {
    if outputs.size_bytes() <= bytes_max {
        return vec![(0, outputs.count())];
    }
    let mut parts = Vec::new();
    let (mut start, mut count, mut bytes) = (0, 0, 0);
    for slice in outputs.slices() {
        if count > 0 && bytes + slice.len() > bytes_max {
            parts.push((start, count));
            start += count;
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += slice.len();
    }
    parts.push((start, count));
    parts
}
