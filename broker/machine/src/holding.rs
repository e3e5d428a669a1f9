//! Who holds what: so that it is free again when its owner ends, for whatever reason.
//!
//! Not what it means to hold something, which is its type's.

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::{By, JobRange, LeaseId, SessionId};

use crate::event::Event;
use crate::machine::Machine;
use crate::object::{ObjectKey, Owner};
use crate::output::Output;
use crate::run::Phase;

/// What each owner holds; those that hold nothing are not here.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    by_owner: BTreeMap<Owner, BTreeSet<ObjectKey>>,
    /// Calls under leases that wait.
    pub(crate) leases_waiting: usize,
}

impl Holdings {
    /// Whether nobody holds anything, and no lease waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_owner.is_empty() && self.leases_waiting == 0
    }

    pub(crate) fn set(&mut self, owner: Owner, key: ObjectKey, is_held: bool) {
        if is_held {
            self.by_owner.entry(owner).or_default().insert(key);
        } else if let Some(held) = self.by_owner.get_mut(&owner) {
            held.remove(&key);
            if held.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    /// Everything that is held on behalf of something between `first` and `last` in a session.
    fn within(&self, session: SessionId, first: By, last: By) -> Vec<(Owner, ObjectKey)> {
        let range = Owner { session, by: first }..=Owner { session, by: last };
        let held = self.by_owner.range(range);
        held.flat_map(|(&owner, keys)| keys.iter().map(move |&key| (owner, key))).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Owner, ObjectKey)> {
        self.by_owner.iter().flat_map(|(&owner, keys)| keys.iter().map(move |&key| (owner, key)))
    }
}

impl Machine {
    /// Remembers whether the owner holds the object.
    pub(crate) fn note_holder(&mut self, key: ObjectKey, owner: Owner) {
        let is_held = self.objects[key.0].kind.is_held_by(owner);
        self.holdings.set(owner, key, is_held);
    }

    /// The leases which end when these jobs do, if under any lease something is held or waited for.
    pub(crate) fn holding_leases(&self, jobs: JobRange) -> Vec<(SessionId, u64, u64)> {
        if self.holdings.is_empty() {
            return Vec::new();
        }
        let leases = self.runs.overlapping(jobs).filter_map(|key| {
            let run = &self.runs[key];
            let Phase::Leased(lease) = &run.phase else { return None };
            let first = lease.first.0 + jobs.first.seq.saturating_sub(run.jobs.first.seq);
            let end = lease.first.0 + jobs.end_seq().min(run.jobs.end_seq()) - run.jobs.first.seq;
            Some((lease.session, first, end))
        });
        leases.collect()
    }

    /// Frees what was held under the leases `first .. end`, which are over, and gives up what they
    /// waited for.
    pub(crate) fn free_leases(
        &mut self,
        session: SessionId,
        first: u64,
        end: u64,
        out: &mut Output,
    ) {
        let (first, last) = (By::Lease(LeaseId(first)), By::Lease(LeaseId(end.saturating_sub(1))));
        self.reject_calls(session, first, last, out);
        self.reject_queue_calls(session, first, last, out);
        self.free(self.holdings.within(session, first, last), out);
    }

    /// Frees all that a session holds, which is over.
    pub(crate) fn free_session(&mut self, session: SessionId, out: &mut Output) {
        let last = By::Lease(LeaseId(u64::MAX));
        self.free(self.holdings.within(session, By::Session, last), out);
    }

    /// Frees what a session that comes back holds under leases that are over: the broker that was
    /// started anew does not know of those that were only in memory.
    pub(crate) fn free_stale(&mut self, session: SessionId, out: &mut Output) {
        let (first, last) = (By::Lease(LeaseId(0)), By::Lease(LeaseId(u64::MAX)));
        let mut held = self.holdings.within(session, first, last);
        held.retain(|(owner, _)| match owner.by {
            By::Lease(lease) => {
                self.held_within(session, ganger_shared::LeaseRange::one(lease)).is_empty()
            }
            By::Session | By::Holder(_) => false,
        });
        self.free(held, out);
    }

    fn free(&mut self, held: Vec<(Owner, ObjectKey)>, out: &mut Output) {
        for &(Owner { session, by }, key) in &held {
            let object = self.objects[key.0].name.clone();
            self.happen(Event::Freed { object, session, by }, out);
        }
        // Only then: whoever is served now must not get what is to be freed next.
        for (_, key) in held {
            self.serve(key, 0, out);
        }
    }

    pub(crate) fn apply_freed(&mut self, key: ObjectKey, owner: Owner) {
        self.change_object(key, |kind| kind.let_go(owner));
        self.objects[key.0].revision += 1;
        self.holdings.set(owner, key, false);
    }
}
