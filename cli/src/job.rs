//! `ganger job`: look at jobs, cancel them, wait for them.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use ganger_shared::admin::{AdminAnswer, AdminVerb, JobInfo, JobState};
use ganger_shared::{Failure as FailureOfJob, JobId, JobOptions, JobRange, Name};
use ganger_worker::error::exit;
use ganger_worker::{Cancelled, Client, Ended as EndedJobs, Error};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Common, JobVerb};
use crate::ended::{Ended, Place};
use crate::exit::{Failure, Result};
use crate::interrupt::{self, Tally};
use crate::link::{self, admin, strange};
use crate::output::{self, Cell, Column, Output, Shown, Tone, grouped};
use crate::progress::Progress;

/// Characters of a payload in a table.
const PAYLOAD_SHOWN: usize = 40;

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: JobVerb) -> Result {
    match verb {
        JobVerb::Show { jobs } => {
            let client = link::connect(common).await?;
            show(&client, &Output::new(&common.show), &jobs).await?;
            client.close().await;
            Ok(())
        }
        JobVerb::Cancel { jobs } => cancel(common, &ranges(&ids(&jobs)?)).await,
        JobVerb::Wait { jobs, timeout } => wait(common, &ranges(&ids(&jobs)?), timeout).await,
    }
}

/// Shows jobs in full, one after the other.
pub(crate) async fn show(client: &Client, out: &Output, jobs: &[JobId]) -> Result {
    let mut found = Vec::new();
    for &job in jobs {
        match admin(client, AdminVerb::JobShow { job }).await? {
            AdminAnswer::Jobs(jobs) => found.extend(jobs),
            _ => return Err(strange()),
        }
    }
    if let [job] = &found[..] {
        return out.one(job, FIELDS, &json(job));
    }
    out.list("jobs", &found, COLUMNS, json, tone)
}

/// The ids that were typed, or those on standard input for `-`.
fn ids(typed: &[String]) -> Result<Vec<JobId>> {
    let parse = |text: &str| text.parse::<JobId>().map_err(|e| Failure::usage(e.to_string()));
    let mut ids = Vec::new();
    for text in typed {
        if text == "-" {
            for line in io::stdin().lock().lines() {
                let line = line.map_err(|e| Failure::io("cannot read standard input", &e))?;
                if !line.trim().is_empty() {
                    ids.push(parse(line.trim())?);
                }
            }
        } else {
            ids.push(parse(text)?);
        }
    }
    Ok(ids)
}

/// Consecutive ids as one range.
fn ranges(ids: &[JobId]) -> Vec<JobRange> {
    let mut ranges: Vec<JobRange> = Vec::new();
    for &id in ids {
        match ranges.last_mut() {
            Some(last)
                if last.first.session == id.session
                    && last.end_seq() == id.seq
                    && last.count < u32::MAX =>
            {
                last.count += 1;
            }
            Some(_) | None => ranges.push(JobRange::one(id)),
        }
    }
    ranges
}

async fn cancel(common: &Common, jobs: &[JobRange]) -> Result {
    let client = link::connect(common).await?;
    let mut sum = Cancelled::default();
    for &jobs in jobs {
        let done = client.cancel(jobs).await?;
        sum.ended += done.ended;
        sum.told += done.told;
        sum.unknown += done.unknown;
    }
    client.close().await;
    let Cancelled { ended, told, unknown } = sum;
    let out = Output::new(&common.show);
    if matches!(out.format, crate::args::Format::Json | crate::args::Format::Ndjson) {
        let numbers = [("ended", ended), ("told", told), ("unknown", unknown)];
        out.document(&numbers.map(|(name, number)| (name, Value::from(number))))?;
    } else if !common.show.quiet {
        output::note(&format!(
            "{ended} cancelled, {told} running and told to stop, {unknown} unknown or ended before"
        ));
    }
    match (ended + told, unknown) {
        (_, 0) => Ok(()),
        (0, 1) => Err(Failure::new(exit::NOT_FOUND, "the job is unknown or has ended before")),
        (0, _) => Err(Failure::new(exit::NOT_FOUND, "the jobs are unknown or have ended before")),
        (_, _) => Err(Failure::silent(exit::PARTIAL)),
    }
}

