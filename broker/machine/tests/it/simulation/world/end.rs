//! The end of a life: what went wrong is mended, everything comes to rest, and is judged.

use std::collections::BTreeSet;

use ganger_history::{Ending as Ended, Jobs, What};
use ganger_shared::admin::{AdminAnswer, AdminVerb, JobState};
use ganger_shared::{Ending, JobRange, Name, Prerequisite};

use crate::simulation::broker::Broker;
use crate::simulation::record::{Item, List, State};

use super::{Client, World, ask, compare_with_record};

impl World {
    /// An operator looks at the dead letters of a queue.
    pub(super) fn note_dead_letters(&mut self, queue: &Name) {
        let (queue, skip, count) = (queue.clone(), 0, u32::MAX);
        let now = self.broker_now();
        let list = AdminVerb::DeadList { queue, skip, count };
        if let Some(AdminAnswer::Jobs(dead)) = ask(&mut self.broker.machine, now, list) {
            for info in dead {
                self.note(What::Ended { jobs: Jobs::one(info.job), ending: Ended::Dead });
            }
        }
    }

    /// An operator looks what became of every job that was accepted: not everybody waits for their
    /// jobs, or lives to hear of them.
    pub(super) fn note_endings(&mut self) {
        let now = self.broker_now();
        for job in self.known.accepted.clone() {
            let show = AdminVerb::JobShow { job };
            let answer = ask(&mut self.broker.machine, now, show);
            let Some(AdminAnswer::Jobs(found)) = answer else { continue };
            let ending = match &found[0].state {
                JobState::Acked { .. } => Ended::Acked,
                JobState::Dead { .. } => Ended::Dead,
                JobState::Cancelled => Ended::Cancelled,
                state => panic!("{job} is {state:?} in the end"),
            };
            self.note(What::Ended { jobs: Jobs::one(job), ending });
        }
    }

    pub(super) fn heal(&mut self) {
        self.healed = true;
        (self.plan.hangs, self.plan.cancels) = (false, false);
        self.broker.set_free(u64::MAX);
        self.flushed();
        for client in &mut self.clients {
            client.frozen_until = 0;
        }
        for queue in self.plan.queues.clone() {
            self.operate(AdminVerb::QueueResume { queue });
        }
    }

    /// An operator cancels what waits for a number, once nothing is left that could bring it about.
    pub(super) fn give_up_stuck(&mut self) {
        let record = &self.broker.record;
        let stuck = record.stuck();
        for id in &stuck {
            let has_come = |one: &Prerequisite| match one {
                Prerequisite::Counter { at_least, .. } => at_least.unsigned_abs() <= record.counted,
                Prerequisite::List { .. } | Prerequisite::Jobs { .. } => false,
            };
            let waits_for = &record.jobs[id].prerequisites;
            assert!(!waits_for.iter().any(has_come), "{id} waits for what has come: {waits_for:?}");
        }
        for id in stuck {
            self.cancel(JobRange::one(id));
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.broker.record.open().next().is_none()
            && self.clients.iter().all(Client::is_done)
            && self.broker.record.lists.iter().all(|(name, list)| self.is_taken(name, list))
    }

    /// Whether every item was popped by somebody; the last are confirmed afterwards.
    fn is_taken(&self, name: &Name, list: &List) -> bool {
        list.items.iter().zip(&list.removed).zip(0..).all(|((item, removed), index)| {
            let shown = || (name.clone(), index, item.job, item.bytes.clone());
            *removed || self.known.items.contains(&shown())
        })
    }

    pub(super) fn unrest(&self) -> String {
        let open: Vec<_> = self.broker.record.open().take(5).collect();
        let busy: Vec<_> = self.clients.iter().filter(|client| !client.is_done()).collect();
        let items: Vec<usize> = self
            .broker
            .record
            .lists
            .values()
            .map(|list| list.removed.iter().filter(|removed| !**removed).count())
            .collect();
        let busy: Vec<String> = busy.iter().map(|client| client.unrest()).collect();
        format!("jobs {open:?}, clients {busy:#?}, items {items:?}")
    }

    pub(super) fn confirm_everything(&mut self) {
        for _ in 0..4 {
            for index in 0..self.clients.len() {
                let frames = self.clients[index].confirm_all();
                self.send_up(index, frames);
            }
            self.run(self.now + 500);
        }
    }

    /// What clients were told is what the journal says.
    pub(super) fn judge(&mut self) {
        self.broker.machine.check();
        let Broker { journal, record, machine, .. } = &mut self.broker;
        self.known.judge_calls(journal, record, machine);
        let verdict = self.history.verdict();
        assert!(verdict.passed, "{}", verdict.complaint().unwrap_or_default());
        let now = self.broker_now();
        compare_with_record(&mut self.broker.machine, &self.broker.record, now);
        self.broker.compare_with_replay(self.plan.config(), now);
        let record = &self.broker.record;
        for job in &self.known.accepted {
            assert!(record.jobs.contains_key(job), "{job} was accepted and is lost");
        }
        for (lease, (job, output)) in &self.known.settled {
            let found = record.jobs.get(job).map(|job| &job.state);
            let expected = State::Acked { lease: *lease, output: output.clone() };
            assert_eq!(found, Some(&expected), "{job} was acked");
        }
        for (lease, job) in &self.known.lost {
            let by_it =
                |state: &State| matches!(state, State::Acked { lease: l, .. } if l == lease);
            // The job itself may be gone: it was leased before its submit was durable.
            let found = record.jobs.get(job).is_some_and(|job| by_it(&job.state));
            assert!(!found, "lease {lease} of {job} was not lost");
        }
        for (id, ending) in &self.known.finished {
            let job = &record.jobs[id];
            let alike = match (ending, &job.state) {
                (Ending::Acked { outputs }, State::Acked { output, .. }) => {
                    outputs.slices().next() == Some(output)
                }
                (Ending::Dead { .. }, _) => job.died,
                (Ending::Cancelled, State::Cancelled) => true,
                (Ending::Unknown, State::Forgotten) => true,
                _ => false,
            };
            assert!(alike, "{id} was told to be {ending:?} and is {:?}", job.state);
        }
        for (name, index, job, bytes) in &self.known.items {
            let item = &record.lists[name].items[usize::try_from(*index).unwrap()];
            assert_eq!(item, &Item { job: *job, bytes: bytes.clone() }, "item {index} of {name}");
        }
        for (name, list) in &record.lists {
            let left = list.removed.iter().filter(|removed| !**removed).count();
            assert_eq!(left, 0, "items of {name} that were never confirmed");
            let mut jobs = BTreeSet::new();
            for item in &list.items {
                assert!(item.job.is_none_or(|job| jobs.insert(job)), "{item:?} twice in {name}");
            }
        }
    }
}
