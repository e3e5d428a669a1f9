//! What happens inside a role's process: connect, wait for the start, work, report.
//! Not how a peer is driven: its `Client`, `Producer`, `Worker`, `Collector` and `Caller` do that.
//!
//! ```text
//! benchmark                          role
//!     │  argument: Task as JSON ──────▶ connects
//!     │ ◀──────────────────── "ready" ──┤
//!     │  "go" once all are ready ─────▶ ├ starts its clock and works
//!     │ ◀────────────── Report as JSON ─┤ (not a worker: that one is ended)
//!     │  end of input ────────────────▶ └ ends
//! ```

use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::{Ledger, Verdict};
use crate::payload::Template;
use crate::peer::{Client, Collector, Producer, Role, Task};
use crate::procfs::monotonic_ns;
use crate::shapes::Style;
use crate::{caller, peers, server};

/// The line that says that a role is connected.
pub(crate) const READY: &str = "ready";

/// The line that starts the clock.
pub(crate) const GO: &str = "go";

/// How long nothing may happen before what is missing counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a collector listens for results that should not come.
const STRAYS_WAIT: Duration = Duration::from_millis(50);

/// How many batches are under way with [`Style::Batched`].
const WINDOW: usize = 8;

/// What a role has to say when it is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// On the clock of `monotonic_ns`.
    pub(crate) started_ns: u64,
    pub(crate) finished_ns: u64,
    /// Only from those who receive results, or read what calls have left.
    pub(crate) verdict: Option<Verdict>,
    /// Only from clients and callers.
    pub(crate) latency: Option<Latency>,
}

/// Round trips in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Plays the role that `task` names.
///
/// # Errors
///
/// The peer is unreachable, breaks off or delivers what nobody sent.
pub(crate) fn play(task: &Task) -> Result<()> {
    server::die_with_parent()?;
    let peer = peers::find(&task.peer)?;
    let what = || format!("{:?} {} of {}", task.role, task.index, task.peer);
    match task.role {
        Role::Client => {
            let mut client = peer.client(task).with_context(what)?;
            await_start()?;
            let role = async { report(&run_client(task, client.as_mut()).await?) };
            peer.drive(Box::pin(role)).with_context(what)
        }
        Role::Producer => {
            let mut producer = peer.producer(task).with_context(what)?;
            await_start()?;
            let role = async { report(&run_producer(task, producer.as_mut()).await?) };
            peer.drive(Box::pin(role)).with_context(what)
        }
        Role::Worker => {
            let mut worker = peer.worker(task).with_context(what)?;
            await_start()?;
            peer.drive(worker.work()).with_context(what)
        }
        Role::Collector => {
            let mut collector = peer.collector(task).with_context(what)?;
            await_start()?;
            let role = async { report(&run_collector(task, collector.as_mut()).await?) };
            peer.drive(Box::pin(role)).with_context(what)
        }
        Role::Caller { call, callers } => {
            let mut caller = peer.caller(task, call).with_context(what)?;
            await_start()?;
            let calls = caller::make_calls(task, caller.as_mut(), call, callers);
            let role = async { report(&calls.await?) };
            peer.drive(Box::pin(role)).with_context(what)
        }
        Role::Auditor { call } => {
            let mut caller = peer.caller(task, call).with_context(what)?;
            await_start()?;
            let role = async { report(&caller::look_back(task, caller.as_mut(), call).await?) };
            peer.drive(Box::pin(role)).with_context(what)
        }
    }
}

async fn run_client(task: &Task, client: &mut dyn Client) -> Result<Report> {
    let mut template = Template::new(task.payload);
    let mut ledger = Ledger::new(task.jobs);
    // Up to a minute, in nanoseconds, with three digits.
    let mut latencies = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;
    let mut started_ns = monotonic_ns();
    for id in 0..task.jobs {
        let job = template.job(id);
        let submitted_ns = monotonic_ns();
        let result = client.round_trip(job).await?;
        let elapsed_ns = monotonic_ns() - submitted_ns;
        ledger.record(&result);
        if id < task.warmup {
            started_ns = monotonic_ns();
        } else {
            latencies.saturating_record(elapsed_ns);
        }
    }
    Ok(Report {
        started_ns,
        finished_ns: monotonic_ns(),
        verdict: Some(ledger.verdict()),
        latency: Some(Latency::from_ns(&latencies)),
    })
}

async fn run_producer(task: &Task, producer: &mut dyn Producer) -> Result<Report> {
    let (batch, window) = match task.style {
        Style::Plain | Style::Pipelined => (1, 1),
        Style::Batched => (u64::try_from(task.batch)?, WINDOW),
    };
    let started_ns = monotonic_ns();
    let mut next = 0;
    let mut unconfirmed = VecDeque::with_capacity(window);
    while next < task.jobs {
        while next < task.jobs && unconfirmed.len() < window {
            let end = task.jobs.min(next + batch);
            producer.submit(next..end)?;
            unconfirmed.push_back(end - next);
            next = end;
        }
        producer.send()?;
        // Half a window at a time: confirmations come in bunches, and so do the next writes.
        while unconfirmed.len() > window / 2 {
            let Some(jobs) = unconfirmed.pop_front() else { break };
            producer.confirm(jobs).await?;
        }
    }
    for jobs in unconfirmed {
        producer.confirm(jobs).await?;
    }
    Ok(Report { started_ns, finished_ns: monotonic_ns(), verdict: None, latency: None })
}

async fn run_collector(task: &Task, collector: &mut dyn Collector) -> Result<Report> {
    let mut ledger = Ledger::new(task.jobs);
    let started_ns = monotonic_ns();
    while !ledger.is_complete() && collector.collect(&mut ledger, PATIENCE).await? > 0 {}
    let finished_ns = monotonic_ns();
    while collector.collect(&mut ledger, STRAYS_WAIT).await? > 0 {}
    Ok(Report { started_ns, finished_ns, verdict: Some(ledger.verdict()), latency: None })
}

impl Latency {
    pub(crate) fn from_ns(histogram: &Histogram<u64>) -> Self {
        let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { p50: us(0.5), p90: us(0.9), p99: us(0.99), p999: us(0.999), max: us(1.0) }
    }
}

/// Says that this role is connected and waits until all are.
fn await_start() -> Result<()> {
    say(READY)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    ensure!(line.trim() == GO, "the benchmark went away before the start");
    Ok(())
}

/// Reports, and stays until the report is read and this process's CPU time with it.
fn report(report: &Report) -> Result<()> {
    say(&serde_json::to_string(report)?)?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
