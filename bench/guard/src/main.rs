//! One phase of a job's life in the broker, for callgrind to count: see `bench/guard/run`.
//!
//! Not a benchmark, which looks at a clock, and no broker either: no socket, no thread. What a
//! session, the engine and the journal's threads do is done here in their order, one after the other.

mod driver;
mod journal;
mod life;

use std::hint::black_box;
use std::mem;
use std::process::ExitCode;

use crate::journal::Journal;
use crate::life::{Life, Step};

/// What is counted.
#[derive(Clone, Copy)]
enum Phase {
    /// A frame of a client, from its bytes to those of the answer.
    Step(Step),
    /// The events of all three steps, from their record to the file.
    Append,
    /// A start with the journal of jobs that were submitted, assigned and settled.
    Recovery,
}

const PHASES: [(&str, Phase); 5] = [
    ("submit", Phase::Step(Step::Submit)),
    ("assign", Phase::Step(Step::Assign)),
    ("settle", Phase::Step(Step::Settle)),
    ("append", Phase::Append),
    ("recovery", Phase::Recovery),
];

/// Jobs in one frame.
const FORMS: [(&str, u32); 2] = [("runs", 256), ("single", 1)];

#[expect(clippy::print_stderr, reason = "for whoever calls it by hand")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((phase, run_jobs, jobs)) = parse(&arguments) else {
        eprintln!(
            "usage: ganger-guard submit|assign|settle|append|recovery runs|single JOBS\n\
             JOBS is a multiple of 256; the journal is ./journal, which must not be there yet"
        );
        return ExitCode::from(2);
    };
    match phase {
        Phase::Step(step) => count_step(step, run_jobs, jobs),
        Phase::Append => count_append(run_jobs, jobs),
        Phase::Recovery => count_recovery(run_jobs, jobs),
    }
    ExitCode::SUCCESS
}

fn parse(arguments: &[String]) -> Option<(Phase, u32, u32)> {
    let [phase, form, jobs] = arguments else { return None };
    let (_, phase) = PHASES.into_iter().find(|(name, _)| name == phase)?;
    let (_, run_jobs) = FORMS.into_iter().find(|(name, _)| name == form)?;
    let jobs: u32 = jobs.parse().ok()?;
    (jobs > 0 && jobs.is_multiple_of(256)).then_some((phase, run_jobs, jobs))
}

/// Callgrind counts what happens in here, of this thread, and nothing else.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // So that the call above is one, and no jump that leaves this function.
    black_box(());
}

/// As many jobs again have gone through the step before, so that what grows has grown. All jobs are
/// in one phase of their life: those that are assigned all waited, those that are settled all ran.
fn count_step(counted: Step, run_jobs: u32, jobs: u32) {
    let (life, runs) = (Life { run_jobs }, jobs / run_jobs);
    let mut driver = Life::begin();
    for step in Step::ALL {
        let mut handle =
            |frames: &[Vec<u8>]| frames.iter().for_each(|f| driver.handle(step.session(), f));
        let frames = life.frames(step, 2 * runs);
        let (warm, rest) = frames.split_at(runs as usize);
        handle(warm);
        if step == counted {
            measured(&mut || handle(rest));
        } else {
            handle(rest);
        }
        life.check(step, 2 * runs - 1, &driver.last_answer());
        if step == counted {
            return;
        }
    }
}

fn count_append(run_jobs: u32, jobs: u32) {
    let mut records = Life { run_jobs }.records(2 * jobs / run_jobs);
    let mut rest = records.split_off(records.len() / 2);
    let mut journal = Journal::create();
    journal.append(records);
    measured(&mut || journal.append(mem::take(&mut rest)));
}

fn count_recovery(run_jobs: u32, jobs: u32) {
    let mut journal = Journal::create();
    journal.append(Life { run_jobs }.records(jobs / run_jobs));
    journal.close();
    let mut machine = None;
    measured(&mut || machine = Some(journal::recover()));
    let results = machine.map(Life::results);
    assert_eq!(results, Some(u64::from(jobs)), "results after the start");
}
