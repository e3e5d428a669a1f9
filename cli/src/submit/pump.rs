//! Sends runs of jobs, a few at a time, and collects what becomes of them.
//!
//! ```text
//!   batches ─▶ one task per run: submit ─▶ accepted ─▶ endings ─┐
//!                                                               ▼
//!   ids or results ◀── this loop ◀────────────────────────── events
//! ```
//!
//! Everything is bounded: runs that the broker has not answered, jobs that have not ended, results
//! that wait for their turn. At a bound no further batch is taken, and the producer waits.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::future::{or, poll_once};
use ganger_rt::Task;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::prerequisite::Prerequisite;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{JobRange, Name};
use ganger_worker::error::exit;
use ganger_worker::{Client, Ended as EndedJobs, Error, SubmitRun};

use crate::args::Format;
use crate::ended::{Ended, Place};
use crate::exit::{Failure, Result};
use crate::interrupt::{self, Tally};
use crate::lines::{Batch, LineError};
use crate::output;
use crate::progress::Progress;
use crate::sink::Sink;

/// Runs that the broker has not answered: 16, enough to hide a flush of its journal.
const UNANSWERED_MAX: usize = 16;

/// Runs with jobs that have not ended: 4,096; each costs a task.
const RUNS_MAX: usize = 4_096;

/// Jobs that have not ended or whose result waits for its turn: 262,144, about 16 MiB. More than any
/// crew of workers has in hand.
const JOBS_MAX: u64 = 1 << 18;

/// Bytes of results that wait for their turn: 64 MiB.
const HELD_BYTES_MAX: usize = 64 << 20;

/// How long nothing may happen before a person is told why: 2 s.
const PUZZLING: Duration = Duration::from_secs(2);

/// What to do with the jobs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) queue: Name,
    pub(super) when_full: WhenFull,
    /// What the jobs wait for before they may start.
    pub(super) prerequisites: Vec<Prerequisite>,
    /// Wait for the ends of the jobs and show them, instead of their ids.
    pub(super) wait: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) quiet: bool,
    /// They come from lines of standard input, which errors then name.
    pub(super) many: bool,
}

enum Event {
    Accepted {
        run: u64,
        jobs: JobRange,
        paused: bool,
    },
    Refused {
        run: u64,
        error: Error,
    },
    Ended {
        run: u64,
        ended: EndedJobs,
    },
    Over {
        run: u64,
    },
    Lost(Error),
    /// Nothing happens.
    Silence,
    TimedOut,
}

/// A run under way.
struct Run {
    first: Place,
    count: u32,
    jobs: Option<JobRange>,
    _task: Option<Task<()>>,
}

/// See the module.
pub(super) struct Pump {
    client: Client,
    plan: Plan,
    format: Format,
    progress: Progress,
    tally: Arc<Tally>,
    /// Shows ids.
    sink: Sink,
    /// Shows results.
    ended: Ended,
    runs: BTreeMap<u64, Run>,
    next_run: u64,
    /// Ids up to this run were shown.
    next_shown: u64,
    unanswered: usize,
    /// Jobs of all runs so far.
    jobs: u64,
    refused: Option<Failure>,
    told_paused: bool,
    told_why: bool,
}

impl Pump {
    pub(super) fn new(client: Client, plan: Plan, format: Format, progress: Progress) -> Self {
        let tally = Arc::new(Tally::default());
        if plan.wait || plan.many {
            interrupt::watch(Arc::clone(&tally), progress.clone(), plan.quiet);
        }
        // With ids instead of results, nothing of `ended` is ever shown.
        let ended = Ended::new(format, progress.clone(), plan.quiet);
        Self {
            client,
            plan,
            format,
            tally,
            sink: Sink::new(Some(progress.clone())),
            ended,
            progress,
            runs: BTreeMap::new(),
            next_run: 0,
            next_shown: 0,
            unanswered: 0,
            jobs: 0,
            refused: None,
            told_paused: false,
            told_why: false,
        }
    }

