//! The `ganger` command: submit jobs, read results, look after queues, and run a broker or workers.
//!
//! What can be typed is in [`args`]; each noun has a file; all output goes through [`output`].

use std::process::ExitCode;

use clap::Parser;

mod args;
mod backup;
mod complete;
mod dead;
mod demo;
mod ended;
mod exit;
mod guarded;
mod interrupt;
mod job;
mod journal;
mod lines;
mod link;
mod list;
mod ndjson;
mod object;
mod output;
mod progress;
mod queue;
mod results;
mod session;
mod sink;
mod status;
mod submit;
mod values;

use args::{Ganger, Verb};
use exit::Result;

fn main() -> ExitCode {
    let verb = match Ganger::parse().verb {
        // These two have logs, signals and exit codes of their own.
        Verb::Broker(args) => return ganger_broker::command::run(args),
        Verb::Worker(args) => return ganger_worker::command::run(&args),
        verb => verb,
    };
    match run(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(verb: Verb) -> Result {
    ganger_worker::block_on(Box::pin(async {
        match verb {
            // Run above, without a client.
            Verb::Broker(_) | Verb::Worker(_) => Ok(()),
            Verb::Demo(args) => demo::run(args).await,
            Verb::Submit(args) => submit::run(*args).await,
            Verb::Results(args) => results::run(args).await,
            Verb::Status { common } => status::run(&common).await,
            Verb::Queue { common, verb } => queue::run(&common, verb).await,
            Verb::Job { common, verb } => job::run(&common, verb).await,
            Verb::Dead { common, verb } => dead::run(&common, verb).await,
            Verb::List { common, verb } => list::run(&common, verb).await,
            Verb::Object { common, verb } => object::run(&common, *verb).await,
            Verb::Lock(args) => guarded::lock(*args).await,
            Verb::Semaphore(args) => guarded::semaphore(*args).await,
            Verb::Session { common, verb } => session::run(&common, verb).await,
            Verb::Journal { show, verb } => journal::run(&show, verb),
            Verb::Backup { show, data, out } => backup::backup(&show, &data, &out),
            Verb::Restore { show, backup, data } => backup::restore(&show, &backup, &data),
            Verb::Completion { shell } => complete::completion(shell),
            Verb::Man { dir } => complete::man(dir.as_deref()),
            Verb::ExitCodes => output::print(&format!("{}\n", exit::PAGE)),
        }
    }))
}
