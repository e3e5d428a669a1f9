//! `ganger-bench torture`: kills a real broker, or cuts its connections, and judges what it had
//! promised by what its clients saw.
//! Not how fast it is, and not the rules: those are `ganger-history`'s.
//!
//! ```text
//!  submitters ─┐                                        ┌─▶ history.jsonl ─▶ check ─▶ verdict.json
//!  workers ────┼── library, TCP ──[ proxy ]── broker    │
//!  readers ────┘        │        cuts, stalls   ▲ kill -9
//!                       └── what each asked and was told ┘
//! ```

mod broker;
mod clients;
mod proxy;
mod run;
mod scenarios;
mod stage;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::ValueEnum;
use ganger_history::Verdict;
use ganger_shared::Durability;

use crate::Output;
use run::{HISTORY, Plan};
use scenarios::Scenario;
use summary::{Run, Summary};

/// Beside the history of a run.
const VERDICT: &str = "verdict.json";

/// How long jobs are submitted in each scenario of the network unless told otherwise: 3 s, three
/// heartbeats.
const SCENARIO_SECONDS: f64 = 3.0;

/// The same for kills: 10 s.
const KILL_SECONDS: f64 = 10.0;

const EXAMPLES: &str = "\
Examples:
  ganger-bench torture --kills 60 --out /tmp/kills
  ganger-bench torture --network --out /tmp/network
  ganger-bench torture --network --scenario storm --seed 7 --out /tmp/storm
  ganger-bench torture check /tmp/kills/history.jsonl

The exit code is 0 if every promise was kept, 1 if not or if a run could not be made. What each
rule means is in docs/testing.md.";

/// What the command line says.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How often the broker is killed (SIGKILL), 50 to 1,500 ms after it serves
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "network")]
    kills: u64,
    /// Torment connections instead: every scenario in turn, through a proxy
    #[arg(long)]
    network: bool,
    /// Only these scenarios (`ganger-bench torture scenarios` lists them)
    #[arg(long, value_delimiter = ',', value_name = "NAME", requires = "network")]
    #[arg(value_parser = scenarios::find)]
    scenario: Vec<Scenario>,
    /// How many scenarios run at once, each with a broker of its own
    #[arg(long, value_name = "N", default_value_t = 1, requires = "network")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=20))]
    at_once: u8,
    /// How long jobs are submitted, at least [default: 10, or 3 for each scenario]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// How long nothing may come forward, all faults mended, before what is missing counts as lost
    #[arg(long, value_name = "S", default_value = "20", value_parser = seconds)]
    patience: Duration,
    /// Clients that submit
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    submitters: u64,
    /// Clients that work
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    workers: u64,
    /// Clients that read results
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    readers: u64,
    /// What the broker promises [default: strict, or memory with --network]. In memory it promises
    /// nothing across a kill: such a run fails, and shows that the check works
    #[arg(long, value_enum)]
    durability: Option<Level>,
    /// Repeats the same work and the same faults, though not the same timing
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where histories and verdicts go; made if missing
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, short, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Judges the history of a run again
    ///
    /// Compares the verdict with the one beside it, if there is one.
    Check {
        /// The history of a run
        #[arg(value_name = "DIR/history.jsonl")]
        history: PathBuf,
    },
    /// The scenarios of the network
    Scenarios,
}

/// A durability, at the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// fdatasync has returned
    Strict,
    /// Handed to the kernel
    Relaxed,
    /// In memory
    Memory,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Strict => Self::Strict,
            Level::Relaxed => Self::Relaxed,
            Level::Memory => Self::Memory,
        }
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().with_context(|| format!("{text:?} is no number"))?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}

/// Does what the command line says.
///
/// # Errors
///
/// A run could not be carried out, or a file not read. A broken promise is an exit code.
pub(crate) fn carry_out(args: Args) -> Result<ExitCode> {
    match args.command {
        Some(Command::Check { history }) => check(&history, args.output),
        Some(Command::Scenarios) => {
            for Scenario { name, about, .. } in scenarios::ALL {
                println!("{name:<20} {about}");
            }
            Ok(ExitCode::SUCCESS)
        }
        None => torture(&args),
    }
}

fn torture(args: &Args) -> Result<ExitCode> {
    let out = args.out.as_deref().context("name a folder with --out")?;
    let summary = Summary::of(carry_out_all(&plans(args, out), usize::from(args.at_once))?);
    write_json(&out.join("summary.json"), &summary)?;
    match args.output {
        Output::Table => print!("{}", summary.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&summary)?),
    }
    Ok(summary.exit_code())
}

/// Carries out so many plans at once, and returns what came of them in their order.
fn carry_out_all(plans: &[Plan], at_once: usize) -> Result<Vec<Run>> {
    let next = AtomicUsize::new(0);
    let some = || -> Result<Vec<(usize, Run)>> {
        let mut runs = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(number) else { return Ok(runs) };
            let outcome = run::carry_out(plan)?;
            write_json(&plan.dir.join(VERDICT), &outcome.verdict)?;
            let run = Run::of(plan, &outcome);
            eprintln!("{}", run.line());
            runs.push((number, run));
        }
    };
    let mut runs = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(some)).collect();
        let mut runs = Vec::new();
        for thread in threads {
            runs.extend(thread.join().map_err(|_| anyhow!("a run panicked"))??);
        }
        anyhow::Ok(runs)
    })?;
    runs.sort_by_key(|(number, _)| *number);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

/// The runs that are asked for.
fn plans(args: &Args, out: &Path) -> Vec<Plan> {
    let load = |default| args.seconds.unwrap_or_else(|| Duration::from_secs_f64(default));
    let default = if args.network { Level::Memory } else { Level::Strict };
    let durability = args.durability.unwrap_or(default);
    let plan = Plan {
        seed: args.seed,
        durability: durability.into(),
        kills: args.kills,
        load: load(KILL_SECONDS),
        submitters: args.submitters,
        workers: args.workers,
        readers: args.readers,
        patience: args.patience,
        scenario: None,
        dir: out.to_owned(),
    };
    if !args.network {
        return vec![plan];
    }
    let chosen = match args.scenario.as_slice() {
        [] => scenarios::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    let of = |scenario: Scenario| Plan {
        seed: scenario.seed(args.seed),
        load: load(SCENARIO_SECONDS),
        dir: out.join(scenario.name),
        scenario: Some(scenario),
        ..plan.clone()
    };
    chosen.into_iter().map(of).collect()
}

/// Judges a history again.
fn check(history: &Path, output: Output) -> Result<ExitCode> {
    let verdict = run::judge(history)?;
    match output {
        Output::Table => print!("{}", summary::verdict_table(&verdict)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&verdict)?),
    }
    let beside = history.with_file_name(VERDICT);
    if history.file_name().is_some_and(|name| name == HISTORY) && beside.exists() {
        let what = || format!("{} cannot be read", beside.display());
        let before: Verdict =
            serde_json::from_str(&fs::read_to_string(&beside).with_context(what)?)
                .with_context(what)?;
        ensure!(before == verdict, "{} says something else", beside.display());
    }
    Ok(match verdict.complaint() {
        None => ExitCode::SUCCESS,
        Some(complaint) => {
            eprintln!("ganger-bench: {complaint}");
            ExitCode::FAILURE
        }
    })
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
