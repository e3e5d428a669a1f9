//! The commands of a story.
//!
//! ```text
//!   config grace=1s durable creation=operator …     before all others
//!   open w1 [key=2] [held=lease#1x3,lease#7] [as=]  disconnect w1     close w1     heartbeat w1
//!   submit c1 mail 0 [x3] [prio= delay= ttl= deadline= limit= retries= crashes= backoff=1s..5s
//!                          results=none|LIST size=BYTES handler=] [wait] [notify] [payload …]
//!                          [after=c1-0x3,c1-9] [any-of=…] [or-failed] [counter=NAME:5] [list=NAME:5]
//!   subscribe w1 mail credit=2 [sub=1]   credit w1 add=2 [sub=1]   unsubscribe w1 [sub=1]
//!   settle w1 lease#1[x3] ack out … | nack kind [after=5s] | dead kind | release [delay=5s] | crash kind
//!          [& lease#2 ack out …]
//!   progress w1 lease#1 3/10 note        wait c1 c1-0[x3]        cancel c1 c1-0[x3]
//!   append c1 LIST 5 item …     pop c1 LIST 1 [max=10] [confirmed=0] [wait=5s]     confirm c1 LIST 1
//!   range c1 LIST -3 count=5    follow c1 LIST 0 [window=5] [sub=7]
//!   advance 30s (each tick at its time)  jump 30s (no tick)  tick
//!   show | peek | pause [submits] [why=] | resume | purge | dead | retry | forget QUEUE
//!   set QUEUE [jobs_max= bytes_max= lease= dead_on=a,b durability=]   retry | forget job c1-0[x3]
//!   job c1-0    lists    make-list LIST [durability=]    purge-list LIST    sessions    status    queues
//!   journal (events since it was last asked)    restart (a new machine replays the journal)
//!   room BYTES (as the journal's storage says)
//!   load (the journal gives the payloads that were asked for)
//!   restate (the journal is what the machine says of itself, and nothing before)
//! ```
//!
//! and those of [`objects`](super::objects).

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_machine::config::{Available, Creation};
use ganger_machine::{Command, Config, Load, Machine, Output, Replay};
use ganger_shared::admin::{AdminVerb, DeadWhich, Pause, QueueSettings};
use ganger_shared::key::KeyId;
use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Backoff, Block, Durability, Failure, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Name,
    Outcome, Priority, Request, RequestId, ResultsTo, SessionId, Settlement, SubscriptionId, Time,
};

use super::objects;
use super::show::{self, Names};
use crate::journal::Journal;

pub(super) const START: Time = Time::from_millis(1_000_000);

/// The session in whose name operators' commands are sent.
const OPERATOR: &str = "op";

pub(super) struct World {
    config: Config,
    machine: Option<Machine>,
    now: Time,
    names: Names,
    requests: BTreeMap<SessionId, u64>,
    /// The next number of a call on an object.
    pub(super) calls: BTreeMap<SessionId, u64>,
    journal: Journal,
    /// Payloads that the machine waits for.
    loads: Vec<Load>,
    journal_shown: usize,
}

pub(super) type Problem = String;

impl Default for World {
    fn default() -> Self {
        Self {
            config: Config::default(),
            machine: None,
            now: START,
            names: Names {
                start: START,
                first_lease: START.as_millis() << 20,
                sessions: BTreeMap::new(),
            },
            requests: BTreeMap::new(),
            calls: BTreeMap::new(),
            journal: Journal::default(),
            loads: Vec::new(),
            journal_shown: 0,
        }
    }
}

