//! Redis as a keeper of shared objects: a list, a hash and a number.
//! Not a queue of jobs: that is `redis_list`.

use std::process::Command;

use anyhow::{Result, bail};

use super::resp::{self, Reply};
use crate::blocking;
use crate::calls::{Answer, Audit, Call, key_text};
use crate::payload::Template;
use crate::peer::{Client, Collector, Peer, Producer, Program, Site, Task, Worker};
use crate::shapes::Shape;
use crate::wire::Wire;

const LIST: &[u8] = b"list";
const HASH: &[u8] = b"hash";
const NUMBER: &[u8] = b"number";

/// Items of one page, when the list is read back.
const PAGE: usize = 1_024;

/// Redis with objects.
#[derive(Debug)]
pub(crate) struct RedisObjects;

impl Peer for RedisObjects {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn driven_as(&self) -> &'static str {
        "RPUSH, LPOP; HSET, HGET; INCR, GET; pipelined: half a window of commands in each write; \
         no AOF / everysec / always"
    }

    fn locate(&self) -> Result<Program> {
        resp::locate()
    }

    fn has_shape(&self, shape: Shape) -> bool {
        shape.is_of_calls()
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        resp::server(program, site)
    }

    fn ask(&self, site: &Site) -> Result<()> {
        resp::ask(site)
    }

    fn client(&self, _task: &Task) -> Result<Box<dyn Client>> {
        no_jobs()
    }

    fn producer(&self, _task: &Task) -> Result<Box<dyn Producer>> {
        no_jobs()
    }

    fn worker(&self, _task: &Task) -> Result<Box<dyn Worker>> {
        no_jobs()
    }

    fn collector(&self, _task: &Task) -> Result<Box<dyn Collector>> {
        no_jobs()
    }

    fn caller(&self, task: &Task, call: Call) -> Result<Box<dyn crate::peer::Caller>> {
        let (wire, template) = (resp::connect(task.site.address)?, Template::new(task.payload));
        Ok(blocking::role(Caller { wire, template, call }))
    }
}

/// Redis' jobs are those of `redis-list` and `redis-stream`, and no shape asks for them here.
fn no_jobs<T>() -> Result<T> {
    bail!("redis has objects here, and no jobs")
}

struct Caller {
    wire: Wire,
    template: Template,
    call: Call,
}

impl blocking::Caller for Caller {
    fn call(&mut self, id: u64) -> Result<()> {
        let out = &mut self.wire.output.buffer;
        match self.call {
            Call::ListAppend => resp::command(out, &[b"RPUSH", LIST, self.template.job(id)]),
            Call::ListPop => resp::command(out, &[b"LPOP", LIST]),
            Call::DictSet => {
                let key = key_text(id);
                resp::command(out, &[b"HSET", HASH, key.as_bytes(), self.template.job(id)]);
            }
            Call::DictGet => resp::command(out, &[b"HGET", HASH, key_text(id).as_bytes()]),
            Call::CounterAdd => resp::command(out, &[b"INCR", NUMBER]),
            Call::CounterGet => resp::command(out, &[b"GET", NUMBER]),
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.wire.output.flush()?)
    }

    fn answer(&mut self) -> Result<Answer> {
        Ok(match resp::reply(&mut self.wire.input)? {
            Reply::Integer(number) => Answer::Number(number.try_into()?),
            Reply::Bulk(text) if self.call == Call::CounterGet => {
                Answer::Number(std::str::from_utf8(text)?.parse()?)
            }
            Reply::Bulk(bytes) => Answer::Bytes(bytes.to_vec()),
            Reply::Nil => Answer::Nothing,
            other => bail!("redis answers {other:?} where what is called has no such answer"),
        })
    }

    fn read(&mut self, audit: &mut Audit) -> Result<()> {
        match self.call {
            Call::ListAppend | Call::ListPop => self.read_list(audit),
            Call::DictSet | Call::DictGet => self.read_hash(audit),
            Call::CounterAdd | Call::CounterGet => self.read_number(audit),
        }
    }
}

impl Caller {
    fn read_list(&mut self, audit: &mut Audit) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        for start in (0..).step_by(PAGE) {
            let (first, last) = (start.to_string(), (start + PAGE - 1).to_string());
            let range = [b"LRANGE", LIST, first.as_bytes(), last.as_bytes()];
            resp::command(&mut output.buffer, &range);
            output.flush()?;
            let count = resp::expect_array(input)?;
            for _ in 0..count {
                audit.item(resp::expect_bulk(input)?);
            }
            if count == 0 {
                break;
            }
        }
        Ok(())
    }

    fn read_hash(&mut self, audit: &mut Audit) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        resp::command(&mut output.buffer, &[b"HGETALL", HASH]);
        output.flush()?;
        for _ in 0..resp::expect_array(input)? / 2 {
            let key = resp::expect_bulk(input)?.to_vec();
            audit.entry(&key, resp::expect_bulk(input)?);
        }
        Ok(())
    }

    fn read_number(&mut self, audit: &mut Audit) -> Result<()> {
        let Wire { input, output } = &mut self.wire;
        resp::command(&mut output.buffer, &[b"GET", NUMBER]);
        output.flush()?;
        audit.number(std::str::from_utf8(resp::expect_bulk(input)?)?.parse()?);
        Ok(())
    }
}
