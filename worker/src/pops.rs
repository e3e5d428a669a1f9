//! Receipts of popped items: what has arrived here, and how much of that the broker was told.
//!
//! Not the frames: [`crate::list`] asks for items, and the session says that they have come.
//!
//! The broker keeps what was popped until its receipt is confirmed, for the answer may be lost with
//! the connection. The next Pop confirms all before it, so somebody who pops again and again sends
//! nothing else; only where no Pop follows, a frame of its own does it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use ganger_shared::Response;

use crate::calls::{Answered, unexpected};
use crate::error::Error;

/// The pops of one list in one session.
#[derive(Debug, Default)]
pub(crate) struct Pops {
    state: Mutex<PopState>,
}

#[derive(Debug, Default)]
struct PopState {
    /// The last receipt that was used.
    last: u64,
    /// Receipts up to this one have arrived.
    confirmed: u64,
    /// Receipts up to this one the broker was told to have arrived. Never above `confirmed`.
    told: u64,
    /// What was taken up to this receipt is not ours to confirm any more.
    returned: u64,
    /// Receipts above `confirmed` that have arrived, where an earlier one has not.
    early: BTreeSet<u64>,
    /// Receipts and answers of pops whose callers have gone away; the next callers take them.
    orphans: VecDeque<(u64, Answered)>,
}

impl PopState {
    /// What there is to confirm; 0 for nothing.
    const fn to_tell(&self) -> u64 {
        if self.confirmed > self.returned { self.confirmed } else { 0 }
    }
}

impl Pops {
    fn lock(&self) -> MutexGuard<'_, PopState> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    /// The receipt of another Pop, and the one that it confirms.
    pub(crate) fn next(&self) -> (u64, u64) {
        let mut state = self.lock();
        state.last += 1;
        state.told = state.to_tell();
        (state.last, state.told)
    }

    /// What the broker is to be told, if it does not know it from a Pop.
    pub(crate) fn untold(&self) -> Option<u64> {
        let mut state = self.lock();
        let to_tell = state.to_tell();
        if to_tell == 0 || state.told == to_tell {
            return None;
        }
        state.told = to_tell;
        Some(to_tell)
    }

    /// Receipts up to this one have arrived, and their items are ours; 0 for none.
    pub(crate) fn confirmed(&self) -> u64 {
        self.lock().to_tell()
    }

    /// The broker has given to others, or will, what was taken so far.
    pub(crate) fn all_returned(&self) {
        let mut state = self.lock();
        state.returned = state.last;
    }

    pub(crate) const fn wait_for(&self, receipt: u64, answered: Answered) -> Popping<'_> {
        Popping { pops: self, receipt, answered: Some(answered) }
    }

    /// A pop whose caller has gone away.
    pub(crate) fn orphan(&self) -> Option<Popping<'_>> {
        let (receipt, answered) = self.lock().orphans.pop_front()?;
        Some(self.wait_for(receipt, answered))
    }

    /// The answer to `receipt` has come.
    fn arrived(&self, receipt: u64) {
        let mut state = self.lock();
        state.early.insert(receipt);
        while state.early.first() == Some(&(state.confirmed + 1)) {
            state.early.pop_first();
            state.confirmed += 1;
        }
    }
}

/// A pop under way; one that is dropped is kept for the next caller.
#[derive(Debug)]
pub(crate) struct Popping<'a> {
    pops: &'a Pops,
    receipt: u64,
    answered: Option<Answered>,
}

impl Popping<'_> {
    /// Waits for the answer.
    pub(crate) async fn arrive(mut self) -> Result<Response, Error> {
        let Some(answered) = &mut self.answered else { return Err(unexpected()) };
        let answer = answered.await;
        self.answered = None;
        self.pops.arrived(self.receipt);
        answer
    }
}

impl Drop for Popping<'_> {
    fn drop(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.pops.lock().orphans.push_back((self.receipt, answered));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pop_has_said_needs_not_be_said_again() {
        let pops = Pops::default();
        assert_eq!([pops.next(), pops.next()], [(1, 0), (2, 0)]);
        pops.arrived(2);
        assert_eq!(pops.untold(), None, "the first one is still on its way");
        pops.arrived(1);
        assert_eq!(pops.next(), (3, 2));
        assert_eq!(pops.untold(), None);
        pops.arrived(3);
        assert_eq!((pops.untold(), pops.untold()), (Some(3), None));
    }

    #[test]
    fn what_went_back_is_not_confirmed_and_what_comes_after_it_is() {
        let pops = Pops::default();
        pops.next();
        pops.arrived(1);
        assert_eq!(pops.next(), (2, 1));
        pops.all_returned();
        pops.arrived(2);
        assert_eq!((pops.untold(), pops.confirmed(), pops.next()), (None, 0, (3, 0)));
        pops.arrived(3);
        assert_eq!(pops.next(), (4, 3));
    }
}
