//! The connection under a session: up, down, and over for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use ganger_rt::Outgoing;
use ganger_shared::response::Terms;
use ganger_shared::{LeaseId, LeaseRange, Request, RequestId, limits};

use super::{Leave, Link, Listener, Outlet, Session, State, append};
use crate::calls::Call;
use crate::error::Error;
use crate::stop::{Stop, StopReason};

impl Session {
    /// What to tell the broker when a session is resumed.
    pub(crate) fn held(&self) -> Vec<LeaseRange> {
        let state = self.lock();
        let ranges = state.held.iter().flat_map(|range| {
            // A count is a u32; neighbours of many runs may have grown together.
            let mut start = range.start;
            std::iter::from_fn(move || {
                let count = u32::try_from(range.end - start).unwrap_or(u32::MAX);
                let part = LeaseRange { first: LeaseId(start), count };
                start = part.end();
                (count > 0).then_some(part)
            })
        });
        ranges.take(limits::SETTLEMENTS_MAX).collect()
    }

    /// A connection is open: whatever was asked and not answered is asked again.
    pub(crate) fn up(&self, out: Outgoing, resumed: bool, terms: Terms) {
        let mut state = self.lock();
        if matches!(state.link, Link::Ended(_)) {
            return out.close();
        }
        state.terms = terms;
        state.send_gathered();
        let forgotten = state.opened && !resumed;
        let (lost, stopped) = if forgotten { state.forget_leases() } else { Default::default() };
        state.opened = true;
        state.popped.clear();
        for (list, pops) in &state.pops {
            let receipt = pops.confirmed();
            if receipt > 0 {
                append(&out, &Request::Confirm { list: list.clone(), receipt });
            }
        }
        for (&id, call) in &state.calls {
            call.repeat(id, |frame| append(&out, frame));
        }
        // An Unsubscribe that was not answered has taken effect with the end of its connection.
        let (wanted, over): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut state.listeners)
            .into_iter()
            .partition(|(_, listener)| listener.is_wanted());
        state.listeners = wanted;
        let listeners: Vec<_> =
            state.listeners.iter().map(|(&id, listener)| (id, listener.clone())).collect();
        for (id, listener) in listeners {
            let request = state.take_request();
            append(&out, &listener.frame(id, request));
        }
        state.link = Link::Up(Outlet::new(out.clone()));
        drop(state);
        for stop in stopped {
            stop.set(StopReason::LeaseLost);
        }
        for call in lost {
            call.fail_as_lost();
        }
        for listener in over.into_values() {
            listener.end(None);
        }
        self.room.notify(usize::MAX);
        self.flusher.carry_out(Leave::Now(out));
    }

    /// The connection is gone; another one may come.
    pub(crate) fn down(&self) {
        let mut state = self.lock();
        if let Link::Up(_) = state.link {
            state.link = Link::Down;
        }
    }

    /// The end: every call fails with `error`, every listener ends, leases are lost.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.lock();
        if matches!(state.link, Link::Ended(_)) {
            return;
        }
        state.send_gathered();
        let link = std::mem::replace(&mut state.link, Link::Ended(error.clone()));
        let calls = std::mem::take(&mut state.calls);
        let listeners = std::mem::take(&mut state.listeners);
        let running = std::mem::take(&mut state.running);
        state.held.clear();
        (state.short_calls, state.call_bytes, state.settles) = (0, 0, 0);
        state.object_seqs.clear();
        drop(state);
        if let Link::Up(outlet) = link {
            outlet.out.close();
        }
        for stop in running.into_values() {
            stop.set(StopReason::LeaseLost);
        }
        for call in calls.into_values() {
            call.answer.fail(error.clone());
        }
        for listener in listeners.into_values() {
            listener.end(Some(error.clone()));
        }
        self.room.notify(usize::MAX);
    }
}

impl State {
    /// The broker does not know the session any more: what it had granted is lost. Returns whom to
    /// tell, without the lock.
    fn forget_leases(&mut self) -> (Vec<Call>, Vec<Arc<Stop>>) {
        self.epoch += 1;
        self.held.clear();
        self.told.clear();
        let running = std::mem::take(&mut self.running).into_values().collect();
        for listener in self.listeners.values() {
            if let Listener::Jobs(inbox) = listener {
                inbox.clear();
            }
        }
        let settles: Vec<RequestId> =
            self.calls.iter().filter(|(_, call)| call.is_settle()).map(|(&id, _)| id).collect();
        (settles.into_iter().filter_map(|id| self.take(id)).collect(), running)
    }
}
