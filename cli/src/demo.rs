//! `ganger demo`: the whole thing at work in a few seconds, and a worker that is killed on the way.
//!
//! Nothing is played: the broker and the workers are processes of this same program, over TCP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures_lite::future::or;
use ganger_rt::Signals;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{JobId, Name};
use ganger_worker::error::exit;
use ganger_worker::{Client, List, Options, key_file};

use crate::args::DemoArgs;
use crate::exit::{Failure, Result};
use crate::link::{admin, strange};
use crate::output::{grouped, note, print};
use crate::progress::{Progress, rate};

const QUEUE: &str = "demo";

/// Jobs of each worker at once, and as many more ready: enough that a killed worker holds some.
const CONCURRENCY: &str = "16";
const PREFETCH: &str = "240";

/// Results in one answer.
const POP_MAX: u32 = 1_000;

/// How long nothing may happen before the demonstration gives up. A killed worker's jobs wait a
/// second for it to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that does not outlive this one.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let started = command.stdin(Stdio::null()).spawn();
        started.map(Self).map_err(|error| Failure::io(&format!("starting {program:?}"), &error))
    }

    /// SIGKILL: no goodbye, no chance to give anything back.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the demonstration's broker is.
struct Place {
    program: PathBuf,
    address: String,
    key: PathBuf,
}

/// How long it took.
#[derive(Clone, Copy)]
struct Times {
    took: Duration,
    /// The longest time without a result.
    longest_pause: Duration,
}

/// What was seen of the results.
#[derive(Default)]
struct Seen {
    results: BTreeMap<JobId, usize>,
    wrong: usize,
}

/// Runs the command.
pub(crate) async fn run(args: DemoArgs) -> Result {
    let system = |error| Failure::io("signals cannot be heard", &error);
    let mut signals = Signals::new().map_err(system)?;
    // Whatever ends it, the processes it started end with it.
    let stopped = async {
        signals.next().await;
        Err(Failure::silent(exit::INTERRUPTED))
    };
    or(stopped, Box::pin(demonstrate(args))).await
}

async fn demonstrate(args: DemoArgs) -> Result {
    let say = |text: String| {
        if !args.show.quiet {
            note(&text);
        }
    };
    let folder = tempfile::tempdir().map_err(|error| Failure::io("a folder to work in", &error))?;
    let program =
        std::env::current_exe().map_err(|error| Failure::io("finding this program", &error))?;
    let (place, _broker) = start_broker(program, folder.path())?;
    say(format!("a broker listens on {}, with a key of its own", place.address));
    let client = Client::connect(Options::new(&place.address, key_file::read(&place.key)?)).await?;
    let workers = (0..args.workers).map(|_| start_worker(&place));
    let mut workers = workers.collect::<Result<Vec<_>>>()?;
    say(format!("{} workers take jobs from its queue {QUEUE}", workers.len()));

    let started = Instant::now();
    let jobs: Vec<JobId> =
        client.submit_many(QUEUE, (0..args.jobs).map(payload)).await?.ids().collect();
    say(format!("{} jobs are submitted", grouped(u64::from(args.jobs))));
    let list = client.list(&format!("{QUEUE}.results"))?;
    let progress = Progress::new(&args.show, "results");
    progress.set_length(jobs.len() as u64);
    let mut seen = Seen::default();
    let mut last_news = Instant::now();
    let mut longest_pause = Duration::ZERO;
    let mut victim = (workers.len() > 1).then(|| workers.remove(0));
    while seen.results.len() < jobs.len() && last_news.elapsed() < PATIENCE {
        let news = collect(&list, &jobs, &mut seen).await?;
        progress.set(seen.results.len() as u64);
        if news > 0 {
            longest_pause = longest_pause.max(last_news.elapsed());
            last_news = Instant::now();
        }
        if seen.results.len() >= jobs.len() / 3
            && let Some(mut worker) = victim.take()
        {
            worker.kill();
            progress.suspend(|| {
                say("one worker is killed with SIGKILL, in the middle of its jobs".to_owned());
            });
        }
    }
    let times = Times { took: started.elapsed(), longest_pause };
    progress.finish("results");
    let reran = crashes(&client).await?;
    client.close().await;
    report(&jobs, &seen, reran, times)
}

fn payload(number: u32) -> String {
    format!("job {number}")
}

