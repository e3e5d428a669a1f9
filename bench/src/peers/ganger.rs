//! Ganger itself: its broker in a process of its own, its roles through the client library that
//! every user has.
//! Not frames made for the occasion: what the library costs is part of the figures.

mod objects;

use std::collections::VecDeque;
use std::fs;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Polling, Poll, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use ganger_rt::{Task as Spawned, block_on, sleep, spawn, timeout};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{Block, JobOptions, Name, ResultsTo};
use ganger_worker::{Error, List, Options, Page, Queue, SubmitRun, Subscription, key_file};

use crate::calls::Call;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{
    Caller, Client, Collector, Durability, Peer, Producer, Program, Site, Step, Task, Worker,
};
use crate::roles::PATIENCE;
use crate::shapes::{Shape, Style};

const QUEUE: &str = "bench";

/// Jobs that a worker may have at once: a few runs, so that one is on its way while another is
/// worked on.
const CREDIT: u32 = 1_024;

/// Items per pop, and pops under way.
const POP_MAX: u32 = 4_096;
const POPS: usize = 2;

/// The file in the server's directory with its settings.
const SETTINGS: &str = "broker.toml";

/// Ganger.
#[derive(Debug)]
pub(crate) struct Ganger {
    /// In which its configuration differs from the defaults, as TOML.
    pub(crate) settings: &'static str,
}

