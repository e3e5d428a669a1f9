//! Redis with a stream and a consumer group; results go to a list.
//! Not different from `redis_list` in server and results.

use std::ops::Range;
use std::process::Command;

use anyhow::{Result, ensure};

use super::redis_list::ResultsCollector;
use super::resp::{self, RESULTS};
use crate::blocking;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{Client, Collector, Peer, Producer, Program, Site, Task, Worker};
use crate::shapes::Style;
use crate::wire::Wire;

const JOBS: &[u8] = b"jobs";
const GROUP: &[u8] = b"workers";
const FIELD: &[u8] = b"p";

/// Redis with a stream.
#[derive(Debug)]
pub(crate) struct RedisStream;

impl Peer for RedisStream {
    fn name(&self) -> &'static str {
        "redis-stream"
    }

    fn driven_as(&self) -> &'static str {
        "XADD, XREADGROUP COUNT, LPUSH of results, XACK and XDEL, in one write where the shape \
         lets them; no AOF / everysec / always"
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

    fn prepare(&self, site: &Site) -> Result<()> {
        let mut wire = resp::connect(site.address)?;
        let parts: [&[u8]; 6] = [b"XGROUP", b"CREATE", JOBS, GROUP, b"0", b"MKSTREAM"];
        resp::command(&mut wire.output.buffer, &parts);
        wire.output.flush()?;
        resp::expect_status(&mut wire.input)
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        Ok(blocking::role(StreamClient {
            wire: resp::connect(task.site.address)?,
            style: task.style,
        }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let wire = resp::connect(task.site.address)?;
        Ok(blocking::role(StreamProducer { wire, template: Template::new(task.payload) }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut wire = resp::connect(task.site.address)?;
        wire.input.set_patience(None)?;
        let count = match task.style {
            Style::Plain | Style::Pipelined => 1,
            Style::Batched => task.batch,
        };
        let (consumer, count) = (task.index.to_string(), count.to_string());
        let mut receive = Vec::new();
        let parts: [&[u8]; 11] = [
            b"XREADGROUP",
            b"GROUP",
            GROUP,
            consumer.as_bytes(),
            b"COUNT",
            count.as_bytes(),
            b"BLOCK",
            b"0",
            b"STREAMS",
            JOBS,
            b">",
        ];
        resp::command(&mut receive, &parts);
        let Task { style, payload, .. } = *task;
        Ok(blocking::role(StreamWorker { wire, receive, style, payload, batch: Batch::default() }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        Ok(blocking::role(ResultsCollector::new(task)?))
    }
}

struct StreamClient {
    wire: Wire,
    style: Style,
}

impl blocking::Client for StreamClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        let Wire { input, output } = &mut self.wire;
        resp::command(&mut output.buffer, &[b"XADD", JOBS, b"*", FIELD, job]);
        if self.style == Style::Plain {
            output.flush()?;
            resp::expect_bulk(input)?;
        }
        resp::command(&mut output.buffer, &[b"BRPOP", RESULTS, b"0"]);
        output.flush()?;
        if self.style != Style::Plain {
            resp::expect_bulk(input)?;
        }
        resp::expect_array(input)?;
        resp::expect_bulk(input)?;
        Ok(resp::expect_bulk(input)?.try_into()?)
    }
}

struct StreamProducer {
    wire: Wire,
    template: Template,
}

impl blocking::Producer for StreamProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        ids.for_each(|id| resp::command(out, &[b"XADD", JOBS, b"*", FIELD, self.template.job(id)]));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.wire.output.flush()?)
    }

    fn confirm(&mut self, jobs: u64) -> Result<()> {
        (0..jobs).try_for_each(|_| resp::expect_bulk(&mut self.wire.input).map(drop))
    }
}

struct StreamWorker {
    wire: Wire,
    /// The command that asks for jobs.
    receive: Vec<u8>,
    style: Style,
    payload: usize,
    batch: Batch,
}

/// Jobs that are received together.
#[derive(Debug, Default)]
struct Batch {
    results: Vec<[u8; RESULT_LEN]>,
    /// The entries' ids, as parts of a command.
    ids: Vec<u8>,
}

impl blocking::Worker for StreamWorker {
    fn work(&mut self) -> Result<()> {
        self.wire.output.buffer.extend_from_slice(&self.receive);
        loop {
            self.wire.output.flush()?;
            self.batch.read(&mut self.wire, self.payload)?;
            resp::publish(&mut self.wire.output.buffer, &self.batch.results);
            self.settle_if_plain()?;
            self.batch.remove(&mut self.wire.output.buffer, &[b"XACK", JOBS, GROUP]);
            self.settle_if_plain()?;
            self.batch.remove(&mut self.wire.output.buffer, &[b"XDEL", JOBS]);
            self.settle_if_plain()?;
            self.wire.output.buffer.extend_from_slice(&self.receive);
            if self.style != Style::Plain {
                self.wire.output.flush()?;
                resp::skip_integers(&mut self.wire.input, 3)?;
            }
        }
    }
}

impl StreamWorker {
    /// Waits for the reply of one request, if every request must.
    fn settle_if_plain(&mut self) -> Result<()> {
        if self.style == Style::Plain {
            self.wire.output.flush()?;
            resp::expect_integer(&mut self.wire.input)?;
        }
        Ok(())
    }
}

impl Batch {
    /// Reads the reply to XREADGROUP: of one stream, entries of an id and one field.
    fn read(&mut self, wire: &mut Wire, payload: usize) -> Result<()> {
        let input = &mut wire.input;
        self.results.clear();
        self.ids.clear();
        resp::expect_array(input)?;
        resp::expect_array(input)?;
        resp::expect_bulk(input)?;
        for _ in 0..resp::expect_array(input)? {
            ensure!(resp::expect_array(input)? == 2, "a stream entry is no pair");
            resp::bulk(&mut self.ids, resp::expect_bulk(input)?);
            ensure!(resp::expect_array(input)? == 2, "a stream entry has more than one field");
            resp::expect_bulk(input)?;
            self.results.push(payload::run(resp::expect_bulk(input)?, payload)?);
        }
        Ok(())
    }

    /// Appends a command on all entries of this batch.
    fn remove(&self, out: &mut Vec<u8>, command: &[&[u8]]) {
        resp::open(out, command.len() + self.results.len());
        command.iter().for_each(|part| resp::bulk(out, part));
        out.extend_from_slice(&self.ids);
    }
}
