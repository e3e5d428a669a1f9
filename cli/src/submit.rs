//! `ganger submit`: jobs from the command line or from standard input.
//!
//! How runs are sent and their ends collected is in [`pump`]; how lines become runs in
//! [`crate::lines`].

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use ganger_shared::request::WhenFull;
use ganger_shared::{Block, JobOptions};
use ganger_worker::Client;

use crate::exit::{Failure, Result};
use crate::lines::{self, Batch, Batching, Form, LineError};
use crate::link;
use crate::progress::Progress;

pub(crate) mod args;
mod pump;

use args::{Full, Source, SubmitArgs};
use pump::{Plan, Pump};

/// Runs the command.
pub(crate) async fn run(args: SubmitArgs) -> Result {
    let started = Instant::now();
    let options = Arc::new(args.options.to_options(&args.queue));
    let many = args.source.each_line || args.source.ndjson;
    // What is wrong with the payload is said before anything is connected.
    let payload = if many { None } else { Some(payload(&args.source)?) };
    let client = link::connect(&args.common).await?;
    let batches = match payload {
        Some(payload) => one(payload, options)?,
        None => stdin(&args, options, &client)?,
    };
    let refuse = if many { Full::Wait } else { Full::Refuse };
    let show = &args.common.show;
    let plan = Plan {
        queue: args.queue.clone(),
        when_full: match args.when_full.unwrap_or(refuse) {
            Full::Refuse => WhenFull::Refuse,
            Full::Wait => WhenFull::Wait,
        },
        prerequisites: args.waits.to_prerequisites(),
        wait: args.wait,
        deadline: args.timeout.map(|timeout| started + timeout),
        quiet: show.quiet,
        many,
    };
    let progress = Progress::new(show, if args.wait { "jobs done" } else { "jobs accepted" });
    let format = crate::output::Output::new(show).format;
    let ended = Pump::new(client.clone(), plan, format, progress.clone()).run(batches).await;
    progress.clear();
    client.close().await;
    ended
}

fn stdin(
    args: &SubmitArgs,
    options: Arc<JobOptions>,
    client: &Client,
) -> Result<Receiver<Result<Batch, LineError>>> {
    let batching = Batching {
        form: if args.source.ndjson { Form::Ndjson } else { Form::Text },
        options,
        count_max: args.batch,
        payload_max: client.terms().payload_bytes_max as usize,
    };
    lines::read(io::stdin(), batching)
        .map_err(|error| Failure::io("cannot read standard input", &error))
}

fn one(payload: Vec<u8>, options: Arc<JobOptions>) -> Result<Receiver<Result<Batch, LineError>>> {
    let (sender, receiver) = async_channel::bounded(1);
    let batch = Batch { first_line: 1, options, payloads: Block::one(payload) };
    sender.try_send(Ok(batch)).map_err(|_| Failure::new(1, "the payload went nowhere"))?;
    Ok(receiver)
}

/// The payload of a single job.
fn payload(source: &Source) -> Result<Vec<u8>> {
    let text = source.text.as_deref().or(source.payload.as_deref()).unwrap_or_default();
    if text == "-" {
        let mut payload = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut payload);
        read.map_err(|error| Failure::io("cannot read standard input", &error))?;
        return Ok(payload);
    }
    match text.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| {
            Failure::usage(format!("cannot read the payload from {file}: {error}"))
                .with_advice("`-` and standard input for a payload that begins with @")
        }),
        None => Ok(text.as_bytes().to_vec()),
    }
}
