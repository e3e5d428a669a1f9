//! Everything that can be typed after `ganger`: one tree, from which help, completions and man
//! pages are made too.
//!
//! Not what the commands do: each noun has a file of that name.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ganger_shared::{Durability, JobId, Name};
use ganger_worker::DEFAULT_BROKER;

use crate::guarded::{LockArgs, SemaphoreArgs};
use crate::object::args::ObjectVerb;
use crate::submit::args::SubmitArgs;
use crate::values;

/// A task queue with shared objects: one broker, many workers, no job lost.
///
/// Results go to standard output, everything else to standard error. Try `ganger demo` first.
#[derive(Debug, Parser)]
#[command(
    name = "ganger",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with:\n  ganger demo\n  ganger broker\n  ganger worker --queue mail --exec ./send-mail\n  ganger submit --queue mail '{\"to\":\"ann\"}' --wait\n\nExit codes: ganger help exit-codes"
)]
pub(crate) struct Ganger {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show it all at work: a broker, four workers, 10,000 jobs and a worker that is killed.
    Demo(DemoArgs),
    /// Hand jobs to a queue.
    Submit(Box<SubmitArgs>),
    /// Read, follow or take the results of jobs.
    Results(ResultsArgs),
    /// Show the broker and its queues on one screen.
    #[command(after_help = "Example:\n  ganger status -o json")]
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Look after queues.
    #[command(visible_alias = "queues")]
    Queue {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: QueueVerb,
    },
    /// Look at jobs, cancel them, wait for them.
    #[command(visible_alias = "jobs")]
    Job {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: JobVerb,
    },
    /// Look after dead letters: jobs that were given up.
    Dead {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: DeadVerb,
    },
    /// Look after shared lists, those of results among them.
    #[command(visible_alias = "lists")]
    List {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: ListVerb,
    },
    /// Look at shared objects, call them, carry them to another broker.
    #[command(visible_alias = "objects")]
    Object {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: Box<ObjectVerb>,
    },
    /// Run a command while holding a lock.
    Lock(Box<LockArgs>),
    /// Run a command while holding a unit of a semaphore.
    Semaphore(Box<SemaphoreArgs>),
    /// See who is connected.
    #[command(visible_alias = "sessions")]
    Session {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        verb: SessionVerb,
    },
    /// Look into a journal's folder: what is in it, whether it is sound, what can be saved.
    Journal {
        #[command(flatten)]
        show: Show,
        #[command(subcommand)]
        verb: JournalVerb,
    },
    /// Copy a broker's data while it runs, and check the copy.
    #[command(
        after_help = "Everything that the broker has acknowledged before is in the copy, and nobody is held up.\nRun this on the broker's machine: it reads the folder, a broker cannot be asked for it from afar.\n\nExample:\n  ganger backup /var/lib/ganger /backup/ganger-$(date +%F)"
    )]
    Backup {
        #[command(flatten)]
        show: Show,
        /// The folder that the broker got with --data.
        data: PathBuf,
        /// The folder of the copy: empty, or not there yet.
        out: PathBuf,
    },
    /// Make a folder that a broker can start on out of a backup.
    #[command(
        after_help = "The backup is checked first and stays as it is. What was done since it was made is forgotten:\njobs that have ended since run again.\n\nExample:\n  ganger restore /backup/ganger-2026-11-23 /var/lib/ganger"
    )]
    Restore {
        #[command(flatten)]
        show: Show,
        /// The folder of the backup.
        backup: PathBuf,
        /// The folder for the broker: empty, or not there yet.
        data: PathBuf,
    },
    /// Run a broker.
    #[command(after_help = "Example:\n  ganger broker --listen 127.0.0.1:7117")]
    Broker(ganger_broker::command::Args),
    /// Run a worker.
    #[command(
        after_help = "Examples:\n  ganger worker --queue thumbs --concurrency 4 --exec 'convert {} -resize 128 out/{/}'\n  ganger worker --queue q --handler echo"
    )]
    Worker(Box<ganger_worker::command::WorkerArgs>),
    /// Print the completions of a shell.
    #[command(
        after_help = "Examples:\n  ganger completion bash > ~/.local/share/bash-completion/completions/ganger\n  ganger completion zsh > \"${fpath[1]}/_ganger\"\n  ganger completion fish > ~/.config/fish/completions/ganger.fish"
    )]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write one per command into a folder.
    #[command(
        after_help = "Examples:\n  ganger man | man -l -\n  ganger man ~/.local/share/man/man1"
    )]
    Man {
        /// Write a page per command into this folder.
        dir: Option<PathBuf>,
    },
    /// Show what the exit codes mean.
    #[command(long_about = crate::exit::PAGE)]
    ExitCodes,
}

