//! What the machine says, in words.

use std::collections::BTreeMap;

use ganger_machine::stated::Stated;
use ganger_machine::{Event, Send};
use ganger_shared::admin::{
    AdminAnswer, JobInfo, JobState, ListInfo, QueueInfo, SessionInfo, Status,
};
use ganger_shared::response::Items;
use ganger_shared::{
    Block, Durability, Ending, Failure, JobId, JobRange, LeaseId, LeaseRange, Response, SessionId,
    Time,
};

/// What numbers are called in a story: sessions by their names, leases and times from its start.
pub(super) struct Names {
    pub(super) start: Time,
    pub(super) first_lease: u64,
    pub(super) sessions: BTreeMap<SessionId, String>,
}

impl Names {
    pub(super) fn session(&self, id: SessionId) -> String {
        self.sessions.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn time(&self, time: Time) -> String {
        if time == Time::NEVER {
            return "never".to_owned();
        }
        format!("t+{}", span(time.as_millis() - self.start.as_millis()))
    }

    pub(super) fn lease(&self, lease: LeaseId) -> String {
        format!("lease#{}", lease.0.wrapping_sub(self.first_lease) + 1)
    }

    fn leases(&self, leases: LeaseRange) -> String {
        times(self.lease(leases.first), leases.count)
    }

    pub(super) fn job(&self, job: JobId) -> String {
        format!("{}-{}", self.session(job.session), job.seq)
    }

    pub(super) fn jobs(&self, jobs: JobRange) -> String {
        times(self.job(jobs.first), jobs.count)
    }

    pub(super) fn send(&self, send: &Send) -> String {
        let promise = match send.promise {
            Durability::Memory => String::new(),
            promise => format!("  [{promise}]"),
        };
        format!("{} < {}{promise}", self.session(send.session), self.response(&send.response))
    }

    fn response(&self, response: &Response) -> String {
        match response {
            Response::Opened { resumed, next_seq, terms: _ } => {
                let how = if *resumed { "resumed" } else { "opened" };
                format!("{how}, next number {next_seq}")
            }
            Response::Heartbeat => "heartbeat".to_owned(),
            Response::Accepted { request, durability, paused } => {
                let paused = if *paused { ", paused" } else { "" };
                format!("#{} accepted: {durability}{paused}", request.0)
            }
            Response::Rejected { request, rejection } => {
                format!("#{} rejected: {rejection}", request.0)
            }
            Response::Assign {
                subscription,
                first_lease,
                attempt,
                jobs,
                handler,
                deadline,
                time_limit_ms,
                payloads,
            } => {
                let leases = LeaseRange { first: *first_lease, count: jobs.count };
                let mut text = format!("assign {}: {}", self.leases(leases), self.jobs(*jobs));
                if *attempt > 1 {
                    text += &format!(" attempt {attempt}");
                }
                if subscription.0 != 1 {
                    text += &format!(" sub {}", subscription.0);
                }
                if handler.as_str() != "work" {
                    text += &format!(" handler {handler}");
                }
                if let Some(deadline) = deadline {
                    text += &format!(" deadline {}", self.time(*deadline));
                }
                if let Some(limit) = time_limit_ms {
                    text += &format!(" limit {}", span(*limit));
                }
                format!("{text} {}", block(payloads))
            }
            Response::Unsubscribed { subscription } => format!("unsubscribed {}", subscription.0),
            Response::NotSubscribed { subscription, rejection } => {
                format!("not subscribed {}: {rejection}", subscription.0)
            }
            Response::Settled { request, lost } => {
                let lost: Vec<String> = lost.iter().map(|&leases| self.leases(leases)).collect();
                match lost.as_slice() {
                    [] => format!("#{} settled", request.0),
                    lost => format!("#{} settled, lost {}", request.0, lost.join(" ")),
                }
            }
            Response::CancelRun { lease, until } => {
                format!("cancel {} until {}", self.lease(*lease), self.time(*until))
            }
            Response::Fenced { leases } => format!("fenced {}", self.leases(*leases)),
            Response::Finished { request, jobs, ending } => {
                format!("#{} finished {}: {}", request.0, self.jobs(*jobs), self.ending(ending))
            }
            Response::Using { request, object, durability: _, is_new } => {
                format!("#{} {}", request.0, self.using(object, *is_new))
            }
            Response::Returned { request, results, errors } => {
                format!("#{} {}", request.0, self.returned(results, errors))
            }
            Response::Length { request, length } => format!("#{} length {length}", request.0),
            Response::Items { request, start, length, items } => {
                let items = self.items(*start, items);
                format!("#{} items {items}; {length} left", request.0)
            }
            Response::Followed { subscription, start, items } => {
                format!("followed {}: {}", subscription.0, self.items(*start, items))
            }
            Response::Watching { request, made, revision } => {
                let made = self.time(*made);
                format!("#{} watching what was made {made} from {revision}", request.0)
            }
            Response::Changed { subscription, changes } => {
                format!("changed {}: {}", subscription.0, self.changes(changes))
            }
            Response::Cancelled { request, ended, told, unknown } => {
                format!("#{} cancelled: {ended} ended, {told} told, {unknown} unknown", request.0)
            }
            Response::Admin { request, answer } => {
                format!("#{} {}", request.0, self.answer(answer))
            }
            Response::Goodbye { reason, come_back } => format!("goodbye {reason} {come_back}"),
        }
    }

    fn ending(&self, ending: &Ending) -> String {
        match ending {
            Ending::Acked { outputs } => format!("acked {}", block(outputs)),
            Ending::Dead { reason, failure } => format!("dead, {reason}{}", failed(failure)),
            Ending::Cancelled => "cancelled".to_owned(),
            Ending::Unknown => "unknown".to_owned(),
        }
    }

    fn items(&self, start: u64, items: &[Items]) -> String {
        let mut at = start;
        let mut runs = vec![format!("from {start}")];
        for run in items {
            let of = run.jobs.map(|jobs| format!("{}: ", self.jobs(jobs))).unwrap_or_default();
            runs.push(format!("{of}{}", block(&run.block)));
            at += u64::from(run.block.count());
        }
        if at == start { "none".to_owned() } else { runs.join(" | ") }
    }

    fn answer(&self, answer: &AdminAnswer) -> String {
        let lines = |head: &str, lines: Vec<String>| {
            let lines = lines.into_iter().map(|line| format!("\n       {line}"));
            format!("{head}{}", lines.collect::<String>())
        };
        match answer {
            AdminAnswer::Done { count } => format!("done: {count}"),
            AdminAnswer::Status(status) => self.status(status),
            AdminAnswer::Queues(queues) => {
                lines("queues", queues.iter().map(|queue| self.queue(queue)).collect())
            }
            AdminAnswer::Queue(queue) => self.queue(queue),
            AdminAnswer::Jobs(jobs) => {
                lines("jobs", jobs.iter().map(|job| self.job_info(job)).collect())
            }
            AdminAnswer::Lists(lists) => lines("lists", lists.iter().map(list).collect()),
            AdminAnswer::Objects(objects) => {
                lines("objects", objects.iter().map(|object| self.object(object)).collect())
            }
            AdminAnswer::Object(details) => self.object_details(details),
            AdminAnswer::Sessions(sessions) => lines(
                "sessions",
                sessions.iter().map(|session| self.session_info(session)).collect(),
            ),
        }
    }

    fn status(&self, status: &Status) -> String {
        let Status {
            version: _,
            started: _,
            now,
            durability,
            sessions,
            queues,
            waiting,
            leased,
            dead,
            payload_bytes,
            payload_bytes_max,
            submitted,
            acked,
            nacked,
            crashed,
        } = status;
        format!(
            "status at {}: {durability}, {sessions} sessions, {queues} queues, \
             {waiting} waiting, {leased} leased, {dead} dead, \
             {payload_bytes} of {payload_bytes_max} bytes; \
             {submitted} submitted, {acked} acked, {nacked} nacked, {crashed} crashed",
            self.time(*now)
        )
    }

    fn queue(&self, queue: &QueueInfo) -> String {
        let mut text = format!("queue {}:", queue.name);
        for (count, what) in [
            (queue.ready, "ready"),
            (queue.delayed, "delayed"),
            (queue.leased, "leased"),
            (queue.dead, "dead"),
            (queue.bytes, "bytes"),
            (queue.submits_waiting, "submits waiting"),
            (queue.subscribers, "subscribers"),
            (queue.credit, "credit"),
        ] {
            if count > 0 {
                text += &format!(" {count} {what},");
            }
        }
        if let Some(paused) = queue.paused {
            text += &format!(" paused ({paused:?}: {:?}),", queue.pause_reason);
        }
        if let Some(oldest) = queue.oldest_ready {
            text += &format!(" oldest {},", self.time(oldest));
        }
        if let Some(list) = &queue.held_by_list {
            text += &format!(" held by full list {list},");
        }
        format!(
            "{} in all {} submitted, {} acked, {} nacked, {} crashed",
            text, queue.submitted, queue.acked, queue.nacked, queue.crashed
        )
    }

    fn job_info(&self, info: &JobInfo) -> String {
        let state = match &info.state {
            JobState::Ready => "ready".to_owned(),
            JobState::Delayed { until } => format!("delayed until {}", self.time(*until)),
            JobState::Held { waits_for } => {
                let waits_for: Vec<String> = waits_for.iter().map(ToString::to_string).collect();
                format!("held: {}", waits_for.join("; "))
            }
            JobState::Leased { lease, session, worker, since, expires, cancelling, progress } => {
                let stop = if *cancelling { ", to be stopped" } else { "" };
                let progress = progress
                    .as_ref()
                    .map(|(done, total, note)| format!(", {done} of {total} {note:?}"));
                format!(
                    "{} of {} ({worker}) since {}, expires {}{stop}{}",
                    self.lease(*lease),
                    self.session(*session),
                    self.time(*since),
                    self.time(*expires),
                    progress.unwrap_or_default()
                )
            }
            JobState::Dead { reason, at } => format!("dead at {}, {reason}", self.time(*at)),
            JobState::Acked { output_bytes } => format!("acked with {output_bytes} bytes"),
            JobState::Cancelled => "cancelled".to_owned(),
        };
        format!(
            "{} in {}: {state}; {} attempts, {} failures, {} crashes{}; submitted {}, {} bytes",
            self.job(info.job),
            info.queue,
            info.attempts,
            info.failures,
            info.crashes,
            failed(&info.failure),
            self.time(info.submitted),
            info.payload_bytes
        )
    }

    fn session_info(&self, info: &SessionInfo) -> String {
        let connected = if info.connected { "connected" } else { "not connected" };
        format!(
            "{} ({}): {connected}, seen {}, {} leases, {} subscriptions",
            self.session(info.session),
            info.name,
            self.time(info.seen),
            info.leases,
            info.subscriptions
        )
    }
}

fn list(list: &ListInfo) -> String {
    let mut text = format!("list {}: {} items from {}", list.name, list.length, list.start);
    text += &format!(", {} bytes", list.bytes);
    if list.unconfirmed > 0 {
        text += &format!(", {} unconfirmed", list.unconfirmed);
    }
    if list.followers > 0 {
        text += &format!(", {} followers", list.followers);
    }
    text
}

fn failed(failure: &Option<Failure>) -> String {
    failure.as_ref().map(|f| format!(", {}: {}", f.kind, f.message)).unwrap_or_default()
}

fn times(what: String, count: u32) -> String {
    if count == 1 { what } else { format!("{what} x{count}") }
}

/// The strings of a block; of many, the first two and their number.
fn block(block: &Block) -> String {
    let shown = if block.count() > 6 { 2 } else { block.count() };
    let quoted = |string: &[u8]| match string.len() {
        0..=20 => format!("{:?}", String::from_utf8_lossy(string)),
        long => format!("({long} bytes)"),
    };
    let mut text: Vec<String> = block.slices().take(shown as usize).map(quoted).collect();
    if shown < block.count() {
        text.push(format!("and {} more", block.count() - shown));
    }
    text.join(" ")
}

pub(super) fn span(millis: u64) -> String {
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

/// An event's name, for stories about what is journaled.
pub(super) fn event(event: &Event) -> &'static str {
    match event {
        Event::QueueSet { .. } => "QueueSet",
        Event::QueuePaused { .. } => "QueuePaused",
        Event::ListMade { .. } => "ListMade",
        Event::Submitted { .. } => "Submitted",
        Event::Due { .. } => "Due",
        Event::Granted { .. } => "Granted",
        Event::Stopping { .. } => "Stopping",
        Event::Ended { .. } => "Ended",
        Event::Redriven { .. } => "Redriven",
        Event::Forgotten { .. } => "Forgotten",
        Event::Appended { .. } => "Appended",
        Event::Removed { .. } => "Removed",
        Event::ListSet { .. } => "ListSet",
        Event::ListWatched { .. } => "ListWatched",
        Event::SessionNamed { .. } => "SessionNamed",
        Event::Left { .. } => "Left",
        Event::ObjectMade { .. } => "ObjectMade",
        Event::Called(_) => "Called",
        Event::Freed { .. } => "Freed",
        Event::Passed { .. } => "Passed",
        Event::ObjectRemoved { .. } => "ObjectRemoved",
        Event::Held { .. } => "Held",
        Event::Met { .. } => "Met",
        Event::QueueCalled(_) => "QueueCalled",
        Event::QueueRemoved { .. } => "QueueRemoved",
        Event::Stated(stated) => match stated {
            Stated::Begins { .. } => "Begins",
            Stated::Queue { .. } => "Queue",
            Stated::List { .. } => "List",
            Stated::Session { .. } => "Session",
            Stated::Jobs(_) => "Jobs",
            Stated::Items { .. } => "Items",
            Stated::Ended { .. } => "Ended",
            Stated::Complete => "Complete",
            Stated::Values { .. } => "Values",
            Stated::Object { .. } => "Object",
            Stated::Part { .. } => "Part",
            Stated::Answered { .. } => "Answered",
            Stated::Fifo { .. } => "Fifo",
            Stated::Made { .. } => "Made",
            Stated::Watched { .. } => "Watched",
        },
    }
}
