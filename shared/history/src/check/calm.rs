//! When something happened that excuses what is a fault otherwise.

use crate::event::{Event, What};

/// The times of a run at which the broker was dead, or a client was cut off.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// From just before each kill until the next broker answered, in order.
    deaths: Vec<(u64, u64)>,
    /// Everything that may lose a lease which nobody has seen, in order.
    disturbances: Vec<u64>,
}

impl Calm {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut calm = Self::default();
        for event in events {
            match event.what {
                What::BrokerKilled => {
                    calm.deaths.push((event.at_ns, u64::MAX));
                    calm.disturbances.push(event.at_ns);
                }
                What::BrokerStarted => {
                    if let Some((_, until)) = calm.deaths.last_mut() {
                        *until = event.at_ns.min(*until);
                    }
                    calm.disturbances.push(event.at_ns);
                }
                What::Disturbed => calm.disturbances.push(event.at_ns),
                _ => {}
            }
        }
        calm
    }

    /// Whether the broker may have died between two times.
    pub(super) fn has_death(&self, from: u64, to: u64) -> bool {
        let first = self.deaths.partition_point(|&(_, until)| until < from);
        self.deaths.get(first).is_some_and(|&(killed, _)| killed <= to)
    }

    /// Whether anything was disturbed between two times.
    pub(super) fn has_disturbance(&self, from: u64, to: u64) -> bool {
        let first = self.disturbances.partition_point(|&at| at < from);
        self.disturbances.get(first).is_some_and(|&at| at <= to) || self.has_death(from, to)
    }
}
