//! Ganger's shared objects, called through the typed proxies of its client library.
//! Not jobs: those are in `ganger`.

use std::collections::VecDeque;
use std::mem;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use ganger_rt::block_on;
use ganger_shared::object::proxy::{Arguments, Caller as _, answer};
use ganger_shared::object::{Takes, types};
use ganger_shared::{Packed, Value};
use ganger_worker::{Counter, Dict, Object, Objects as _, TypedList};

use super::{UnderWay, Watch, begin, connect};
use crate::calls::{Answer, Audit, Call, key_text};
use crate::payload::Template;
use crate::peer::{Caller, Step, Task};
use crate::roles::PATIENCE;
use crate::shapes::Style;

/// Bytes of one page, when an object is read back, and items of it.
const PAGE_BYTES: usize = 4 << 20;
const PAGE: usize = 4_096;

/// Connects a caller.
///
/// # Errors
///
/// The server is unreachable.
pub(super) fn caller(task: &Task, call: Call) -> Result<Box<dyn Caller>> {
    let client = block_on(connect(&task.site, PATIENCE))?;
    let watch = Watch::start(&client);
    let target = match call {
        Call::ListAppend | Call::ListPop => Target::List(client.typed_list("bench")?),
        Call::DictSet | Call::DictGet => Target::Dict(client.dict("bench")?),
        Call::CounterAdd | Call::CounterGet => Target::Counter(client.counter("bench")?),
    };
    let template = Template::new(task.payload);
    let page = (PAGE_BYTES / task.payload).clamp(1, PAGE);
    let singly = Singly { target, call, template, page, under_way: VecDeque::new(), watch };
    Ok(match task.style {
        Style::Plain | Style::Pipelined => Box::new(singly),
        Style::Batched => Box::new(Together::new(singly)),
    })
}

/// The object that is called.
enum Target {
    List(TypedList<Value>),
    Dict(Dict<String, Value>),
    Counter(Counter),
}

impl Target {
    fn object(&self) -> &Object {
        match self {
            Self::List(list) => list.object(),
            Self::Dict(dict) => dict.object(),
            Self::Counter(counter) => counter.object(),
        }
    }
}

/// Makes each call by itself, with the method of the proxy.
struct Singly {
    target: Target,
    call: Call,
    template: Template,
    /// How many items are read back at once.
    page: usize,
    under_way: VecDeque<UnderWay<Answer>>,
    watch: Watch,
}

impl Caller for Singly {
    fn call(&mut self, id: u64) -> Result<()> {
        let reads = self.call.preparation(1).is_some();
        let mut value = || Value::Bytes(Bytes::copy_from_slice(self.template.job(id)));
        let call = match (&self.target, reads) {
            (Target::List(list), false) => {
                let (list, item) = (list.clone(), value());
                begin(async move { list.append(&item).await.map(Answer::Number) })
            }
            (Target::List(list), true) => {
                let list = list.clone();
                begin(async move { list.pop(0).await.map(answer_of) })
            }
            (Target::Dict(dict), false) => {
                let (dict, key, value) = (dict.clone(), key_text(id), value());
                begin(async move { dict.set(&key, &value).await.map(Answer::Number) })
            }
            (Target::Dict(dict), true) => {
                let (dict, key) = (dict.clone(), key_text(id));
                begin(async move { Ok(dict.get(&key).await?.map_or(Answer::Nothing, answer_of)) })
            }
            (Target::Counter(counter), false) => {
                let counter = counter.clone();
                begin(async move { counter.add(1).await.map(answer_of) })
            }
            (Target::Counter(counter), true) => {
                let counter = counter.clone();
                begin(async move { counter.get().await.map(answer_of) })
            }
        };
        self.under_way.push_back(call);
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        // The library has sent each call by itself.
        Ok(())
    }

    fn answer(&mut self) -> Step<'_, Answer> {
        self.watch.step();
        Box::pin(async { Ok(self.under_way.pop_front().context("no call is under way")?.await?) })
    }

    fn read<'a>(&'a mut self, audit: &'a mut Audit) -> Step<'a, ()> {
        Box::pin(self.read_pages(audit))
    }
}

