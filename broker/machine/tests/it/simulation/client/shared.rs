//! What a client does with shared objects: it counts, writes entries, takes a lock now and then, and puts
//! items into a queue that others get.
//!
//! Every number is used once and every answer is noted, so that in the end each call can be found in the
//! journal once, and the objects have what the journal says and the clients were told.

use std::collections::BTreeMap;

use ganger_chance::Rng;
use ganger_machine::event::{Did, Verdict};
use ganger_machine::{Command, Event, Machine, Output};
use ganger_shared::value::Integer;
use ganger_shared::{
    Block, By, CallError, JobId, Name, Packed, Request, RequestId, Response, SessionId, Time, Value,
};

use super::{Client, Known};
use crate::simulation::broker::KEY;
use crate::simulation::record::{self, Record};
use crate::simulation::seen::Seen;

const COUNTER: (&str, &str) = ("tally", "counter/1");
const DICT: (&str, &str) = ("board", "dict/1");
const LOCK: (&str, &str) = ("gate", "lock/1");
/// No worker takes jobs from it.
pub(in crate::simulation) const LINE: (&str, &str) = ("line", "queue/1");

fn arguments(values: &[Value]) -> Block {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
    Block::one(bytes)
}

fn key(session: SessionId, seq: u64) -> String {
    format!("{session}/{seq}")
}

fn request(object: (&str, &str), method: &str, seq: Option<u64>, args: Block) -> Request {
    Request::Call {
        request: RequestId(0),
        object: Name::new(object.0).unwrap(),
        typeid: Some(Name::new(object.1).unwrap()),
        method: method.to_owned(),
        seq,
        answered: 0,
        by: By::Session,
        wait_ms: 0,
        args,
    }
}

impl Client {
    /// One call of something.
    pub(super) fn call(&mut self, rng: &mut Rng) -> Option<Request> {
        let seq = self.next_seq;
        let locking = |request: &Request| matches!(request, Request::Call { object, .. } if object.as_str() == LOCK.0);
        let (object, method, args, wait) = match rng.below(10) {
            4 | 7..=9 => (LINE, "put", vec![key(self.session, seq).into()], rng.below(600)),
            5 => (LINE, "get", vec![], rng.below(600)),
            6 => (LINE, "task_done", vec![], 0),
            0..=1 => (COUNTER, "add", vec![], 0),
            2 => (DICT, "set", vec![key(self.session, seq).into(), seq.into()], 0),
            _ if self.holds.is_none() && !self.unanswered.values().any(locking) => {
                (LOCK, "acquire", vec![], 1 + rng.below(600))
            }
            _ => return None,
        };
        Some(self.numbered(object, method, &args, wait))
    }

    fn numbered(
        &mut self,
        object: (&str, &str),
        method: &str,
        args: &[Value],
        wait: u64,
    ) -> Request {
        let seq = self.next_seq;
        self.next_seq += 1;
        let open = self.unanswered.values().filter_map(|request| match request {
            Request::Call { seq, .. } => *seq,
            _ => None,
        });
        let oldest = open.min().unwrap_or(seq);
        let mut call = request(object, method, Some(seq), arguments(args));
        self.asked(|number| {
            if let Request::Call { request, answered, wait_ms, .. } = &mut call {
                (*request, *answered, *wait_ms) = (number, oldest, wait);
            }
            call
        })
    }

    /// Releases the lock after a while.
    pub(super) fn let_go(&mut self, rng: &mut Rng) -> Option<Request> {
        let token = self.holds.filter(|_| rng.chance(300))?;
        self.holds = None;
        Some(self.numbered(LOCK, "release", &[token.into()], 0))
    }

    pub(super) fn returned(
        &mut self,
        call: &Request,
        results: &Block,
        errors: &[(u32, CallError)],
        known: &mut Known,
        seen: &mut Seen,
    ) {
        let Request::Call { seq: Some(seq), method, .. } = call else { return };
        if let Some((_, error)) = errors.first() {
            let expected = match method.as_str() {
                // The list is small, or the session was away for longer than its grace.
                "set" => matches!(error, CallError::Full { .. }),
                "put" => matches!(error, CallError::Full { .. } | CallError::Removed),
                "get" => matches!(error, CallError::Empty | CallError::Removed),
                "task_done" => matches!(error, CallError::Value(_)),
                "release" => {
                    matches!(error, CallError::NotHeld(_) | CallError::StaleToken { .. })
                }
                _ => false,
            };
            assert!(expected, "{call:?}: {error}");
            if method == "put" && *error != CallError::Removed {
                seen.hit("a put found no room");
            }
            return;
        }
        let result = results.get(0);
        let value =
            if result.is_empty() { Value::None } else { Packed::new(result).unwrap().unpack() };
        if method == "get" {
            seen.hit("an item taken by a call");
        }
        if method == "acquire" {
            seen.hit(if value.is_none() { "a lock not granted in time" } else { "a lock granted" });
            self.holds = value.as_int().and_then(Integer::as_u64);
            if value.is_none() {
                return;
            }
        }
        let before = known.called.insert((self.session, *seq), value);
        assert!(before.is_none(), "call {seq} of {} is answered twice", self.session);
    }
}

