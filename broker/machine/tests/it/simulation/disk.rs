//! Where a simulated broker's journal lies, until the power fails.

use ganger_chance::Rng;
use ganger_machine::Event;

/// A journal that becomes durable late. Positions count its events from the first ever made.
pub(crate) trait Disk {
    /// Adds one record.
    fn append(&mut self, events: &[Event]);

    /// Makes all of it durable.
    fn sync(&mut self);

    /// What is before this position is not needed any more. All is durable.
    fn forget(&mut self, before: usize);

    /// The power fails. What was durable is left, and by chance some of the rest.
    fn lose_power(&mut self, rng: &mut Rng) -> Left;
}

/// What a replay finds.
#[derive(Debug)]
pub(crate) struct Left {
    /// The position of the first.
    pub(crate) first: usize,
    pub(crate) events: Vec<Event>,
}

/// A disk of events: it keeps a part of what was not durable, up to the middle of a record.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    events: Vec<Event>,
    durable: usize,
    start: usize,
}

impl Disk for Memory {
    fn append(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
    }

    fn sync(&mut self) {
        self.durable = self.events.len();
    }

    fn forget(&mut self, before: usize) {
        self.start = before;
    }

    fn lose_power(&mut self, rng: &mut Rng) -> Left {
        let volatile = (self.events.len() - self.durable) as u64;
        // Mostly it loses nearly all, or nearly nothing.
        let kept = match rng.below(3) {
            0 => rng.below(volatile + 1),
            1 => volatile.min(rng.below(4)),
            _ => volatile - volatile.min(rng.below(4)),
        };
        self.events.truncate(self.durable + usize::try_from(kept).unwrap());
        self.durable = self.events.len();
        Left { first: self.start, events: self.events[self.start..].to_vec() }
    }
}
