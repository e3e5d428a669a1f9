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

/// A disk of events: it keeps some of the records that were not durable, the first of them. A record is there
/// as a whole or not at all; of a restatement each event is one.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    events: Vec<Event>,
    /// How many events there are up to each record that is not durable, that included.
    ends: Vec<usize>,
    durable: usize,
    start: usize,
}

impl Disk for Memory {
    fn append(&mut self, events: &[Event]) {
        let before = self.events.len();
        self.events.extend_from_slice(events);
        if matches!(events.first(), Some(Event::Stated(_))) {
            self.ends.extend(before + 1..self.events.len());
        }
        self.ends.push(self.events.len());
    }

    fn sync(&mut self) {
        self.durable = self.events.len();
        self.ends.clear();
    }

    fn forget(&mut self, before: usize) {
        self.start = before;
    }

    fn lose_power(&mut self, rng: &mut Rng) -> Left {
        let volatile = self.ends.len() as u64;
        // Mostly it loses nearly all, or nearly nothing.
        let kept = match rng.below(3) {
            0 => rng.below(volatile + 1),
            1 => volatile.min(rng.below(4)),
            _ => volatile - volatile.min(rng.below(4)),
        };
        let last = usize::try_from(kept).unwrap().checked_sub(1);
        self.events.truncate(last.map_or(self.durable, |last| self.ends[last]));
        self.sync();
        Left { first: self.start, events: self.events[self.start..].to_vec() }
    }
}
