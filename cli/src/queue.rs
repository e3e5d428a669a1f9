//! `ganger queue`: look at queues and change them.

use ganger_shared::Name;
use ganger_shared::admin::{AdminAnswer, AdminVerb, Pause, QueueInfo, QueueSettings};
use ganger_shared::time::millis;
use ganger_worker::Client;
use ganger_worker::error::exit;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Common, Consent, QueueSetArgs, QueueVerb};
use crate::exit::{Failure, Result};
use crate::job;
use crate::link::{self, admin, strange};
use crate::output::{self, Cell, Column, Output, Tone, grouped};

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: QueueVerb) -> Result {
    let client = link::connect(common).await?;
    let out = Output::new(&common.show);
    let quiet = common.show.quiet;
    let done = |sentence: &str, count| out.done(quiet, sentence, count);
    match verb {
        QueueVerb::Ls => {
            let queues = all(&client).await?;
            out.list("queues", &queues, COLUMNS, json, tone)?;
        }
        QueueVerb::Show { queue } => {
            let info = one(&client, queue).await?;
            out.one(&info, FIELDS, &json(&info))?;
        }
        QueueVerb::Set(args) => {
            let queue = args.queue.clone();
            set(&client, args).await?;
            done(&format!("queue {queue} is set; `ganger queue show {queue}` shows it"), 1)?;
        }
        QueueVerb::Pause { queue, submits, reason } => {
            let pause = if submits { Pause::DeliveryAndSubmits } else { Pause::Delivery };
            let verb = AdminVerb::QueuePause { queue: queue.clone(), pause, reason };
            let count = count(&client, verb).await?;
            let what = if submits { "jobs wait and submits are refused" } else { "jobs wait" };
            done(
                &format!("queue {queue} is paused: {what} until `ganger queue resume {queue}`"),
                count,
            )?;
        }
        QueueVerb::Resume { queue } => {
            let verb = AdminVerb::QueueResume { queue: queue.clone() };
            let count = count(&client, verb).await?;
            done(&format!("queue {queue} goes on"), count)?;
        }
        QueueVerb::Purge { queue, consent } => {
            let info = one(&client, queue.clone()).await?;
            let waiting = info.ready + info.delayed;
            let what = format!("cancels {} waiting jobs of queue {queue}", grouped(waiting));
            confirm(&consent, &what)?;
            let verb = AdminVerb::QueuePurge { queue: queue.clone() };
            let count = count(&client, verb).await?;
            done(&format!("{} jobs of queue {queue} were cancelled", grouped(count)), count)?;
        }
        QueueVerb::Rm { queues } => {
            for queue in &queues {
                count(&client, AdminVerb::QueueRemove { queue: queue.clone() }).await?;
            }
            let count = queues.len() as u64;
            done(&format!("{} queues were removed", grouped(count)), count)?;
        }
        QueueVerb::Peek { queue, count } => {
            match admin(&client, AdminVerb::QueuePeek { queue, count }).await? {
                AdminAnswer::Jobs(jobs) => {
                    out.list("jobs", &jobs, job::COLUMNS, job::json, job::tone)?;
                }
                _ => return Err(strange()),
            }
        }
    }
    client.close().await;
    Ok(())
}

/// Every queue.
pub(crate) async fn all(client: &Client) -> Result<Vec<QueueInfo>> {
    match admin(client, AdminVerb::QueueList).await? {
        AdminAnswer::Queues(queues) => Ok(queues),
        _ => Err(strange()),
    }
}

/// One queue.
pub(crate) async fn one(client: &Client, queue: Name) -> Result<QueueInfo> {
    match admin(client, AdminVerb::QueueShow { queue }).await? {
        AdminAnswer::Queue(info) => Ok(*info),
        _ => Err(strange()),
    }
}

/// Changes something, and says how many things were touched.
pub(crate) async fn count(client: &Client, verb: AdminVerb) -> Result<u64> {
    match admin(client, verb).await? {
        AdminAnswer::Done { count } => Ok(count),
        _ => Err(strange()),
    }
}

/// Asks before something is done to many things at once; `what` is such as `cancels 5 jobs`.
pub(crate) fn confirm(consent: &Consent, what: &str) -> Result {
    if consent.yes {
        return Ok(());
    }
    match output::ask(&format!("This {what}. Go on?")) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(exit::FAILED, "nothing was changed")),
        None => Err(Failure::usage(format!("this {what}, and there is nobody to ask"))
            .with_advice("say --yes if that is what you want")),
    }
}

