//! What all clients of a run share: where the broker is, the history, and when to stop.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ganger_history::{Event, Jobs, What, Writer};
use ganger_shared::key::Key;
use ganger_shared::{JobId, Name};
use ganger_worker::{Client, Error, Options};

use crate::procfs::monotonic_ns;

/// The queues of a run: two, so that workers hold leases of more than one.
pub(crate) const QUEUES: [&str; 2] = ["torture/a", "torture/b"];

/// How long a broker may take to notice that somebody has gone. Until then it sends jobs that
/// nobody sees.
pub(crate) const NOTICED_WITHIN: Duration = Duration::from_millis(250);

/// How long a client may take to find a broker that is dead half of the time.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) seed: u64,
    /// Where clients connect: the broker, or the proxy before it.
    pub(crate) address: String,
    pub(crate) key: Key,
    history: Mutex<Log>,
    progress: Mutex<Progress>,
    submits_over: AtomicBool,
    kills_over: AtomicBool,
}

#[derive(Debug)]
struct Log {
    /// Taken when the history is finished.
    writer: Option<Writer<BufWriter<File>>>,
    failed: Option<std::io::Error>,
}

/// Which jobs are yet to come to their end.
#[derive(Debug)]
struct Progress {
    open: HashSet<JobId>,
    read: HashSet<JobId>,
    last: Instant,
}

impl Stage {
    pub(crate) fn new(seed: u64, address: String, key: Key, history: &Path) -> Result<Self> {
        let file = File::create(history)
            .with_context(|| format!("{} cannot be written", history.display()))?;
        let log = Log { writer: Some(Writer::new(BufWriter::new(file))), failed: None };
        let (open, read) = Default::default();
        Ok(Self {
            seed,
            address,
            key,
            history: Mutex::new(log),
            progress: Mutex::new(Progress { open, read, last: Instant::now() }),
            submits_over: AtomicBool::new(false),
            kills_over: AtomicBool::new(false),
        })
    }

    /// Adds a line to the history. Its time is taken here, so that lines are in its order.
    pub(crate) fn note(&self, who: &str, what: What) {
        let mut log = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event { at_ns: monotonic_ns(), who: who.to_owned(), what };
        let written = log.writer.as_mut().map_or(Ok(()), |writer| writer.write(&event));
        if let Err(error) = written {
            log.failed.get_or_insert(error);
        }
    }

    /// Ends the history; what is noted later is not in it.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut log = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = log.writer.take().map_or(Ok(()), |writer| writer.finish().map(drop));
        match log.failed.take() {
            Some(error) => Err(error),
            None => finished,
        }
        .context("the history cannot be written")
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These jobs are the broker's: they have to come to their end.
    pub(crate) fn opened(&self, jobs: Jobs) {
        let mut progress = self.progress();
        for job in jobs.iter() {
            if !progress.read.contains(&job) {
                progress.open.insert(job);
            }
        }
        progress.last = Instant::now();
    }

    /// The result of this job was read.
    pub(crate) fn closed(&self, job: JobId) {
        let mut progress = self.progress();
        progress.open.remove(&job);
        progress.read.insert(job);
        progress.last = Instant::now();
    }

    /// How many jobs are open, and for how long nothing has happened to any.
    pub(crate) fn rest(&self) -> (usize, Duration) {
        let progress = self.progress();
        (progress.open.len(), progress.last.elapsed())
    }

    pub(crate) fn end_submits(&self) {
        self.submits_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end_kills(&self) {
        self.kills_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn kills_are_over(&self) -> bool {
        self.kills_over.load(Ordering::Relaxed)
    }

    pub(crate) fn submits_are_over(&self) -> bool {
        self.submits_over.load(Ordering::Relaxed)
    }

    /// A client that comes back after every death of the broker.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client> {
        let since = Instant::now();
        loop {
            let options = Options {
                name: name.to_owned(),
                ..Options::new(self.address.as_str(), self.key.clone())
            };
            match Client::connect(options).await {
                Ok(client) => return Ok(client),
                // What a half-open or broken connection says.
                Err(Error::Unreachable { .. } | Error::TurnedAway { .. })
                    if since.elapsed() < CONNECT_WITHIN => {}
                Err(error) => bail!("{name} cannot connect: {}", sentence(&error)),
            }
        }
    }
}

/// An error with its causes.
pub(crate) fn sentence(error: &Error) -> String {
    ganger_worker::error::sentence(error)
}

pub(crate) fn queue(number: usize) -> Result<Name> {
    Ok(Name::new(QUEUES[number % QUEUES.len()])?)
}
