//! Submitters, workers and readers: ordinary users of the client library, who write down what they
//! ask and what they are told, and now and then leave without a word.
//! Not who torments them: `run` does, and the proxy.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll, Waker};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ganger_chance::Rng;
use ganger_history::{Hash, Item, Jobs, Order, Outcome, Reply, Results, What};
use ganger_rt::{sleep, spawn, timeout};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Backoff, Block, Failure, JobId, JobOptions, JobRange, LeaseId, LeaseRange, Priority,
};
use ganger_worker::{
    Accepted, Client, Delivery, Error, List, Run, Settling, SubmitRun, Subscription,
};

use super::stage::{NOTICED_WITHIN, QUEUES, Stage, queue, sentence};
use crate::procfs::monotonic_ns;

/// Submits of one client that are under way at once.
const WINDOW: u64 = 4;

/// Tries that no run uses up: what dies of its own is lost to the reader of results.
const RETRIES: u32 = 100_000;

/// How long a client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a client ends.
async fn leave(client: Client, rng: &mut Rng) {
    if rng.percent(50) {
        // The broker may be dead; the rest of the goodbye is then a broken connection.
        let _ = timeout(GOODBYE, client.close()).await;
    }
}

/// A call of the library that was made and is not answered.
type UnderWay<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Makes a call: its first poll does that, so that calls are made in the order of the code.
fn begin<T: Send + 'static>(
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> UnderWay<T> {
    let mut call: UnderWay<T> = Box::pin(call);
    match call.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
        Poll::Pending => call,
        Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
    }
}

/// Submits until the stage says that it is enough.
pub(crate) async fn submit(stage: Arc<Stage>, number: u64) -> Result<()> {
    let mut rng = Rng::part(stage.seed, "submitter", number);
    for life in 0_u64.. {
        if stage.submits_are_over() {
            break;
        }
        let name = format!("submitter-{number}.{life}");
        let client = stage.connect(&name).await?;
        // All of them alike: one that is refused where another waits may overtake it.
        let when_full = if rng.percent(50) { WhenFull::Wait } else { WhenFull::Refuse };
        let mut submitter = Submitter {
            name,
            when_full,
            stage: Arc::clone(&stage),
            client: client.clone(),
            next_seq: 0,
            under_way: VecDeque::new(),
        };
        let submits = rng.between(20..=400);
        for _ in 0..submits {
            if submitter.stage.submits_are_over() {
                break;
            }
            submitter.submit(&mut rng)?;
            let window = rng.between(1..=WINDOW);
            submitter.wait_below(window).await?;
            sleep(rng.millis(2..=30)).await;
        }
        if submitter.stage.submits_are_over() || rng.percent(60) {
            submitter.wait_below(1).await?;
        }
        // The others stay unanswered for ever.
        drop(submitter);
        leave(client, &mut rng).await;
    }
    Ok(())
}

struct Submitter {
    name: String,
    when_full: WhenFull,
    stage: Arc<Stage>,
    client: Client,
    /// The number that the library will give to the next job.
    next_seq: u64,
    under_way: VecDeque<(Jobs, UnderWay<Accepted>)>,
}

impl Submitter {
    fn submit(&mut self, rng: &mut Rng) -> Result<()> {
        let queue = queue(rng.size(0..=1))?;
        let mut options = JobOptions {
            retries: RETRIES,
            crash_retries: RETRIES,
            backoff: Backoff { base_ms: 5, cap_ms: 100 },
            ..JobOptions::new(queue.clone())
        };
        let mut order = Order::Free;
        match rng.between(0..=9) {
            0 => options.delay_ms = rng.between(1..=500),
            1 => {
                let level = u8::try_from(rng.between(0..=9))?;
                options.priority = Priority::new(level).unwrap_or_default();
            }
            _ => order = Order::Fifo,
        }
        let payloads = payloads(rng);
        let first = JobId { session: self.client.id(), seq: self.next_seq };
        let jobs = Jobs { first, count: payloads.count() };
        self.next_seq += u64::from(jobs.count);
        let hashes = payloads.slices().map(Hash::of).collect();
        let submit = What::Submit {
            queue: queue.clone(),
            order,
            jobs,
            payloads: hashes,
            results: Results::Kept,
        };
        self.stage.note(&self.name, submit);
        let when_full = self.when_full;
        let run = SubmitRun {
            queue,
            options,
            payloads,
            when_full,
            notify: Notify::No,
            prerequisites: Vec::new(),
        };
        let client = self.client.clone();
        let call = begin(async move { client.submit_run(run).await });
        self.under_way.push_back((jobs, call));
        Ok(())
    }

