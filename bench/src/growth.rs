//! `ganger-bench growth`: what a job costs Ganger's broker, as there is more and more of something
//! else: jobs that wait, connections, queues; and what a call costs, as a list gets longer.
//! Not a comparison with others, and not how fast jobs go when nothing else is there: `run` has both.
//!
//! ```text
//!  a fresh broker ──▶ brought into a state ──▶ the same jobs through it ──▶ its CPU time per job
//!                     1 k … 10 M waiting       submit, assign, settle
//! ```

mod dimension;
mod lists;
mod plot;
mod probe;
mod report;
mod stage;
mod state;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::ValueEnum as _;

use crate::exit_code;
use crate::janitor::Premises;
use crate::level::Level;
use crate::page::{Destination, Page, Shown};
use crate::procfs;
use crate::table::Look;
use dimension::Dimension;
use report::{Curve, Report};
use stage::Stage;

const EXAMPLES: &str = "\
Examples:
  ganger-bench growth
  ganger-bench growth --dimension backlog,queues --max 100000 --runs 5
  ganger-bench growth --dimension list-append,list-pop-first,list-get --runs 5
  ganger-bench growth --durability strict --jobs 2000 -o json

The figure is the broker's CPU time per job or call, which waking up late does not change. Each job
is submitted in a frame of its own, leased and settled, and checked to be so exactly once; of each
call the answer is checked. The exit code is 1 if anything is not as it must be. What is seen in the curves is in docs/growth.md.";

/// What the command line says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What grows, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    dimension: Vec<Dimension>,
    /// Leaves out steps of which there are more
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// How often each step is measured; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Jobs or calls that are measured at each step; fewer where payloads are large
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    /// What an acknowledged job survives
    #[arg(long, value_enum, default_value_t = Level::None)]
    durability: Level,
    /// Where brokers keep their data [default: the system's temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    destination: Destination,
}

/// Measures, shows what was measured, and says whether every job was settled once.
///
/// # Errors
///
/// There are too few descriptors for the connections, or a file cannot be written. What goes wrong
/// in a run is in the report.
pub(crate) fn carry_out(args: &Args) -> Result<ExitCode> {
    let report = measure(args)?;
    args.destination.deliver(&report)?;
    Ok(exit_code(report.failures()))
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

/// All steps in turn, run after run, so that a machine that changes its speed changes it for all.
fn measure(args: &Args) -> Result<Report> {
    let dimensions = match args.dimension.as_slice() {
        [] => Dimension::value_variants(),
        chosen => chosen,
    };
    let mut curves: Vec<_> = dimensions
        .iter()
        .map(|&dimension| Curve::new(dimension, &dimension.steps(args.max)))
        .collect();
    let connections = curves.iter().map(Curve::connections).max().unwrap_or(0);
    raise_file_limit(connections)?;
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let premises = Premises::new(&dir)?;
    for run in 1..=args.runs {
        for curve in &mut curves {
            let dimension = curve.dimension;
            for step in &mut curve.steps {
                // What cannot be done once is not tried again.
                if step.failures.is_empty() {
                    eprintln!("{} {}, run {run}", dimension.name(), dimension.label(step.size));
                    let stage = Stage {
                        dir: premises.dir(),
                        durability: args.durability,
                        jobs: args.jobs,
                        dimension,
                        size: step.size,
                    };
                    step.add(stage.run());
                }
            }
        }
    }
    curves.iter_mut().for_each(Curve::conclude);
    let durability = args.durability.name();
    let machine = procfs::machine(&dir);
    Ok(Report { v: 1, machine, durability, jobs: args.jobs, runs: args.runs, curves })
}

/// Descriptors that are not for connections.
const FILES_RESERVED: u64 = 128;

/// Lets this process have `connections` connections. The broker does the same for itself.
fn raise_file_limit(connections: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let needed = connections + FILES_RESERVED;
    ensure!(
        limit.maximum.is_none_or(|most| most >= needed),
        "{connections} connections need {needed} open files, and the system's limit is lower; try \
         ulimit -Hn, or --max with fewer connections"
    );
    if limit.current.is_some_and(|current| current < needed) {
        let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(())
}
