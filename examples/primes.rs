//! Prime search: ranges as jobs, handlers that share state, progress, and a job that is cancelled.
//!
//! Both handlers find the table of small primes by its type, with `ctx.state::<SmallPrimes>()`. They
//! compute, so each job runs on a thread of its own, says how far it is, and looks now and then
//! whether it is still wanted. The last job looks for an even prime above 2: to cancel it is the only
//! way to end it.
//!
//! ```text
//! $ cargo run -p ganger-examples --example primes
//! submitted 20 ranges of 50000 numbers
//! there are 78498 primes below 1000000, as is well known
//! the search for an even prime is at 86354, none so far
//! told 1 worker to stop: job 25ed2a1b7f0c9e11-20 was cancelled
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::ops::Range;
use std::time::Duration;

use anyhow::{anyhow, bail};
use ganger_broker::Broker;
use ganger_shared::JobId;
use ganger_shared::admin::{AdminAnswer, AdminVerb, JobState};
use ganger_worker::{Client, Ctx, JobError, JobFailed, Worker};

const LIMIT: u64 = 1_000_000;
const RANGE: u64 = 50_000;
/// How many primes there are below [`LIMIT`]: <https://oeis.org/A006880>.
const KNOWN: u64 = 78_498;

/// The primes up to the root of [`LIMIT`]: shared by all handlers of the worker.
struct SmallPrimes(Vec<u64>);

impl SmallPrimes {
    fn find() -> Self {
        let mut primes = Self(Vec::new());
        for number in (2..).take_while(|n| n * n <= LIMIT) {
            if primes.divide(number).is_none() {
                primes.0.push(number);
            }
        }
        primes
    }

    /// The smallest prime that divides `number` and is not `number`; right up to [`LIMIT`].
    fn divide(&self, number: u64) -> Option<u64> {
        let mut candidates = self.0.iter().copied().take_while(|prime| prime * prime <= number);
        candidates.find(|prime| number.is_multiple_of(*prime))
    }
}

/// Handler `primes`: how many primes are in the range.
fn count_primes(range: Range<u64>, ctx: Ctx) -> Result<u64, JobError> {
    let small = ctx.state::<SmallPrimes>();
    let mut count = 0;
    for number in range.start.max(2)..range.end {
        still_wanted(&ctx)?;
        count += u64::from(small.divide(number).is_none());
        ctx.progress(number + 1 - range.start, range.end - range.start, "");
    }
    Ok(count)
}

/// Handler `even-prime`: an even prime above 2.
fn find_even_prime((): (), ctx: Ctx) -> Result<u64, JobError> {
    let small = ctx.state::<SmallPrimes>();
    let mut number = 4;
    while small.divide(number).is_some() {
        still_wanted(&ctx)?;
        ctx.progress(number, 0, "none so far");
        number += 2;
    }
    Ok(number)
}

/// Gives the job back if it is cancelled or the worker drains; a cancelled one ends with that.
fn still_wanted(ctx: &Ctx) -> Result<(), JobError> {
    if ctx.is_cancelled() { Err(JobError::release(Duration::ZERO)) } else { Ok(()) }
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await?;
        let client = Client::over(broker.connect_pipe(), broker.key().clone()).await?;
        let worker = Worker::new(client.clone())
            .queue("primes")
            .concurrency(2)
            .state(SmallPrimes::find())
            .blocking("primes", count_primes)
            .blocking("even-prime", find_even_prime);
        let drainer = worker.drainer();
        let working = ganger_worker::spawn(worker.run());

        count_below_limit(&client).await?;
        search_in_vain(&client).await?;

        drainer.drain();
        working.await?;
        client.close().await;
        broker.stop().await?;
        Ok(())
    })
}

async fn count_below_limit(client: &Client) -> anyhow::Result<()> {
    let ranges = (0..LIMIT / RANGE).map(|n| n * RANGE..(n + 1) * RANGE);
    let ranges = ranges.map(|range| serde_json::to_vec(&range)).collect::<Result<Vec<_>, _>>()?;
    let submitted = client.submit_many("primes", ranges).notify().await?;
    println!("submitted {} ranges of {RANGE} numbers", submitted.count());

    let endings = submitted.into_endings().expect("notify was asked for");
    let mut primes = 0;
    for result in endings.results().await? {
        primes += serde_json::from_slice::<u64>(&result)?;
    }
    assert_eq!(primes, KNOWN, "some range was counted wrong, twice or not at all");
    println!("there are {primes} primes below {LIMIT}, as is well known");
    Ok(())
}

async fn search_in_vain(client: &Client) -> anyhow::Result<()> {
    let queue = client.queue("primes")?;
    let search = queue.submit_json(&()).handler("even-prime").notify().await?;
    let progress = ganger_rt::timeout(Duration::from_secs(10), progress(client, search.id())).await;
    let (done, note) = progress.map_err(|_| anyhow!("no progress for 10 s"))??;
    println!("the search for an even prime is at {done}, {note}");

    let told = search.cancel().await?.told;
    match search.result().await {
        Err(end @ JobFailed::Cancelled { .. }) => println!("told {told} worker to stop: {end}"),
        end => bail!("expected a cancelled job: {end:?}"),
    }
    Ok(())
}

/// What the broker knows of a running job's progress, once it is on its way.
async fn progress(client: &Client, job: JobId) -> anyhow::Result<(u64, String)> {
    loop {
        let answer = client.admin(AdminVerb::JobShow { job }).await?;
        let AdminAnswer::Jobs(jobs) = answer else { bail!("not about a job: {answer:?}") };
        let state = jobs.into_iter().next().map(|info| info.state);
        if let Some(JobState::Leased { progress: Some((done, _, note)), .. }) = state
            && done > 1_000
        {
            return Ok((done, note));
        }
        ganger_rt::sleep(Duration::from_millis(20)).await;
    }
}