    pub(super) async fn run(mut self, batches: Receiver<Result<Batch, LineError>>) -> Result {
        let (sender, events) = async_channel::bounded(64);
        let mut batches = Some(batches);
        if self.format == Format::Json && !self.plan.wait {
            let _ = write!(self.sink.raw(), "{{\"v\":{},\"jobs\":[", output::VERSION);
        }
        while batches.is_some() || !self.runs.is_empty() {
            if let Ok(event) = events.try_recv() {
                self.take(event)?;
                if self.is_full() {
                    self.flush().await?;
                }
                continue;
            }
            self.flush().await?;
            let input = batches.as_ref().filter(|_| self.has_room());
            let next = async { Ok(events.recv().await.unwrap_or(Event::Silence)) };
            let next = or(next, async { Ok(self.silence().await) });
            let happened = match input {
                Some(input) => or(next, async { Err(input.recv().await.ok()) }).await,
                None => next.await,
            };
            match happened {
                Ok(Event::TimedOut) => return self.timed_out().await,
                Ok(Event::Silence) => self.explain().await,
                Ok(event) => self.take(event)?,
                Err(Some(Ok(batch))) => self.send(batch, &sender).await,
                Err(Some(Err(error))) => {
                    let LineError { line, text } = error;
                    self.refuse(Failure::usage(format!("line {line} of standard input {text}")));
                }
                Err(None) => {
                    batches = None;
                    if self.plan.wait {
                        self.progress.set_length(self.jobs);
                    }
                }
            }
            if self.refused.is_some() {
                batches = None;
            }
        }
        self.finish().await
    }

    fn has_room(&self) -> bool {
        self.unanswered < UNANSWERED_MAX
            && self.runs.len() < RUNS_MAX
            && self.unfinished() < JOBS_MAX
            && self.ended.held_bytes() < HELD_BYTES_MAX
    }

    /// Jobs that are not shown yet.
    fn unfinished(&self) -> u64 {
        if !self.plan.wait {
            return 0;
        }
        self.jobs - self.ended.count() + self.ended.held() as u64
    }

