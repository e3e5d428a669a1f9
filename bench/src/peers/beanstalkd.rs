//! beanstalkd: one tube of jobs, one of results.
//! Not batched by its protocol: a batch is as many requests in one write.

use std::io::Write as _;
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::blocking;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{
    self, Client, Collector, Durability, Peer, Producer, Program, Site, Task, Worker,
};
use crate::roles::PATIENCE;
use crate::shapes::Style;
use crate::wire::{Input, Wire, is_timeout};

const JOBS: &str = "jobs";
const RESULTS: &str = "results";

/// The longest job the server is told to accept; its default is a byte short of 64 KiB.
const JOB_MAX: &str = "16777216";

/// The requests for jobs in one write. More gain nothing, and take jobs from other workers.
const RESERVE_MAX: usize = 32;

/// beanstalkd.
#[derive(Debug)]
pub(crate) struct Beanstalkd;

impl Peer for Beanstalkd {
    fn name(&self) -> &'static str {
        "beanstalkd"
    }

    fn driven_as(&self) -> &'static str {
        "put, reserve, put of the result, delete; no batch commands, so batched means several \
         requests in one write; no binlog / -f50 / -f0"
    }

    fn locate(&self) -> Result<Program> {
        peer::locate("beanstalkd", "-v", "beanstalkd")
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        let mut command = Command::new(&program.path);
        command.args(["-l", &site.address.ip().to_string()]);
        command.args(["-p", &site.address.port().to_string()]);
        command.args(["-z", JOB_MAX]);
        match site.durability {
            Durability::None => {}
            Durability::Relaxed => drop(command.arg("-b").arg(&site.dir).arg("-f50")),
            Durability::Strict => drop(command.arg("-b").arg(&site.dir).arg("-f0")),
        }
        command
    }

    fn ask(&self, site: &Site) -> Result<()> {
        connect(site, &["list-tube-used".to_owned()]).map(drop)
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        let wire = connect(&task.site, &[using(JOBS), watching(RESULTS), ignoring_default()])?;
        Ok(blocking::role(TubeClient { wire, style: task.style, received: None }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let wire = connect(&task.site, &[using(JOBS)])?;
        Ok(blocking::role(TubeProducer { wire, template: Template::new(task.payload) }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut wire = connect(&task.site, &[using(RESULTS), watching(JOBS), ignoring_default()])?;
        wire.input.set_patience(None)?;
        let Task { style, payload, .. } = *task;
        Ok(blocking::role(TubeWorker { wire, style, payload, reserves: reserves(task) }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        let wire = connect(&task.site, &[watching(RESULTS), ignoring_default()])?;
        let reserves = reserves(task);
        Ok(blocking::role(TubeCollector { wire, style: task.style, reserves, asked: false }))
    }
}

struct TubeClient {
    wire: Wire,
    style: Style,
    /// The result whose deletion is not yet asked for.
    received: Option<u64>,
}

impl blocking::Client for TubeClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        let Wire { input, output } = &mut self.wire;
        if self.style == Style::Plain {
            put(&mut output.buffer, job);
            output.flush()?;
            expect(input, "INSERTED ")?;
            reserve(&mut output.buffer, 1);
            output.flush()?;
            let (id, result) = expect_reserved(input)?;
            let result = result.try_into()?;
            delete(&mut output.buffer, id);
            output.flush()?;
            expect(input, "DELETED")?;
            return Ok(result);
        }
        put(&mut output.buffer, job);
        let before = self.received.take();
        if let Some(id) = before {
            delete(&mut output.buffer, id);
        }
        reserve(&mut output.buffer, 1);
        output.flush()?;
        expect(input, "INSERTED ")?;
        if before.is_some() {
            expect(input, "DELETED")?;
        }
        let (id, result) = expect_reserved(input)?;
        self.received = Some(id);
        Ok(result.try_into()?)
    }
}

struct TubeProducer {
    wire: Wire,
    template: Template,
}

impl blocking::Producer for TubeProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        ids.for_each(|id| put(out, self.template.job(id)));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.wire.output.flush()?)
    }

    fn confirm(&mut self, jobs: u64) -> Result<()> {
        (0..jobs).try_for_each(|_| expect(&mut self.wire.input, "INSERTED "))
    }
}

struct TubeWorker {
    wire: Wire,
    style: Style,
    payload: usize,
    /// How many jobs are asked for at once.
    reserves: usize,
}

impl blocking::Worker for TubeWorker {
    fn work(&mut self) -> Result<()> {
        match self.style {
            Style::Plain => self.work_plain(),
            Style::Pipelined | Style::Batched => self.work_pipelined(),
        }
    }
}

