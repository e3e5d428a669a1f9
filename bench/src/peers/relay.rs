//! No queue at all: a process that only moves the bytes between the roles, so the limit of what any
//! broker could do over the same sockets.
//! Not a contender: it keeps nothing, and a worker that dies takes its jobs with it.
//!
//! A connection begins with one byte that says its role, which the relay repeats. Jobs and results
//! follow as they are, without frames: their lengths are known. A chunk of jobs goes to one worker,
//! to each in turn; the producer gets the number of its jobs as a `u64`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::blocking;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{Client, Collector, Durability, Peer, Producer, Program, Site, Task, Worker};
use crate::roles::PATIENCE;
use crate::shapes::{Shape, Style};
use crate::wire::{Input, Wire, is_timeout};

/// How often relaxed durability flushes.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The relay.
#[derive(Debug)]
pub(crate) struct Relay;

impl Peer for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn driven_as(&self) -> &'static str {
        "no queue: a process that only moves the bytes, the limit of the wire; \
         no file / fdatasync every 100 ms / fdatasync of each chunk"
    }

    fn is_limit(&self) -> bool {
        true
    }

    fn locate(&self) -> Result<Program> {
        let version = format!("of ganger-bench {}", env!("CARGO_PKG_VERSION"));
        Ok(Program { path: std::env::current_exe()?, version })
    }

    fn has_shape(&self, shape: Shape) -> bool {
        match shape {
            Shape::Latency
            | Shape::LatencyPlain
            | Shape::Unbatched
            | Shape::UnbatchedPipelined
            | Shape::Best => true,
            // It neither queues nor starts anything worth a figure.
            Shape::Enqueue
            | Shape::Drain
            | Shape::Memory
            | Shape::MemorySingle
            | Shape::Startup
            | Shape::Calls
            | Shape::CallsPipelined
            | Shape::CallsTogether
            | Shape::CallsOfMany
            | Shape::CallsOfManyPipelined => false,
        }
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        let mut command = Command::new(&program.path);
        let site = serde_json::to_string(site).expect("a site has no map with odd keys");
        command.arg("relay").arg(site);
        command
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        let jobs = connect(task, PRODUCER)?;
        let results = connect(task, COLLECTOR)?;
        Ok(blocking::role(RelayClient { jobs, results, style: task.style }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let wire = connect(task, PRODUCER)?;
        Ok(blocking::role(RelayProducer {
            wire,
            template: Template::new(task.payload),
            confirmed: 0,
        }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut wire = connect(task, WORKER)?;
        wire.input.set_patience(None)?;
        Ok(blocking::role(RelayWorker { wire, payload: task.payload }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        Ok(blocking::role(RelayCollector { wire: connect(task, COLLECTOR)? }))
    }
}

const PRODUCER: u8 = b'p';
const WORKER: u8 = b'w';
const COLLECTOR: u8 = b'c';

/// The length of a confirmation.
const CONFIRMATION_LEN: usize = 8;

struct RelayClient {
    jobs: Wire,
    results: Wire,
    style: Style,
}

impl blocking::Client for RelayClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        self.jobs.output.buffer.extend_from_slice(job);
        self.jobs.output.flush()?;
        if self.style == Style::Plain {
            self.jobs.input.bytes(CONFIRMATION_LEN)?;
        }
        let result = self.results.input.bytes(RESULT_LEN)?.try_into()?;
        if self.style != Style::Plain {
            self.jobs.input.bytes(CONFIRMATION_LEN)?;
        }
        Ok(result)
    }
}

struct RelayProducer {
    wire: Wire,
    template: Template,
    /// Jobs confirmed beyond those asked for: the relay's chunks are not the producer's batches.
    confirmed: u64,
}

impl blocking::Producer for RelayProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        ids.for_each(|id| out.extend_from_slice(self.template.job(id)));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.wire.output.flush()?)
    }

    fn confirm(&mut self, jobs: u64) -> Result<()> {
        while self.confirmed < jobs {
            self.confirmed += read_u64(&mut self.wire.input)?;
        }
        self.confirmed -= jobs;
        Ok(())
    }
}

struct RelayWorker {
    wire: Wire,
    payload: usize,
}

impl blocking::Worker for RelayWorker {
    fn work(&mut self) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        loop {
            for job in input.chunk(self.payload)?.chunks_exact(self.payload) {
                output.buffer.extend_from_slice(&payload::run(job, self.payload)?);
            }
            output.flush()?;
        }
    }
}

struct RelayCollector {
    wire: Wire,
}

