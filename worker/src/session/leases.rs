//! Leases: held until the broker says that they are over, ended by settlements.

use std::sync::Arc;

use bytes::Bytes;
use event_listener::listener;
use ganger_shared::{Block, Effect, LeaseId, LeaseRange, Outcome, Request, Response, Settlement};

use super::{Leave, Link, Session, State, append};
use crate::calls::{Answer, Answered, Call, Settler};
use crate::error::Error;
use crate::oneshot::{self, Sender};
use crate::stop::{Stop, StopReason};

/// Leases in one frame at most, unless a single settlement has more: 16,384, a quarter of what a run
/// may have.
const GATHERED_MAX: u32 = 1 << 14;

/// Bytes of outputs and failures in one frame at most, unless a single settlement has more: 1 MiB.
const GATHERED_BYTES: usize = 1 << 20;

/// Leases, with the epoch in which they were granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) leases: LeaseRange,
}

/// Settlements that were handed in and not sent: those of busy tasks leave in one frame.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    settlements: Vec<Settlement>,
    settlers: Vec<Settler>,
    leases: u32,
    bytes: usize,
}

impl Gathered {
    /// Whether one more goes into the same frame.
    fn takes(&self, settlement: &Settlement) -> bool {
        self.is_empty()
            || (self.leases.saturating_add(settlement.leases.count) <= GATHERED_MAX
                && self.bytes + size_bytes(settlement) <= GATHERED_BYTES)
    }

    fn push(&mut self, settlement: Settlement, sender: Sender<Result<Response, Error>>) {
        self.settlers.push(Settler { leases: settlement.leases, sender });
        self.leases += settlement.leases.count;
        self.bytes += size_bytes(&settlement);
        self.settlements.push(settlement);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.settlements.is_empty()
    }

    /// Consecutive leases that were acked become one settlement.
    fn take(&mut self) -> (Vec<Settlement>, Vec<Settler>) {
        let Self { mut settlements, settlers, .. } = std::mem::take(self);
        if settlements.len() > 1 {
            settlements.sort_by_key(|settlement| settlement.leases.first);
            let joined = settlements.chunk_by(follows).map(join).collect();
            settlements = joined;
        }
        (settlements, settlers)
    }
}

/// Bytes that a settlement brings into its frame.
fn size_bytes(settlement: &Settlement) -> usize {
    match &settlement.outcome {
        Outcome::Ack { outputs } => outputs.size_bytes(),
        Outcome::Nack { failure, .. } | Outcome::Dead { failure } | Outcome::Crash { failure } => {
            failure.kind.len() + failure.message.len()
        }
        Outcome::Release { .. } => 0,
    }
}

/// Whether both are acks, of leases that follow on.
fn follows(one: &Settlement, next: &Settlement) -> bool {
    let acks = [one, next].map(|s| matches!(s.outcome, Outcome::Ack { .. }));
    acks == [true, true] && one.leases.end() == next.leases.first.0
}

/// One settlement for all, of which there is one, or which are acks of leases that follow on.
fn join(settlements: &[Settlement]) -> Settlement {
    if let [one] = settlements {
        return one.clone();
    }
    let mut builder = Block::builder();
    for settlement in settlements {
        if let Outcome::Ack { outputs } = &settlement.outcome {
            outputs.slices().for_each(|output| builder.push(output));
        }
    }
    let first = settlements[0].leases.first;
    let outputs = builder.finish();
    let leases = LeaseRange { first, count: outputs.count() };
    Settlement { leases, outcome: Outcome::Ack { outputs } }
}

impl Session {
    /// Ends leases. The answer says whether they were still held.
    pub(crate) fn settle(&self, epoch: u64, settlement: Settlement) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let answered = Answered::new(receiver);
        let leases = settlement.leases;
        let mut state = self.lock();
        if leases.count == 1 {
            state.running.remove(&leases.first);
        }
        if let Link::Ended(error) = &state.link {
            sender.send(Err(error.clone()));
            return answered;
        }
        if epoch != state.epoch {
            sender.send(Err(Error::LeaseLost { lease: leases.first }));
            return answered;
        }
        if !state.gathered.takes(&settlement) {
            state.send_gathered();
        }
        state.gathered.push(settlement, sender);
        let leave = state.leave_with_others();
        if !matches!(leave, Leave::Together) {
            state.send_gathered();
        }
        drop(state);
        self.flusher.carry_out(leave);
        answered
    }

    /// Ends a lease as done, with effects. The answer says whether it was still held, or which effect
    /// cannot be had; then it is held still.
    pub(crate) fn finish(
        &self,
        epoch: u64,
        lease: LeaseId,
        output: Bytes,
        mut effects: Vec<Effect>,
    ) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let answered = Answered::new(receiver);
        let mut state = self.lock();
        state.running.remove(&lease);
        if let Link::Ended(error) = &state.link {
            sender.send(Err(error.clone()));
            return answered;
        }
        if epoch != state.epoch {
            sender.send(Err(Error::LeaseLost { lease }));
            return answered;
        }
        state.send_joined();
        for effect in &mut effects {
            match effect {
                Effect::Submit { first_seq, payloads, .. }
                | Effect::SubmitWhen { first_seq, payloads, .. } => {
                    *first_seq = state.next_seq;
                    state.next_seq += u64::from(payloads.count());
                }
                Effect::Call { .. } => {}
            }
        }
        let id = state.take_request();
        let request = Request::Finish { request: id, lease, output, effects };
        let leave = state.send_call(&request);
        let settler = Settler { leases: LeaseRange::one(lease), sender };
        state.keep(
            id,
            Call { request: Some(Box::new(request)), answer: Answer::Settled(vec![settler]) },
        );
        drop(state);
        self.flusher.carry_out(leave);
        answered
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
            (state.settles == 0 && state.gathered.is_empty())
                || matches!(state.link, Link::Ended(_))
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
        drop(self.settle(held.epoch, Settlement { leases: held.leases, outcome }));
    }
}

impl State {
    /// Makes a call each of what was joined and gathered, and queues its frame if there is a connection.
    pub(super) fn send_gathered(&mut self) {
        // Calls that were made under a lease must not come after its end.
        self.send_joined();
        if self.gathered.is_empty() {
            return;
        }
        let (settlements, settlers) = self.gathered.take();
        let id = self.take_request();
        let request = Request::Settle { request: id, settlements };
        if let Some(out) = self.outgoing() {
            append(out, &request);
        }
        self.keep(id, Call { request: Some(Box::new(request)), answer: Answer::Settled(settlers) });
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::Failure;

    #[test]
    fn acks_of_leases_that_follow_on_become_one_settlement() {
        let ack = |first, outputs: &[&str]| {
            let outputs: Block = outputs.iter().collect();
            let leases = LeaseRange { first: LeaseId(first), count: outputs.count() };
            Settlement { leases, outcome: Outcome::Ack { outputs } }
        };
        let nack = |first| Settlement {
            leases: LeaseRange::one(LeaseId(first)),
            outcome: Outcome::Nack { failure: Failure::new("k", "m"), retry_after_ms: None },
        };
        let mut gathered = Gathered::default();
        for settlement in [ack(5, &["e"]), nack(8), ack(3, &["c", "d"]), ack(9, &["i"]), nack(6)] {
            gathered.push(settlement, oneshot::channel().0);
        }
        let (settlements, settlers) = gathered.take();
        assert_eq!(settlements, [ack(3, &["c", "d", "e"]), nack(6), nack(8), ack(9, &["i"])]);
        assert_eq!(settlers.len(), 5);
        assert!(gathered.is_empty());
    }
}