    /// Waits until it is time to do something because nothing happens.
    async fn silence(&self) -> Event {
        let timed_out = async {
            match self.plan.deadline {
                Some(deadline) => ganger_rt::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
            Event::TimedOut
        };
        let puzzling = async {
            if self.told_why || self.plan.quiet || self.runs.is_empty() {
                std::future::pending::<()>().await;
            }
            ganger_rt::sleep(PUZZLING).await;
            Event::Silence
        };
        or(timed_out, puzzling).await
    }

    async fn send(&mut self, batch: Batch, events: &Sender<Event>) {
        let Batch { first_line, options, payloads } = batch;
        let count = payloads.count();
        let number = self.next_run;
        let submit = SubmitRun {
            queue: self.plan.queue.clone(),
            options: (*options).clone(),
            payloads,
            when_full: self.plan.when_full,
            notify: if self.plan.wait { Notify::Finished } else { Notify::No },
            prerequisites: self.plan.prerequisites.clone(),
        };
        let first = Place { number: self.jobs, line: first_line };
        let mut task = Box::pin(one_run(self.client.clone(), submit, number, events.clone()));
        // Its frame leaves with the first poll, so runs leave in the order of the input.
        let sent = poll_once(&mut task).await.is_some();
        let task = (!sent).then(|| ganger_rt::spawn(task));
        self.runs.insert(number, Run { first, count, jobs: None, _task: task });
        self.next_run += 1;
        self.unanswered += 1;
        self.jobs += u64::from(count);
    }

    fn take(&mut self, event: Event) -> Result {
        match event {
            Event::Accepted { run, jobs, paused } => {
                self.unanswered -= 1;
                self.tally.accepted.fetch_add(u64::from(jobs.count), Ordering::Relaxed);
                if let Some(run) = self.runs.get_mut(&run) {
                    run.jobs = Some(jobs);
                }
                if paused {
                    self.tell_paused();
                }
                if self.plan.wait {
                    self.progress.set_known(self.jobs);
                } else {
                    self.show_ids();
                }
            }
            Event::Refused { run, error } => {
                self.unanswered -= 1;
                let Some(run) = self.runs.remove(&run) else { return Ok(()) };
                self.jobs -= u64::from(run.count);
                let failure = Failure::from(error);
                let line = run.first.line;
                self.refuse(match (self.plan.many, run.count) {
                    (false, _) => failure,
                    (true, 1) => failure.after(&format!("line {line}")),
                    (true, count) => {
                        let last = line + u64::from(count) - 1;
                        failure.after(&format!("lines {line} to {last}"))
                    }
                });
            }
            Event::Ended { run, ended } => self.show_ended(run, ended),
            // With ids, a run goes when they were shown.
            Event::Over { run } if self.plan.wait => {
                self.runs.remove(&run);
            }
            Event::Over { .. } | Event::Silence | Event::TimedOut => {}
            Event::Lost(error) => {
                return Err(Failure::from(error).after(&self.tally.sentence()));
            }
        }
        Ok(())
    }

    /// The first refusal counts; it ends the input.
    fn refuse(&mut self, failure: Failure) {
        self.refused.get_or_insert(failure);
    }

    /// Shows the ids of runs whose turn it is.
    fn show_ids(&mut self) {
        while let Some(entry) = self.runs.first_entry()
            && let Some(jobs) = entry.get().jobs
        {
            let first = entry.get().first;
            entry.remove();
            self.next_shown += u64::from(jobs.count);
            self.progress.set(self.next_shown);
            if self.plan.quiet {
                continue;
            }
            let buffer = self.sink.raw();
            for (offset, job) in (0_u64..).zip(jobs.iter()) {
                let line = first.line + offset;
                // A Vec takes every write.
                let _ = match self.format {
                    Format::Table | Format::Plain => writeln!(buffer, "{job}"),
                    Format::Ndjson => {
                        let v = output::VERSION;
                        writeln!(buffer, "{{\"v\":{v},\"line\":{line},\"job\":\"{job}\"}}")
                    }
                    Format::Json => {
                        let comma = if first.number + offset == 0 { "" } else { "," };
                        write!(buffer, "{comma}{{\"line\":{line},\"job\":\"{job}\"}}")
                    }
                };
            }
        }
    }

    fn show_ended(&mut self, run: u64, ended: EndedJobs) {
        let Some(run) = self.runs.get(&run) else { return };
        let Some(jobs) = run.jobs else { return };
        for (job, result) in ended.each() {
            let offset = job.seq.saturating_sub(jobs.first.seq);
            let place = Place { number: run.first.number + offset, line: run.first.line + offset };
            self.ended.push(place, job, result);
        }
        self.tally.ended.store(self.ended.count(), Ordering::Relaxed);
        self.progress.set(self.ended.count());
    }

    fn tell_paused(&mut self) {
        if self.told_paused || self.plan.quiet {
            return;
        }
        self.told_paused = true;
        self.told_why = true;
        let queue = &self.plan.queue;
        self.progress.suspend(|| {
            output::warn(&format!(
                "queue {queue} is paused; jobs wait. Try: ganger queue resume {queue}"
            ));
        });
    }

    /// Tells a person why nothing happens, if that can be known.
    async fn explain(&mut self) {
        self.told_why = true;
        let queue = self.plan.queue.clone();
        let Ok(AdminAnswer::Queue(info)) = self.client.admin(AdminVerb::QueueShow { queue }).await
        else {
            return;
        };
        if let Some(why) = crate::queue::why_jobs_wait(&info) {
            self.progress.suspend(|| output::warn(&why));
        }
    }

    const fn is_full(&self) -> bool {
        self.sink.is_full() || self.ended.is_full()
    }

    async fn flush(&mut self) -> Result {
        if self.plan.wait { self.ended.flush().await } else { self.sink.flush().await }
    }

    async fn timed_out(mut self) -> Result {
        self.flush().await?;
        Err(Failure::new(exit::TIMED_OUT, format!("timed out: {}", self.tally.sentence())))
    }

    async fn finish(mut self) -> Result {
        self.progress.finish(if self.plan.wait { "jobs done" } else { "jobs accepted" });
        if self.format == Format::Json && !self.plan.wait {
            self.sink.raw().extend_from_slice(b"]}\n");
        }
        self.flush().await?;
        let waited = if self.plan.wait { self.ended.finish().await } else { Ok(()) };
        match self.refused {
            None => waited,
            Some(failure) if self.jobs == 0 => Err(failure),
            Some(failure) => {
                let accepted = output::grouped(self.jobs);
                Err(failure
                    .after(&format!("{accepted} jobs were accepted, then"))
                    .with_code(exit::PARTIAL))
            }
        }
    }
}

/// Submits a run and reports everything that becomes of it.
async fn one_run(client: Client, submit: SubmitRun, run: u64, events: Sender<Event>) {
    let event = match client.submit_run(submit).await {
        Err(error) => Event::Refused { run, error },
        Ok(accepted) => {
            let (jobs, paused) = (accepted.jobs, accepted.paused);
            if events.send(Event::Accepted { run, jobs, paused }).await.is_err() {
                return;
            }
            match accepted.endings {
                None => Event::Over { run },
                Some(mut endings) => loop {
                    match endings.next().await {
                        Ok(Some(ended)) => {
                            if events.send(Event::Ended { run, ended }).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break Event::Over { run },
                        Err(error) => break Event::Lost(error),
                    }
                },
            }
        }
    };
    let _ = events.send(event).await;
}