async fn set(client: &Client, args: QueueSetArgs) -> Result {
    let QueueSetArgs { queue, jobs_max, bytes_max, lease, dead_on, durability } = args;
    let show = AdminVerb::QueueShow { queue: queue.clone() };
    let old = match client.admin(show).await {
        Ok(AdminAnswer::Queue(info)) => info.settings,
        Ok(_) => return Err(strange()),
        Err(error) if error.exit_code() == exit::NOT_FOUND => defaults(client).await?,
        Err(error) => return Err(error.into()),
    };
    let settings = QueueSettings {
        jobs_max: jobs_max.unwrap_or(old.jobs_max),
        bytes_max: bytes_max.unwrap_or(old.bytes_max),
        lease_ms: lease.map_or(old.lease_ms, millis),
        dead_on: dead_on.map_or(old.dead_on, |kinds| {
            let kinds = kinds.split(',').map(str::trim).filter(|kind| !kind.is_empty());
            kinds.map(str::to_owned).collect()
        }),
        durability: durability.unwrap_or(old.durability),
    };
    count(client, AdminVerb::QueueSet { queue, settings }).await.map(drop)
}

/// What a queue that is made here starts with: the broker's durability, and otherwise what brokers
/// start with that nobody has configured.
async fn defaults(client: &Client) -> Result<QueueSettings> {
    let broker = ganger_broker::Config::default().queues;
    match admin(client, AdminVerb::Status).await? {
        AdminAnswer::Status(status) => Ok(QueueSettings {
            jobs_max: broker.jobs_max,
            bytes_max: broker.bytes_max.0,
            lease_ms: millis(broker.lease.0),
            dead_on: broker.dead_on,
            durability: status.durability,
        }),
        _ => Err(strange()),
    }
}

/// Why jobs of a queue do not start, and what to do about it; `None` where nothing holds them.
pub(crate) fn why_jobs_wait(info: &QueueInfo) -> Option<String> {
    let QueueInfo { name, paused, pause_reason, ready, delayed, leased, subscribers, .. } = info;
    if paused.is_some() {
        let reason =
            if pause_reason.is_empty() { String::new() } else { format!(" ({pause_reason})") };
        return Some(format!(
            "queue {name} is paused{reason}; jobs wait. Try: ganger queue resume {name}"
        ));
    }
    if let Some(list) = &info.held_by_list {
        return Some(format!(
            "list {list} is full and holds the jobs of queue {name} back. Try: ganger results {list} --pop"
        ));
    }
    if *ready > 0 && *subscribers == 0 {
        return Some(format!(
            "no worker takes jobs of queue {name}. Try: ganger worker --queue {name} --exec CMD"
        ));
    }
    if *ready == 0 && *leased == 0 && *delayed > 0 {
        let delayed = grouped(*delayed);
        return Some(format!("{delayed} jobs of queue {name} wait for their time or for a retry"));
    }
    None
}

pub(crate) const COLUMNS: &[Column<QueueInfo>] = &[
    Column { head: "QUEUE", cell: |q| Cell::text(&q.name) },
    Column { head: "STATE", cell: |q| Cell::text(state(q)) },
    Column { head: "READY", cell: |q| Cell::Number(q.ready) },
    Column { head: "DELAYED", cell: |q| Cell::Number(q.delayed) },
    Column { head: "RUNNING", cell: |q| Cell::Number(q.leased) },
    Column { head: "DEAD", cell: |q| Cell::Number(q.dead) },
    Column { head: "DONE", cell: |q| Cell::Number(q.acked) },
    Column { head: "WORKERS", cell: |q| Cell::Number(q.subscribers) },
    Column { head: "OLDEST", cell: |q| Cell::time(q.oldest_ready) },
];

