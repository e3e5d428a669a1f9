//! A session: one client's numbers, leases, subscriptions and unconfirmed pops.
//!
//! Not its connection, which the machine knows only as open or not.

use std::collections::{BTreeMap, BTreeSet};

use ganger_shared::key::KeyId;
use ganger_shared::{LeaseId, LeaseRange, SubscriptionId, Time};

use crate::answers::Answers;
use crate::list::{ItemRun, ListKey};
use crate::numbers::Numbers;
use crate::object::ObjectKey;
use crate::objects::Subject;

use crate::queue::QueueKey;
use crate::queue::callers::Place;

/// Ranges of settled leases that are remembered of a session: 4,096, about 100 KB. Leases of one
/// Assign join into one range, those of different ones only if no other session was served in
/// between; so this is how many Assigns a client can have settled and not yet know of it.
const SETTLED_MAX: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Session {
    /// Who may resume it.
    pub(crate) key: KeyId,
    pub(crate) name: String,
    /// The journal knows it: its name is there, before whatever else concerns it.
    pub(crate) is_kept: bool,
    pub(crate) connection: Connection,
    /// Counts its connections, so that what belongs to an earlier one is told from what is current.
    pub(crate) connections: u64,
    /// Its last sign of life.
    pub(crate) seen: Time,
    /// Its leases have expired, and it gets no more before its next sign of life.
    pub(crate) silent: bool,
    /// Leases that it holds may get another length when they are extended next.
    pub(crate) has_old_lengths: bool,
    pub(crate) numbers: Numbers,
    /// Those of them that stand for what must survive the process: a repeat of anything else has to
    /// take effect again after a restart.
    pub(crate) kept: Numbers,
    /// The first lease of each run that it holds.
    pub(crate) leases: BTreeSet<LeaseId>,
    /// How many jobs are leased to each subscription, also to those that have ended.
    pub(crate) leased: BTreeMap<SubscriptionId, u32>,
    /// When it is checked for silence; set while it holds leases.
    pub(crate) silence_check: Option<Time>,
    pub(crate) settled: SettledLeases,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// Lists it follows, so that the follows end with the connection.
    pub(crate) follows: BTreeMap<SubscriptionId, ListKey>,
    /// Objects and lists it watches, likewise.
    pub(crate) watches: BTreeMap<SubscriptionId, Subject>,
    /// The turns of its pops that wait, by list and receipt.
    pub(crate) pops: BTreeMap<(ListKey, u64), u64>,
    /// Its calls on objects that wait, by turn, with their numbers.
    pub(crate) object_calls: BTreeMap<(ObjectKey, u64), Option<u64>>,
    /// Its calls on queues that wait, with their numbers.
    pub(crate) queue_calls: BTreeMap<Place, u64>,
    /// The numbers of all calls that wait, puts among them.
    pub(crate) waiting_seqs: BTreeSet<u64>,
    /// What it was answered and may not know of.
    pub(crate) answers: Answers,
    /// Where submits of it may be waiting for room.
    pub(crate) parked: BTreeSet<QueueKey>,
    /// Items it has popped and not confirmed, by list and receipt.
    pub(crate) popped: BTreeMap<ListKey, BTreeMap<u64, Vec<ItemRun>>>,
    /// What has become of its pops, by list.
    pub(crate) receipts: BTreeMap<ListKey, Receipts>,
}

/// What has become of the pops of one list in one session, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// The highest that was answered.
    pub(crate) answered: u64,
    /// Up to here all have arrived.
    pub(crate) confirmed: u64,
    /// Those whose items went back to the list, and nobody has told the client.
    pub(crate) returned: BTreeSet<u64>,
}

impl Receipts {
    /// Whether what was taken up to `receipt` is still the client's to confirm.
    pub(crate) fn can_confirm(&self, receipt: u64) -> bool {
        receipt <= self.confirmed
            || receipt <= self.answered
                && self.returned.range(self.confirmed + 1..=receipt).next().is_none()
    }
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
    /// Its turn among the queue's takers, while it has room.
    pub(crate) turn: Option<u64>,
}

