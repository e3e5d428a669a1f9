//! Load on a broker that is already there: producers and workers in this process, at a rate that
//! does not wait for the broker.
//! Not a comparison: `run` makes those, on servers of its own.
//!
//! Jobs are due at fixed times, whatever the broker does, and their latency counts from when they
//! were due. A broker that stalls is so charged with every job that it kept from being sent, not
//! only with the one that it kept waiting (coordinated omission).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use comfy_table::{CellAlignment, Table, presets};
use ganger_rt::{Task, block_on, sleep_until, spawn, timeout};
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{Block, JobOptions, Name, Outcome, Rejection, ResultsTo};
use ganger_worker::{Client, Error, Options, Run, SubmitRun, Subscription, key_file};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Output;
use crate::check::{Ledger, Verdict};
use crate::payload::{self, RESULT_LEN, Template};
use crate::report::short;
use crate::roles::{Latency, PATIENCE};

/// How often a producer looks what is due, at the most: jobs that are due together go together. It is
/// part of every latency, half of it on average, where jobs are due more often than that.
const TURN: Duration = Duration::from_micros(200);

/// The most jobs of one submit.
const RUN_MAX: u64 = 1_024;

/// Submits of one producer that are under way at once: so few where the next waits for them, and so
/// many where it does not.
const WINDOW: usize = 8;
const WINDOW_MAX: usize = 65_536;

/// Jobs that a worker may have at once.
const CREDIT: u32 = 1_024;

/// How long a job that somebody else left in the queue is put aside.
const ASIDE_MS: u64 = 1_000;

/// How the numbers of a producer's jobs begin: with bits that no other producer has.
const OWN_BITS: u32 = 40;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The broker's address
    #[arg(long, value_name = "HOST:PORT", default_value = ganger_worker::DEFAULT_BROKER)]
    broker: String,
    /// The key that it knows [default: as for every client]
    #[arg(long, value_name = "PATH")]
    key_file: Option<PathBuf>,
    /// An empty queue
    #[arg(long, default_value = "load")]
    queue: String,
    /// Jobs per second, of all producers together, or `max`: as many as get through
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// How long jobs are submitted, such as 10s or 500ms
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// The length of a job, such as 16, 1KiB or 64KiB
    #[arg(long, default_value = "16", value_parser = crate::payload_len)]
    payload: usize,
    /// Connections that submit
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    producers: u32,
    /// Connections that work
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: u32,
    /// What to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// How many jobs a second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    Fixed(f64),
    Max,
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rate: f64 = text.parse().with_context(|| format!("{text:?} is no number"))?;
        ensure!(rate.is_finite() && rate > 0.0, "a rate is above 0, or `max`");
        Ok(Self::Fixed(rate))
    }
}

fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => bail!("{text:?} has no unit; such as 10s or 500ms"),
    };
    let number: f64 = number.trim_end().parse().with_context(|| format!("{text:?} is no time"))?;
    Ok(Duration::try_from_secs_f64(number * unit)?)
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// The version of this format.
    v: u32,
    /// Jobs per second that were asked for; none for as many as get through.
    rate: Option<f64>,
    /// Jobs per second between the start and the last result.
    achieved: f64,
    /// Until the last result.
    seconds: f64,
    submitted: u64,
    /// Of submitted jobs.
    results: Verdict,
    /// Jobs that a worker was given more than once.
    worked_twice: u64,
    /// Jobs that the broker did not take, and why the first of them.
    refused: u64,
    refusal: Option<String>,
    /// Jobs of others that were met in the queue and given back.
    strangers: u64,
    /// From when a job was due until its result was here.
    latency_us: Latency,
}

