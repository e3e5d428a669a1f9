//! When something happened that excuses what is a fault otherwise.

use std::collections::BTreeMap;

use ganger_shared::Name;

use crate::event::{Event, What};

/// The times of a run at which the broker was dead, or a client was cut off.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// From just before each kill until the next broker answered.
    deaths: Spans,
    /// Everything that may lose a lease which nobody has seen, deaths included.
    disturbances: Spans,
    /// When operators had dead letters tried again, in order.
    redrives: BTreeMap<Name, Vec<u64>>,
}

impl Calm {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut calm = Self::default();
        let mut died = None;
        for Event { at_ns, what, .. } in events {
            match what {
                What::BrokerKilled => died = died.or(Some(*at_ns)),
                What::BrokerStarted => {
                    if let Some(killed) = died.take() {
                        calm.deaths.ends.push((*at_ns, killed));
                        calm.disturbances.ends.push((*at_ns, killed));
                    }
                }
                What::Disturbed { since_ns } => calm.disturbances.ends.push((*at_ns, *since_ns)),
                What::Redriven { queue } => {
                    calm.redrives.entry(queue.clone()).or_default().push(*at_ns);
                }
                _ => {}
            }
        }
        if let Some(killed) = died {
            calm.deaths.ends.push((u64::MAX, killed));
            calm.disturbances.ends.push((u64::MAX, killed));
        }
        calm.deaths.index();
        calm.disturbances.index();
        calm
    }

    /// Whether the broker may have died between two times.
    pub(super) fn has_death(&self, from: u64, to: u64) -> bool {
        self.deaths.meet(from, to)
    }

    /// Whether anything was disturbed between two times.
    pub(super) fn has_disturbance(&self, from: u64, to: u64) -> bool {
        self.disturbances.meet(from, to)
    }

    /// Whether dead letters of a queue were tried again between two times.
    pub(super) fn has_redrive(&self, queue: &Name, from: u64, to: u64) -> bool {
        let times = self.redrives.get(queue).map(Vec::as_slice).unwrap_or_default();
        let later = times.partition_point(|&at| at < from);
        times.get(later).is_some_and(|&at| at <= to)
    }
}

/// Spans of time, which may overlap.
#[derive(Debug, Default)]
struct Spans {
    /// When each ended, in order; and once indexed, when the first of it and those after it began.
    ends: Vec<(u64, u64)>,
}

impl Spans {
    fn index(&mut self) {
        self.ends.sort_unstable();
        let mut first = u64::MAX;
        for (_, since) in self.ends.iter_mut().rev() {
            first = first.min(*since);
            *since = first;
        }
    }

    /// Whether one of them has a moment in common with this one.
    fn meet(&self, from: u64, to: u64) -> bool {
        let later = self.ends.partition_point(|&(end, _)| end < from);
        self.ends.get(later).is_some_and(|&(_, since)| since <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_meet_where_they_share_a_moment() {
        // The long one ends last and began first.
        let mut spans = Spans { ends: vec![(30, 25), (50, 10), (40, 38), (90, 80)] };
        spans.index();
        for (from, to, expected) in [
            (0, 9, false),
            (0, 10, true),
            (31, 33, true),
            (50, 60, true),
            (51, 79, false),
            (85, 86, true),
            (91, 99, false),
        ] {
            assert_eq!(spans.meet(from, to), expected, "from {from} to {to}");
        }
    }
}