/// The words of a command: those in order, those with a name, and the text in quotes.
pub(super) struct Words<'a> {
    pub(super) ordered: std::vec::IntoIter<&'a str>,
    pub(super) named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(command: &'a str) -> Self {
        let (mut ordered, mut named) = (Vec::new(), BTreeMap::new());
        let mut rest = command.trim();
        while !rest.is_empty() {
            let (word, quoted) = if let Some(inner) = rest.strip_prefix('"') {
                (&inner[..inner.find('"').unwrap_or(inner.len())], true)
            } else {
                (rest.split(' ').next().unwrap_or_default(), false)
            };
            let taken = word.len() + if quoted { 2 } else { 0 };
            rest = rest.get(taken..).unwrap_or_default().trim_start();
            match word.split_once('=') {
                Some((name, value)) if !quoted => drop(named.insert(name, value)),
                Some(_) | None => ordered.push(word),
            }
        }
        Self { ordered: ordered.into_iter(), named }
    }

    pub(super) fn next(&mut self, what: &str) -> Result<&'a str, Problem> {
        self.ordered.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Problem> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("{what} {word:?}"))
    }

    pub(super) fn option<T: std::str::FromStr>(
        &mut self,
        name: &str,
        default: T,
    ) -> Result<T, Problem> {
        self.named
            .remove(name)
            .map_or(Ok(default), |value| value.parse().map_err(|_| format!("{name} {value:?}")))
    }

    pub(super) fn millis(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        self.named.remove(name).map(millis).transpose()
    }

    /// Takes the word out if it is among those that are left.
    fn flag(&mut self, flag: &str) -> bool {
        let all: Vec<&str> = self.ordered.clone().collect();
        let found = all.contains(&flag);
        let others: Vec<&str> = all.into_iter().filter(|word| *word != flag).collect();
        self.ordered = others.into_iter();
        found
    }

    fn end(mut self) -> Result<(), Problem> {
        match (self.ordered.next(), self.named.first_key_value()) {
            (None, None) => Ok(()),
            (Some(word), _) => Err(format!("{word:?} is not known here")),
            (None, Some((name, _))) => Err(format!("{name}= is not known here")),
        }
    }
}

fn millis(text: &str) -> Result<u64, Problem> {
    let problem = || format!("{text:?} is no span of time");
    let parse = |digits: &str| digits.parse::<u64>().map_err(|_| problem());
    if text == "never" {
        Ok(u64::MAX)
    } else if let Some(digits) = text.strip_suffix("ms") {
        parse(digits)
    } else if let Some(digits) = text.strip_suffix('s') {
        Ok(parse(digits)? * 1_000)
    } else {
        Err(problem())
    }
}

pub(super) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| error.to_string())
}

/// `lease#3x5` into `lease#3` and 5.
fn counted(text: &str) -> Result<(&str, u32), Problem> {
    let Some((what, count)) = text.rsplit_once('x') else { return Ok((text, 1)) };
    Ok((what, count.parse().map_err(|_| format!("count {count:?}"))?))
}

pub(super) fn durability(text: &str) -> Result<Durability, Problem> {
    match text {
        "memory" => Ok(Durability::Memory),
        "relaxed" => Ok(Durability::Relaxed),
        "strict" => Ok(Durability::Strict),
        other => Err(format!("durability {other:?}")),
    }
}

