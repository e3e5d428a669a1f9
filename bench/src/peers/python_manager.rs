//! Python's own manager server (`multiprocessing.managers`): two queues and a few objects, called as
//! its proxies call them, by roles that spend no time in an interpreter of their own.
//! Not a queue of jobs: what was got is gone, whatever becomes of whoever got it.

mod objects;
mod pickle;

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use self::pickle::Argument;
use crate::blocking;
use crate::calls::Call;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{
    self, Caller, Client, Collector, Durability, Peer, Producer, Program, Site, Task, Worker,
};
use crate::roles::PATIENCE;
use crate::shapes::{Shape, Style};
use crate::wire::{Wire, is_timeout};

/// The server, a program of its own.
const SERVER: &str = include_str!("python_manager/server.py");

const AUTHKEY: &str = "ganger-bench";

/// The most results of one call.
const COLLECT_MAX: i32 = 4_096;

/// The longest message of a handshake.
const HANDSHAKE_MAX: usize = 256;

/// Python's manager.
#[derive(Debug)]
pub(crate) struct PythonManager;

impl Peer for PythonManager {
    fn name(&self) -> &'static str {
        "python-manager"
    }

    fn driven_as(&self) -> &'static str {
        "a BaseManager with two Queues: put and get of jobs, put and get of results; batched: calls \
         added for it that put and get lists; objects: a list and a dict with the proxies there are \
         for them, and a counter that holds a lock; no acks, and memory only"
    }

    fn locate(&self) -> Result<Program> {
        peer::locate("python3", "--version", "python3")
    }

    fn has_shape(&self, shape: Shape) -> bool {
        // A proxy waits for each reply.
        !matches!(
            shape,
            Shape::Latency | Shape::UnbatchedPipelined | Shape::MemorySingle | Shape::CallsTogether
        )
    }

    fn has_pipelines(&self) -> bool {
        false
    }

    fn lacks(&self, _program: &Program, durability: Durability) -> Option<&'static str> {
        (durability != Durability::None).then_some("keeps nothing on a disk")
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        let mut command = Command::new(&program.path);
        command.args(["-c", SERVER]).arg(site.address.port().to_string()).arg(AUTHKEY);
        command
    }

    fn ask(&self, site: &Site) -> Result<()> {
        Manager::connect(site)?.tell(None, "dummy", Argument::None)
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        Ok(blocking::role(QueueClient(Queues::open(task)?)))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let (queues, template) = (Queues::open(task)?, Template::new(task.payload));
        Ok(blocking::role(QueueProducer { queues, template, style: task.style, jobs: Vec::new() }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut queues = Queues::open(task)?;
        queues.manager.wire.input.set_patience(None)?;
        let Task { style, payload, batch, .. } = *task;
        Ok(blocking::role(QueueWorker { queues, style, payload, batch: i32::try_from(batch)? }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        let queues = Queues::open(task)?;
        Ok(blocking::role(QueueCollector { queues, style: task.style, asked: false }))
    }

    fn caller(&self, task: &Task, call: Call) -> Result<Box<dyn Caller>> {
        objects::caller(task, call)
    }
}

struct QueueClient(Queues);

impl blocking::Client for QueueClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        let Queues { manager, jobs, results } = &mut self.0;
        manager.tell(Some(jobs), "put", Argument::Bytes(job))?;
        let reply = manager.call(Some(results), "get", Argument::None)?;
        one(&reply)?.try_into().context("a result of another length")
    }
}

struct QueueProducer {
    queues: Queues,
    template: Template,
    style: Style,
    jobs: Vec<Vec<u8>>,
}

impl blocking::Producer for QueueProducer {
    fn submit(&mut self, mut ids: Range<u64>) -> Result<()> {
        let Queues { manager, jobs, .. } = &mut self.queues;
        if self.style == Style::Batched {
            self.jobs.clear();
            self.jobs.extend(ids.map(|id| self.template.job(id).to_vec()));
            manager.ask(Some(jobs), "put_many", Argument::List(&self.jobs))
        } else {
            ids.try_for_each(|id| {
                manager.ask(Some(jobs), "put", Argument::Bytes(self.template.job(id)))
            })
        }
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.queues.manager.wire.output.flush()?)
    }

    fn confirm(&mut self, jobs: u64) -> Result<()> {
        let calls = if self.style == Style::Batched { 1 } else { jobs };
        (0..calls).try_for_each(|_| values(&self.queues.manager.receive()?).map(drop))
    }
}

struct QueueWorker {
    queues: Queues,
    style: Style,
    payload: usize,
    batch: i32,
}

impl blocking::Worker for QueueWorker {
    fn work(&mut self) -> Result<()> {
        let Queues { manager, jobs, results } = &mut self.queues;
        loop {
            if self.style == Style::Batched {
                let reply = manager.call(Some(jobs), "get_many", Argument::Count(self.batch))?;
                let work = |job| Ok(payload::run(job, self.payload)?.to_vec());
                let done = values(&reply)?.into_iter().map(work).collect::<Result<Vec<_>>>()?;
                manager.tell(Some(results), "put_many", Argument::List(&done))?;
            } else {
                let reply = manager.call(Some(jobs), "get", Argument::None)?;
                let done = payload::run(one(&reply)?, self.payload)?;
                manager.tell(Some(results), "put", Argument::Bytes(&done))?;
            }
        }
    }
}