impl Summary {
    /// As a table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let Latency { p50, p90, p99, p999, max } = self.latency_us;
        let asked =
            self.rate.map_or_else(|| "max".to_owned(), |rate| format!("{} /s", short(rate)));
        let rows = [
            ("rate asked for", asked),
            ("rate achieved", format!("{} /s over {:.2} s", short(self.achieved), self.seconds)),
            ("submitted", self.submitted.to_string()),
            ("refused", self.refused.to_string()),
            ("lost", self.results.lost.to_string()),
            ("duplicate results", self.results.duplicates.to_string()),
            ("worked twice", self.worked_twice.to_string()),
            ("latency p50", time(p50)),
            ("p90", time(p90)),
            ("p99", time(p99)),
            ("p99.9", time(p999)),
            ("max", time(max)),
        ];
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        table.column_iter_mut().skip(1).for_each(|column| {
            column.set_cell_alignment(CellAlignment::Right);
        });
        format!("{table}\n")
    }

    /// What is wrong, if anything.
    pub(crate) fn complaint(&self) -> Option<String> {
        if let Some(complaint) = self.results.complaint() {
            return Some(complaint);
        }
        if self.worked_twice > 0 {
            return Some(format!("{} jobs were given to a worker twice", self.worked_twice));
        }
        let refusal = self.refusal.as_deref()?;
        Some(format!("{} jobs were refused: {refusal}", self.refused))
    }
}

/// Microseconds as people read them.
fn time(us: f64) -> String {
    if us < 9_995.0 { format!("{} µs", short(us)) } else { format!("{} ms", short(us / 1e3)) }
}

/// What is known of one producer's jobs.
#[derive(Debug)]
struct Book {
    /// The upper bits of their numbers.
    own: u64,
    state: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    results: Ledger,
    worked: Ledger,
    submitted: u64,
    refused: u64,
    refusal: Option<String>,
    latencies: Histogram<u64>,
    last_result: Option<Instant>,
}

