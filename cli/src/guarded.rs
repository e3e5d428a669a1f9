//! `ganger lock` and `ganger semaphore`: a command that runs while something is held.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures_lite::future::or;
use ganger_shared::Name;
use ganger_shared::admin::{AdminAnswer, AdminVerb, HolderInfo, ObjectDetails};
use ganger_worker::error::{exit, sentence};
use ganger_worker::{Client, Error, Guard, Objects};

use crate::args::Common;
use crate::exit::{Failure, Result};
use crate::link::{self, explained};
use crate::{output, values};

mod child;

use child::Child;

/// How often it is looked whether the broker still knows of the grant: every 2 s.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long the release may take: 5 s. Without it the broker frees it when the session ends.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// Holders that a sentence names.
const NAMED_MAX: usize = 3;

#[derive(Debug, Args)]
#[command(
    after_help = "The command finds the fencing token in GANGER_LOCK_TOKEN: it is larger than all before it; let what\nyou guard refuse smaller ones. Exit code: the command's own, 128 and the signal that killed it, 124\nif the lock was not free in time, 126 or 127 if the command cannot be run.\n\nExamples:\n  ganger lock deploy -- ./deploy.sh\n  ganger lock deploy --wait 30s -- sh -c 'echo \"token $GANGER_LOCK_TOKEN\"'"
)]
pub(crate) struct LockArgs {
    /// The lock; made on first use.
    name: Name,

    /// It is of type rlock/1.
    #[arg(long)]
    rlock: bool,

    #[command(flatten)]
    guarded: Guarded,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The command finds the fencing token in GANGER_LOCK_TOKEN. Exit codes are those of `ganger lock`.\n\nExample:\n  ganger semaphore encoders -n 2 -- ffmpeg -i in.mov out.mp4"
)]
pub(crate) struct SemaphoreArgs {
    /// The semaphore; made on first use.
    name: Name,

    /// With how many units it is made where there is none; the command holds one of them.
    #[arg(short = 'n', long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    units: u64,

    #[command(flatten)]
    guarded: Guarded,
}

#[derive(Debug, Args)]
struct Guarded {
    /// Wait no longer than this; exit code 124 [default: as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    wait: Option<Duration>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,

    #[command(flatten)]
    common: Common,
}

/// Runs `ganger lock`.
pub(crate) async fn lock(args: LockArgs) -> Result {
    let LockArgs { name, rlock, guarded } = args;
    let client = link::connect(&guarded.common).await?;
    let holder = client.holder();
    let lock = if rlock { holder.rlock(&name)? } else { holder.lock(&name)? };
    let granted = match guarded.wait {
        Some(wait) => lock.acquire_within(wait).await,
        None => lock.acquire().await.map(Some),
    };
    run(client, name, granted, guarded).await
}

/// Runs `ganger semaphore`.
pub(crate) async fn semaphore(args: SemaphoreArgs) -> Result {
    let SemaphoreArgs { name, units, guarded } = args;
    let client = link::connect(&guarded.common).await?;
    let granted = match client.holder().semaphore(&name, units).await {
        Ok(semaphore) => match guarded.wait {
            Some(wait) => semaphore.acquire_within(wait).await,
            None => semaphore.acquire().await.map(Some),
        },
        Err(error) => Err(error),
    };
    run(client, name, granted, guarded).await
}

async fn run(
    client: Client,
    name: Name,
    granted: Result<Option<Guard>, Error>,
    guarded: Guarded,
) -> Result {
    let failure = match granted {
        Ok(Some(guard)) => return hold(client, &name, guard, &guarded.command).await,
        Ok(None) => not_free(&client, &name, guarded.wait.unwrap_or_default()).await,
        Err(error) => explained(&client, error).await,
    };
    client.close().await;
    Err(failure)
}

/// Runs the command and releases what is held, however the command ends.
async fn hold(client: Client, name: &Name, guard: Guard, command: &[OsString]) -> Result {
    let token = guard.token();
    let ended = match Child::start(command, token) {
        Ok(child) => Ok(or(child.finish(), watch(&client, name, token)).await),
        Err(failure) => Err(failure),
    };
    match ganger_rt::timeout(RELEASE_WITHIN, guard.release()).await {
        Ok(released) => {
            if let Err(error) = released {
                let why = sentence(&error);
                output::warn(&format!("{name} was not held to the end: {why}"));
            }
            client.close().await;
        }
        // To close in good order would be to wait once more.
        Err(_) => output::warn(&format!(
            "broker {} does not answer: {name} is free once it misses this session",
            client.broker()
        )),
    }
    match ended? {
        0 => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

/// Looks whether the grant still stands and says so once if it may not; never ends.
async fn watch<T>(client: &Client, name: &Name, token: u64) -> T {
    let away = Duration::from_millis(client.terms().grace_ms) + LOOK_EVERY;
    loop {
        ganger_rt::sleep(LOOK_EVERY).await;
        let show = client.admin(AdminVerb::ObjectShow { object: name.clone() });
        let why = match ganger_rt::timeout(away, show).await {
            Ok(Ok(AdminAnswer::Object(details))) if is_held(&details, token) => continue,
            Ok(Ok(_)) => format!("{name} is lost: the broker has it no longer under token {token}"),
            Ok(Err(error)) => format!("{name} may be lost: {}", sentence(&error)),
            Err(_) => format!("{name} may be lost: broker {} does not answer", client.broker()),
        };
        output::warn(&format!("{why}; the command goes on"));
        return std::future::pending().await;
    }
}

fn is_held(details: &ObjectDetails, token: u64) -> bool {
    details.holders.iter().any(|holder| holder.token == token)
}

/// It was not free in time; names who holds it.
async fn not_free(client: &Client, name: &Name, wait: Duration) -> Failure {
    let wait = output::span(wait.as_millis());
    let mut sentence = format!("{name} was not free within {wait}");
    if let Ok(AdminAnswer::Object(details)) =
        client.admin(AdminVerb::ObjectShow { object: name.clone() }).await
    {
        sentence.push_str(&held_by(&details.holders));
    }
    Failure::new(exit::TIMED_OUT, sentence)
        .with_advice(format!("`ganger object holders {name}` shows who holds it and who waits"))
}

fn held_by(holders: &[HolderInfo]) -> String {
    let mut text = String::new();
    for (index, holder) in holders.iter().take(NAMED_MAX).enumerate() {
        let and = if index == 0 { ": held by" } else { "," };
        let since = output::span(values::now().since(holder.since).as_millis());
        let HolderInfo { name, session, token, .. } = holder;
        let _ = write!(text, "{and} {name} (session {session}, token {token}) for {since}");
    }
    if let Some(more @ 1..) = holders.len().checked_sub(NAMED_MAX) {
        let _ = write!(text, " and {more} others");
    }
    text
}