/// What every command that talks to a broker takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Where the broker is.
    #[arg(
        long,
        global = true,
        env = "GANGER_BROKER",
        hide_env_values = true,
        value_name = "HOST:PORT",
        default_value = DEFAULT_BROKER,
        help_heading = "Connection"
    )]
    pub(crate) broker: String,

    /// The file with the shared key [default: ganger/key in $XDG_CONFIG_HOME or ~/.config]
    #[arg(
        long,
        global = true,
        env = "GANGER_KEY_FILE",
        hide_env_values = true,
        value_name = "PATH",
        help_heading = "Connection"
    )]
    pub(crate) key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) show: Show,
}

/// How a command shows what it found.
#[derive(Clone, Debug, Args)]
pub(crate) struct Show {
    /// Write data as `table`, `plain` (tab-separated), `json` (one document) or `ndjson` (one object
    /// per line) [default: table on a terminal, otherwise plain]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub(crate) output: Option<Format>,

    /// Say nothing but data and errors.
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Draw no progress bar.
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) no_progress: bool,
}

/// How data are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, with times and sizes as people say them.
    Table,
    /// Tab-separated, without a header; times and sizes exact.
    Plain,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Ndjson,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ganger demo\n  ganger demo --jobs 1000000 --workers 2")]
pub(crate) struct DemoArgs {
    /// How many jobs.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) jobs: u32,

    /// How many workers; one of them is killed if there are two or more.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,

    #[command(flatten)]
    pub(crate) show: Show,
}

/// A destructive verb for many things at once.
#[derive(Clone, Debug, Args)]
pub(crate) struct Consent {
    /// Do it without being asked; needed where there is no terminal to ask at.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ganger results thumbs.results\n  ganger results thumbs.results --follow -o ndjson\n  ganger results thumbs.results --from -10\n  ganger results thumbs.results --pop --count 100 --wait 30s\n\nPlain output is each result and a newline; use -o ndjson where results may contain newlines."
)]
pub(crate) struct ResultsArgs {
    /// The list; results of the queue `thumbs` are in `thumbs.results` unless told otherwise.
    pub(crate) list: Name,

    /// Start at this index, counted from the first result ever; a negative one counts from the end.
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "pop")]
    pub(crate) from: Option<i64>,

    /// Stop after this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Go on with results as they come, until --count or Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Take the results out of the list.
    #[arg(long)]
    pub(crate) pop: bool,

    /// Wait up to this long for the next result where there is none; exit code 124 if the ones asked
    /// for did not come (--count, or else one).
    #[arg(long, value_name = "DURATION", value_parser = values::duration, conflicts_with = "follow")]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// List the queues.
    #[command(after_help = "Example:\n  ganger queue ls -o json")]
    Ls,
    /// Show one queue: its jobs, its settings, and why jobs wait.
    #[command(after_help = "Example:\n  ganger queue show mail")]
    Show {
        /// The queue.
        queue: Name,
    },
    /// Make a queue or change its settings; what is not named stays.
    #[command(
        after_help = "Examples:\n  ganger queue set mail --jobs-max 1000000 --lease 2m\n  ganger queue set mail --dead-on exit-2,bad-address"
    )]
    Set(QueueSetArgs),
    /// Stop a queue: jobs wait until it is resumed.
    #[command(
        after_help = "Examples:\n  ganger queue pause mail --reason 'provider is down'\n  ganger queue pause mail --submits"
    )]
    Pause {
        /// The queue.
        queue: Name,
        /// Refuse further jobs too.
        #[arg(long)]
        submits: bool,
        /// Why, for people.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Let a paused queue go on.
    #[command(after_help = "Example:\n  ganger queue resume mail")]
    Resume {
        /// The queue.
        queue: Name,
    },
    /// Cancel every waiting job of a queue; running jobs and dead letters stay.
    #[command(after_help = "Example:\n  ganger queue purge mail --yes")]
    Purge {
        /// The queue.
        queue: Name,
        #[command(flatten)]
        consent: Consent,
    },
    /// Remove queues that are empty and that no worker takes jobs of, with their results lists.
    #[command(after_help = "Example:\n  ganger queue purge mail --yes && ganger queue rm mail")]
    Rm {
        /// The queues.
        #[arg(required = true)]
        queues: Vec<Name>,
    },
    /// Show the next jobs of a queue without taking them.
    #[command(after_help = "Example:\n  ganger queue peek mail --count 3")]
    Peek {
        /// The queue.
        queue: Name,
        /// How many at most.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct QueueSetArgs {
    /// The queue.
    pub(crate) queue: Name,

    /// Waiting, running and dead jobs together, at most.
    #[arg(long, value_name = "N")]
    pub(crate) jobs_max: Option<u64>,

    /// Their payloads together, at most: 512MiB, 2GiB.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) bytes_max: Option<u64>,

    /// How long a worker that shows no sign of life keeps its jobs.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) lease: Option<Duration>,

    /// Kinds of failure that are never retried, with commas between; '' for none.
    #[arg(long, value_name = "KINDS")]
    pub(crate) dead_on: Option<String>,

    /// What an acknowledgement means.
    #[arg(long, value_name = "LEVEL", value_parser = values::durability())]
    pub(crate) durability: Option<Durability>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobVerb {
    /// Show jobs: where they stand and what went wrong.
    #[command(after_help = "Example:\n  ganger job show 0123456789abcdef-42")]
    Show {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        jobs: Vec<JobId>,
    },
    /// Cancel jobs: waiting ones end at once, the workers of running ones are told to stop.
    #[command(
        after_help = "Examples:\n  ganger job cancel 0123456789abcdef-42\n  ganger job cancel - < ids"
    )]
    Cancel {
        /// Their ids; `-` reads them from standard input, one per line.
        #[arg(required = true, value_name = "ID")]
        jobs: Vec<String>,
    },
    /// Wait until jobs have ended and print their results, like `submit --wait`.
    #[command(
        after_help = "Examples:\n  ganger job wait 0123456789abcdef-42 --timeout 1m\n  ganger job wait - < ids"
    )]
    Wait {
        /// Their ids; `-` reads them from standard input, one per line.
        #[arg(required = true, value_name = "ID")]
        jobs: Vec<String>,
        /// Wait no longer than this; exit code 124.
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
}

