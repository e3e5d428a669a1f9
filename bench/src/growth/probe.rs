//! The same jobs through a broker in any state: submitted, assigned and settled one by one.
//! Not the state, and not what it costs the broker: `stage` reads its clocks.
//!
//! ```text
//!  submit ──▶ broker ──▶ worker ──▶ settle ──▶ then the next submit
//!     └──────── a window of jobs on their way, at any time ────┘
//! ```
//!
//! As many are settled as are submitted, so a backlog stays as long as it is; and as all frames of a
//! window are on their way together, the broker finds many whenever it wakes up.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::task::Poll;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use ganger_shared::{Block, JobOptions};
use ganger_worker::{Client, Delivery, Error, Settling, Subscription};

use super::state::{self, QUEUE, Submits};
use crate::check::Ledger;
use crate::payload::{self, Template};

/// Bytes of jobs on their way, at the most.
const WINDOW_BYTES: u64 = 4 << 20;

/// How many windows the jobs are at least: it is to be full for most of the time.
const WINDOWS: u64 = 4;

/// What a probe puts through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Jobs of the longest round.
    pub(crate) jobs: u64,
    /// The length of each.
    pub(crate) len: usize,
    /// Jobs that each worker may have at once, at the most. All of them together are the window.
    pub(crate) credit: u64,
}

/// A submitter and its workers.
pub(crate) struct Probe {
    submits: Submits,
    options: JobOptions,
    template: Template,
    workers: Vec<Subscription>,
    window: u64,
    /// The number of the next job that is submitted.
    next: u64,
    submitted: u64,
    taken: u64,
    settling: VecDeque<(Option<u64>, Settling)>,
    /// Of the jobs in the order in which they wait, the backlog first.
    settled: Ledger,
}

impl Probe {
    /// Prepares for jobs that are like `load`, behind `waiting` jobs, numbered from 0, that are in
    /// the queue.
    ///
    /// # Errors
    ///
    /// There is no worker.
    pub(crate) fn new(
        client: Client,
        workers: &[Client],
        load: Load,
        waiting: u64,
    ) -> Result<Self> {
        let Load { jobs, len, credit } = load;
        let count = u64::try_from(workers.len())?;
        let fitting = (WINDOW_BYTES / len as u64).min(jobs / WINDOWS);
        let credit = fitting.checked_div(count).context("there is no worker")?.clamp(1, credit);
        let subscribe =
            |worker: &Client| Ok(worker.queue(QUEUE)?.subscribe(u32::try_from(credit)?));
        let window = credit * count;
        Ok(Self {
            submits: Submits::new(client, usize::try_from(window)?),
            options: state::options(QUEUE)?,
            template: Template::new(len),
            workers: workers.iter().map(subscribe).collect::<Result<_>>()?,
            window,
            next: waiting,
            submitted: 0,
            taken: 0,
            settling: VecDeque::new(),
            settled: Ledger::new(0),
        })
    }

    /// Puts `jobs` jobs through and waits until each is settled.
    ///
    /// # Errors
    ///
    /// A job is lost, comes twice, or is not the one whose turn it is; the connection breaks.
    pub(crate) async fn round(&mut self, jobs: u64) -> Result<()> {
        self.settled.expect_more(jobs);
        for _ in 0..jobs {
            if self.submitted - self.taken >= self.window {
                self.take().await?;
            }
            let payload = Block::one(Bytes::copy_from_slice(self.template.job(self.next)));
            self.submits.send(self.options.clone(), payload).await?;
            (self.next, self.submitted) = (self.next + 1, self.submitted + 1);
        }
        while self.taken < self.submitted {
            self.take().await?;
        }
        while !self.settling.is_empty() {
            self.confirm().await?;
        }
        self.submits.finish().await?;
        match self.settled.verdict().complaint() {
            None => Ok(()),
            Some(complaint) => bail!("{complaint}"),
        }
    }

    /// Takes one job and settles it.
    async fn take(&mut self) -> Result<()> {
        if self.settling.len() as u64 >= self.window {
            self.confirm().await?;
        }
        let job = self.next_job().await?.context("a subscription has ended")?;
        let id = payload::run(job.payload(), job.payload().len())?;
        self.settling.push_back((payload::id_of(&id), job.ack(Bytes::new())));
        self.taken += 1;
        Ok(())
    }

    /// The next job of the worker whose turn it is, or of the first after it that has one.
    async fn next_job(&self) -> Result<Option<Delivery>, Error> {
        let count = self.workers.len();
        let turn = usize::try_from(self.taken % count as u64).expect("below the count");
        let mut pulls = Vec::new();
        poll_fn(|cx| {
            for at in 0..count {
                if pulls.len() == at {
                    pulls.push(Box::pin(self.workers[(turn + at) % count].pull()));
                }
                if let Poll::Ready(job) = pulls[at].as_mut().poll(cx) {
                    return Poll::Ready(job);
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn confirm(&mut self) -> Result<()> {
        let (id, settling) = self.settling.pop_front().context("nothing is to be confirmed")?;
        settling.await?;
        self.settled.note(id);
        Ok(())
    }
}
