//! What a broker must offer to be compared: how its server is started, and how each role drives it.
//! Not who runs when: `run` decides that, and `roles` keeps time and count.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::task::{Context as Polling, Poll, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::calls::{Answer, Audit, Call};
use crate::check::Ledger;
use crate::payload::RESULT_LEN;
use crate::shapes::{Shape, Style};

/// What an acknowledged job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    /// Nothing: jobs are in memory only.
    None,
    /// A crash of the server; a power failure costs the last moments.
    Relaxed,
    /// A power failure: flushed before it is acknowledged.
    Strict,
}

/// Where one server lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// An empty directory of its own, removed afterwards.
    pub(crate) dir: PathBuf,
    pub(crate) durability: Durability,
}

/// One process of the load, and what it must do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The name of the [`Peer`].
    pub(crate) peer: String,
    pub(crate) role: Role,
    /// Counts the processes of one role from 0.
    pub(crate) index: u32,
    pub(crate) style: Style,
    pub(crate) site: Site,
    /// The length of a job's payload.
    pub(crate) payload: usize,
    /// The jobs of this run, numbered from 0.
    pub(crate) jobs: u64,
    /// How many of them a client sends before it starts to measure.
    pub(crate) warmup: u64,
    /// The most jobs per request of [`Style::Batched`].
    pub(crate) batch: usize,
}

/// The part that a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Submits a job and waits for its result, then the next.
    Client,
    /// Submits jobs.
    Producer,
    /// Receives jobs, does nothing, publishes results.
    Worker,
    /// Receives results.
    Collector,
    /// Makes every call whose turn is its own, of so many callers.
    Caller { call: Call, callers: u32 },
    /// Reads what all calls have left, and checks it.
    Auditor { call: Call },
}

/// A server program that was found.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// A broker under comparison. A value is only its description: [`Peer::command`] starts the
/// server, and the four roles connect to it, each from a process of its own.
pub(crate) trait Peer: Debug + Sync {
    /// The name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// How it is driven, in one sentence for the report.
    fn driven_as(&self) -> &'static str;

    /// Whether it is no broker but the limit of what one could do.
    fn is_limit(&self) -> bool {
        false
    }

    /// Finds the server program.
    ///
    /// # Errors
    ///
    /// It is not installed; the text says how to install it.
    fn locate(&self) -> Result<Program>;

    /// Whether this shape makes sense here. Where nothing is said, there are jobs and no objects.
    fn has_shape(&self, shape: Shape) -> bool {
        !shape.is_of_calls()
    }

    /// Whether a caller can have several calls in flight. Where it cannot, it has one.
    fn has_pipelines(&self) -> bool {
        true
    }

    /// Why this version of it cannot promise this durability, if it cannot.
    fn lacks(&self, _program: &Program, _durability: Durability) -> Option<&'static str> {
        None
    }

    /// Puts what the server reads at its start into its directory, before the clock starts.
    ///
    /// # Errors
    ///
    /// The directory takes no file.
    fn furnish(&self, _site: &Site) -> Result<()> {
        Ok(())
    }

    /// The command that runs the server in the foreground, at `site`.
    fn command(&self, program: &Program, site: &Site) -> Command;

    /// Asks the server a question that it can only answer once it serves.
    ///
    /// # Errors
    ///
    /// It does not answer yet.
    fn ask(&self, site: &Site) -> Result<()> {
        TcpStream::connect(site.address)?;
        Ok(())
    }

    /// Creates what the roles expect to exist.
    ///
    /// # Errors
    ///
    /// The server refuses.
    fn prepare(&self, _site: &Site) -> Result<()> {
        Ok(())
    }

    /// Runs a role to its end. Where nothing is said, its steps block.
    ///
    /// # Errors
    ///
    /// Those of the role.
    fn drive(&self, mut role: Step<'_, ()>) -> Result<()> {
        match role.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => bail!("a role of {} waits, and nothing wakes it", self.name()),
        }
    }

    /// Connects a client.
    ///
    /// # Errors
    ///
    /// The server is unreachable.
    fn client(&self, task: &Task) -> Result<Box<dyn Client>>;

    /// Connects a producer.
    ///
    /// # Errors
    ///
    /// The server is unreachable.
    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>>;

    /// Connects a worker.
    ///
    /// # Errors
    ///
    /// The server is unreachable.
    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>>;

    /// Connects a collector.
    ///
    /// # Errors
    ///
    /// The server is unreachable.
    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>>;

    /// Connects a caller of the object that `call` is about.
    ///
    /// # Errors
    ///
    /// The server is unreachable, or has no objects.
    fn caller(&self, _task: &Task, call: Call) -> Result<Box<dyn Caller>> {
        bail!("{} knows no {}", self.name(), call.name())
    }
}