async fn wait(common: &Common, jobs: &[JobRange], timeout: Option<Duration>) -> Result {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let client = link::connect(common).await?;
    let progress = Progress::new(&common.show, "jobs done");
    let all: u64 = jobs.iter().map(|jobs| u64::from(jobs.count)).sum();
    progress.set_length(all);
    let tally = Arc::new(Tally::default());
    tally.accepted.store(all, Ordering::Relaxed);
    interrupt::watch(Arc::clone(&tally), progress.clone(), common.show.quiet);

    let (sender, events) = async_channel::bounded(64);
    let mut tasks = Vec::new();
    let mut number = 0;
    for &jobs in jobs {
        let first = number;
        number += u64::from(jobs.count);
        let mut endings = client.wait(jobs);
        let sender = sender.clone();
        tasks.push(ganger_rt::spawn(async move {
            loop {
                let next = endings.next().await;
                let last = !matches!(next, Ok(Some(_)));
                if sender.send((first, jobs, next)).await.is_err() || last {
                    return;
                }
            }
        }));
    }
    drop(sender);
    let format = Output::new(&common.show).format;
    let mut ended = Ended::new(format, progress.clone(), common.show.quiet);
    loop {
        if events.is_empty() || ended.is_full() {
            ended.flush().await?;
        }
        let timed_out = async {
            match deadline {
                Some(deadline) => ganger_rt::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
            Err(Failure::new(exit::TIMED_OUT, format!("timed out: {}", tally.sentence())))
        };
        let next = async { Ok(events.recv().await.ok()) };
        let next: Option<(u64, JobRange, Result<Option<EndedJobs>, Error>)> =
            or(next, timed_out).await?;
        let Some((first, jobs, next)) = next else { break };
        if let Some(part) = next? {
            for (job, result) in part.each() {
                let number = first + job.seq.saturating_sub(jobs.first.seq);
                ended.push(Place { number, line: number + 1 }, job, result);
            }
            tally.ended.store(ended.count(), Ordering::Relaxed);
            progress.set(ended.count());
        }
    }
    progress.finish("jobs done");
    let how = ended.finish().await;
    client.close().await;
    how
}

pub(crate) const COLUMNS: &[Column<JobInfo>] = &[
    Column { head: "JOB", cell: |j| Cell::text(j.job) },
    Column { head: "QUEUE", cell: |j| Cell::text(&j.queue) },
    Column { head: "STATE", cell: |j| Cell::text(state(&j.state)) },
    Column { head: "SUBMITTED", cell: |j| Cell::Time(j.submitted) },
    Column { head: "ATTEMPTS", cell: |j| Cell::Number(j.attempts.into()) },
    Column { head: "FAILURE", cell: |j| failure(j.failure.as_ref()) },
    Column { head: "PAYLOAD", cell: |j| payload(j) },
];

const FIELDS: &[Column<JobInfo>] = &[
    Column { head: "Job", cell: |j| Cell::text(j.job) },
    Column { head: "Queue", cell: |j| Cell::text(&j.queue) },
    Column { head: "State", cell: |j| Cell::text(state(&j.state)) },
    Column { head: "Why", cell: |j| why(&j.state) },
    Column { head: "Worker", cell: |j| worker(&j.state) },
    Column { head: "Since", cell: |j| since(&j.state) },
    Column { head: "Progress", cell: |j| progress(&j.state) },
    Column { head: "Handler", cell: |j| option(j, |o| Cell::text(&o.handler)) },
    Column { head: "Priority", cell: |j| option(j, |o| Cell::Number(o.priority.level().into())) },
    Column { head: "Submitted", cell: |j| Cell::Time(j.submitted) },
    Column { head: "Deadline", cell: |j| option(j, |o| Cell::time(o.deadline)) },
    Column { head: "Attempts", cell: |j| Cell::Number(j.attempts.into()) },
    Column { head: "Failures", cell: |j| failures(j, j.failures, |o| o.retries) },
    Column { head: "Crashes", cell: |j| failures(j, j.crashes, |o| o.crash_retries) },
    Column { head: "Last failure", cell: |j| failure(j.failure.as_ref()) },
    Column { head: "Payload bytes", cell: |j| Cell::Bytes(j.payload_bytes) },
    Column { head: "Payload", cell: |j| Cell::Text(output::shown_bytes(&j.payload, 1024)) },
];

const fn state(state: &JobState) -> &'static str {
    match state {
        JobState::Ready => "ready",
        JobState::Delayed { .. } => "delayed",
        JobState::Leased { cancelling: true, .. } => "cancelling",
        JobState::Leased { .. } => "running",
        JobState::Dead { .. } => "dead",
        JobState::Acked { .. } => "done",
        JobState::Cancelled => "cancelled",
    }
}

fn why(state: &JobState) -> Cell {
    match state {
        JobState::Dead { reason, .. } => Cell::text(reason),
        JobState::Delayed { until } => Cell::Time(*until),
        JobState::Ready
        | JobState::Leased { .. }
        | JobState::Acked { .. }
        | JobState::Cancelled => Cell::Nothing,
    }
}

fn worker(state: &JobState) -> Cell {
    let JobState::Leased { worker, .. } = state else { return Cell::Nothing };
    Cell::text(worker)
}

const fn since(state: &JobState) -> Cell {
    match state {
        JobState::Leased { since, .. } => Cell::Time(*since),
        JobState::Dead { at, .. } => Cell::Time(*at),
        JobState::Ready
        | JobState::Delayed { .. }
        | JobState::Acked { .. }
        | JobState::Cancelled => Cell::Nothing,
    }
}

fn progress(state: &JobState) -> Cell {
    let JobState::Leased { progress: Some((done, total, note)), .. } = state else {
        return Cell::Nothing;
    };
    let total = if *total == 0 { String::new() } else { format!(" of {}", grouped(*total)) };
    Cell::Text(format!("{}{total} {note}", grouped(*done)).trim_end().to_owned())
}

fn option(job: &JobInfo, cell: fn(&JobOptions) -> Cell) -> Cell {
    job.options.as_ref().map_or(Cell::Nothing, cell)
}