    /// Waits for answers until fewer than `most` are to come.
    async fn wait_below(&mut self, most: u64) -> Result<()> {
        while self.under_way.len() as u64 >= most {
            let Some((jobs, call)) = self.under_way.pop_front() else { break };
            let reply = match call.await {
                Ok(accepted) => {
                    let JobRange { first, count } = accepted.jobs;
                    if (first, count) != (jobs.first, jobs.count) {
                        bail!("{} asked for {} and was given {first}", self.name, jobs.first);
                    }
                    self.stage.opened(jobs);
                    Reply::Ok
                }
                Err(Error::Rejected(_)) => Reply::Fail,
                Err(error) => bail!("{} lost its session: {}", self.name, sentence(&error)),
            };
            self.stage.note(&self.name, What::Submitted { jobs, reply });
        }
        Ok(())
    }
}

/// One to some hundreds of payloads, from nothing to 64 KiB.
fn payloads(rng: &mut Rng) -> Block {
    let count = match rng.between(0..=9) {
        0 => rng.between(100..=300),
        1..=3 => rng.between(2..=20),
        _ => 1,
    };
    let mut block = Block::builder();
    let mut bytes = vec![0; 64 << 10];
    for _ in 0..count {
        // Large ones are few: a run of them is as many bytes as a second of the others.
        let size = match rng.between(0..=199) {
            0 => rng.size(4_097..=64 << 10),
            1..=9 => rng.size(129..=4_096),
            10..=39 => 0,
            _ => rng.size(1..=128),
        };
        rng.fill(&mut bytes[..size]);
        block.push(&bytes[..size]);
    }
    block.finish()
}

/// Works until it is cancelled. Every second worker leaves now and then, and another comes.
pub(crate) async fn work(stage: Arc<Stage>, number: u64) -> Result<()> {
    let mut rng = Rng::part(stage.seed, "worker", number);
    for life in 0_u64.. {
        let name = format!("worker-{number}.{life}");
        let client = stage.connect(&name).await?;
        let pulls: Vec<_> = QUEUES
            .iter()
            .map(|queue| {
                let jobs = client.queue(*queue)?.subscribe(u32::try_from(rng.between(1..=64))?);
                let worker = Worker { name: name.clone(), stage: Arc::clone(&stage) };
                Ok(spawn(worker.pull(jobs, rng.draw())))
            })
            .collect::<Result<_>>()?;
        let life = rng.millis(1_000..=6_000);
        if number.is_multiple_of(2) {
            for pull in pulls {
                pull.await?;
            }
            bail!("the subscriptions of {name} have ended");
        }
        sleep(life).await;
        let since_ns = monotonic_ns();
        for pull in pulls {
            if let Some(ended) = pull.cancel().await {
                ended?;
            }
        }
        leave(client, &mut rng).await;
        // What the broker has sent it in between, nobody has seen.
        sleep(NOTICED_WITHIN).await;
        stage.note(&name, What::Disturbed { since_ns });
    }
    Ok(())
}

#[derive(Clone)]
struct Worker {
    name: String,
    stage: Arc<Stage>,
}

impl Worker {
    /// Takes runs as they come and writes them down at once; whatever takes time, a handler does.
    async fn pull(self, jobs: Subscription, seed: u64) -> Result<()> {
        let mut rng = Rng::new(seed);
        let mut handlers = Vec::new();
        loop {
            let run = match jobs.next_run().await {
                Ok(Some(run)) => run,
                Ok(None) => return Ok(()),
                Err(error) => bail!("{} lost its session: {}", self.name, sentence(&error)),
            };
            let jobs = Jobs { first: run.jobs().first, count: run.jobs().count };
            self.stage.opened(jobs);
            let granted = What::Granted {
                queue: run.queue().clone(),
                jobs,
                lease: run.leases().first,
                attempt: run.attempt(),
                payloads: run.payloads().slices().map(Hash::of).collect(),
            };
            self.stage.note(&self.name, granted);
            handlers.retain(|handler: &ganger_rt::Task<()>| !handler.is_finished());
            handlers.push(spawn(self.clone().handle(run, Rng::new(rng.draw()))));
        }
    }

    async fn handle(self, run: Run, mut rng: Rng) {
        if rng.percent(20) {
            sleep(rng.millis(1..=50)).await;
        }
        let few = run.attempt() < 4;
        match rng.between(0..=9) {
            0 if few => self.nack(run).await,
            1..=3 => {
                for delivery in run.into_deliveries() {
                    self.end(delivery, few, &mut rng).await;
                }
            }
            _ => self.ack(run, &mut rng).await,
        }
    }

