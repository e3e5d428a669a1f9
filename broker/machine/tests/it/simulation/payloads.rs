//! What a broker's storage would read back: payloads that are in the journal only.

use ganger_machine::stated::{Restated, Stated};
use ganger_machine::{Event, Load};
use ganger_shared::{Block, JobRange};

/// The payloads of `jobs`, each from the first of the events that has it.
pub(crate) fn payloads_in<'a>(
    events: impl Iterator<Item = &'a Event> + Clone,
    jobs: JobRange,
) -> Block {
    let found = jobs.iter().map(|job| {
        let mut blocks = events.clone().filter_map(|event| match event {
            Event::Submitted { jobs, payloads, .. } => Some((*jobs, payloads)),
            Event::Stated(Stated::Jobs(stated)) => Some((stated.jobs, &stated.payloads)),
            _ => None,
        });
        let block = blocks.find(|(jobs, _)| jobs.contains(job));
        let (jobs, payloads) = block.expect("its record has the payload");
        payloads.part(u32::try_from(job.seq - jobs.first.seq).unwrap(), 1)
    });
    Block::concat(&found.collect::<Vec<_>>())
}

/// The events of a part of a restatement, with the payloads that it lacks.
pub(crate) fn completed(part: Restated, find: impl Fn(&Load) -> Block) -> Vec<Event> {
    let Restated { mut events, missing } = part;
    for (place, load) in missing {
        let Event::Stated(Stated::Jobs(jobs)) = &mut events[place] else {
            panic!("payloads are missing in {:?}", events[place])
        };
        jobs.payloads = find(&load);
    }
    events
}
