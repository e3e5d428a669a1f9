//! The `worker` command: what `ganger-worker` and `ganger worker` run, and options that every client
//! program takes.
//!
//! | on | what |
//! | --- | --- |
//! | standard output | nothing |
//! | standard error | the log (`GANGER_LOG`, default `info`), and why it did not start or go on |
//! | exit code | 0 after a drain, 2 usage, 4 not authorised, 5 broker unreachable, 130 interrupted while draining |

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use ganger_rt::{Signal, Signals};
use ganger_shared::Name;

use crate::builtin;
use crate::client::{Client, DEFAULT_BROKER, Options};
use crate::error::{Error, exit, sentence};
use crate::exec::{Exec, Template};
use crate::handler::{Router, UnknownHandler};
use crate::key_file;
use crate::worker::{Drainer, Worker};

/// How long the broker is given to hear of jobs that are given back at the second signal: 1 s.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the broker is and how to prove that one belongs to it.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// The broker
    #[arg(long, value_name = "HOST:PORT", env = "GANGER_BROKER", default_value = DEFAULT_BROKER)]
    pub broker: String,

    /// The file with the broker's key [default: ganger/key in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, value_name = "PATH", env = "GANGER_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// How long to look for the broker
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub connect_timeout: Duration,
}

impl ConnectArgs {
    /// What the arguments come to; reads the key file.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::KeyFileContent`].
    pub fn options(&self) -> Result<Options, Error> {
        let key = match &self.key_file {
            Some(path) => key_file::read(path)?,
            None => key_file::read(&key_file::default_path())?,
        };
        let connect_timeout = self.connect_timeout;
        Ok(Options { connect_timeout, ..Options::new(&self.broker, key) })
    }

    /// Connects as the arguments say.
    ///
    /// # Errors
    /// Those of [`options`](Self::options) and of [`Client::connect`].
    pub async fn connect(&self) -> Result<Client, Error> {
        Client::connect(self.options()?).await
    }
}

/// Reads a time span as people write it: `25s`, `1h 30m`, `250ms`.
///
/// # Errors
/// The text and what such spans look like.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    parsed
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| format!("{text:?} is no span of time; write it as in 25s, 1h 30m or 250ms"))
}

/// The arguments of the `worker` command.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// Where the broker is.
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// Take jobs from this queue; may be repeated
    #[arg(short = 'Q', long = "queue", value_name = "QUEUE", required = true, value_parser = name)]
    pub queues: Vec<Name>,

    /// Run so many jobs of each queue at once [default: the number of processors]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Option<u32>,

    /// Hold so many further jobs of each queue ready; pays for very short jobs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefetch: u32,

    /// What runs the jobs.
    #[command(flatten)]
    pub handler: HandlerArgs,

    /// End an attempt that takes longer, as a failure
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub time_limit: Option<Duration>,

    /// Wait so long for running jobs after SIGTERM or Ctrl-C, then give them back
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// What runs the jobs: a command or a built-in handler.
#[derive(Clone, Debug, Args)]
pub struct HandlerArgs {
    /// Run this with `sh -c` for each job: the payload on standard input, the result from standard
    /// output. {} in it is the payload as one word, {/} what follows its last slash, {.} without its
    /// extension, {/.} both. Exit status 0 is success, others are failures
    #[arg(
        long,
        value_name = "CMD",
        required_unless_present = "handler",
        conflicts_with = "handler"
    )]
    pub exec: Option<String>,

    /// Run the built-in handler `echo`, `sleep` (seconds) or `blake3` (hash of a file) for each job
    #[arg(long, value_name = "NAME")]
    pub handler: Option<Name>,

    /// Split CMD into a program and its arguments instead of starting a shell
    #[arg(long, requires = "exec")]
    pub no_shell: bool,

    /// Exit statuses that are not worth another try; may be repeated
    #[arg(long, value_name = "STATUS", requires = "exec", value_delimiter = ',')]
    pub dead_on_exit: Vec<i32>,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

