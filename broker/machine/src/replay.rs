//! A machine that comes back: from the events of a journal, the restatements among them.
//!
//! Not what the events do, which is `apply`'s and, for the parts of a restatement, [`crate::stated`]'s.

use ganger_shared::Time;

use crate::config::Config;
use crate::event::Event;
use crate::machine::Machine;
use crate::output::Output;
use crate::seq::Seq;
use crate::stated::Stated;

/// A machine that is coming back: it takes the events of a journal, from its first one on.
#[derive(Debug)]
pub struct Replay {
    config: Config,
    start: Time,
    machine: Machine,
    /// A restatement that is not complete.
    restated: Option<Box<Machine>>,
}

impl Replay {
    /// Nothing so far, at `start`.
    #[must_use]
    pub fn new(config: Config, start: Time) -> Self {
        let machine = Machine::new(config.clone(), start);
        Self { config, start, machine, restated: None }
    }

    /// Takes the next event, which is in the record at `record`. What it would have sent is dropped.
    pub fn take(&mut self, record: Seq, event: Event) {
        match (event, &mut self.restated) {
            (Event::Stated(begins @ Stated::Begins { .. }), restated) => {
                let mut machine = Machine::new(self.config.clone(), self.start);
                machine.take_stated(begins, record);
                *restated = Some(Box::new(machine));
            }
            (Event::Stated(Stated::Complete), restated) => {
                if let Some(machine) = restated.take() {
                    self.machine = *machine;
                }
            }
            (Event::Stated(stated), Some(machine)) => {
                machine.take_stated(stated, record);
                machine.unload_crowded();
            }
            // A part of no restatement: nobody writes it, and it has nowhere to go.
            (Event::Stated(_), None) => {}
            (event, restated) => {
                // The process ended within the restatement, and another one went on.
                *restated = None;
                let mut out = Output { record: Some(record), ..Output::default() };
                self.machine.apply(event, &mut out);
                self.machine.unload_crowded();
            }
        }
    }

    /// What the events so far have made.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// All events were taken.
    #[must_use]
    pub fn finish(mut self) -> Machine {
        self.machine.count_ended();
        self.machine.suspect_all();
        self.machine
    }
}

#[cfg(test)]
mod tests {
    use ganger_shared::admin::Pause;
    use ganger_shared::key::KeyId;
    use ganger_shared::request::{Notify, WhenFull};
    use ganger_shared::{
        Durability, JobOptions, Name, Request, RequestId, SessionId, SubscriptionId,
    };

    use super::*;
    use crate::Command;
    use crate::config::Available;

    const NOW: Time = Time::from_millis(1_000);

    fn durable() -> Config {
        let mut config = Config { available: Available::All, ..Config::default() };
        config.queue_defaults.durability = Durability::Strict;
        config
    }

    /// A machine with a job that runs and two that wait, and its journal.
    fn busy_machine() -> (Machine, Vec<Event>) {
        let mut machine = Machine::new(durable(), NOW);
        let (session, key) = (SessionId(1), KeyId([1; 8]));
        let open = Command::Open { session, key, held: Vec::new(), name: String::new() };
        let queue = Name::new("q").unwrap();
        let submit = Request::Submit {
            request: RequestId(1),
            queue: queue.clone(),
            first_seq: 0,
            options: JobOptions::new(Name::new("h").unwrap()),
            payloads: ["a", "b", "c"].iter().collect(),
            when_full: WhenFull::Refuse,
            notify: Notify::No,
        };
        let subscription = SubscriptionId(1);
        let subscribe = Request::Subscribe { subscription, queue, credit: 1 };
        let mut out = Output::default();
        machine.step(NOW, open, &mut out);
        for request in [submit, subscribe] {
            machine.step(NOW, Command::Request { session, request }, &mut out);
        }
        (machine, out.journal)
    }

    fn replayed(events: &[Event]) -> Machine {
        let mut replay = Replay::new(durable(), NOW);
        events.iter().cloned().for_each(|event| replay.take(Seq::FIRST, event));
        replay.machine().check();
        replay.finish()
    }

    fn restated(machine: &mut Machine) -> Vec<Event> {
        let mut events = Vec::new();
        machine.restate(Seq::FIRST, |part| events.extend(part.events));
        events
    }

    #[test]
    fn what_took_a_restatement_says_the_same_of_itself() {
        let (mut machine, _) = busy_machine();
        let stated = restated(&mut machine);
        assert_eq!(restated(&mut replayed(&stated)), stated);
    }

    #[test]
    fn restatement_that_was_cut_off_counts_for_nothing_and_a_whole_one_changes_nothing() {
        let (mut machine, journal) = busy_machine();
        let stated = restated(&mut machine);
        let more = [Event::QueuePaused {
            queue: Name::new("q").unwrap(),
            pause: Some((Pause::Delivery, "cut".to_owned())),
        }];
        let plain = restated(&mut replayed(&[&journal[..], &more].concat()));
        for cut in 0..=stated.len() {
            let mut found = replayed(&[&journal[..], &stated[..cut], &more].concat());
            assert_eq!(restated(&mut found), plain, "cut after {cut}");
        }
    }
}
