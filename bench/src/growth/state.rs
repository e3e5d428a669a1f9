//! Brings a fresh broker into the state of a step, and keeps it there.
//! Not what is measured then: that is `probe`.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::time::millis;
use ganger_shared::{Block, JobOptions, Name, ResultsTo};
use ganger_worker::{Accepted, Client, SubmitRun, Subscription};

use super::dimension::Dimension;
use crate::payload::{RESULT_LEN, Template};
use crate::peer::Site;
use crate::peers::ganger::{UnderWay, begin, connect};
use crate::roles::PATIENCE;

/// The queue that is measured.
pub(crate) const QUEUE: &str = "probe";

/// Where the broker differs from its defaults: there is room for the last steps, and clients that do
/// nothing stay silent. Their heartbeats cost by the second and not by the job, and would be
/// charged to the jobs that happen to go through in the same second.
pub(crate) const SETTINGS: &str = r#"
[limits]
names_max = 200000
list_items_max = 20000000
list_bytes_max = "4GiB"
memory_max = "8GiB"

[sessions]
heartbeat = "1h"

[queues]
jobs_max = 20000000
lease = "1h"
"#;

/// Jobs of one run of a backlog.
const RUN: u64 = 256;

/// Submits under way, so that the broker and this process both have something to do.
const WINDOW: usize = 1_024;

/// Longer than any measurement.
const DELAY: Duration = Duration::from_secs(86_400);

/// The first number of jobs that must not arrive while it is measured.
const NOT_TO_ARRIVE: u64 = 1 << 40;

/// What keeps a broker in its state. Dropping it ends that.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Jobs that wait in the queue, numbered from 0.
    pub(crate) waiting: u64,
    _idle: Vec<Client>,
    /// Of the client that takes jobs and never looks at them.
    _held: Option<Subscription>,
}

impl State {
    /// Brings the broker at `site` to the step `size` of `dimension`; `client` submits what is needed.
    ///
    /// # Errors
    ///
    /// The broker refuses, or goes away.
    pub(crate) async fn reach(
        dimension: Dimension,
        size: u64,
        client: &Client,
        site: &Site,
    ) -> Result<Self> {
        match dimension {
            Dimension::Backlog => {
                let numbers = (0..size).step_by(usize::try_from(RUN)?);
                let blocks = numbers.map(|first| jobs(first, RUN.min(size - first)));
                submit_all(client, blocks.map(|block| (options(QUEUE), block))).await?;
                Ok(Self { waiting: size, ..Self::default() })
            }
            Dimension::Connections => {
                let mut idle = Vec::new();
                for _ in 0..size {
                    idle.push(connect(site, PATIENCE).await?);
                }
                Ok(Self { _idle: idle, ..Self::default() })
            }
            Dimension::Queues => {
                let queues = (0..size).map(|number| options(&format!("other-{number}")));
                submit_all(client, queues.map(|options| (options, jobs(0, 1)))).await?;
                Ok(Self::default())
            }
            Dimension::Delayed => {
                let delayed = JobOptions { delay_ms: millis(DELAY), ..options(QUEUE)? };
                submit_all(client, singles(size).map(|block| (Ok(delayed.clone()), block))).await?;
                Ok(Self::default())
            }
            Dimension::Leased => {
                let holder = connect(site, PATIENCE).await?;
                let credit = u32::try_from(size)?;
                let held = holder.queue(QUEUE)?.subscribe(credit);
                submit_all(client, singles(size).map(|block| (options(QUEUE), block))).await?;
                Ok(Self { _held: Some(held), ..Self::default() })
            }
            Dimension::Payload
            | Dimension::Workers
            | Dimension::ListAppend
            | Dimension::ListPopFirst
            | Dimension::ListPopLast
            | Dimension::ListGet
            | Dimension::ListLen => Ok(Self::default()),
        }
    }
}

/// What is asked for jobs of `queue`. Their results go nowhere.
pub(crate) fn options(queue: &str) -> Result<JobOptions> {
    let name = Name::new(queue)?;
    Ok(JobOptions { results: ResultsTo::Nowhere, ..JobOptions::new(name) })
}

/// Jobs one by one, none of which may arrive.
fn singles(count: u64) -> impl Iterator<Item = Block> {
    (0..count).map(|number| jobs(NOT_TO_ARRIVE + number, 1))
}

fn jobs(first: u64, count: u64) -> Block {
    Template::new(RESULT_LEN).block(first..first + count)
}

/// Submits a frame for each of `frames`. The queue has the name of the handler.
async fn submit_all(
    client: &Client,
    frames: impl Iterator<Item = (Result<JobOptions>, Block)>,
) -> Result<()> {
    let mut submits = Submits::new(client.clone(), WINDOW);
    for (options, payloads) in frames {
        submits.send(options?, payloads).await?;
    }
    submits.finish().await
}

/// Submits that are under way: a window of them.
pub(crate) struct Submits {
    client: Client,
    window: usize,
    under_way: VecDeque<UnderWay<Accepted>>,
}

impl Submits {
    pub(crate) fn new(client: Client, window: usize) -> Self {
        Self { client, window, under_way: VecDeque::with_capacity(window) }
    }

    /// Submits one frame to the queue that has the name of the handler, once there is room for it.
    ///
    /// # Errors
    ///
    /// An earlier one was refused, or the connection broke.
    pub(crate) async fn send(&mut self, options: JobOptions, payloads: Block) -> Result<()> {
        if self.under_way.len() >= self.window {
            self.confirm().await?;
        }
        let run = SubmitRun {
            queue: options.handler.clone(),
            options,
            payloads,
            when_full: WhenFull::Refuse,
            notify: Notify::No,
            prerequisites: Vec::new(),
        };
        let client = self.client.clone();
        self.under_way.push_back(begin(async move { client.submit_run(run).await }));
        Ok(())
    }

    async fn confirm(&mut self) -> Result<()> {
        self.under_way.pop_front().context("nothing is to be confirmed")?.await?;
        Ok(())
    }

    /// Waits until all are accepted.
    ///
    /// # Errors
    ///
    /// One was refused, or the connection broke.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.confirm().await?;
        }
        Ok(())
    }
}