impl World {
    /// Runs one command and adds what the machine says to `answers`.
    pub(super) fn run(&mut self, command: &str, answers: &mut String) -> Result<(), Problem> {
        let mut words = Words::of(command);
        match words.next("a command")? {
            "config" => self.configure(words),
            "open" => self.open(words, answers),
            "disconnect" => {
                let session = self.session(words.next("a session")?);
                words.end()?;
                self.step(Command::Disconnected { session }, answers);
                Ok(())
            }
            "advance" => {
                let until = self.now.plus_millis(millis(words.next("a span of time")?)?);
                while let Some(due) = self.machine().next_deadline().filter(|due| *due <= until) {
                    self.now = self.now.max(due);
                    self.step(Command::Tick, answers);
                }
                self.now = until;
                words.end()
            }
            "jump" => {
                self.now = self.now.plus_millis(millis(words.next("a span of time")?)?);
                words.end()
            }
            "tick" => {
                self.step(Command::Tick, answers);
                words.end()
            }
            "journal" => {
                let events = &self.journal.events[self.journal_shown..];
                let names: Vec<&str> = events.iter().map(|(_, event)| show::event(event)).collect();
                *answers += &format!("journal: {}\n", names.join(" "));
                self.journal_shown = self.journal.events.len();
                words.end()
            }
            "room" => {
                let bytes = words.number("bytes")?;
                let mut out = self.output();
                let taken = self.machine().room_taken();
                self.machine().set_room(bytes, taken, &mut out);
                self.tell(out, answers);
                words.end()
            }
            "restate" => {
                let (machine, now) = (self.machine.take(), self.now);
                let mut machine = machine.unwrap_or_else(|| Machine::new(self.config.clone(), now));
                let before = self.journal.events.len();
                machine.restate(self.journal.next(), |part| self.journal.add_restated(part));
                self.journal.events.drain(..before);
                self.journal_shown = 0;
                self.machine = Some(machine);
                words.end()
            }
            "load" => {
                for load in std::mem::take(&mut self.loads) {
                    let payloads = self.journal.payloads(&load);
                    let mut out = self.output();
                    self.machine().load(load.jobs, &payloads, &mut out);
                    self.tell(out, answers);
                }
                words.end()
            }
            "restart" => {
                let mut replay = Replay::new(self.config.clone(), self.now);
                for (record, event) in &self.journal.events {
                    replay.take(*record, event.clone());
                    replay.machine().check();
                }
                self.loads.clear();
                self.machine = Some(replay.finish());
                self.requests.clear();
                self.step(Command::Tick, answers);
                words.end()
            }
            verb => {
                let (session, request) = self.request(verb, words)?;
                self.step(Command::Request { session, request }, answers);
                Ok(())
            }
        }
    }

    fn machine(&mut self) -> &mut Machine {
        let (config, now) = (&self.config, self.now);
        self.machine.get_or_insert_with(|| Machine::new(config.clone(), now))
    }

    fn step(&mut self, command: Command, answers: &mut String) {
        let mut out = self.output();
        let now = self.now;
        self.machine().step(now, command, &mut out);
        self.tell(out, answers);
    }

    fn output(&self) -> Output {
        Output { record: Some(self.journal.next()), ..Output::default() }
    }

    fn tell(&mut self, mut out: Output, answers: &mut String) {
        self.machine().check();
        for send in &out.sends {
            *answers += &self.names.send(send);
            answers.push('\n');
        }
        for (session, reason) in &out.expelled {
            *answers += &format!("{} expelled: {reason}\n", self.names.session(*session));
        }
        self.journal.add(&mut out.journal);
        for load in &out.loads {
            let (jobs, records) = (self.names.jobs(load.jobs), load.records.len());
            *answers += &format!("wants the payloads of {jobs} from {records} records\n");
        }
        self.loads.append(&mut out.loads);
    }

    /// Sessions are numbered as they appear.
    fn session(&mut self, name: &str) -> SessionId {
        let known = self.names.sessions.iter().find(|(_, known)| *known == name);
        if let Some((&id, _)) = known {
            return id;
        }
        let id = SessionId(self.names.sessions.len() as u64 + 1);
        self.names.sessions.insert(id, name.to_owned());
        id
    }

    fn jobs(&mut self, text: &str) -> Result<JobRange, Problem> {
        let (job, count) = counted(text)?;
        let (session, seq) = job.rsplit_once('-').ok_or_else(|| format!("job {job:?}"))?;
        let seq = seq.parse().map_err(|_| format!("job {job:?}"))?;
        Ok(JobRange { first: JobId { session: self.session(session), seq }, count })
    }