impl Session {
    /// `used` is the number below which it may have used any in a former life.
    pub(crate) fn new(key: KeyId, connection: Connection, now: Time, used: u64) -> Self {
        Self {
            key,
            name: String::new(),
            is_kept: false,
            connection,
            connections: 0,
            seen: now,
            silent: false,
            has_old_lengths: false,
            numbers: Numbers::starting_at(used),
            kept: Numbers::starting_at(used),
            leases: BTreeSet::new(),
            leased: BTreeMap::new(),
            silence_check: None,
            settled: SettledLeases::default(),
            subscriptions: BTreeMap::new(),
            follows: BTreeMap::new(),
            watches: BTreeMap::new(),
            pops: BTreeMap::new(),
            object_calls: BTreeMap::new(),
            queue_calls: BTreeMap::new(),
            waiting_seqs: BTreeSet::new(),
            answers: Answers::default(),
            parked: BTreeSet::new(),
            popped: BTreeMap::new(),
            receipts: BTreeMap::new(),
        }
    }

    /// Uses numbers, for something that is `kept` or is gone with the process.
    pub(crate) fn take_numbers(&mut self, first: u64, end: u64, kept: bool) {
        self.numbers.take(first, end);
        if kept {
            self.kept.take(first, end);
        }
    }

    /// Whether responses reach the client.
    pub(crate) fn connected(&self) -> bool {
        self.connection == Connection::Open
    }

    /// How many more jobs the subscription may be given.
    pub(crate) fn room(&self, subscription: SubscriptionId) -> u32 {
        let Some(found) = self.subscriptions.get(&subscription) else { return 0 };
        if !self.connected() || self.silent {
            return 0;
        }
        found.credit.saturating_sub(self.leased.get(&subscription).copied().unwrap_or(0))
    }

    /// Its subscriptions, follows, watches, waiting pops and calls on objects and queues that wait.
    pub(crate) fn calls(&self) -> usize {
        self.streams() + self.pops.len() + self.object_calls.len() + self.queue_calls.len()
    }

    /// Its subscriptions, follows and watches.
    pub(crate) fn streams(&self) -> usize {
        self.subscriptions.len() + self.follows.len() + self.watches.len()
    }

    /// Whether it has a subscription, follow or watch of this number.
    pub(crate) fn has_call(&self, number: SubscriptionId) -> bool {
        self.subscriptions.contains_key(&number)
            || self.follows.contains_key(&number)
            || self.watches.contains_key(&number)
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

    /// Start to end, in order.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        self.ranges.iter().map(|(&start, &end)| (start, end)).collect()
    }

    /// Adds ranges that are neither here nor touch any.
    pub(crate) fn extend(&mut self, ranges: Vec<(u64, u64)>) {
        self.ranges.extend(ranges);
    }

    /// Those of `leases`, given as start to end, that are not here: joined and in order.
    pub(crate) fn without(&self, mut leases: Vec<(u64, u64)>) -> Vec<LeaseRange> {
        leases.sort_unstable();
        let mut missing = Vec::new();
        let mut at = 0;
        for (start, end) in leases {
            at = at.max(start);
            while at < end {
                match self.ranges.range(..=at).next_back() {
                    Some((_, &settled_end)) if settled_end > at => at = settled_end,
                    Some(_) | None => {
                        let next = self.ranges.range(at..end).next();
                        let until = next.map_or(end, |(&settled, _)| settled);
                        join(&mut missing, at, until);
                        at = until;
                    }
                }
            }
        }
        missing
    }
}

/// Adds the leases `start .. end` behind all others.
fn join(ranges: &mut Vec<LeaseRange>, start: u64, end: u64) {
    let mut start = start;
    while start < end {
        let left = u32::try_from(end - start).unwrap_or(u32::MAX);
        match ranges.last_mut() {
            Some(last) if last.end() == start && last.count < u32::MAX => {
                let count = left.min(u32::MAX - last.count);
                last.count += count;
                start += u64::from(count);
            }
            Some(_) | None => {
                ranges.push(LeaseRange { first: LeaseId(start), count: left });
                start += u64::from(left);
            }
        }
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
        assert_eq!(settled.without(vec![(10, 25)]), []);
        assert_eq!(settled.without(vec![(24, 26), (9, 11)]), [range(9, 1), range(25, 1)]);
        assert_eq!(settled.without(vec![(0, 5), (3, 8), (8, 9)]), [range(0, 9)]);
    }

    #[test]
    fn a_claim_to_every_lease_is_answered_with_few_ranges() {
        let range = |first, count| LeaseRange { first: LeaseId(first), count };
        let mut settled = SettledLeases::default();
        settled.add(range(7, 1));
        let all = vec![(0, u64::from(u32::MAX)); 1_000];
        let lost = settled.without(all);
        assert_eq!(lost, [range(0, 7), range(8, u32::MAX - 8)]);
        let beyond = settled.without(vec![(8, 8 + (3 << 32))]);
        assert_eq!(beyond.iter().map(|r| u64::from(r.count)).sum::<u64>(), 3 << 32);
    }
}
