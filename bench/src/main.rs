//! `ganger-bench`: the same work on Ganger and on other brokers, side by side.
//! This file has only the command line.

#![expect(clippy::print_stdout, reason = "the report goes to standard output")]
#![expect(clippy::print_stderr, reason = "progress and errors go to standard error")]

mod blocking;
mod caller;
mod calls;
mod check;
mod crew;
mod growth;
mod janitor;
mod level;
mod load;
mod page;
mod payload;
mod peer;
mod peers;
mod plot;
mod procfs;
mod report;
mod roles;
mod run;
mod server;
mod shapes;
mod slow_disk;
mod table;
mod torture;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::calls::Call;
use crate::level::Level;
use crate::page::{Destination, Page, Shown};
use crate::payload::RESULT_LEN;
use crate::peer::Peer;
use crate::report::Report;
use crate::run::Plan;
use crate::shapes::Shape;
use crate::table::Look;

/// Who has shared objects; ratios are to the first.
const OBJECT_PEERS: [&str; 3] = ["ganger", "redis", "python-manager"];

const OBJECTS_EXAMPLES: &str = "\
Examples:
  ganger-bench objects
  ganger-bench objects --shape calls --call list-append,dict-set --runs 5
  ganger-bench objects --shape calls-pipelined --durability none,relaxed,strict -o json

All callers of a run call one object. Afterwards it is read back, and every item, entry or the sum
is compared with what the calls must have left; the exit code is 1 if anything differs. What calls
cost as a list gets longer is shown by ganger-bench growth --dimension list-append,list-pop-first.";