/// Dead letters, by id or all of a queue.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// These jobs.
    #[arg(value_name = "ID")]
    pub(crate) jobs: Vec<JobId>,
    /// All of this queue.
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<Name>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadVerb {
    /// List dead letters, oldest first.
    #[command(
        after_help = "Examples:\n  ganger dead ls\n  ganger dead ls mail --count 100 -o json"
    )]
    Ls {
        /// Of this queue only.
        queue: Option<Name>,
        /// How many to pass over.
        #[arg(long, value_name = "N", default_value_t = 0, requires = "queue")]
        skip: u64,
        /// How many at most, of each queue.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,
    },
    /// Show dead letters in full.
    #[command(after_help = "Example:\n  ganger dead show 0123456789abcdef-42")]
    Show {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        jobs: Vec<JobId>,
    },
    /// Put dead letters back into their queue, as if they had not been tried.
    #[command(
        after_help = "Examples:\n  ganger dead retry 0123456789abcdef-42\n  ganger dead retry --queue mail"
    )]
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Forget dead letters.
    #[command(
        after_help = "Examples:\n  ganger dead purge 0123456789abcdef-42\n  ganger dead purge --queue mail --yes"
    )]
    Purge {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListVerb {
    /// List the lists.
    #[command(after_help = "Example:\n  ganger list ls")]
    Ls,
    /// Make a list, or change what an empty one promises.
    #[command(
        after_help = "Without --durability a list that exists stays as it is, and a new one promises what its queue\ndoes, if it is a queue's results list, or else what new queues do.\n\nExamples:\n  ganger list create hosts\n  ganger list create events --durability strict"
    )]
    Create {
        /// The list.
        list: Name,
        /// What an acknowledgement means.
        #[arg(long, value_name = "LEVEL", value_parser = values::durability())]
        durability: Option<Durability>,
    },
    /// Append items to a list.
    #[command(
        after_help = "Examples:\n  ganger list append hosts alpha beta\n  ganger list append hosts --each-line < hosts.txt"
    )]
    Append {
        /// The list.
        list: Name,
        /// The items.
        #[arg(required_unless_present = "each_line", conflicts_with = "each_line")]
        items: Vec<String>,
        /// Append each line of standard input.
        #[arg(long)]
        each_line: bool,
    },
    /// Forget every item of a list.
    #[command(after_help = "Example:\n  ganger list purge thumbs.results --yes")]
    Purge {
        /// The list.
        list: Name,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalVerb {
    /// Say what a journal consists of; reads its segments' heads and its last segment.
    #[command(after_help = "Example:\n  ganger journal stat /var/lib/ganger")]
    Stat {
        /// The folder that the broker got with --data.
        dir: PathBuf,
    },
    /// Check every record and every invariant. Reads all of it and changes nothing.
    #[command(after_help = "Example:\n  ganger journal verify /var/lib/ganger && echo sound")]
    Verify {
        /// The folder that the broker got with --data.
        dir: PathBuf,
    },
    /// List the segments: files of records.
    #[command(after_help = "Example:\n  ganger journal segments /var/lib/ganger")]
    Segments {
        /// The folder that the broker got with --data.
        dir: PathBuf,
    },
    /// Write every record as a line of JSON, with its place and its events.
    #[command(
        after_help = "Example:\n  ganger journal dump /var/lib/ganger | jq -c '.events[] | keys'"
    )]
    Dump {
        /// The folder that the broker got with --data.
        dir: PathBuf,
    },
    /// Make a new folder of all that is sound in a damaged one, and say what is lost.
    #[command(
        after_help = "The damaged folder stays as it is. Exit code 8 where something is lost.\n\nExample:\n  ganger journal salvage /var/lib/ganger /var/lib/ganger-2"
    )]
    Salvage {
        /// The damaged folder.
        dir: PathBuf,
        /// The new one: empty, or not there yet.
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List the sessions: workers, submitters, and this command itself.
    #[command(after_help = "Example:\n  ganger session ls")]
    Ls,
}