impl Peer for Ganger {
    fn name(&self) -> &'static str {
        "ganger"
    }

    fn driven_as(&self) -> &'static str {
        "through its client library: submit, pull, ack with the result, pop of results; batched: \
         runs of 256, acked run by run, credit 1,024, pops of 4,096; latency by Finished; \
         objects by their typed proxies; memory / relaxed / strict"
    }

    fn locate(&self) -> Result<Program> {
        // The broker is a library too, and this program has it: no other file can be out of date.
        let version = format!("{}, the broker in this program", env!("CARGO_PKG_VERSION"));
        Ok(Program { path: std::env::current_exe()?, version })
    }

    fn has_shape(&self, _shape: Shape) -> bool {
        true
    }

    fn furnish(&self, site: &Site) -> Result<()> {
        if !self.settings.is_empty() {
            fs::write(site.dir.join(SETTINGS), self.settings)?;
        }
        Ok(())
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        let mut command = Command::new(&program.path);
        let durability = match site.durability {
            Durability::None => "memory",
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        command.args(["serve", "--durability", durability]);
        if !self.settings.is_empty() {
            command.arg("--config").arg(site.dir.join(SETTINGS));
        }
        command.args(["--listen", &site.address.to_string()]);
        command.arg("--key-file").arg(key_path(site));
        if site.durability != Durability::None {
            command.arg("--data").arg(site.dir.join("data"));
        }
        // What the environment says of other brokers is not for this one.
        for name in ["GANGER_CONFIG", "GANGER_DATA", "GANGER_LOG"] {
            command.env_remove(name);
        }
        command
    }

    fn ask(&self, site: &Site) -> Result<()> {
        block_on(connect(site, Duration::ZERO)).map(drop)
    }

    fn drive(&self, role: Step<'_, ()>) -> Result<()> {
        block_on(role)
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        let (queue, watch) = block_on(attend(task))?;
        Ok(Box::new(GangerClient { queue, watch }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let client = block_on(connect(&task.site, PATIENCE))?;
        let watch = Watch::start(&client);
        let name = Name::new(QUEUE)?;
        let under_way = VecDeque::new();
        let template = Template::new(task.payload);
        Ok(Box::new(GangerProducer { client, name, template, under_way, watch }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let client = block_on(connect(&task.site, PATIENCE))?;
        let queue = client.queue(QUEUE)?;
        Ok(Box::new(GangerWorker { queue, style: task.style, payload: task.payload }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        let (queue, watch) = block_on(attend(task))?;
        let (pops, max) = match task.style {
            Style::Plain => (1, 1),
            Style::Pipelined => (1, POP_MAX),
            Style::Batched => (POPS, POP_MAX),
        };
        let list = queue.results()?;
        Ok(Box::new(GangerCollector { list, pops, max, under_way: VecDeque::new(), watch }))
    }

    fn caller(&self, task: &Task, call: Call) -> Result<Box<dyn Caller>> {
        objects::caller(task, call)
    }
}

fn key_path(site: &Site) -> PathBuf {
    site.dir.join("key")
}

/// A session at `site`, which ends with its connection.
///
/// # Errors
///
/// The server is unreachable for as long as `within`.
pub(crate) async fn connect(site: &Site, within: Duration) -> Result<ganger_worker::Client> {
    let key = key_file::read(&key_path(site))?;
    let options = Options {
        connect_timeout: within,
        // A connection that breaks makes the run a failure; there is nobody to come back to.
        reconnect_timeout: Some(Duration::ZERO),
        ..Options::new(site.address.to_string(), key)
    };
    Ok(ganger_worker::Client::connect(options).await?)
}

/// A connection that does not wait for ever.
async fn attend(task: &Task) -> Result<(Queue, Watch)> {
    let client = connect(&task.site, PATIENCE).await?;
    let watch = Watch::start(&client);
    Ok((client.queue(QUEUE)?, watch))
}

/// Closes a connection on which nothing has come forward for [`PATIENCE`], and up to twice that. A
/// timer for each call would cost as much as the call.
struct Watch {
    steps: Arc<AtomicU64>,
    _task: Spawned<()>,
}

impl Watch {
    fn start(client: &ganger_worker::Client) -> Self {
        let steps = Arc::new(AtomicU64::new(0));
        let (counted, client) = (Arc::clone(&steps), client.clone());
        let task = spawn(async move {
            let mut seen = None;
            loop {
                // It passes only while the role waits, as nobody else runs the task.
                sleep(PATIENCE + PATIENCE / 10).await;
                let steps = Some(counted.load(Ordering::Relaxed));
                if steps == seen {
                    return client.close().await;
                }
                seen = steps;
            }
        });
        Self { steps, _task: task }
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

struct GangerClient {
    queue: Queue,
    watch: Watch,
}

impl Client for GangerClient {
    fn round_trip<'a>(&'a mut self, job: &'a [u8]) -> Step<'a, [u8; RESULT_LEN]> {
        self.watch.step();
        let submit = self.queue.submit(Bytes::copy_from_slice(job)).results(ResultsTo::Nowhere);
        Box::pin(async move { Ok(submit.result().await?.as_ref().try_into()?) })
    }
}

/// A call of the library that was made and is not answered.
pub(crate) type UnderWay<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// Makes a call: its first poll does that. Whoever awaits it then is the first to wait.
pub(crate) fn begin<T: 'static>(
    call: impl Future<Output = Result<T, Error>> + 'static,
) -> UnderWay<T> {
    let mut call: UnderWay<T> = Box::pin(call);
    match call.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
        Poll::Pending => call,
        Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
    }
}

struct GangerProducer {
    client: ganger_worker::Client,
    name: Name,
    template: Template,
    under_way: VecDeque<UnderWay<ganger_worker::Accepted>>,
    watch: Watch,
}

impl Producer for GangerProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        let run = SubmitRun {
            queue: self.name.clone(),
            options: JobOptions::new(self.name.clone()),
            payloads: self.template.block(ids),
            when_full: WhenFull::Wait,
            notify: Notify::No,
            prerequisites: Vec::new(),
        };
        let client = self.client.clone();
        self.under_way.push_back(begin(async move { client.submit_run(run).await }));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        // The library has sent each batch by itself.
        Ok(())
    }

    fn confirm(&mut self, _jobs: u64) -> Step<'_, ()> {
        self.watch.step();
        Box::pin(async {
            self.under_way.pop_front().context("nothing is to be confirmed")?.await?;
            Ok(())
        })
    }
}

struct GangerWorker {
    queue: Queue,
    style: Style,
    payload: usize,
}

impl Worker for GangerWorker {
    fn work(&mut self) -> Step<'_, ()> {
        let credit = match self.style {
            Style::Plain | Style::Pipelined => 1,
            Style::Batched => CREDIT,
        };
        Box::pin(async move {
            let jobs = self.queue.subscribe(credit);
            match self.style {
                Style::Plain => self.work_plain(&jobs).await,
                Style::Pipelined => self.work_pipelined(&jobs).await,
                Style::Batched => self.work_batched(&jobs).await,
            }
        })
    }
}

impl GangerWorker {
    async fn work_plain(&self, jobs: &Subscription) -> Result<()> {
        while let Some(job) = jobs.pull().await? {
            let result = payload::run(job.payload(), self.payload)?;
            job.ack(Bytes::copy_from_slice(&result)).await?;
        }
        Ok(())
    }

    async fn work_pipelined(&self, jobs: &Subscription) -> Result<()> {
        while let Some(job) = jobs.pull().await? {
            let result = payload::run(job.payload(), self.payload)?;
            drop(job.ack(Bytes::copy_from_slice(&result)));
        }
        Ok(())
    }

    async fn work_batched(&self, jobs: &Subscription) -> Result<()> {
        while let Some(run) = jobs.next_run().await? {
            let mut results = Block::builder();
            for job in run.payloads().slices() {
                results.push(&payload::run(job, self.payload)?);
            }
            drop(run.ack(results.finish()));
        }
        Ok(())
    }
}

struct GangerCollector {
    list: List,
    /// How many pops are under way at once.
    pops: usize,
    max: u32,
    /// With how long the broker lets each wait.
    under_way: VecDeque<(UnderWay<Page>, Duration)>,
    watch: Watch,
}

impl Collector for GangerCollector {
    fn collect<'a>(&'a mut self, ledger: &'a mut Ledger, patience: Duration) -> Step<'a, u64> {
        self.watch.step();
        Box::pin(self.collect_page(ledger, patience))
    }
}

impl GangerCollector {
    async fn collect_page(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        while self.under_way.len() < self.pops {
            let (list, max) = (self.list.clone(), self.max);
            let pop = begin(async move { list.pop(max, patience).await });
            self.under_way.push_back((pop, patience));
        }
        let Some((pop, waits)) = self.under_way.front_mut() else { return Ok(0) };
        // The broker ends the wait; only one that was begun with more patience is cut short here.
        let page = if *waits <= patience {
            pop.await
        } else {
            let Ok(page) = timeout(patience, pop).await else { return Ok(0) };
            page
        };
        self.under_way.pop_front();
        let page = page?;
        page.items.iter().for_each(|item| ledger.record(&item.bytes));
        Ok(u64::try_from(page.items.len())?)
    }
}
