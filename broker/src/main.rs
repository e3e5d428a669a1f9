//! The broker as a program of its own. See [`ganger_broker::command`].

use std::process::ExitCode;

use clap::Parser;
use ganger_broker::command::{self, Args};

/// The broker of Ganger: owns queues and lists, and hands jobs to workers.
#[derive(Debug, Parser)]
#[command(name = "ganger-broker", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    command::run(Cli::parse().args)
}