struct QueueCollector {
    queues: Queues,
    style: Style,
    /// Whether a call is under way: one outlives a `collect` whose patience has passed.
    asked: bool,
}

impl blocking::Collector for QueueCollector {
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        let Queues { manager, results, .. } = &mut self.queues;
        if !self.asked {
            if self.style == Style::Batched {
                manager.ask(Some(results), "get_many", Argument::Count(COLLECT_MAX))?;
            } else {
                manager.ask(Some(results), "get", Argument::None)?;
            }
            manager.wire.output.flush()?;
            self.asked = true;
        }
        manager.wire.input.set_patience(Some(patience))?;
        let reply = match manager.receive() {
            Err(error) if is_timeout(&error) => return Ok(0),
            reply => reply?,
        };
        self.asked = false;
        let values = values(&reply)?;
        values.iter().for_each(|result| ledger.record(result));
        Ok(u64::try_from(values.len())?)
    }
}

/// A session with the two queues.
struct Queues {
    manager: Manager,
    jobs: Vec<u8>,
    results: Vec<u8>,
}

impl Queues {
    fn open(task: &Task) -> Result<Self> {
        let jobs = Manager::create(&task.site, "jobs")?;
        let results = Manager::create(&task.site, "results")?;
        Ok(Self { manager: Manager::open(&task.site)?, jobs, results })
    }
}

/// A connection to the server.
struct Manager {
    wire: Wire,
}

impl Manager {
    /// Connects, and proves to each other that both know the key. What the server proves is believed.
    fn connect(site: &Site) -> Result<Self> {
        let mut wire = Wire::connect(site.address)?;
        wire.input.set_patience(Some(PATIENCE))?;
        let mut manager = Self { wire };
        let challenge = manager.receive()?;
        let challenge = challenge.strip_prefix(b"#CHALLENGE#").context("no challenge")?;
        // The oldest of the digests, which every version accepts.
        let mut digest = Hmac::<Md5>::new_from_slice(AUTHKEY.as_bytes())?;
        digest.update(challenge);
        manager.send(&digest.finalize().into_bytes())?;
        ensure!(manager.receive()? == b"#WELCOME#", "the server does not accept the key");
        manager.send(&[&b"#CHALLENGE#"[..], &[7; 20]].concat())?;
        ensure!(manager.receive()?.len() < HANDSHAKE_MAX, "the server answers at length");
        manager.send(b"#WELCOME#")?;
        Ok(manager)
    }

    /// The ident of the object that is registered as `name`. It is told on a connection of its own.
    fn create(site: &Site, name: &str) -> Result<Vec<u8>> {
        let reply = Self::connect(site)?.call(None, "create", Argument::Text(name))?;
        Ok(values(&reply)?.first().context("no ident")?.to_vec())
    }

    /// A connection on which objects are called.
    fn open(site: &Site) -> Result<Self> {
        let mut manager = Self::connect(site)?;
        manager.tell(None, "accept_connection", Argument::Text("bench"))?;
        Ok(manager)
    }

    fn call(
        &mut self,
        ident: Option<&[u8]>,
        method: &str,
        argument: Argument<'_>,
    ) -> Result<Vec<u8>> {
        self.ask(ident, method, argument)?;
        self.wire.output.flush()?;
        self.receive()
    }

    /// A call that returns nothing of use.
    fn tell(&mut self, ident: Option<&[u8]>, method: &str, argument: Argument<'_>) -> Result<()> {
        values(&self.call(ident, method, argument)?).map(drop)
    }

    /// Writes a request to the buffer.
    fn ask(&mut self, ident: Option<&[u8]>, method: &str, argument: Argument<'_>) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        pickle::request(out, ident, method, argument);
        let len = u32::try_from(out.len() - start - 4)?;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    fn send(&mut self, message: &[u8]) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        out.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        out.extend_from_slice(message);
        Ok(self.wire.output.flush()?)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let len = self.wire.input.bytes(4)?.try_into()?;
        Ok(self.wire.input.bytes(usize::try_from(u32::from_be_bytes(len))?)?.to_vec())
    }
}

/// What a call has returned: one value, several, or none.
fn values(reply: &[u8]) -> Result<Vec<&[u8]>> {
    let mut atoms = pickle::atoms(reply)?.into_iter();
    match atoms.next() {
        Some(b"#RETURN") => Ok(atoms.collect()),
        _ => bail!("the manager answers {:?}", String::from_utf8_lossy(reply)),
    }
}

fn one(reply: &[u8]) -> Result<&[u8]> {
    values(reply)?.first().copied().context("nothing was returned")
}