impl HandlerArgs {
    fn router(&self, output_bytes_max: usize) -> Result<Router, Error> {
        let router = match (&self.exec, &self.handler) {
            (Some(command), _) => {
                let template = if self.no_shell {
                    Template::words(command)?
                } else {
                    Template::shell(command)
                };
                let exec = Exec::new(template)
                    .dead_on(self.dead_on_exit.clone())
                    .output_bytes_max(output_bytes_max);
                Router::new().handle_any(move |payload, ctx| exec.clone().run(payload, ctx))
            }
            (None, Some(name)) => builtin::router(name).ok_or_else(|| {
                let known = builtin::ALL.map(|(name, _)| name).join(", ");
                Error::Invalid(format!("there is no built-in handler {name}; there are {known}"))
            })?,
            (None, None) => {
                return Err(Error::Invalid("give --exec or --handler to run jobs by".to_owned()));
            }
        };
        Ok(router.unknown_handler(UnknownHandler::Wait))
    }
}

/// Runs the `worker` command until it is told to stop.
#[must_use]
pub fn run(args: &WorkerArgs) -> ExitCode {
    start_log();
    match ganger_rt::block_on(work(args)) {
        Ok(Stopped::Drained) => ExitCode::SUCCESS,
        Ok(Stopped::Interrupted) => ExitCode::from(exit::INTERRUPTED),
        Err(error) => complain(&error),
    }
}

enum Stopped {
    Drained,
    Interrupted,
}

async fn work(args: &WorkerArgs) -> Result<Stopped, Error> {
    // What cannot work is said before anybody is called, and signals are heard before that takes long.
    args.handler.router(0)?;
    let system = |error: io::Error| Error::Invalid(format!("signals cannot be heard: {error}"));
    let mut signals = Signals::new().map_err(system)?;
    let connecting = async { Some(args.connect.connect().await) };
    let stopped = async {
        next_stop(&mut signals).await;
        None
    };
    let Some(client) = futures_lite::future::or(connecting, stopped).await else {
        return Ok(Stopped::Interrupted);
    };
    let client = client?;
    let worker = worker(args, &client)?;
    let drainer = worker.drainer();
    let working = async { worker.run().await.map(|()| Stopped::Drained) };
    let listening = async {
        listen(&mut signals, &drainer).await;
        Ok(Stopped::Interrupted)
    };
    let ended = futures_lite::future::or(working, listening).await;
    if let Ok(Stopped::Drained) = ended {
        client.close().await;
    }
    if drainer.gave_up() { ended.and(Ok(Stopped::Interrupted)) } else { ended }
}

fn worker(args: &WorkerArgs, client: &Client) -> Result<Worker, Error> {
    let cores = || available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let output_bytes_max = client.terms().payload_bytes_max as usize;
    let mut worker = Worker::new(client.clone())
        .router(args.handler.router(output_bytes_max)?)
        .concurrency(args.concurrency.unwrap_or_else(cores))
        .prefetch(args.prefetch)
        .drain_timeout(args.drain_timeout);
    for queue in &args.queues {
        worker = worker.queue(queue);
    }
    Ok(match args.time_limit {
        Some(limit) => worker.time_limit(limit),
        None => worker,
    })
}

/// The first signal drains, the second one gives up, and then there is no more waiting.
async fn listen(signals: &mut Signals, drainer: &Drainer) {
    next_stop(signals).await;
    drainer.drain();
    next_stop(signals).await;
    drainer.give_up();
    futures_lite::future::or(next_stop(signals), ganger_rt::sleep(LAST_WORDS)).await;
}

async fn next_stop(signals: &mut Signals) {
    while signals.next().await == Signal::Hangup {}
}

/// Starts the log as every Ganger program does: to standard error, as `GANGER_LOG` says.
pub fn start_log() {
    let level = env_logger::Env::new().filter_or("GANGER_LOG", "info");
    // A program that embeds this may have a log of its own, which then stands.
    let _ = env_logger::Builder::from_env(level).format_target(false).try_init();
}

/// Says on standard error what went wrong and what to try, and returns the exit code for it.
#[must_use]
pub fn complain(error: &Error) -> ExitCode {
    let mut text = format!("error: {}\n", sentence(error));
    if let Some(advice) = error.advice() {
        text.push_str(&format!("try: {advice}\n"));
    }
    // Where standard error is closed, the exit code has to do.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(error.exit_code())
}