const FIELDS: &[Column<QueueInfo>] = &[
    Column { head: "Queue", cell: |q| Cell::text(&q.name) },
    Column { head: "State", cell: |q| Cell::text(state(q)) },
    Column { head: "Why jobs wait", cell: |q| why_jobs_wait(q).map_or(Cell::Nothing, Cell::Text) },
    Column { head: "Ready", cell: |q| Cell::Number(q.ready) },
    Column { head: "Oldest ready", cell: |q| Cell::time(q.oldest_ready) },
    Column { head: "Delayed", cell: |q| Cell::Number(q.delayed) },
    Column { head: "Held", cell: |q| Cell::Number(q.held) },
    Column { head: "Running", cell: |q| Cell::Number(q.leased) },
    Column { head: "Dead", cell: |q| Cell::Number(q.dead) },
    Column { head: "Payload bytes", cell: |q| Cell::Bytes(q.bytes) },
    Column { head: "Workers", cell: |q| Cell::Number(q.subscribers) },
    Column { head: "Free credit", cell: |q| Cell::Number(q.credit) },
    Column { head: "Submits waiting", cell: |q| Cell::Number(q.submits_waiting) },
    Column { head: "Submitted", cell: |q| Cell::Number(q.submitted) },
    Column { head: "Done", cell: |q| Cell::Number(q.acked) },
    Column { head: "Failures", cell: |q| Cell::Number(q.nacked) },
    Column { head: "Crashes", cell: |q| Cell::Number(q.crashed) },
    Column { head: "Jobs max", cell: |q| Cell::Number(q.settings.jobs_max) },
    Column { head: "Bytes max", cell: |q| Cell::Bytes(q.settings.bytes_max) },
    Column { head: "Lease", cell: |q| Cell::Millis(q.settings.lease_ms) },
    Column { head: "Dead on", cell: |q| Cell::list(&q.settings.dead_on) },
    Column { head: "Durability", cell: |q| Cell::text(q.settings.durability) },
];

const fn state(queue: &QueueInfo) -> &'static str {
    match queue.paused {
        Some(Pause::Delivery) => "paused",
        Some(Pause::DeliveryAndSubmits) => "paused, no submits",
        None if queue.held_by_list.is_some() => "held by its results",
        None if queue.ready > 0 && queue.subscribers == 0 => "no workers",
        None => "open",
    }
}

pub(crate) fn tone(queue: &QueueInfo) -> Tone {
    if state(queue) != "open" {
        Tone::Warn
    } else if queue.dead > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

/// A queue as JSON: what the broker says, with moments as text, and why its jobs wait.
#[derive(Serialize)]
struct Shape<'a> {
    #[serde(flatten)]
    info: &'a QueueInfo,
    why_jobs_wait: Option<String>,
}

pub(crate) fn json(info: &QueueInfo) -> Value {
    let mut value = output::json(&Shape { info, why_jobs_wait: why_jobs_wait(info) });
    value["oldest_ready"] = output::json(&info.oldest_ready.and_then(output::rfc3339));
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::{Durability, Time};

    fn queue() -> QueueInfo {
        QueueInfo {
            name: Name::new("mail").unwrap(),
            settings: QueueSettings {
                jobs_max: 10,
                bytes_max: 1 << 20,
                lease_ms: 30_000,
                dead_on: Vec::new(),
                durability: Durability::Memory,
            },
            paused: None,
            pause_reason: String::new(),
            ready: 0,
            delayed: 0,
            leased: 0,
            dead: 0,
            bytes: 0,
            submits_waiting: 0,
            subscribers: 1,
            credit: 0,
            oldest_ready: Some(Time::from_millis(1_000)),
            held_by_list: None,
            submitted: 0,
            acked: 0,
            nacked: 0,
            crashed: 0,
            held: 0,
        }
    }

    #[test]
    fn reason_for_waiting_comes_with_what_to_try() {
        assert_eq!(why_jobs_wait(&queue()), None);
        let paused = QueueInfo {
            paused: Some(Pause::Delivery),
            pause_reason: "provider is down".to_owned(),
            ..queue()
        };
        let why = why_jobs_wait(&paused).unwrap();
        assert!(why.contains("(provider is down)") && why.contains("queue resume mail"), "{why}");
        let lonely = QueueInfo { ready: 5, subscribers: 0, ..queue() };
        assert!(why_jobs_wait(&lonely).unwrap().contains("ganger worker --queue mail"));
    }

    #[test]
    fn json_has_moments_as_text() {
        assert_eq!(json(&queue())["oldest_ready"], "1970-01-01T00:00:01Z");
        assert_eq!(json(&queue())["settings"]["durability"], "memory");
    }
}