impl blocking::Collector for RelayCollector {
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        let input = &mut self.wire.input;
        input.set_patience(Some(patience))?;
        let results = match input.chunk(RESULT_LEN).map_err(anyhow::Error::from) {
            Err(error) if is_timeout(&error) => return Ok(0),
            results => results?.chunks_exact(RESULT_LEN),
        };
        let count = results.len();
        results.for_each(|result| ledger.record(result));
        Ok(u64::try_from(count)?)
    }
}

/// Connects, says the role and the payload's length, and waits until the relay knows.
fn connect(task: &Task, role: u8) -> Result<Wire> {
    let mut wire = Wire::connect(task.site.address)?;
    wire.input.set_patience(Some(PATIENCE))?;
    wire.output.buffer.push(role);
    wire.output.buffer.extend_from_slice(&u64::try_from(task.payload)?.to_le_bytes());
    wire.output.flush()?;
    ensure!(wire.input.bytes(1)? == [role], "the relay repeats another role");
    Ok(wire)
}

fn read_u64(input: &mut Input) -> Result<u64> {
    Ok(u64::from_le_bytes(input.bytes(8)?.try_into()?))
}

/// Who is connected to a relay.
#[derive(Debug)]
struct Switchboard {
    workers: Mutex<Vec<TcpStream>>,
    collector: Mutex<Option<TcpStream>>,
    /// What jobs and results are appended to, unless nothing is to be kept.
    file: Option<File>,
    durability: Durability,
}

/// Serves as the relay, for ever.
///
/// # Errors
///
/// The address is taken or the file cannot be made.
pub(crate) fn serve(site: &Site) -> Result<()> {
    let path = site.dir.join("relayed");
    let file = match site.durability {
        Durability::None => None,
        Durability::Relaxed | Durability::Strict => {
            Some(File::options().append(true).create(true).open(path)?)
        }
    };
    let board = Switchboard {
        workers: Mutex::default(),
        collector: Mutex::default(),
        file,
        durability: site.durability,
    };
    let listener = TcpListener::bind(site.address)?;
    thread::scope(|scope| {
        if let (Durability::Relaxed, Some(file)) = (board.durability, board.file.as_ref()) {
            scope.spawn(|| flush_now_and_then(file));
        }
        for stream in listener.incoming() {
            let stream = stream?;
            let board = &board;
            // A role that leaves ends its thread; the relay itself is ended from outside.
            scope.spawn(move || board.attend(stream));
        }
        Ok(())
    })
}

impl Switchboard {
    /// Serves one connection until it ends.
    fn attend(&self, mut stream: TcpStream) -> Result<()> {
        let mut hello = [0; 9];
        stream.read_exact(&mut hello)?;
        let (role, len) = hello.split_first().context("a hello is not empty")?;
        let payload = usize::try_from(u64::from_le_bytes(len.try_into()?))?;
        let mut wire = Wire::new(stream.try_clone()?)?;
        match *role {
            PRODUCER => {
                stream.write_all(&[*role])?;
                self.relay_jobs(&mut wire, payload)
            }
            WORKER => {
                lock(&self.workers).push(stream.try_clone()?);
                stream.write_all(&[*role])?;
                self.relay_results(&mut wire)
            }
            COLLECTOR => {
                *lock(&self.collector) = Some(stream.try_clone()?);
                stream.write_all(&[*role])?;
                Ok(())
            }
            other => bail!("there is no role {other}"),
        }
    }

    fn relay_jobs(&self, wire: &mut Wire, payload: usize) -> Result<()> {
        for turn in 0.. {
            let jobs = wire.input.chunk(payload)?;
            self.keep(jobs)?;
            let workers = lock(&self.workers);
            let mut worker = workers.get(turn % workers.len().max(1)).context("no worker")?;
            worker.write_all(jobs)?;
            drop(workers);
            let count = u64::try_from(jobs.len() / payload)?;
            wire.output.buffer.extend_from_slice(&count.to_le_bytes());
            wire.output.flush()?;
        }
        Ok(())
    }

    fn relay_results(&self, wire: &mut Wire) -> Result<()> {
        loop {
            let results = wire.input.chunk(RESULT_LEN)?;
            self.keep(results)?;
            lock(&self.collector).as_mut().context("no collector")?.write_all(results)?;
        }
    }

    /// Keeps a chunk as durably as promised.
    fn keep(&self, chunk: &[u8]) -> Result<()> {
        if let Some(mut file) = self.file.as_ref() {
            file.write_all(chunk)?;
            if self.durability == Durability::Strict {
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

/// Flushes, for ever, what relaxed durability has only handed to the kernel.
fn flush_now_and_then(file: &File) {
    loop {
        thread::sleep(FLUSH_EVERY);
        file.sync_data().expect("a relay that cannot flush has no figures to show");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