/// Takes what results there are, and checks each.
async fn collect(list: &List, jobs: &[JobId], seen: &mut Seen) -> Result<usize> {
    let page = list.pop(POP_MAX, Duration::from_millis(200)).await?;
    for item in &page.items {
        let Some(job) = item.job else {
            seen.wrong += 1;
            continue;
        };
        // The payloads were submitted in order, and so are the ids.
        let number = jobs.binary_search(&job).ok().and_then(|number| u32::try_from(number).ok());
        if number.map(payload).is_none_or(|payload| item.bytes != payload) {
            seen.wrong += 1;
        }
        *seen.results.entry(job).or_default() += 1;
    }
    Ok(page.items.len())
}

async fn crashes(client: &Client) -> Result<u64> {
    let queue = Name::new(QUEUE).map_err(|error| Failure::usage(error.to_string()))?;
    match admin(client, AdminVerb::QueueShow { queue }).await? {
        AdminAnswer::Queue(queue) => Ok(queue.crashed),
        _ => Err(strange()),
    }
}

fn report(jobs: &[JobId], seen: &Seen, reran: u64, times: Times) -> Result {
    let lost = jobs.len() - seen.results.len();
    let twice = seen.results.values().filter(|&&times| times > 1).count();
    if lost + twice + seen.wrong > 0 {
        let (jobs, wrong) = (jobs.len(), seen.wrong);
        let sentence =
            format!("of {jobs} jobs {lost} have no result, {twice} have two, {wrong} are wrong");
        return Err(Failure::new(exit::FAILED, sentence)
            .with_advice("please report this, with what `ganger --version` says"));
    }
    let Times { took, longest_pause } = times;
    let count = jobs.len() as u64;
    let mut text =
        format!("\n{0} jobs, {0} results, each checked: none lost, none twice.\n", grouped(count));
    if reran > 0 {
        let work = took.saturating_sub(longest_pause);
        text.push_str(&format!(
            "{} of them were in the hands of the killed worker and ran again on another one.\n\
             It took {:.2} s: {:.2} s of work ({} jobs/s) and {:.2} s in which the broker\n\
             waited for the killed worker to come back.\n",
            grouped(reran),
            took.as_secs_f64(),
            work.as_secs_f64(),
            rate(count, work),
            longest_pause.as_secs_f64(),
        ));
    } else {
        let (seconds, rate) = (took.as_secs_f64(), rate(count, took));
        text.push_str(&format!("It took {seconds:.2} s ({rate} jobs/s).\n"));
    }
    text.push_str(
        "\nTry next, each in a terminal of its own:\n\
         \x20 ganger broker\n\
         \x20 ganger worker --queue hello --exec 'tr a-z A-Z'\n\
         \x20 ls | ganger submit --queue hello --each-line --wait\n",
    );
    print(&text)
}

fn start_broker(program: PathBuf, folder: &Path) -> Result<(Place, Running)> {
    let key = folder.join("key");
    let mut command = Command::new(&program);
    command.args(["broker", "--listen", "127.0.0.1:0", "--key-file"]).arg(&key);
    // A folder for as long as this runs may well be in memory.
    command.arg("--data").arg(folder.join("data")).env("GANGER_ANY_FILESYSTEM", "true");
    quiet(&mut command).stdout(Stdio::piped());
    let mut broker = Running::start(&mut command)?;
    let address = broker.0.stdout.take().and_then(said_address);
    let address = address.ok_or_else(|| {
        Failure::new(1, "the broker did not start").with_advice("`ganger broker` says why")
    })?;
    Ok((Place { program, address, key }, broker))
}

/// The address from the broker's first line: `… listening on ADDRESS, key in PATH`.
fn said_address(stdout: ChildStdout) -> Option<String> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).ok()?;
    let (_, rest) = line.split_once("listening on ")?;
    let (address, _) = rest.split_once(", key in ")?;
    Some(address.to_owned())
}

fn start_worker(place: &Place) -> Result<Running> {
    let mut command = Command::new(&place.program);
    command.args(["worker", "--broker", &place.address, "--queue", QUEUE, "--handler", "echo"]);
    command.args(["--concurrency", CONCURRENCY, "--prefetch", PREFETCH, "--key-file"]);
    quiet(command.arg(&place.key)).stdout(Stdio::null());
    Running::start(&mut command)
}

/// Without what the environment says of the user's own broker.
fn quiet(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GANGER_")) {
            command.env_remove(name);
        }
    }
    command.env("GANGER_LOG", "error")
}