impl TubeWorker {
    fn work_plain(&mut self) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        loop {
            reserve(&mut output.buffer, 1);
            output.flush()?;
            let (id, job) = expect_reserved(input)?;
            put(&mut output.buffer, &payload::run(job, self.payload)?);
            output.flush()?;
            expect(input, "INSERTED ")?;
            delete(&mut output.buffer, id);
            output.flush()?;
            expect(input, "DELETED")?;
        }
    }

    fn work_pipelined(&mut self) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        let mut settled = 0;
        loop {
            reserve(&mut output.buffer, self.reserves);
            output.flush()?;
            for _ in 0..settled {
                expect(input, "INSERTED ")?;
                expect(input, "DELETED")?;
            }
            settled = 0;
            for _ in 0..self.reserves {
                let Some((id, job)) = expect_reserved_or_none(input)? else { continue };
                put(&mut output.buffer, &payload::run(job, self.payload)?);
                delete(&mut output.buffer, id);
                settled += 1;
            }
        }
    }
}

struct TubeCollector {
    wire: Wire,
    style: Style,
    /// How many results are asked for at once.
    reserves: usize,
    /// Whether a request is under way: one outlives a `collect` whose patience has passed.
    asked: bool,
}

impl blocking::Collector for TubeCollector {
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        let Wire { input, output } = &mut self.wire;
        if !self.asked {
            reserve(&mut output.buffer, self.reserves);
            output.flush()?;
        }
        input.set_patience(Some(patience))?;
        let mut collected = 0;
        for at in 0..self.reserves {
            match expect_reserved_or_none(input) {
                // Only the first request waits at the server.
                Err(error) if at == 0 && is_timeout(&error) => {
                    self.asked = true;
                    return Ok(0);
                }
                Err(error) => return Err(error),
                Ok(None) => {}
                Ok(Some((id, result))) => {
                    ledger.record(result);
                    delete(&mut output.buffer, id);
                    collected += 1;
                }
            }
        }
        self.asked = self.style != Style::Plain;
        if self.asked {
            reserve(&mut output.buffer, self.reserves);
        }
        output.flush()?;
        (0..collected).try_for_each(|_| expect(input, "DELETED"))?;
        Ok(collected)
    }
}

/// Connects and sends commands that each have a reply of one line.
fn connect(site: &Site, commands: &[String]) -> Result<Wire> {
    let mut wire = Wire::connect(site.address)?;
    wire.input.set_patience(Some(PATIENCE))?;
    for command in commands {
        write!(wire.output.buffer, "{command}\r\n")?;
        wire.output.flush()?;
        let line = wire.input.line()?;
        let is_good = line.starts_with(b"USING ") || line.starts_with(b"WATCHING ");
        ensure!(is_good, "beanstalkd answers {:?} to {command}", String::from_utf8_lossy(line));
    }
    Ok(wire)
}

fn using(tube: &str) -> String {
    format!("use {tube}")
}

fn watching(tube: &str) -> String {
    format!("watch {tube}")
}

fn ignoring_default() -> String {
    "ignore default".to_owned()
}

/// How many jobs a role asks for at once.
fn reserves(task: &Task) -> usize {
    match task.style {
        Style::Plain | Style::Pipelined => 1,
        Style::Batched => task.batch.min(RESERVE_MAX),
    }
}

/// Appends a put of the most urgent priority, without a delay, and a minute to run.
fn put(out: &mut Vec<u8>, body: &[u8]) {
    write!(out, "put 0 0 60 {}\r\n", body.len()).expect("a Vec takes every byte");
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// Appends requests for `count` jobs. Only the first waits until there is one: the server serves no
/// later request of a connection that waits.
fn reserve(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(b"reserve\r\n");
    (1..count).for_each(|_| out.extend_from_slice(b"reserve-with-timeout 0\r\n"));
}

fn delete(out: &mut Vec<u8>, id: u64) {
    write!(out, "delete {id}\r\n").expect("a Vec takes every byte");
}

/// Reads a reply that must begin with `start`.
fn expect(input: &mut Input, start: &str) -> Result<()> {
    let line = input.line()?;
    let is_good = line.starts_with(start.as_bytes());
    ensure!(is_good, "beanstalkd answers {:?}, not {start}", String::from_utf8_lossy(line));
    Ok(())
}

/// Reads a job: its id and its body.
fn expect_reserved(input: &mut Input) -> Result<(u64, &[u8])> {
    expect_reserved_or_none(input)?.context("beanstalkd gave no job though it may wait")
}

/// Reads a job, or that there is none.
fn expect_reserved_or_none(input: &mut Input) -> Result<Option<(u64, &[u8])>> {
    let line = str::from_utf8(input.line()?)?;
    if line == "TIMED_OUT" {
        return Ok(None);
    }
    let Some((id, len)) = line.strip_prefix("RESERVED ").and_then(|rest| rest.split_once(' '))
    else {
        bail!("beanstalkd answers {line:?}, not RESERVED")
    };
    let (id, len) = (id.parse()?, len.parse::<usize>()?);
    Ok(Some((id, &input.bytes(len + 2)?[..len])))
}