/// What a call on an object reads in the end.
fn read(machine: &mut Machine, object: (&str, &str), method: &str) -> Value {
    let (session, mut out) = (SessionId(u64::MAX - 1), Output::default());
    let (held, name) = (Vec::new(), String::new());
    machine.step(Time::ZERO, Command::Open { session, key: KEY, held, name }, &mut out);
    let request = request(object, method, None, Block::empties(1));
    machine.step(Time::ZERO, Command::Request { session, request }, &mut out);
    let value = out.sends.drain(..).find_map(|send| match send.response {
        Response::Returned { results, .. } => Some(Packed::new(results.get(0)).unwrap().unpack()),
        _ => None,
    });
    let close = Command::Request { session, request: Request::Close };
    machine.step(Time::ZERO, close, &mut out);
    value.unwrap_or_else(|| panic!("{} of {}: {:?}", method, object.0, out.sends))
}

/// What the journal says of the queue.
#[derive(Default)]
struct Line {
    was_used: bool,
    /// In their order.
    items: Vec<(JobId, Value)>,
    /// And not done.
    taken: u64,
}

impl Line {
    /// The call that has changed it, and what it was to be told.
    fn take(&mut self, event: &Event) -> Option<((SessionId, u64), Value)> {
        match event {
            Event::Submitted { queue, jobs, payloads, .. } if queue.as_str() == LINE.0 => {
                self.was_used = true;
                self.items.push((jobs.first, Packed::new(payloads.get(0)).unwrap().unpack()));
                Some(((jobs.first.session, jobs.first.seq), Value::None))
            }
            Event::Ended { jobs, verdict: Verdict::Cancelled, .. } => {
                self.items.retain(|(job, _)| !jobs.contains(*job));
                None
            }
            Event::QueueCalled(called) => {
                let result = match &called.did {
                    Did::Took { job, item } => {
                        let (first, put) = self.items.remove(0);
                        assert_eq!((first, &put), (*job, &item.unpack()), "what came first");
                        self.taken += 1;
                        put
                    }
                    Did::Done => {
                        self.taken -= 1;
                        Value::None
                    }
                    Did::ShutDown => panic!("nobody shuts it down"),
                };
                Some(((called.session, called.seq), result))
            }
            Event::QueueRemoved { queue } if queue.as_str() == LINE.0 => {
                assert!(self.items.is_empty(), "removed with {:?}", self.items);
                *self = Self::default();
                None
            }
            _ => None,
        }
    }
}

impl Known {
    /// Each call took effect once, and whoever was answered was told what it came to.
    /// The effects of ends are the record's; here the objects have to say the same.
    pub(in crate::simulation) fn judge_calls(
        &self,
        journal: &[Event],
        record: &Record,
        machine: &mut Machine,
    ) {
        let mut effects: BTreeMap<(SessionId, u64), Option<Value>> = BTreeMap::new();
        let (mut adds, mut entries) = (0_u64, Vec::new());
        let mut line = Line::default();
        for event in journal {
            if let Some((call, result)) = line.take(event) {
                let before = effects.insert(call, Some(result));
                assert!(before.is_none(), "{call:?} took effect twice");
            }
            let Event::Called(called) = event else { continue };
            if matches!(called.by, By::Lease(_)) {
                continue;
            }
            let seq = called.seq.expect("none of these calls is done by halves");
            let result = match called.method.as_str() {
                "add" => {
                    adds += 1;
                    Some(Value::from(adds))
                }
                "set" => {
                    entries.push(Value::from(key(called.session, seq)));
                    Some(Value::from(entries.len()))
                }
                "release" => Some(Value::None),
                _ => None,
            };
            let before = effects.insert((called.session, seq), result);
            assert!(before.is_none(), "call {seq} of {} took effect twice", called.session);
        }
        for (call, told) in &self.called {
            let effect = effects.get(call).unwrap_or_else(|| panic!("{call:?} took no effect"));
            assert!(effect.as_ref().is_none_or(|effect| effect == told), "{call:?}: {told:?}");
        }
        assert!(line.items.is_empty(), "nobody took {:?}, or purged them", line.items);
        if line.was_used {
            assert_eq!(read(machine, LINE, "unfinished"), Value::from(line.taken), "the line");
        }
        if adds > 0 {
            assert_eq!(read(machine, COUNTER, "get"), Value::from(adds), "the counter");
        }
        if !entries.is_empty() {
            assert_eq!(read(machine, DICT, "keys"), Value::List(entries), "the keys");
        }
        if record.counted > 0 {
            let counter = (record::COUNTER, "counter/1");
            assert_eq!(read(machine, counter, "get"), Value::from(record.counted), "ends");
        }
        if !record.marked.is_empty() {
            let marks = record.marked.iter().map(|job| Value::from(job.to_string())).collect();
            assert_eq!(read(machine, (record::MARKS, "dict/1"), "keys"), Value::List(marks));
        }
        let mut tokens: Vec<u64> = self
            .called
            .iter()
            .filter(|(call, _)| effects[call].is_none())
            .map(|(_, token)| token.as_int().and_then(Integer::as_u64).unwrap())
            .collect();
        let grants = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), grants, "a token was given twice");
    }
}