impl Book {
    fn new() -> Result<Self> {
        let state = Pages {
            results: Ledger::new(0),
            worked: Ledger::new(0),
            submitted: 0,
            refused: 0,
            refusal: None,
            // Up to an hour, in nanoseconds, with three digits.
            latencies: Histogram::new_with_max(3_600_000_000_000, 3)?,
            last_result: None,
        };
        let own = getrandom::u64()? >> OWN_BITS << OWN_BITS;
        Ok(Self { own, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of this producer's jobs it is, counted from 0.
    fn number_of(&self, result: &[u8]) -> Option<u64> {
        let id = payload::id_of(result)?;
        (id >> OWN_BITS == self.own >> OWN_BITS).then(|| id - self.own)
    }
}

/// Puts load on a broker.
///
/// # Errors
///
/// The broker is unreachable, goes away, or its queue is in use.
pub(crate) fn carry_out(args: &Args) -> Result<Summary> {
    let books: Vec<_> =
        (0..args.producers).map(|_| Book::new().map(Arc::new)).collect::<Result<_>>()?;
    block_on(load(args, books.into()))
}

async fn load(args: &Args, books: Arc<[Arc<Book>]>) -> Result<Summary> {
    let queue = Name::new(&args.queue)?;
    let strangers = Arc::new(Mutex::new(0));
    let mut workers = Vec::new();
    for _ in 0..args.workers {
        let client = connect(args).await?;
        if workers.is_empty() {
            ensure_empty(&client, &queue).await?;
        }
        let jobs = client.queue(&queue)?.subscribe(CREDIT);
        workers.push(spawn(work(jobs, Arc::clone(&books), Arc::clone(&strangers))));
    }
    let mut clients = Vec::new();
    for _ in 0..args.producers {
        clients.push(connect(args).await?);
    }
    let started = Instant::now();
    let pace = match args.rate {
        Rate::Max => Pace::Closed,
        Rate::Fixed(rate) => Pace::Open { every: f64::from(args.producers) / rate },
    };
    let producers: Vec<_> = clients
        .into_iter()
        .zip(books.iter())
        .map(|(client, book)| {
            let (queue, book) = (queue.clone(), Arc::clone(book));
            let template = Template::new(args.payload);
            let producer = Producer { client, queue, book, template, pace, started };
            spawn(producer.produce(started + args.duration))
        })
        .collect();
    for producer in producers {
        producer.await?;
    }
    for worker in workers {
        if let Some(ended) = worker.cancel().await {
            ended?;
        }
    }
    let strangers = *strangers.lock().unwrap_or_else(PoisonError::into_inner);
    sum_up(args, &books, started, strangers)
}

async fn connect(args: &Args) -> Result<Client> {
    let path = args.key_file.clone().unwrap_or_else(key_file::default_path);
    let options = Options::new(args.broker.as_str(), key_file::read(&path)?);
    let options = Options { reconnect_timeout: Some(Duration::ZERO), ..options };
    Ok(Client::connect(options).await?)
}

/// Whoever has jobs in the queue would not like to have them worked on by us.
async fn ensure_empty(client: &Client, queue: &Name) -> Result<()> {
    match client.admin(AdminVerb::QueueShow { queue: queue.clone() }).await {
        Ok(AdminAnswer::Queue(info)) => {
            let jobs = info.ready + info.delayed + info.leased;
            ensure!(
                jobs == 0,
                "queue {queue} has {jobs} jobs; name one that is empty or not there"
            );
            Ok(())
        }
        Ok(_) => bail!("the broker says something else than what queue {queue} is like"),
        Err(Error::Rejected(Rejection::NotFound { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn work(
    jobs: Subscription,
    books: Arc<[Arc<Book>]>,
    strangers: Arc<Mutex<u64>>,
) -> Result<()> {
    while let Some(run) = jobs.next_run().await? {
        match results_of(&run, &books) {
            Some(results) => drop(run.ack(results)),
            None => {
                *strangers.lock().unwrap_or_else(PoisonError::into_inner) +=
                    u64::from(run.jobs().count);
                drop(run.settle(Outcome::Release { delay_ms: ASIDE_MS }));
            }
        }
    }
    Ok(())
}

/// The results of a run; none if it is a stranger's. The jobs of a run have one submitter.
fn results_of(run: &Run, books: &[Arc<Book>]) -> Option<Block> {
    let result_of = |job: &[u8]| job.first_chunk::<RESULT_LEN>().copied();
    let first = result_of(run.payloads().slices().next()?)?;
    let book = books.iter().find(|book| book.number_of(&first).is_some())?;
    let mut pages = book.lock();
    let mut results = Block::builder();
    for job in run.payloads().slices() {
        let result = result_of(job)?;
        pages.worked.note(book.number_of(&result));
        results.push(&result);
    }
    Some(results.finish())
}

/// When the jobs of one producer are due.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// One after so many seconds, whatever becomes of the others.
    Open { every: f64 },
    /// As soon as there is room for them.
    Closed,
}

struct Producer {
    client: Client,
    queue: Name,
    book: Arc<Book>,
    template: Template,
    pace: Pace,
    started: Instant,
}

impl Producer {
    /// Submits until `end`, and waits for what is under way.
    async fn produce(mut self, end: Instant) -> Result<()> {
        let mut under_way: VecDeque<Task<Result<()>>> = VecDeque::new();
        let mut submitted = 0;
        let mut turn = self.started;
        loop {
            let (due, window) = match self.pace {
                Pace::Closed => (submitted + RUN_MAX, WINDOW),
                // Late or not, what was due before the end is submitted.
                Pace::Open { every } => (self.due_by(turn.min(end), every), WINDOW_MAX),
            };
            while submitted < due {
                let next = due.min(submitted + RUN_MAX);
                under_way.push_back(self.submit(submitted, next));
                submitted = next;
            }
            while under_way
                .front()
                .is_some_and(|run| run.is_finished() || under_way.len() >= window)
            {
                let Some(run) = under_way.pop_front() else { break };
                finished(run).await?;
            }
            if turn >= end {
                break;
            }
            turn = match self.pace {
                Pace::Closed => Instant::now(),
                Pace::Open { every } => {
                    let next = Due::Each { started: self.started, every }.of(submitted);
                    sleep_until(next.max(turn + TURN).min(end)).await;
                    Instant::now()
                }
            };
        }
        for run in under_way {
            finished(run).await?;
        }
        Ok(())
    }

    /// How many jobs are due at `now`: the first of them at once.
    fn due_by(&self, now: Instant, every: f64) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts jobs")]
        let due = (elapsed / every) as u64 + 1;
        due
    }

    /// Submits the jobs from `first` on and before `end`, and follows them to their ends.
    fn submit(&mut self, first: u64, end: u64) -> Task<Result<()>> {
        let payloads = self.template.block(self.book.own + first..self.book.own + end);
        let mut pages = self.book.lock();
        pages.submitted += end - first;
        pages.results.expect_more(end - first);
        pages.worked.expect_more(end - first);
        drop(pages);
        let options =
            JobOptions { results: ResultsTo::Nowhere, ..JobOptions::new(self.queue.clone()) };
        let run = SubmitRun {
            queue: self.queue.clone(),
            options,
            payloads,
            when_full: WhenFull::Refuse,
            notify: Notify::Finished,
            prerequisites: Vec::new(),
        };
        let due = match self.pace {
            Pace::Open { every } => Due::Each { started: self.started, every },
            Pace::Closed => Due::Together(Instant::now()),
        };
        let (client, book) = (self.client.clone(), Arc::clone(&self.book));
        spawn(async move { follow(&client, run, &book, due).await })
    }
}

/// Waits for a run, as long as anything can still come of it.
async fn finished(run: Task<Result<()>>) -> Result<()> {
    // What has no result by then is counted as lost.
    timeout(PATIENCE, run).await.unwrap_or(Ok(()))
}

/// When the jobs of a run were due.
#[derive(Debug, Clone, Copy)]
enum Due {
    Each { started: Instant, every: f64 },
    Together(Instant),
}

impl Due {
    fn of(self, number: u64) -> Instant {
        match self {
            Self::Each { started, every } => {
                started + Duration::from_secs_f64(number as f64 * every)
            }
            Self::Together(at) => at,
        }
    }
}

async fn follow(client: &Client, run: SubmitRun, book: &Book, due: Due) -> Result<()> {
    let count = u64::from(run.payloads.count());
    let mut endings = match client.submit_run(run).await {
        Ok(accepted) => accepted.endings.context("the submit asked for endings")?,
        Err(Error::Rejected(rejection)) => {
            let mut pages = book.lock();
            pages.refused += count;
            pages.refusal.get_or_insert_with(|| rejection.to_string());
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    while let Some(ended) = endings.next().await? {
        let now = Instant::now();
        let mut pages = book.lock();
        pages.last_result = Some(now);
        for (_, result) in ended.each() {
            let number = book.number_of(&result?);
            pages.results.note(number);
            let Some(number) = number else { continue };
            let latency = now.saturating_duration_since(due.of(number)).as_nanos();
            pages.latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        }
    }
    Ok(())
}

fn sum_up(args: &Args, books: &[Arc<Book>], started: Instant, strangers: u64) -> Result<Summary> {
    let mut results = Verdict { expected: 0, lost: 0, duplicates: 0, unexpected: 0 };
    let (mut submitted, mut refused, mut worked_twice) = (0, 0, 0);
    let (mut refusal, mut last) = (None, started);
    let mut latencies = Histogram::new_with_max(3_600_000_000_000, 3)?;
    for book in books {
        let pages = book.lock();
        let verdict = pages.results.verdict();
        submitted += pages.submitted;
        refused += pages.refused;
        results.expected += verdict.expected - pages.refused;
        results.lost += verdict.lost - pages.refused;
        results.duplicates += verdict.duplicates;
        results.unexpected += verdict.unexpected;
        worked_twice += pages.worked.verdict().duplicates;
        refusal = refusal.or_else(|| pages.refusal.clone());
        last = pages.last_result.map_or(last, |at| last.max(at));
        latencies.add(&pages.latencies)?;
    }
    let seconds = last.duration_since(started).as_secs_f64();
    Ok(Summary {
        v: 1,
        rate: match args.rate {
            Rate::Fixed(rate) => Some(rate),
            Rate::Max => None,
        },
        achieved: (results.expected - results.lost) as f64 / seconds.max(1e-9),
        seconds,
        submitted,
        results,
        worked_twice,
        refused,
        refusal,
        strangers,
        latency_us: Latency::from_ns(&latencies),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_duration_are_read_as_people_write_them() {
        assert_eq!("max".parse::<Rate>().unwrap(), Rate::Max);
        assert_eq!("2.5".parse::<Rate>().unwrap(), Rate::Fixed(2.5));
        assert!("0".parse::<Rate>().is_err());
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("10s").unwrap(), Duration::from_secs(10));
        assert!(duration("10").is_err());
    }

    #[test]
    fn latency_counts_from_when_a_job_was_due() {
        let started = Instant::now();
        let due = Due::Each { started, every: 0.25 };
        assert_eq!(due.of(8), started + Duration::from_secs(2));
    }

    #[test]
    fn job_of_another_producer_is_not_taken_for_an_own_one() {
        let (book, other) = (Book::new().unwrap(), Book::new().unwrap());
        let job = Template::new(16).job(book.own + 3).to_vec();
        assert_eq!(book.number_of(&job), Some(3));
        assert_eq!(other.number_of(&job), None);
    }
}
