//! A session: one client's numbers, leases, subscriptions and unconfirmed pops.
//!
//! Not its connection, which the machine knows only as open or not.

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::key::KeyId;
use ganger_shared::{LeaseId, LeaseRange, SubscriptionId, Time};

use crate::list::{ItemRun, ListKey};
use crate::numbers::Numbers;
use crate::queue::QueueKey;

/// Ranges of settled leases that a session may have in memory: 1,024. Leases of one session are
/// settled nearly in order, so that ranges join and a few are enough.
const SETTLED_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Session {
    /// Who may resume it.
    pub(crate) key: KeyId,
    pub(crate) name: String,
    pub(crate) connection: Connection,
    /// Its last sign of life.
    pub(crate) seen: Time,
    pub(crate) numbers: Numbers,
    /// The first lease of each run that it holds.
    pub(crate) leases: BTreeSet<LeaseId>,
    /// When it is checked for silence; set while it holds leases.
    pub(crate) silence_check: Option<Time>,
    pub(crate) settled: SettledLeases,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// Lists it follows, so that the follows end with the connection.
    pub(crate) follows: BTreeMap<SubscriptionId, ListKey>,
    /// Items it has popped and not confirmed, by list and receipt.
    pub(crate) popped: BTreeMap<ListKey, BTreeMap<u64, Vec<ItemRun>>>,
}

/// Whether the session's client can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Open,
    /// Broken; the leases are kept for it until then.
    Grace {
        until: Time,
    },
    /// Gone; only the numbers are remembered, until then.
    Gone {
        until: Time,
    },
}

/// A worker's wish for jobs of a queue.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) queue: QueueKey,
    /// Jobs that may be leased to it at once.
    pub(crate) credit: u32,
    /// Jobs that are.
    pub(crate) leased: u32,
    /// Its turn among the queue's takers, while it has room.
    pub(crate) turn: Option<u64>,
}

impl Session {
    pub(crate) fn new(key: KeyId, name: String, now: Time) -> Self {
        Self {
            key,
            name,
            connection: Connection::Open,
            seen: now,
            numbers: Numbers::default(),
            leases: BTreeSet::new(),
            silence_check: None,
            settled: SettledLeases::default(),
            subscriptions: BTreeMap::new(),
            follows: BTreeMap::new(),
            popped: BTreeMap::new(),
        }
    }

    /// Whether responses reach the client.
    pub(crate) fn connected(&self) -> bool {
        self.connection == Connection::Open
    }
}

/// Leases that the session has settled itself, so that a settlement which is repeated after a
/// broken connection is told from one that comes too late.
#[derive(Debug, Default)]
pub(crate) struct SettledLeases {
    /// Start to end; disjoint and not touching.
    ranges: BTreeMap<u64, u64>,
}

impl SettledLeases {
    pub(crate) fn add(&mut self, leases: LeaseRange) {
        let (mut start, mut end) = (leases.first.0, leases.end());
        if let Some((&before, &before_end)) = self.ranges.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&after, &after_end)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&after);
            end = end.max(after_end);
        }
        self.ranges.insert(start, end);
        if self.ranges.len() > SETTLED_MAX {
            self.ranges.pop_first();
        }
    }

    pub(crate) fn contains(&self, lease: LeaseId) -> bool {
        let before = self.ranges.range(..=lease.0).next_back();
        before.is_some_and(|(_, &end)| lease.0 < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_ranges_join_and_are_told_from_others() {
        let range = |first, count| LeaseRange { first: LeaseId(first), count };
        let mut settled = SettledLeases::default();
        settled.add(range(10, 5));
        settled.add(range(20, 5));
        settled.add(range(15, 5));
        assert_eq!(settled.ranges, BTreeMap::from([(10, 25)]));
        assert!(settled.contains(LeaseId(10)) && settled.contains(LeaseId(24)));
        assert!(!settled.contains(LeaseId(9)) && !settled.contains(LeaseId(25)));
    }
}
