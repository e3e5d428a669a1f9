//! `ganger dead`: jobs that were given up.

use ganger_shared::admin::{AdminAnswer, AdminVerb, DeadWhich, JobInfo, JobState};
use ganger_shared::{JobRange, Name};
use ganger_worker::Client;

use crate::args::{Common, DeadVerb, Which};
use crate::exit::Result;
use crate::link::{self, admin, strange};
use crate::output::{Cell, Column, Output, Tone, grouped};
use crate::{job, queue};

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: DeadVerb) -> Result {
    let client = link::connect(common).await?;
    let out = Output::new(&common.show);
    let quiet = common.show.quiet;
    match verb {
        DeadVerb::Ls { queue, skip, count } => {
            let jobs = dead(&client, queue, skip, count).await?;
            out.list("jobs", &jobs, COLUMNS, job::json, |_| Tone::Plain)?;
        }
        DeadVerb::Show { jobs } => job::show(&client, &out, &jobs).await?,
        DeadVerb::Retry { which } => {
            let mut count = 0;
            for which in each(which) {
                count += queue::count(&client, AdminVerb::DeadRetry { which }).await?;
            }
            let sentence = format!("{} dead letters are jobs again", grouped(count));
            out.done(quiet, &sentence, count)?;
        }
        DeadVerb::Purge { which, consent } => {
            // Jobs that are named one by one are meant.
            if let Some(queue) = &which.queue {
                let dead = queue::one(&client, queue.clone()).await?.dead;
                let what = format!("forgets {} dead letters of queue {queue}", grouped(dead));
                queue::confirm(&consent, &what)?;
            }
            let mut count = 0;
            for which in each(which) {
                count += queue::count(&client, AdminVerb::DeadPurge { which }).await?;
            }
            let sentence = format!("{} dead letters were forgotten", grouped(count));
            out.done(quiet, &sentence, count)?;
        }
    }
    client.close().await;
    Ok(())
}

fn each(which: Which) -> Vec<DeadWhich> {
    match which.queue {
        Some(queue) => vec![DeadWhich::Queue(queue)],
        None => which.jobs.into_iter().map(|job| DeadWhich::Jobs(JobRange::one(job))).collect(),
    }
}

/// Dead letters of one queue, or of all that have some.
async fn dead(client: &Client, queue: Option<Name>, skip: u64, count: u32) -> Result<Vec<JobInfo>> {
    let queues = match queue {
        Some(queue) => vec![queue],
        None => {
            let with_dead = queue::all(client).await?.into_iter().filter(|queue| queue.dead > 0);
            with_dead.map(|queue| queue.name).collect()
        }
    };
    let mut found = Vec::new();
    for queue in queues {
        match admin(client, AdminVerb::DeadList { queue, skip, count }).await? {
            AdminAnswer::Jobs(jobs) => found.extend(jobs),
            _ => return Err(strange()),
        }
    }
    Ok(found)
}

const COLUMNS: &[Column<JobInfo>] = &[
    Column { head: "JOB", cell: |j| Cell::text(j.job) },
    Column { head: "QUEUE", cell: |j| Cell::text(&j.queue) },
    Column { head: "DIED", cell: |j| died(&j.state) },
    Column { head: "REASON", cell: |j| reason(&j.state) },
    Column { head: "ATTEMPTS", cell: |j| Cell::Number(j.attempts.into()) },
    Column { head: "FAILURE", cell: |j| job::failure(j.failure.as_ref()) },
    Column { head: "PAYLOAD", cell: |j| job::payload(j) },
];

const fn died(state: &JobState) -> Cell {
    let JobState::Dead { at, .. } = state else { return Cell::Nothing };
    Cell::Time(*at)
}

fn reason(state: &JobState) -> Cell {
    let JobState::Dead { reason, .. } = state else { return Cell::Nothing };
    Cell::text(reason)
}