impl Singly {
    async fn read_pages(&mut self, audit: &mut Audit) -> Result<()> {
        match &self.target {
            Target::List(list) => {
                for start in (0..).step_by(self.page) {
                    self.watch.step();
                    let stop = start + i64::try_from(self.page)?;
                    let items = list.slice(start, Some(stop)).await?;
                    items.iter().for_each(|item| audit.item(bytes_of(item)));
                    if items.is_empty() {
                        break;
                    }
                }
            }
            Target::Dict(dict) => {
                let mut after = None;
                loop {
                    self.watch.step();
                    let entries = dict.items(after.as_ref(), u32::try_from(self.page)?).await?;
                    let Some((last, _)) = entries.last() else { break };
                    after = Some(last.clone());
                    for (key, value) in &entries {
                        audit.entry(key.as_bytes(), bytes_of(value));
                    }
                }
            }
            Target::Counter(counter) => audit.number(u64::try_from(counter.get().await?)?),
        }
        Ok(())
    }
}

/// Gathers calls, and makes all of them with one request when they are to be sent.
struct Together {
    singly: Singly,
    method: &'static str,
    takes: Takes,
    /// The arguments of each.
    gathered: Vec<Bytes>,
    under_way: VecDeque<UnderWay<Vec<Packed>>>,
    /// What has come and was not asked for yet.
    answers: VecDeque<Packed>,
}

impl Together {
    fn new(singly: Singly) -> Self {
        let (typeid, method) = match singly.call {
            Call::ListAppend => ("list/1", "append"),
            Call::ListPop => ("list/1", "pop"),
            Call::DictSet => ("dict/1", "set"),
            Call::DictGet => ("dict/1", "get"),
            Call::CounterAdd => ("counter/1", "add"),
            Call::CounterGet => ("counter/1", "get"),
        };
        let known = types::builtin(typeid).and_then(|found| found.method(method));
        let takes = known.map_or(Takes::Turn, |method| method.takes);
        let (gathered, under_way, answers) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { singly, method, takes, gathered, under_way, answers }
    }

    async fn next_answer(&mut self) -> Result<Answer> {
        if self.answers.is_empty() {
            let calls = self.under_way.pop_front().context("no call is under way")?;
            self.answers.extend(calls.await?);
        }
        let packed = self.answers.pop_front().context("a call has no answer")?;
        Ok(answer_of(answer::<Value>(&packed)?))
    }
}

impl Caller for Together {
    fn call(&mut self, id: u64) -> Result<()> {
        let Singly { call, template, .. } = &mut self.singly;
        let mut arguments = Arguments::default();
        let mut value = || Value::Bytes(Bytes::copy_from_slice(template.job(id)));
        match call {
            Call::ListAppend => arguments.push(&value())?,
            Call::ListPop => arguments.push(&0)?,
            Call::DictSet => {
                arguments.push(&key_text(id))?;
                arguments.push(&value())?;
            }
            Call::DictGet => arguments.push(&key_text(id))?,
            Call::CounterAdd => arguments.push(&1)?,
            Call::CounterGet => {}
        }
        self.gathered.push(arguments.finish());
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let (object, calls) = (self.singly.target.object().clone(), mem::take(&mut self.gathered));
        let (method, takes) = (self.method, self.takes);
        if !calls.is_empty() {
            let calls = begin(async move { object.call_many(method, takes, calls).await });
            self.under_way.push_back(calls);
        }
        Ok(())
    }

    fn answer(&mut self) -> Step<'_, Answer> {
        self.singly.watch.step();
        Box::pin(self.next_answer())
    }

    fn read<'a>(&'a mut self, audit: &'a mut Audit) -> Step<'a, ()> {
        self.singly.read(audit)
    }
}

fn bytes_of(value: &Value) -> &[u8] {
    value.as_bytes().map_or(b"", |bytes| bytes)
}

/// What a call has returned, as other peers say it.
fn answer_of(value: impl Into<Value>) -> Answer {
    match value.into() {
        Value::Bytes(bytes) => Answer::Bytes(bytes.to_vec()),
        Value::Int(number) => number.as_u64().map_or(Answer::Nothing, Answer::Number),
        _ => Answer::Nothing,
    }
}
