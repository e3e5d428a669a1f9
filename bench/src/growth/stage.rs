//! One step of one sweep, once: a broker of its own, its state, the jobs or calls, and its clocks.
//! Not what a state is made of (`state`), nor how the jobs (`probe`) or the calls (`lists`) go.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ganger_rt::{block_on, timeout};

use super::dimension::Dimension;
use super::lists::{BURST, Lists, Operation};
use super::probe::{Load, Probe};
use super::report::Run;
use super::state::{SETTINGS, State};
use crate::level::Level;
use crate::payload::RESULT_LEN;
use crate::peer::{Peer as _, Site};
use crate::peers::ganger::{Ganger, connect};
use crate::procfs::{self, CpuTimes};
use crate::roles::PATIENCE;
use crate::server::{Server, Start};

/// How long a state, or the jobs, may take before something counts as lost.
const TIME_MAX: Duration = Duration::from_secs(180);

/// Payload bytes of one probe: large jobs are fewer.
const BYTES_MAX: u64 = 256 << 20;

/// Jobs that a worker may have at once, alone and among many. It is the same for few and for many of
/// them, for it bounds how many of its jobs can share a system call.
const CREDIT: u64 = 256;
const CREDIT_OF_MANY: u64 = 64;

/// Which part of the jobs goes through before the clocks are read.
const WARMUP: u64 = 10;

/// A step that is to be measured.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// Where the broker keeps its data.
    pub(crate) dir: &'a Path,
    pub(crate) durability: Level,
    /// Jobs or calls to be measured.
    pub(crate) jobs: u64,
    pub(crate) dimension: Dimension,
    pub(crate) size: u64,
}

impl Stage<'_> {
    /// Measures it once.
    ///
    /// # Errors
    ///
    /// The broker does not get there, or a job was not settled exactly once.
    pub(crate) fn run(&self) -> Result<Run> {
        let peer = Ganger { settings: SETTINGS };
        let program = peer.locate()?;
        let server = Server::start(&peer, &program, self.dir, self.durability, Start::Leashed)?;
        if let Some(operation) = self.dimension.operation() {
            return block_on(self.measure_calls(server.pid(), server.site(), operation));
        }
        let (run, state) = block_on(self.measure(server.pid(), server.site()))?;
        // The broker first: it must not waste time on taking back what was leased.
        drop(server);
        drop(state);
        Ok(run)
    }

    async fn measure(&self, broker: u32, site: &Site) -> Result<(Run, State)> {
        let client = connect(site, PATIENCE).await?;
        let rss_before = procfs::resident_bytes(broker)?;
        let reaching = State::reach(self.dimension, self.size, &client, site);
        let state = timeout(TIME_MAX, reaching)
            .await
            .with_context(|| format!("the broker is not there after {TIME_MAX:?}"))??;
        let rss = procfs::resident_bytes(broker)?;

        let mut workers = Vec::new();
        for _ in 0..self.workers() {
            workers.push(connect(site, PATIENCE).await?);
        }
        let load = self.load();
        let jobs = load.jobs;
        let mut probe = Probe::new(client, &workers, load, state.waiting)?;
        let measured = async {
            probe.round(jobs / WARMUP).await?;
            let (before, started) = (CpuTimes::of(broker)?, Instant::now());
            probe.round(jobs).await?;
            let seconds = started.elapsed().as_secs_f64();
            anyhow::Ok((CpuTimes::of(broker)?.since(&before), seconds))
        };
        let (cpu, seconds) = timeout(TIME_MAX, measured)
            .await
            .with_context(|| format!("jobs are missing after {TIME_MAX:?}"))??;
        let grown = rss.saturating_sub(rss_before) as f64;
        let run = Run {
            jobs,
            seconds,
            cpu_us: cpu.as_secs_f64() * 1e6 / jobs as f64,
            jobs_per_second: jobs as f64 / seconds,
            unit_bytes: self.dimension.unit().map(|_| grown / self.size as f64),
        };
        Ok((run, state))
    }

    async fn measure_calls(&self, broker: u32, site: &Site, operation: Operation) -> Result<Run> {
        let client = connect(site, PATIENCE).await?;
        let rss_before = procfs::resident_bytes(broker)?;
        let mut lists = timeout(TIME_MAX, Lists::fill(&client, self.size))
            .await
            .with_context(|| format!("the lists are not there after {TIME_MAX:?}"))??;
        let rss = procfs::resident_bytes(broker)?;
        let unit_bytes = rss.saturating_sub(rss_before) as f64 / lists.items() as f64;

        let (mut cpu, mut elapsed) = (Duration::ZERO, Duration::ZERO);
        let measured = async {
            // A first burst counts for nothing.
            let rest = (0..self.jobs).step_by(usize::try_from(BURST)?);
            let bursts = rest.map(|done| BURST.min(self.jobs - done));
            for (at, calls) in [BURST.min(self.jobs)].into_iter().chain(bursts).enumerate() {
                if let Operation::PopFirst | Operation::PopLast = operation {
                    lists.burst(Operation::Append, calls).await?;
                }
                let (before, started) = (CpuTimes::of(broker)?, Instant::now());
                lists.burst(operation, calls).await?;
                if at > 0 {
                    elapsed += started.elapsed();
                    cpu += CpuTimes::of(broker)?.since(&before);
                }
                if operation == Operation::Append {
                    lists.burst(Operation::PopLast, calls).await?;
                }
            }
            anyhow::Ok(())
        };
        timeout(TIME_MAX, measured)
            .await
            .with_context(|| format!("answers are missing after {TIME_MAX:?}"))??;
        let (jobs, seconds) = (self.jobs, elapsed.as_secs_f64());
        Ok(Run {
            jobs,
            seconds,
            cpu_us: cpu.as_secs_f64() * 1e6 / jobs as f64,
            jobs_per_second: jobs as f64 / seconds,
            unit_bytes: self.dimension.unit().map(|_| unit_bytes),
        })
    }

    fn workers(&self) -> u64 {
        if self.dimension == Dimension::Workers { self.size } else { 1 }
    }

    fn load(&self) -> Load {
        let (len, credit) = match self.dimension {
            Dimension::Payload => (usize::try_from(self.size).unwrap_or(usize::MAX), CREDIT),
            Dimension::Workers => (RESULT_LEN, CREDIT_OF_MANY),
            Dimension::Backlog
            | Dimension::Connections
            | Dimension::Queues
            | Dimension::Delayed
            | Dimension::Leased
            | Dimension::ListAppend
            | Dimension::ListPopFirst
            | Dimension::ListPopLast
            | Dimension::ListGet
            | Dimension::ListLen => (RESULT_LEN, CREDIT),
        };
        Load { jobs: self.jobs.min(BYTES_MAX / len as u64).max(1), len, credit }
    }
}