    async fn ack(&self, run: Run, rng: &mut Rng) {
        let (jobs, leases) = (run.jobs(), run.leases());
        let mut outputs = Block::builder();
        for offset in 0..leases.count {
            outputs.push(&self.result(leases.part(offset, 1).first, rng));
        }
        let outputs = outputs.finish();
        let results = outputs.slices().map(Hash::of).collect();
        self.settle(jobs, leases, Outcome::Ack, results, || run.ack(outputs)).await;
    }

    async fn nack(&self, run: Run) {
        let (jobs, leases) = (run.jobs(), run.leases());
        let nack = || run.nack(Failure::new("torture", "the whole run"));
        self.settle(jobs, leases, Outcome::Nack, Vec::new(), nack).await;
    }

    async fn end(&self, delivery: Delivery, few: bool, rng: &mut Rng) {
        let (jobs, leases) = (JobRange::one(delivery.job()), LeaseRange::one(delivery.lease()));
        match rng.between(0..=19) {
            0 | 1 if few => {
                let wait = rng.millis(0..=50);
                let nack = || delivery.nack_after(Failure::new("torture", "one of them"), wait);
                self.settle(jobs, leases, Outcome::Nack, Vec::new(), nack).await;
            }
            2 => {
                self.settle(jobs, leases, Outcome::Release, Vec::new(), || delivery.release()).await
            }
            _ => {
                let output = self.result(delivery.lease(), rng);
                let results = vec![Hash::of(&output)];
                self.settle(jobs, leases, Outcome::Ack, results, || delivery.ack(output)).await;
            }
        }
    }

    /// Another one for each attempt, so that what is stored says which attempt has won.
    fn result(&self, lease: LeaseId, rng: &mut Rng) -> Vec<u8> {
        let mut result = format!("lease {lease}, {}: ", self.name).into_bytes();
        result.resize(result.len() + rng.size(0..=200), b'.');
        result
    }

    async fn settle(
        &self,
        jobs: JobRange,
        leases: LeaseRange,
        outcome: Outcome,
        results: Vec<Hash>,
        settle: impl FnOnce() -> Settling,
    ) {
        let jobs = Jobs { first: jobs.first, count: jobs.count };
        let lease = leases.first;
        self.stage.note(&self.name, What::Settle { jobs, lease, outcome, results });
        let reply = match settle().await {
            Ok(()) => Reply::Ok,
            Err(Error::LeaseLost { .. }) if jobs.count == 1 => Reply::Fail,
            // Of a run it names the first lease that was lost, and the others may be settled.
            Err(_) => Reply::Unknown,
        };
        self.stage.note(&self.name, What::Settled { jobs, lease, reply });
    }
}

/// Reads results until it is cancelled, and leaves now and then.
pub(crate) async fn read(stage: Arc<Stage>, number: u64) -> Result<()> {
    let mut rng = Rng::part(stage.seed, "reader", number);
    for life in 0_u64.. {
        let mut name = format!("reader-{number}.{life}");
        let client = stage.connect(&name).await?;
        let lists: Vec<List> = QUEUES
            .iter()
            .map(|queue| client.queue(*queue)?.results())
            .collect::<Result<_, Error>>()
            .map_err(anyhow::Error::from)?;
        let until = Instant::now() + rng.millis(2_000..=8_000);
        let mut has_read = [false; QUEUES.len()];
        while Instant::now() < until {
            let number = rng.size(0..=QUEUES.len() as u64 - 1);
            let (list, max) = (&lists[number], u32::try_from(rng.between(1..=256))?);
            let page = match list.pop(max, Duration::from_millis(50)).await {
                Ok(page) => page,
                Err(error) => bail!("{name} lost its session: {}", sentence(&error)),
            };
            if page.returned {
                // It cannot confirm what it has read so far: that is another reader from here on.
                name.push('+');
            } else if has_read[number] {
                // A pop says that the items of those before it have arrived.
                stage.note(&name, What::Confirmed { list: list.name().clone() });
            }
            has_read[number] = !page.items.is_empty();
            let items = page.items.iter().filter_map(|item| {
                Some(Item { index: item.index, job: item.job?, result: Hash::of(&item.bytes) })
            });
            let items: Vec<Item> = items.collect();
            if items.len() != page.items.len() {
                bail!("list {} has items that are no results", list.name());
            }
            let jobs: Vec<JobId> = items.iter().map(|item| item.job).collect();
            if !items.is_empty() {
                stage.note(&name, What::Read { list: list.name().clone(), items });
            }
            for job in jobs {
                stage.closed(job);
            }
        }
        leave(client, &mut rng).await;
    }
    Ok(())
}