/// What a role does next.
pub(crate) type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Submits one job at a time and receives its result.
pub(crate) trait Client {
    /// Submits `job` and waits for the result; with [`Style::Plain`] also for the confirmation
    /// before.
    ///
    /// # Errors
    ///
    /// The connection breaks or is silent for too long.
    fn round_trip<'a>(&'a mut self, job: &'a [u8]) -> Step<'a, [u8; RESULT_LEN]>;
}

/// Submits jobs in batches. The caller keeps the window: it submits a few batches, sends, and
/// confirms the oldest before it submits more.
pub(crate) trait Producer {
    /// Writes one batch of jobs to a buffer.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    fn submit(&mut self, ids: Range<u64>) -> Result<()>;

    /// Sends the buffer.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    fn send(&mut self) -> Result<()>;

    /// Waits until the oldest unconfirmed batch, of `jobs` jobs, is confirmed.
    ///
    /// # Errors
    ///
    /// The connection breaks or is silent for too long, or the jobs are refused.
    fn confirm(&mut self, jobs: u64) -> Step<'_, ()>;
}

/// Receives jobs, publishes their results and acknowledges them.
pub(crate) trait Worker {
    /// Works until the connection breaks; the process is ended from outside.
    ///
    /// # Errors
    ///
    /// The connection breaks, or a job is not as it was sent.
    fn work(&mut self) -> Step<'_, ()>;
}

/// Receives results.
pub(crate) trait Collector {
    /// Waits for results, records those that are there, and returns how many: none if `patience`
    /// has passed.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    fn collect<'a>(&'a mut self, ledger: &'a mut Ledger, patience: Duration) -> Step<'a, u64>;
}

/// Calls one shared object. Whoever uses it keeps the window: it makes some calls, sends, and takes the
/// oldest answers before it makes more.
pub(crate) trait Caller {
    /// Writes call number `id` to a buffer.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    fn call(&mut self, id: u64) -> Result<()>;

    /// Sends the buffer.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    fn send(&mut self) -> Result<()>;

    /// Waits for the answer of the oldest call that has none.
    ///
    /// # Errors
    ///
    /// The connection breaks or is silent for too long, or the call is refused.
    fn answer(&mut self) -> Step<'_, Answer>;

    /// Hands in everything that is in the object.
    ///
    /// # Errors
    ///
    /// The connection breaks or is silent for too long.
    fn read<'a>(&'a mut self, audit: &'a mut Audit) -> Step<'a, ()>;
}

/// Finds `name` among the programs of the system.
///
/// # Errors
///
/// There is none; the text names the Debian `package` that has it.
pub(crate) fn locate(name: &str, version_flag: &str, package: &str) -> Result<Program> {
    // Debian's servers are often where only root's PATH leads.
    let places = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&places)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed (Debian: apt install {package})"))?;
    let version = version(&path, version_flag);
    Ok(Program { path, version })
}

/// The first line that a program prints about its version.
fn version(path: &Path, flag: &str) -> String {
    let output = Command::new(path).arg(flag).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    text.lines().next().map_or_else(|| name.to_owned(), |line| line.trim().to_owned())
}
