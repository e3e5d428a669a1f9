//! Jobs as tables and as JSON.

use ganger_shared::admin::{JobInfo, JobState};
use ganger_shared::{Failure as FailureOfJob, JobId, JobOptions, Name};
use serde::Serialize;
use serde_json::Value;

use crate::output::{self, Cell, Column, Shown, Tone, grouped};

/// Characters of a payload in a table.
const PAYLOAD_SHOWN: usize = 40;

pub(crate) const COLUMNS: &[Column<JobInfo>] = &[
    Column { head: "JOB", cell: |j| Cell::text(j.job) },
    Column { head: "QUEUE", cell: |j| Cell::text(&j.queue) },
    Column { head: "STATE", cell: |j| Cell::text(state(&j.state)) },
    Column { head: "SUBMITTED", cell: |j| Cell::Time(j.submitted) },
    Column { head: "ATTEMPTS", cell: |j| Cell::Number(j.attempts.into()) },
    Column { head: "FAILURE", cell: |j| failure(j.failure.as_ref()) },
    Column { head: "PAYLOAD", cell: |j| payload(j) },
];

pub(super) const FIELDS: &[Column<JobInfo>] = &[
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
        JobState::Held { .. } => "held",
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
        JobState::Held { waits_for } => {
            Cell::Text(waits_for.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
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
        | JobState::Held { .. }
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
        JobState::Delayed { .. } | JobState::Held { .. } | JobState::Cancelled => Tone::Faint,
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
    waits_for: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<u64>,
}

impl<'a> About<'a> {
    fn new(state: &'a JobState) -> Self {
        let text = |time| output::rfc3339(time);
        match state {
            JobState::Ready | JobState::Cancelled => Self::default(),
            JobState::Held { waits_for } => {
                Self { waits_for: Some(output::json(waits_for)), ..Self::default() }
            }
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

    #[test]
    fn json_of_a_dead_letter_says_why_and_when_as_text() {
        let job = JobInfo {
            job: JobId { session: SessionId(1), seq: 2 },
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
