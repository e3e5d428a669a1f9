//! Which interesting things have happened: a simulation that never gets there proves nothing.

use std::collections::BTreeMap;

use ganger_machine::Event;
use ganger_machine::event::{Fault, StopCause, Verdict};
use ganger_shared::{By, DeathReason};

/// What every run over many seeds must have met at least once.
pub(crate) const SOMETIMES: [&str; 49] = [
    "resumed with leases held",
    "a late settle refused",
    "a repeated submit recognised",
    "a submit waited for room",
    "a full queue refused",
    "a full list refused an append",
    "a full list held jobs back",
    "popped items came back",
    "popped items were not the reader's any more",
    "followed",
    "leases fenced",
    "leases released on resume",
    "a job cancelled while it waited",
    "a job cancelled while it ran",
    "acked although told to stop",
    "stopped by its deadline",
    "time to live over",
    "deadline over",
    "retries used up",
    "crashes used up",
    "given up by its handler",
    "a dead letter redriven",
    "a worker crashed",
    "the broker was restarted",
    "the broker lost what was not durable",
    "payloads came back from the journal",
    "the journal was restated",
    "a queue was removed",
    "a restart began with a restatement",
    "the power failed in the middle of a restatement",
    "the power failed before a restatement took its place",
    "a full storage refused a submit",
    "a full storage refused an append",
    "a submit waited for the storage",
    "a full storage took an ack",
    "a refused submit was given up",
    "the clock jumped",
    "a repeated call answered from memory",
    "a lock granted",
    "a lock not granted in time",
    "an item taken by a call",
    "a put found no room",
    "a job ended with effects",
    "a late end with effects did nothing",
    "an effect refused",
    "an end with effects repeated",
    "a job waited for others",
    "a job waited for a counter or a list",
    "a job given up for what it waited for",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    counts: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub(crate) fn hit(&mut self, what: &'static str) {
        assert!(SOMETIMES.contains(&what), "{what:?} is not in the list");
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    pub(crate) fn missing(&self) -> Vec<&'static str> {
        SOMETIMES.into_iter().filter(|what| !self.counts.contains_key(what)).collect()
    }

    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Stopping { cause: StopCause::Request, .. } => {
                self.hit("a job cancelled while it ran");
            }
            Event::Stopping { cause: StopCause::Deadline, .. } => {
                self.hit("stopped by its deadline")
            }
            Event::Called(called) if matches!(called.by, By::Lease(_)) => {
                self.hit("a job ended with effects");
            }
            Event::Ended { verdict: Verdict::Unmet { .. }, .. } => {
                self.hit("a job given up for what it waited for");
            }
            Event::Redriven { .. } => self.hit("a dead letter redriven"),
            Event::Ended { verdict: Verdict::Dead { reason, .. }, .. } => match reason {
                DeathReason::Handler => self.hit("given up by its handler"),
                DeathReason::RetriesUsedUp => self.hit("retries used up"),
                DeathReason::CrashesUsedUp => self.hit("crashes used up"),
                DeathReason::TimeToLive => self.hit("time to live over"),
                DeathReason::Deadline => self.hit("deadline over"),
                DeathReason::Policy | DeathReason::Dependency => {}
            },
            Event::Ended { verdict: Verdict::Retried { fault: Fault::Worker, .. }, .. } => {
                self.hit("a worker crashed");
            }
            _ => {}
        }
    }
}
