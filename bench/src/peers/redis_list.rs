//! Redis with lists: a job moves from the pending list to a list of its worker, and is deleted
//! there once its result is published.
//! Not faithful in one point that the others are: nothing brings back the jobs of a dead worker.

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::resp::{self, RESULTS, Reply};
use crate::blocking;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{Client, Collector, Peer, Producer, Program, Site, Task, Worker};
use crate::shapes::Style;
use crate::wire::{Wire, is_timeout};

const PENDING: &[u8] = b"pending";

/// The most results of one receive.
const COLLECT_MAX: &[u8] = b"4096";

/// Redis with lists.
#[derive(Debug)]
pub(crate) struct RedisList;

impl Peer for RedisList {
    fn name(&self) -> &'static str {
        "redis-list"
    }

    fn driven_as(&self) -> &'static str {
        "BLMOVE pending to processing, LPUSH of the result, LREM; batched: variadic LPUSH, \
         pipelines of LMOVE, DEL of the processing list, BLMPOP of results; \
         no AOF / everysec / always"
    }

    fn locate(&self) -> Result<Program> {
        resp::locate()
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        resp::server(program, site)
    }

    fn ask(&self, site: &Site) -> Result<()> {
        resp::ask(site)
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        Ok(blocking::role(ListClient {
            wire: resp::connect(task.site.address)?,
            style: task.style,
        }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let wire = resp::connect(task.site.address)?;
        Ok(blocking::role(ListProducer { wire, template: Template::new(task.payload) }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut wire = resp::connect(task.site.address)?;
        wire.input.set_patience(None)?;
        let processing = format!("processing:{}", task.index).into_bytes();
        let Task { style, payload, batch, .. } = *task;
        Ok(blocking::role(ListWorker { wire, processing, style, payload, batch }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        Ok(blocking::role(ResultsCollector::new(task)?))
    }
}

struct ListClient {
    wire: Wire,
    style: Style,
}

impl blocking::Client for ListClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        let Wire { input, output } = &mut self.wire;
        resp::command(&mut output.buffer, &[b"LPUSH", PENDING, job]);
        if self.style == Style::Plain {
            output.flush()?;
            resp::expect_integer(input)?;
        }
        resp::command(&mut output.buffer, &[b"BRPOP", RESULTS, b"0"]);
        output.flush()?;
        if self.style != Style::Plain {
            resp::expect_integer(input)?;
        }
        resp::expect_array(input)?;
        resp::expect_bulk(input)?;
        Ok(resp::expect_bulk(input)?.try_into()?)
    }
}

struct ListProducer {
    wire: Wire,
    template: Template,
}

impl blocking::Producer for ListProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        resp::open(out, 2 + usize::try_from(ids.end - ids.start)?);
        resp::bulk(out, b"LPUSH");
        resp::bulk(out, PENDING);
        ids.for_each(|id| resp::bulk(out, self.template.job(id)));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.wire.output.flush()?)
    }

    fn confirm(&mut self, _jobs: u64) -> Result<()> {
        resp::expect_integer(&mut self.wire.input).map(drop)
    }
}

struct ListWorker {
    wire: Wire,
    /// This worker's own list of jobs that are not done.
    processing: Vec<u8>,
    style: Style,
    payload: usize,
    batch: usize,
}

impl blocking::Worker for ListWorker {
    fn work(&mut self) -> Result<()> {
        match self.style {
            Style::Plain => self.work_plain(),
            Style::Pipelined => self.work_pipelined(),
            Style::Batched => self.work_batched(),
        }
    }
}

impl ListWorker {
    fn work_plain(&mut self) -> Result<()> {
        let mut job = Vec::with_capacity(self.payload);
        loop {
            self.receive();
            self.wire.output.flush()?;
            job.clear();
            job.extend_from_slice(resp::expect_bulk(&mut self.wire.input)?);

            let Wire { input, output } = &mut self.wire;
            resp::publish(&mut output.buffer, &[payload::run(&job, self.payload)?]);
            output.flush()?;
            resp::expect_integer(input)?;

            resp::command(&mut output.buffer, &[b"LREM", &self.processing, b"1", &job]);
            output.flush()?;
            resp::expect_integer(input)?;
        }
    }

    fn work_pipelined(&mut self) -> Result<()> {
        self.receive();
        self.wire.output.flush()?;
        loop {
            let Wire { input, output } = &mut self.wire;
            let job = resp::expect_bulk(input)?;
            resp::publish(&mut output.buffer, &[payload::run(job, self.payload)?]);
            resp::command(&mut output.buffer, &[b"LREM", &self.processing, b"1", job]);
            self.receive();
            self.wire.output.flush()?;
            resp::skip_integers(&mut self.wire.input, 2)?;
        }
    }

    fn work_batched(&mut self) -> Result<()> {
        let mut moves = Vec::new();
        for _ in 0..self.batch {
            resp::command(&mut moves, &[b"LMOVE", PENDING, &self.processing, b"RIGHT", b"LEFT"]);
        }
        let mut results = Vec::with_capacity(self.batch);
        self.receive();
        let mut asked = 1;
        loop {
            self.wire.output.flush()?;
            if !results.is_empty() {
                resp::skip_integers(&mut self.wire.input, 2)?;
                results.clear();
            }
            for _ in 0..asked {
                match resp::reply(&mut self.wire.input)? {
                    Reply::Bulk(job) => results.push(payload::run(job, self.payload)?),
                    Reply::Nil => {}
                    other => bail!("redis answers {other:?} where a job belongs"),
                }
            }
            if results.is_empty() {
                self.receive();
                asked = 1;
            } else {
                let out = &mut self.wire.output.buffer;
                resp::publish(out, &results);
                resp::command(out, &[b"DEL", &self.processing]);
                out.extend_from_slice(&moves);
                asked = self.batch;
            }
        }
    }

    /// Asks for one job, and waits at the server until there is one.
    fn receive(&mut self) {
        let out = &mut self.wire.output.buffer;
        resp::command(out, &[b"BLMOVE", PENDING, &self.processing, b"RIGHT", b"LEFT", b"0"]);
    }
}

/// Receives from a list of results.
pub(super) struct ResultsCollector {
    wire: Wire,
    style: Style,
    /// Whether a request is under way: one outlives a `collect` whose patience has passed.
    asked: bool,
}

impl ResultsCollector {
    /// Connects.
    pub(super) fn new(task: &Task) -> Result<Self> {
        Ok(Self { wire: resp::connect(task.site.address)?, style: task.style, asked: false })
    }

    fn receive(&mut self) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        match self.style {
            Style::Plain | Style::Pipelined => resp::command(out, &[b"BRPOP", RESULTS, b"0"]),
            Style::Batched => {
                let parts: [&[u8]; 7] =
                    [b"BLMPOP", b"0", b"1", RESULTS, b"RIGHT", b"COUNT", COLLECT_MAX];
                resp::command(out, &parts);
            }
        }
        self.asked = true;
        Ok(self.wire.output.flush()?)
    }
}

impl blocking::Collector for ResultsCollector {
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        if !self.asked {
            self.receive()?;
        }
        let input = &mut self.wire.input;
        input.set_patience(Some(patience))?;
        match resp::expect_array(input) {
            Err(error) if is_timeout(&error) => return Ok(0),
            other => other?,
        };
        self.asked = false;
        resp::expect_bulk(input)?;
        let count = match self.style {
            Style::Plain | Style::Pipelined => 1,
            Style::Batched => resp::expect_array(input)?,
        };
        for _ in 0..count {
            ledger.record(resp::expect_bulk(input)?);
        }
        Ok(u64::try_from(count)?)
    }
}