fn failures(job: &JobInfo, count: u32, allowed: fn(&JobOptions) -> u32) -> Cell {
    match &job.options {
        Some(options) => Cell::Text(format!("{count} ({} allowed)", allowed(options))),
        None => Cell::Number(count.into()),
    }
}

/// The last failure in one line.
pub(crate) fn failure(failure: Option<&FailureOfJob>) -> Cell {
    failure.map_or(Cell::Nothing, Cell::text)
}

/// The start of a payload.
pub(crate) fn payload(job: &JobInfo) -> Cell {
    Cell::Text(output::shown_bytes(&job.payload, PAYLOAD_SHOWN))
}

pub(crate) const fn tone(job: &JobInfo) -> Tone {
    match &job.state {
        JobState::Dead { .. } => Tone::Bad,
        JobState::Delayed { .. } | JobState::Cancelled => Tone::Faint,
        JobState::Leased { cancelling: true, .. } => Tone::Warn,
        JobState::Ready | JobState::Leased { .. } | JobState::Acked { .. } => Tone::Plain,
    }
}

/// A job as JSON.
#[derive(Serialize)]
struct Shape<'a> {
    job: JobId,
    queue: &'a Name,
    state: &'static str,
    #[serde(flatten)]
    about: About<'a>,
    submitted: Option<String>,
    attempts: u32,
    failures: u32,
    crashes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a FailureOfJob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
    payload_bytes: u64,
    /// The start of it, where it is longer.
    #[serde(flatten)]
    payload: Shown<'a>,
}

/// What only some states know.
#[derive(Default, Serialize)]
struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<u64>,
}

impl<'a> About<'a> {
    fn new(state: &'a JobState) -> Self {
        let text = |time| output::rfc3339(time);
        match state {
            JobState::Ready | JobState::Cancelled => Self::default(),
            JobState::Delayed { until } => Self { until: text(*until), ..Self::default() },
            JobState::Leased { lease, session, worker, since, expires, progress, .. } => Self {
                lease: Some(lease.to_string()),
                session: Some(session.to_string()),
                worker: Some(worker),
                since: text(*since),
                expires: text(*expires),
                progress: progress.as_ref().map(|(done, total, note)| {
                    serde_json::json!({ "done": done, "total": total, "note": note })
                }),
                ..Self::default()
            },
            JobState::Dead { reason, at } => {
                Self { reason: Some(output::json(reason)), since: text(*at), ..Self::default() }
            }
            JobState::Acked { output_bytes } => {
                Self { result_bytes: Some(*output_bytes), ..Self::default() }
            }
        }
    }
}

pub(crate) fn json(job: &JobInfo) -> Value {
    let options = job.options.as_ref().map(|options| {
        let mut value = output::json(options);
        value["deadline"] = output::json(&options.deadline.and_then(output::rfc3339));
        value
    });
    let whole = job.payload_bytes == job.payload.len() as u64;
    let payload = match std::str::from_utf8(&job.payload) {
        // The start of a text may end within a character.
        Err(error) if !whole && error.error_len().is_none() => &job.payload[..error.valid_up_to()],
        Ok(_) | Err(_) => &job.payload,
    };
    output::json(&Shape {
        job: job.job,
        queue: &job.queue,
        state: state(&job.state),
        about: About::new(&job.state),
        submitted: output::rfc3339(job.submitted),
        attempts: job.attempts,
        failures: job.failures,
        crashes: job.crashes,
        failure: job.failure.as_ref(),
        options,
        payload_bytes: job.payload_bytes,
        payload: Shown::payload(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::{DeathReason, SessionId, Time};

    const fn id(session: u64, seq: u64) -> JobId {
        JobId { session: SessionId(session), seq }
    }

    #[test]
    fn consecutive_ids_are_asked_for_together() {
        let ids = [id(1, 4), id(1, 5), id(1, 7), id(2, 8)];
        let range = |first, count| JobRange { first, count };
        assert_eq!(ranges(&ids), [range(id(1, 4), 2), range(id(1, 7), 1), range(id(2, 8), 1)]);
    }

    #[test]
    fn json_of_a_dead_letter_says_why_and_when_as_text() {
        let job = JobInfo {
            job: id(1, 2),
            queue: Name::new("mail").unwrap(),
            state: JobState::Dead {
                reason: DeathReason::RetriesUsedUp,
                at: Time::from_millis(1_000),
            },
            options: None,
            submitted: Time::from_millis(500),
            attempts: 4,
            failures: 4,
            crashes: 0,
            failure: Some(FailureOfJob::new("exit-1", "no such user")),
            payload: b"ann".to_vec(),
            payload_bytes: 3,
        };
        assert_eq!(
            json(&job).to_string(),
            r#"{"job":"0000000000000001-2","queue":"mail","state":"dead","since":"1970-01-01T00:00:01Z","reason":"retries-used-up","submitted":"1970-01-01T00:00:00.5Z","attempts":4,"failures":4,"crashes":0,"failure":{"kind":"exit-1","message":"no such user"},"payload_bytes":3,"payload":"ann"}"#
        );
    }
}
