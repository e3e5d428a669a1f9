//! A journal as plain as can be: records of events in memory, and payloads read back from them.

use ganger_machine::stated::{Restated, Stated};
use ganger_machine::{Event, Load, Seq};
use ganger_shared::{Block, JobRange};

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
        let Restated { mut events, missing } = part;
        for (place, load) in missing {
            let payloads = self.payloads(&load);
            let Event::Stated(Stated::Jobs(jobs)) = &mut events[place] else {
                panic!("payloads are missing in {:?}", events[place])
            };
            jobs.payloads = payloads;
        }
        self.add(&mut events);
    }

    /// What is asked for.
    pub(crate) fn payloads(&self, load: &Load) -> Block {
        let mut found = Vec::new();
        for job in load.jobs.iter() {
            let has = |(jobs, payloads): &(JobRange, &Block)| {
                let offset = u32::try_from(job.seq.checked_sub(jobs.first.seq)?).ok()?;
                jobs.contains(job).then(|| payloads.part(offset, 1))
            };
            let there = self.events.iter().filter(|(seq, _)| load.records.contains(seq));
            let mut blocks = there.filter_map(|(_, event)| match event {
                Event::Submitted { jobs, payloads, .. } => Some((*jobs, payloads)),
                Event::Stated(Stated::Jobs(stated)) => Some((stated.jobs, &stated.payloads)),
                _ => None,
            });
            found.push(blocks.find_map(|block| has(&block)).expect("its record has the payload"));
        }
        Block::concat(&found)
    }
}