/// Measures Ganger and other brokers under the same load, side by side
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every shape on every peer that is installed
    All {
        #[command(flatten)]
        options: Options,
    },
    /// The peers of your choice; ratios are to the first
    Vs {
        /// Their names, separated by commas (`ganger-bench peers` lists them)
        #[arg(required = true, value_delimiter = ',')]
        peers: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Calls of shared objects: Ganger, Redis and Python's manager
    #[command(after_help = OBJECTS_EXAMPLES)]
    Objects {
        #[command(flatten)]
        options: Options,
    },
    /// How what a job or a call costs Ganger's broker changes as there is more of something else
    Growth {
        #[command(flatten)]
        args: growth::Args,
    },
    /// Load on a Ganger broker that is running, at a rate that does not wait for it
    Load {
        #[command(flatten)]
        args: load::Args,
    },
    /// Kills a Ganger broker again and again, or its connections, and judges what its clients saw
    Torture {
        #[command(flatten)]
        args: torture::Args,
    },
    /// The peers there are, and whether they are installed
    Peers,
    /// One process of a run
    #[command(hide = true)]
    Role { task: String },
    /// The server of the peer `ganger`
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        args: ganger_broker::command::Args,
    },
    /// The server of the peer `relay`
    #[command(hide = true)]
    Relay { site: String },
    /// Removes the data of all servers once the benchmark has ended
    #[command(hide = true)]
    Janitor { dir: PathBuf },
    /// Becomes a server that ends with its parent
    #[command(hide = true)]
    Leash {
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Which shapes of load [default: all there are for the command]
    #[arg(long, value_delimiter = ',')]
    shape: Vec<Shape>,
    /// What is called, in shapes of calls [default: all]
    #[arg(long, value_delimiter = ',')]
    call: Vec<Call>,
    /// The length of a job or value, such as 16, 1KiB or 64KiB
    #[arg(long, value_delimiter = ',', default_value = "16", value_parser = payload_len)]
    payload: Vec<usize>,
    /// What an acknowledged job or call survives
    #[arg(long, value_delimiter = ',', default_value = "none")]
    durability: Vec<Level>,
    /// How often each peer runs each shape; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Jobs or calls per run [default: as the shape says]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// How long a run should take, where the shape leaves it open
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// The most jobs per request, where there are batches
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Where servers keep their data [default: the system's temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ganger-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::All { options } => measure(peers::ALL.to_vec(), true, options),
        Command::Vs { peers, options } => {
            let peers = peers.iter().map(|name| peers::find(name)).collect::<Result<_>>()?;
            measure(peers, false, options)
        }
        Command::Objects { mut options } => {
            if options.shape.is_empty() {
                options.shape = Shape::of_calls();
            }
            let peers = OBJECT_PEERS.iter().map(|name| peers::find(name)).collect::<Result<_>>()?;
            measure(peers, true, options)
        }
        Command::Load { args } => {
            let summary = load::carry_out(&args)?;
            match args.output {
                Output::Table => print!("{}", summary.table()),
                Output::Json => println!("{}", serde_json::to_string_pretty(&summary)?),
            }
            Ok(match summary.complaint() {
                None => ExitCode::SUCCESS,
                Some(complaint) => {
                    eprintln!("ganger-bench: {complaint}");
                    ExitCode::FAILURE
                }
            })
        }
        Command::Growth { args } => growth::carry_out(&args),
        Command::Torture { args } => torture::carry_out(args),
        Command::Peers => {
            list_peers();
            Ok(ExitCode::SUCCESS)
        }
        Command::Role { task } => {
            roles::play(&serde_json::from_str(&task).context("the task is not readable")?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { args } => Ok(ganger_broker::command::run(args)),
        Command::Relay { site } => {
            peers::relay::serve(&serde_json::from_str(&site).context("the site is not readable")?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Janitor { dir } => {
            janitor::wait_and_remove(&dir)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Leash { program } => {
            server::become_leashed(&program)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn measure(
    peers: Vec<&'static dyn Peer>,
    tolerates_missing: bool,
    options: Options,
) -> Result<ExitCode> {
    let shapes = if options.shape.is_empty() { Shape::all() } else { options.shape };
    let calls = if options.call.is_empty() { Call::all() } else { options.call };
    let plan = Plan {
        peers,
        tolerates_missing,
        shapes,
        calls,
        payloads: options.payload,
        levels: options.durability,
        runs: options.runs,
        jobs: options.jobs,
        seconds: options.seconds,
        batch: options.batch,
        dir: options.dir.unwrap_or_else(std::env::temp_dir),
    };
    let report = run::carry_out(&plan, &mut |step| eprintln!("{step}"))?;
    options.destination.deliver(&report)?;
    Ok(verdict(&report))
}

impl Shown for Report {
    fn plot(&self) -> Result<String> {
        plot::render(self)
    }

    fn page(&self, page: &Page) -> String {
        table::page(self, page)
    }

    fn table(&self) -> String {
        table::render(self, Look::Terminal)
    }
}

/// Says what did not go well.
fn verdict(report: &Report) -> ExitCode {
    for missing in &report.missing {
        eprintln!("ganger-bench: without {}: {}", missing.name, missing.reason);
    }
    exit_code(report.failures())
}

/// Of a report in which so many runs do not count.
pub(crate) fn exit_code(failures: usize) -> ExitCode {
    if failures == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("ganger-bench: {failures} runs failed, see above");
    ExitCode::FAILURE
}

fn list_peers() {
    for peer in peers::ALL {
        let state = match peer.locate() {
            Ok(program) => program.version,
            Err(error) => format!("{error:#}"),
        };
        println!("{:<14} {state}\n{:<14} {}", peer.name(), "", peer.driven_as());
    }
}

/// Reads a length such as `16`, `1KiB` or `64KiB`.
pub(crate) fn payload_len(text: &str) -> Result<usize> {
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number.trim_end(), 1024),
        None => (text, 1),
    };
    let number: usize = number.parse().with_context(|| format!("{text:?} is no length"))?;
    let len = number.checked_mul(unit).context("too large")?;
    ensure!((RESULT_LEN..=1 << 20).contains(&len), "from {RESULT_LEN} bytes to 1024KiB");
    Ok(len)
}
