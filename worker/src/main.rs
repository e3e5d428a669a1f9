//! The worker as a program of its own. See [`ganger_worker::command`].

use std::process::ExitCode;

use clap::Parser;
use ganger_worker::command::{self, WorkerArgs};

/// A worker of Ganger: runs the jobs of queues by a command or a built-in handler.
#[derive(Debug, Parser)]
#[command(name = "ganger-worker", version)]
struct Cli {
    #[command(flatten)]
    args: WorkerArgs,
}

fn main() -> ExitCode {
    command::run(&Cli::parse().args)
}
