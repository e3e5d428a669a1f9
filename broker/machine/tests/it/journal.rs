//! A journal as plain as can be: records of events in memory, and payloads read back from them.

use ganger_machine::stated::Restated;
use ganger_machine::{Event, Load, Seq};
use ganger_shared::Block;

use crate::simulation::payloads::{completed, payloads_in};

/// Events, each with the record that it is in.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) events: Vec<(Seq, Event)>,
    last: Seq,
}

impl Journal {
    /// Position of the next record.
    pub(crate) const fn next(&self) -> Seq {
        self.last.next()
    }

    /// Adds events as one record.
    pub(crate) fn add(&mut self, events: &mut Vec<Event>) {
        if !events.is_empty() {
            self.last = self.last.next();
            self.events.extend(events.drain(..).map(|event| (self.last, event)));
        }
    }

    /// Adds a part of a restatement, with the payloads that it lacks.
    pub(crate) fn add_restated(&mut self, part: Restated) {
        let mut events = completed(part, |load| self.payloads(load));
        self.add(&mut events);
    }

    /// What is asked for.
    pub(crate) fn payloads(&self, load: &Load) -> Block {
        let there = self.events.iter().filter(|(seq, _)| load.records.contains(seq));
        payloads_in(there.map(|(_, event)| event), load.jobs)
    }
}
