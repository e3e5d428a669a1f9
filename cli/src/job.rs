//! `ganger job`: look at jobs, cancel them, wait for them.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::future::or;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{JobId, JobRange};
use ganger_worker::error::exit;
use ganger_worker::{Cancelled, Client, Ended as EndedJobs, Error};
use serde_json::Value;

use crate::args::{Common, JobVerb};
use crate::ended::{Ended, Place};
use crate::exit::{Failure, Result};
use crate::interrupt::{self, Tally};
use crate::link::{self, admin, strange};
use crate::output::{self, Output};
use crate::progress::Progress;

mod shown;

pub(crate) use shown::{COLUMNS, failure, json, payload, tone};

use shown::FIELDS;

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
    let ended = Ended::new(format, progress.clone(), common.show.quiet);
    let how = gather(&events, ended, &tally, &progress, deadline).await;
    progress.clear();
    client.close().await;
    how
}

/// A part of a range that has ended: the number of the range's first job, the range, and the part.
type Part = (u64, JobRange, Result<Option<EndedJobs>, Error>);

/// Shows ends as they come, until all have come or the time is over.
async fn gather(
    events: &Receiver<Part>,
    mut ended: Ended,
    tally: &Tally,
    progress: &Progress,
    deadline: Option<Instant>,
) -> Result {
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
        let next: Option<Part> = or(next, timed_out).await?;
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
    ended.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::SessionId;

    const fn id(session: u64, seq: u64) -> JobId {
        JobId { session: SessionId(session), seq }
    }

    #[test]
    fn consecutive_ids_are_asked_for_together() {
        let ids = [id(1, 4), id(1, 5), id(1, 7), id(2, 8)];
        let range = |first, count| JobRange { first, count };
        assert_eq!(ranges(&ids), [range(id(1, 4), 2), range(id(1, 7), 1), range(id(2, 8), 1)]);
    }
}
