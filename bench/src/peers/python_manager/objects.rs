//! A list, a dict and a counter in Python's manager, called as its proxies call them.
//! Not its queues: those are in `python_manager`.

use anyhow::{Context as _, Result, bail};

use super::pickle::{self, Argument};
use super::{Manager, values};
use crate::blocking;
use crate::calls::{Answer, Audit, Call, key_text};
use crate::payload::Template;
use crate::peer::{self, Task};

/// Connects a caller.
///
/// # Errors
///
/// The server is unreachable.
pub(super) fn caller(task: &Task, call: Call) -> Result<Box<dyn peer::Caller>> {
    let (name, method) = match call {
        Call::ListAppend => ("list", "append"),
        Call::ListPop => ("list", "pop"),
        Call::DictSet => ("dict", "__setitem__"),
        Call::DictGet => ("dict", "__getitem__"),
        Call::CounterAdd => ("counter", "add"),
        Call::CounterGet => ("counter", "get"),
    };
    let ident = Manager::create(&task.site, name)?;
    let manager = Manager::open(&task.site)?;
    let template = Template::new(task.payload);
    Ok(blocking::role(Caller { manager, ident, method, call, template }))
}

struct Caller {
    manager: Manager,
    /// The object.
    ident: Vec<u8>,
    method: &'static str,
    call: Call,
    template: Template,
}

impl blocking::Caller for Caller {
    fn call(&mut self, id: u64) -> Result<()> {
        let key = key_text(id);
        let argument = match self.call {
            Call::ListAppend => Argument::Bytes(self.template.job(id)),
            Call::ListPop => Argument::Count(0),
            Call::DictSet => Argument::Entry(&key, self.template.job(id)),
            Call::DictGet => Argument::Text(&key),
            Call::CounterAdd => Argument::Count(1),
            Call::CounterGet => Argument::None,
        };
        self.manager.ask(Some(&self.ident), self.method, argument)
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.manager.wire.output.flush()?)
    }

    fn answer(&mut self) -> Result<Answer> {
        let reply = self.manager.receive()?;
        Ok(match (values(&reply)?.as_slice(), self.call) {
            ([], _) => Answer::Nothing,
            ([digits], Call::CounterAdd | Call::CounterGet) => {
                Answer::Number(pickle::number_of(digits))
            }
            ([bytes], _) => Answer::Bytes(bytes.to_vec()),
            (several, _) => bail!("{} values were returned", several.len()),
        })
    }

    fn read(&mut self, audit: &mut Audit) -> Result<()> {
        let ident = Some(&*self.ident);
        match self.call {
            Call::ListAppend | Call::ListPop => {
                let reply = self.manager.call(ident, WHOLE, Argument::None)?;
                values(&reply)?.into_iter().for_each(|item| audit.item(item));
            }
            Call::DictSet | Call::DictGet => {
                let reply = self.manager.call(ident, WHOLE, Argument::None)?;
                values(&reply)?.chunks_exact(2).for_each(|pair| audit.entry(pair[0], pair[1]));
            }
            Call::CounterAdd | Call::CounterGet => {
                let reply = self.manager.call(ident, "get", Argument::None)?;
                let digits = values(&reply)?.first().copied().context("no number")?;
                audit.number(pickle::number_of(digits));
            }
        }
        Ok(())
    }
}

/// The method by which a proxy gets a copy of its object.
const WHOLE: &str = "#GETVALUE";
