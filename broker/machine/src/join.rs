//! Joining runs: what submitting one by one splits, waiting puts together again.
//!
//! Not on the way of a job that is taken at once: only a backlog is joined.

use core::time::Duration;
use std::sync::Arc;

use ganger_shared::JobId;

use crate::machine::Machine;
use crate::payloads::{Payloads, Records};
use crate::run::{Phase, Run, RunKey};

/// Jobs in a joined run: 256, where what a run costs is a byte or two per job.
const JOBS_MAX: u32 = 256;

/// Payload bytes in a joined run: 16 KiB. Larger payloads outweigh what a run costs.
const BYTES_MAX: usize = 16 << 10;

/// Jobs that were submitted within this time may be shown with the time of the first of them: 1 s.
const SUBMITTED_WITHIN: Duration = Duration::from_secs(1);

impl Machine {
    /// Joins a ready run with the one before it, and that with the one before it, as long as the
    /// earlier is no larger than the later: then each payload is copied at most eight times on the
    /// way into a run of 256, and a backlog of n such jobs has about n/256 runs.
    pub(crate) fn join_backwards(&mut self, mut key: RunKey) {
        while let Some(before) = self.joinable(key) {
            self.leave(before);
            self.leave(key);
            self.uncount_payloads(before);
            self.uncount_payloads(key);
            let later = self.runs.remove(key);
            let earlier = &mut self.runs[before];
            earlier.payloads = Payloads::concat(&earlier.payloads, &later.payloads);
            earlier.records = Records::concat(&earlier.records, &later.records);
            earlier.jobs.count += later.jobs.count;
            earlier.last_order = later.last_order;
            self.count_payloads(before);
            self.enter(before);
            self.note_crowding(before);
            key = before;
        }
    }

    /// The run that the run `key` can be joined to.
    fn joinable(&self, key: RunKey) -> Option<RunKey> {
        let run = &self.runs[key];
        let JobId { session, seq } = run.jobs.first;
        let before = self.runs.find(JobId { session, seq: seq.checked_sub(1)? })?;
        let earlier = &self.runs[before];
        let fits = earlier.jobs.count <= run.jobs.count
            && earlier.jobs.count + run.jobs.count <= JOBS_MAX
            && earlier.payloads.size_bytes() + run.payloads.size_bytes() <= BYTES_MAX;
        if !fits || !alike(earlier, run) {
            return None;
        }
        // Nobody else's job has its place between the two, not even one that runs and may come back.
        (earlier.last_order + 1 == run.order).then_some(before)
    }
}

/// Whether two runs of neighbouring jobs have fared alike, which is nothing so far.
fn alike(earlier: &Run, later: &Run) -> bool {
    let untouched = |run: &Run| {
        matches!(run.phase, Phase::Ready)
            && run.attempts == 0
            && run.failure.is_none()
            && run.options.ttl_ms.is_none()
            && run.watchers.is_empty()
            && run.dependents.is_empty()
            // What comes for it is for all of it.
            && !run.payloads.is_asked()
    };
    earlier.queue == later.queue
        && Arc::ptr_eq(&earlier.options, &later.options)
        && untouched(earlier)
        && untouched(later)
        && later.submitted.since(earlier.submitted) <= SUBMITTED_WITHIN
}

#[cfg(test)]
mod tests {
    use ganger_shared::key::KeyId;
    use ganger_shared::request::{Notify, WhenFull};
    use ganger_shared::{Block, JobOptions, Name, Request, RequestId, SessionId, Time};

    use super::*;
    use crate::{Command, Config, Output};

    const NOW: Time = Time::from_millis(1_000);

    fn machine_with(sessions: &[u64]) -> Machine {
        let mut machine = Machine::new(Config::default(), Time::ZERO);
        let key = KeyId([1; 8]);
        for &session in sessions {
            let (session, held, name) = (SessionId(session), Vec::new(), String::new());
            let open = Command::Open { session, key, held, name };
            machine.step(NOW, open, &mut Output::default());
        }
        machine
    }

    fn submit(machine: &mut Machine, session: u64, seq: u64, notify: Notify) {
        let request = Request::Submit {
            request: RequestId(seq),
            queue: Name::new("q").unwrap(),
            first_seq: seq,
            options: JobOptions::new(Name::new("h").unwrap()),
            payloads: Block::one(format!("{session}:{seq}")),
            when_full: WhenFull::Refuse,
            notify,
        };
        let command = Command::Request { session: SessionId(session), request };
        machine.step(NOW, command, &mut Output::default());
        machine.check();
    }

    /// The payloads of the queue in the order in which they would be handed out, and its runs.
    fn waiting(machine: &Machine) -> (Vec<String>, usize) {
        let ready = machine.queues[0].ready.in_order();
        let payloads = ready.flat_map(|key| machine.runs[key].payloads.loaded().unwrap().slices());
        let payloads = payloads.map(|p| String::from_utf8(p.to_vec()).unwrap()).collect();
        (payloads, machine.queues[0].ready.len())
    }

    #[test]
    fn jobs_submitted_one_by_one_become_few_runs_and_keep_their_order() {
        let mut machine = machine_with(&[1]);
        (0..1_000).for_each(|seq| submit(&mut machine, 1, seq, Notify::No));
        let (payloads, runs) = waiting(&machine);
        assert_eq!(payloads, (0..1_000).map(|seq| format!("1:{seq}")).collect::<Vec<_>>());
        assert!(runs <= 1_000 / 256 + 8, "{runs} runs");
    }

    #[test]
    fn jobs_of_others_in_between_keep_their_place() {
        let mut machine = machine_with(&[1, 2]);
        for seq in 0..4 {
            submit(&mut machine, 1, seq, Notify::No);
            submit(&mut machine, 2, seq, Notify::No);
        }
        let (payloads, _) = waiting(&machine);
        assert_eq!(payloads, ["1:0", "2:0", "1:1", "2:1", "1:2", "2:2", "1:3", "2:3"]);
    }

    #[test]
    fn jobs_that_are_waited_for_stay_apart() {
        let mut machine = machine_with(&[1]);
        submit(&mut machine, 1, 0, Notify::Finished);
        submit(&mut machine, 1, 1, Notify::Finished);
        assert_eq!(waiting(&machine).1, 2);
    }
}