    pub(super) fn leases(&self, text: &str) -> Result<LeaseRange, Problem> {
        let (lease, count) = counted(text)?;
        let number = lease.strip_prefix("lease#").and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| format!("lease {lease:?}"))?;
        Ok(LeaseRange { first: LeaseId(self.names.first_lease + number - 1), count })
    }

    fn configure(&mut self, mut words: Words<'_>) -> Result<(), Problem> {
        let config = &mut self.config;
        if words.flag("durable") {
            config.available = Available::All;
            config.queue_defaults.durability = Durability::Strict;
        }
        if words.flag("journaling") {
            config.available = Available::All;
        }
        if words.flag("by-operator-only") {
            config.creation = Creation::ByOperatorOnly;
        }
        let spans = [
            ("grace", &mut config.grace),
            ("session_memory", &mut config.session_memory),
            ("cancel_grace", &mut config.cancel_grace),
            ("unnamed_idle", &mut config.unnamed_idle),
        ];
        for (name, span) in spans {
            if let Some(millis) = words.millis(name)? {
                *span = Duration::from_millis(millis);
            }
        }
        let defaults = &mut config.queue_defaults;
        defaults.lease_ms = words.millis("lease")?.unwrap_or(defaults.lease_ms);
        defaults.jobs_max = words.option("jobs_max", defaults.jobs_max)?;
        defaults.bytes_max = words.option("bytes_max", defaults.bytes_max)?;
        config.names_max = words.option("names_max", config.names_max)?;
        config.sessions_max = words.option("sessions_max", config.sessions_max)?;
        config.payload_bytes_max = words.option("payload_max", config.payload_bytes_max)?;
        config.cache_bytes_max = words.option("cache", config.cache_bytes_max)?;
        config.memory_bytes_max = words.option("memory_max", config.memory_bytes_max)?;
        config.list_items_max = words.option("list_items", config.list_items_max)?;
        config.list_bytes_max = words.option("list_bytes", config.list_bytes_max)?;
        config.finished_runs_max = words.option("finished_runs", config.finished_runs_max)?;
        config.calls_per_session_max = words.option("calls", config.calls_per_session_max)?;
        config.submits_waiting_max = words.option("waiting", config.submits_waiting_max)?;
        config.assign_jobs_max = words.option("assign_jobs", config.assign_jobs_max)?;
        config.assign_bytes_max = words.option("assign_bytes", config.assign_bytes_max)?;
        words.end()
    }

    fn open(&mut self, mut words: Words<'_>, answers: &mut String) -> Result<(), Problem> {
        let name = words.next("a session")?;
        let session = self.session(name);
        let key = KeyId([words.option("key", 1)?; 8]);
        let held = words.named.remove("held").into_iter().flat_map(|held| held.split(','));
        let held = held.map(|leases| self.leases(leases)).collect::<Result<Vec<_>, _>>()?;
        let called = words.named.remove("as").unwrap_or(name);
        words.end()?;
        if let Err(rejection) = self.machine().judge_open(session, key) {
            *answers += &format!("{name} refused: {rejection}\n");
        }
        let name = format!("{called}@host");
        self.step(Command::Open { session, key, held, name }, answers);
        Ok(())
    }

    /// Opens the operator's session in silence.
    fn operator(&mut self) -> SessionId {
        let session = self.session(OPERATOR);
        let name = OPERATOR.to_owned();
        let open = Command::Open { session, key: KeyId([1; 8]), held: Vec::new(), name };
        let mut unseen = String::new();
        self.step(open, &mut unseen);
        session
    }

    fn request(
        &mut self,
        verb: &str,
        mut words: Words<'_>,
    ) -> Result<(SessionId, Request), Problem> {
        if let Some(verb) = self.admin_verb(verb, &mut words)? {
            words.end()?;
            let session = self.operator();
            let request = self.next_request(session);
            return Ok((session, Request::Admin { request, verb }));
        }
        let session = self.session(words.next("a session")?);
        let subscription = SubscriptionId(words.option("sub", 1)?);
        let request = match verb {
            "heartbeat" => Request::Heartbeat,
            "close" => Request::Close,
            "reopen" => Request::Open { session, held: Vec::new(), name: String::new() },
            "submit" => self.submit(session, &mut words)?,
            "use" => self.use_object(session, &mut words)?,
            "call" => self.call(session, &mut words)?,
            "finish" => self.finish(session, &mut words)?,
            "subscribe" => Request::Subscribe {
                subscription,
                queue: name(words.next("a queue")?)?,
                credit: words.option("credit", 1)?,
            },
            "credit" => Request::Credit { subscription, add: words.option("add", 1)? },
            "unsubscribe" => Request::Unsubscribe { subscription },
            "settle" => {
                let settlements = self.settlements(&mut words)?;
                Request::Settle { request: self.next_request(session), settlements }
            }
            "progress" => {
                let lease = self.leases(words.next("a lease")?)?.first;
                let far = words.next("done/total")?;
                let numbers = far
                    .split_once('/')
                    .and_then(|(done, total)| Some((done.parse().ok()?, total.parse().ok()?)));
                let (done, total) = numbers.ok_or_else(|| format!("{far:?}"))?;
                Request::Progress { lease, done, total, note: words.next("a note")?.to_owned() }
            }
            "wait" | "cancel" => {
                let jobs = self.jobs(words.next("jobs")?)?;
                let request = self.next_request(session);
                match verb {
                    "wait" => Request::Wait { request, jobs },
                    _ => Request::Cancel { request, jobs },
                }
            }
            "append" => Request::Append {
                request: self.next_request(session),
                list: name(words.next("a list")?)?,
                seq: words.number("a number")?,
                items: words.ordered.by_ref().collect(),
            },
            "pop" => Request::Pop {
                request: self.next_request(session),
                list: name(words.next("a list")?)?,
                receipt: words.number("a receipt")?,
                confirmed: words.option("confirmed", 0)?,
                max: words.option("max", 10)?,
                wait_ms: words.millis("wait")?.unwrap_or(0),
            },
            "confirm" => Request::Confirm {
                list: name(words.next("a list")?)?,
                receipt: words.number("a receipt")?,
            },
            "range" => Request::Range {
                request: self.next_request(session),
                list: name(words.next("a list")?)?,
                start: words.number("a start")?,
                count: words.option("count", 10)?,
            },
            "watch" => self.watch(session, subscription, &mut words)?,
            "follow" => Request::Follow {
                request: self.next_request(session),
                subscription,
                list: name(words.next("a list")?)?,
                start: words.number("a start")?,
                window: words.option("window", 10)?,
            },
            other => return Err(format!("{other:?} is not a command")),
        };
        words.end()?;
        Ok((session, request))
    }

    /// Settlements of one Settle, with `&` between them.
    fn settlements(&self, words: &mut Words<'_>) -> Result<Vec<Settlement>, Problem> {
        let all: Vec<&str> = words.ordered.by_ref().collect();
        let mut settlements = Vec::new();
        for part in all.split(|word| *word == "&") {
            let part: Vec<&str> = part.to_vec();
            words.ordered = part.into_iter();
            let leases = self.leases(words.next("leases")?)?;
            settlements.push(Settlement { leases, outcome: outcome(words)? });
            if let Some(word) = words.ordered.next() {
                return Err(format!("{word:?} is not known here"));
            }
        }
        Ok(settlements)
    }

    pub(super) fn next_request(&mut self, session: SessionId) -> RequestId {
        let number = self.requests.entry(session).or_default();
        *number += 1;
        RequestId(*number)
    }

    fn submit(&mut self, session: SessionId, words: &mut Words<'_>) -> Result<Request, Problem> {
        let queue = name(words.next("a queue")?)?;
        let first_seq: u64 = words.number("a number")?;
        let when_full = if words.flag("wait") { WhenFull::Wait } else { WhenFull::Refuse };
        let notify = if words.flag("notify") { Notify::Finished } else { Notify::No };
        let prerequisites = self.prerequisites(words)?;
        let mut options = JobOptions::new(name(words.named.remove("handler").unwrap_or("work"))?);
        let level = words.option("prio", options.priority.level())?;
        options.priority = Priority::new(level).ok_or("priorities are 0 to 9")?;
        options.delay_ms = words.millis("delay")?.unwrap_or(0);
        options.ttl_ms = words.millis("ttl")?;
        options.deadline = words.millis("deadline")?.map(|at| START.plus_millis(at));
        options.time_limit_ms = words.millis("limit")?;
        options.retries = words.option("retries", options.retries)?;
        options.crash_retries = words.option("crashes", options.crash_retries)?;
        if let Some(backoff) = words.named.remove("backoff") {
            let (base, cap) = backoff.split_once("..").ok_or("backoff=1s..5s")?;
            options.backoff = Backoff { base_ms: millis(base)?, cap_ms: millis(cap)? };
        }
        options.results = match words.named.remove("results") {
            None => ResultsTo::QueueList,
            Some("none") => ResultsTo::Nowhere,
            Some(list) => ResultsTo::List(name(list)?),
        };
        let size: Option<usize> = words.named.remove("size").and_then(|size| size.parse().ok());
        let mut payloads: Vec<String> = words.ordered.by_ref().map(str::to_owned).collect();
        let count = match payloads.as_slice() {
            [] => Some(1),
            [count] => count.strip_prefix('x').and_then(|count| count.parse::<u64>().ok()),
            _ => None,
        };
        if let Some(count) = count {
            let payload = |seq| size.map_or_else(|| format!("p{seq}"), |size| "x".repeat(size));
            payloads = (first_seq..first_seq.saturating_add(count)).map(payload).collect();
        }
        let (request, payloads) = (self.next_request(session), payloads.iter().collect::<Block>());
        if prerequisites.is_empty() {
            let submit =
                Request::Submit { request, queue, first_seq, options, payloads, when_full, notify };
            return Ok(submit);
        }
        Ok(Request::SubmitWhen {
            request,
            queue,
            first_seq,
            options,
            payloads,
            when_full,
            notify,
            prerequisites,
        })
    }

    /// `after=c1-0x3,c2-5 any-of=… [or-failed] counter=NAME:5 list=NAME:5`
    fn prerequisites(&mut self, words: &mut Words<'_>) -> Result<Vec<Prerequisite>, Problem> {
        let mut found = Vec::new();
        let on_failure = if words.flag("or-failed") { OnFailure::Run } else { OnFailure::Fail };
        for (word, need) in [("after", Need::All), ("any-of", Need::Any)] {
            let Some(jobs) = words.named.remove(word) else { continue };
            let jobs = jobs.split(',').map(|jobs| self.jobs(jobs)).collect::<Result<_, _>>()?;
            found.push(Prerequisite::Jobs { jobs, need, on_failure });
        }
        let reached = |text: &str| -> Result<(Name, i64), Problem> {
            let (what, at_least) = text.rsplit_once(':').ok_or("NAME:5")?;
            Ok((name(what)?, at_least.parse().map_err(|_| format!("number {at_least:?}"))?))
        };
        if let Some(text) = words.named.remove("counter") {
            let (object, at_least) = reached(text)?;
            found.push(Prerequisite::Counter { object, at_least });
        }
        if let Some(text) = words.named.remove("list") {
            let (list, at_least) = reached(text)?;
            let at_least = u64::try_from(at_least).map_err(|_| "a length below 0")?;
            found.push(Prerequisite::List { list, at_least });
        }
        Ok(found)
    }

    fn admin_verb(
        &mut self,
        verb: &str,
        words: &mut Words<'_>,
    ) -> Result<Option<AdminVerb>, Problem> {
        Ok(Some(match verb {
            "status" => AdminVerb::Status,
            "queues" => AdminVerb::QueueList,
            "lists" => AdminVerb::ListList,
            "sessions" => AdminVerb::SessionList,
            "show" => AdminVerb::QueueShow { queue: name(words.next("a queue")?)? },
            "set" => {
                let queue = name(words.next("a queue")?)?;
                AdminVerb::QueueSet { queue, settings: self.settings(words)? }
            }
            "pause" => AdminVerb::QueuePause {
                queue: name(words.next("a queue")?)?,
                pause: match words.flag("submits") {
                    true => Pause::DeliveryAndSubmits,
                    false => Pause::Delivery,
                },
                reason: words.named.remove("why").unwrap_or_default().to_owned(),
            },
            "resume" => AdminVerb::QueueResume { queue: name(words.next("a queue")?)? },
            "purge" => AdminVerb::QueuePurge { queue: name(words.next("a queue")?)? },
            "remove-queue" => AdminVerb::QueueRemove { queue: name(words.next("a queue")?)? },
            "peek" => AdminVerb::QueuePeek {
                queue: name(words.next("a queue")?)?,
                count: words.option("count", 10)?,
            },
            "job" => AdminVerb::JobShow { job: self.jobs(words.next("a job")?)?.first },
            "dead" => AdminVerb::DeadList {
                queue: name(words.next("a queue")?)?,
                skip: words.option("skip", 0)?,
                count: words.option("count", 10)?,
            },
            "retry" => AdminVerb::DeadRetry { which: self.which(words)? },
            "forget" => AdminVerb::DeadPurge { which: self.which(words)? },
            "make-list" => AdminVerb::ListSet {
                list: name(words.next("a list")?)?,
                durability: words.named.remove("durability").map(durability).transpose()?,
            },
            "purge-list" => AdminVerb::ListPurge { list: name(words.next("a list")?)? },
            _ => return objects::admin_verb(verb, words),
        }))
    }

    fn which(&mut self, words: &mut Words<'_>) -> Result<DeadWhich, Problem> {
        match words.next("a queue, or job and jobs")? {
            "job" => Ok(DeadWhich::Jobs(self.jobs(words.next("jobs")?)?)),
            queue => Ok(DeadWhich::Queue(name(queue)?)),
        }
    }

    fn settings(&self, words: &mut Words<'_>) -> Result<QueueSettings, Problem> {
        let defaults = &self.config.queue_defaults;
        let dead_on = words.named.remove("dead_on").into_iter().flat_map(|kinds| kinds.split(','));
        Ok(QueueSettings {
            jobs_max: words.option("jobs_max", defaults.jobs_max)?,
            bytes_max: words.option("bytes_max", defaults.bytes_max)?,
            lease_ms: words.millis("lease")?.unwrap_or(defaults.lease_ms),
            dead_on: dead_on.map(str::to_owned).collect(),
            durability: match words.named.remove("durability") {
                Some(text) => durability(text)?,
                None => defaults.durability,
            },
        })
    }
}

fn outcome(words: &mut Words<'_>) -> Result<Outcome, Problem> {
    let kind = words.next("an outcome")?;
    let failure = |words: &mut Words<'_>| {
        words.next("a kind of failure").map(|kind| Failure::new(kind, "as the handler said"))
    };
    Ok(match kind {
        "ack" => Outcome::Ack { outputs: words.ordered.by_ref().collect() },
        "nack" => {
            Outcome::Nack { failure: failure(words)?, retry_after_ms: words.millis("after")? }
        }
        "dead" => Outcome::Dead { failure: failure(words)? },
        "release" => Outcome::Release { delay_ms: words.millis("delay")?.unwrap_or(0) },
        "crash" => Outcome::Crash { failure: failure(words)? },
        other => return Err(format!("outcome {other:?}")),
    })
}
