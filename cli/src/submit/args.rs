//! The options of `ganger submit`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::time::millis;
use ganger_shared::{Backoff, JobOptions, JobRange, Name, Priority, ResultsTo, Time};

use crate::args::Common;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  ganger submit --queue mail '{\"to\":\"ann\"}'
  ganger submit --queue mail --handler send --payload @letter.json --delay 10s --priority 9
  ganger submit --queue bind book --after $PAGES --when 'counter approved >= 2'
  ls *.png | ganger submit --queue thumbs --each-line --wait
  producer | ganger submit --queue thumbs --ndjson --wait -o ndjson | consumer

Standard output has one id per job in the order of the input, as soon as the broker has accepted it.
With --wait it has results instead:
  plain    one line per job in the order of the input: its result, or an empty line where
           it has none (the reason is on standard error)
  ndjson   one object per job as it ends, with line, job, status (done, dead, cancelled or
           unknown) and result, or result_base64 for bytes that are no text
  json     the same objects as one document

Lines are read only as fast as the broker accepts them, so input of any length needs
constant memory.";

/// What `ganger submit` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// The queue; made on first use where the broker allows it.
    #[arg(short = 'Q', long, value_name = "NAME")]
    pub(crate) queue: Name,

    #[command(flatten)]
    pub(crate) source: Source,

    #[command(flatten)]
    pub(crate) options: OptionArgs,

    #[command(flatten)]
    pub(crate) waits: WaitArgs,

    /// While the queue is full, `wait` for room or `refuse` the jobs [default: wait for lines of
    /// standard input, refuse otherwise]
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) when_full: Option<Full>,

    /// At most this many lines in one submit, which is accepted as a whole.
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: u32,

    /// Wait until the jobs have ended and print their results.
    #[arg(short, long)]
    pub(crate) wait: bool,

    /// Wait no longer than this; exit code 124.
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// Where payloads come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// The payload of one job: text, `@FILE`, or `-` for all of standard input.
    #[arg(value_name = "PAYLOAD")]
    pub(crate) text: Option<String>,

    /// The same, as an option.
    #[arg(long, value_name = "PAYLOAD", allow_hyphen_values = true)]
    pub(crate) payload: Option<String>,

    /// One job for each line of standard input, an empty one included.
    #[arg(long)]
    pub(crate) each_line: bool,

    /// One job for each line of standard input, a JSON object: payload (text or any JSON value) or
    /// payload_base64, and where they differ handler, priority, delay, retries, ttl, deadline,
    /// time_limit.
    #[arg(long)]
    pub(crate) ndjson: bool,
}

/// What the jobs ask for.
#[derive(Clone, Debug, Args)]
pub(crate) struct OptionArgs {
    /// Which handler of a worker runs them [default: the queue's name]
    #[arg(short = 'H', long, value_name = "NAME")]
    pub(crate) handler: Option<Name>,

    /// How urgent they are within their queue, 0 to 9.
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub(crate) priority: u8,

    /// Start them no earlier than this: 10s, 5m, 1h30m.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) delay: Option<Duration>,

    /// Try again after this many failures.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retries: u32,

    /// Try again after this many crashes of the worker.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) crash_retries: u32,

    /// Wait a random time between tries, at most BASE, doubling up to CAP.
    #[arg(long, value_name = "BASE..CAP", default_value = "1s..5m", value_parser = values::backoff)]
    pub(crate) backoff: Backoff,

    /// Give them up if they have not started by then.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) ttl: Option<Duration>,

    /// Give them up if they have not ended by then: a duration from now, or a moment such as
    /// 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    pub(crate) deadline: Option<Time>,

    /// How long one attempt may take.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) time_limit: Option<Duration>,

    /// The list for their results, or `none` where whoever waits is the only one to want them
    /// [default: the queue's name and .results]
    #[arg(long, value_name = "LIST", value_parser = values::results)]
    pub(crate) results: Option<ResultsTo>,
}

/// What has to come before the jobs may start.
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    /// Start them once all of these jobs are done; if one is given up or cancelled, these are dead
    /// letters. Ids, or ranges like ID..NUMBER, also several with commas.
    #[arg(long, value_name = "JOB", value_delimiter = ',', value_parser = values::jobs)]
    pub(crate) after: Vec<JobRange>,

    /// Start them once one of these jobs is done.
    #[arg(long, value_name = "JOB", value_delimiter = ',', value_parser = values::jobs)]
    pub(crate) after_any: Vec<JobRange>,

    /// Start them also if the jobs of --after and --after-any end otherwise than done.
    #[arg(long)]
    pub(crate) even_if_failed: bool,

    /// Start them once this has come: `counter NAME >= N` or `list NAME >= N`.
    #[arg(long, value_name = "WHAT", value_parser = values::reaches)]
    pub(crate) when: Vec<Prerequisite>,
}

impl WaitArgs {
    /// All of them together.
    pub(crate) fn to_prerequisites(&self) -> Vec<Prerequisite> {
        let on_failure = if self.even_if_failed { OnFailure::Run } else { OnFailure::Fail };
        let jobs = [(&self.after, Need::All), (&self.after_any, Need::Any)].into_iter();
        jobs.filter(|(jobs, _)| !jobs.is_empty())
            .map(|(jobs, need)| Prerequisite::Jobs { jobs: jobs.clone(), need, on_failure })
            .chain(self.when.iter().cloned())
            .collect()
    }
}

/// What happens to a submit that does not fit its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Full {
    /// It is refused; exit code 7, or 8 if others were accepted.
    Refuse,
    /// It waits for room.
    Wait,
}

impl OptionArgs {
    /// The options of jobs of `queue`.
    pub(crate) fn to_options(&self, queue: &Name) -> JobOptions {
        let handler = self.handler.clone().unwrap_or_else(|| queue.clone());
        JobOptions {
            priority: Priority::new(self.priority).unwrap_or_default(),
            delay_ms: self.delay.map_or(0, millis),
            ttl_ms: self.ttl.map(millis),
            deadline: self.deadline,
            time_limit_ms: self.time_limit.map(millis),
            retries: self.retries,
            crash_retries: self.crash_retries,
            backoff: self.backoff,
            results: self.results.clone().unwrap_or_default(),
            ..JobOptions::new(handler)
        }
    }
}
