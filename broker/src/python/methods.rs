//! What each method of a shared object does, kind by kind.
//!
//! Not the objects themselves: each method is a call of the same object that every client has, or a
//! few of them.

mod custom;
mod dict;
mod list;
mod locks;
mod make;
mod plain;
mod queue;
mod set;

use std::time::Duration;

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Packed, Value};

pub(crate) use self::make::make;
use super::PythonDoor;
use super::arguments::Arguments;
use super::inside::{Failure, Inside};
use super::kind::{Kind, Shared};
use super::raise::{Answer, Raised};

/// One call of a method.
pub(crate) struct Call<'a> {
    pub(crate) door: &'a PythonDoor,
    pub(crate) inside: &'a mut Inside,
    pub(crate) shared: &'a Shared,
    /// The type of its object.
    pub(crate) typeid: &'static str,
    pub(crate) method: &'a str,
    pub(crate) args: Arguments<'a>,
}

impl Call<'_> {
    /// Carries it out.
    pub(crate) async fn run(mut self) -> Result<Answer, Raised> {
        if matches!(self.method, "__str__" | "__repr__") {
            return Ok(Answer::Text(self.shown().await?));
        }
        let done = match self.shared.kind {
            Kind::Queue => queue::call(&mut self).await?,
            Kind::List => list::call(&mut self).await?,
            Kind::Dict => dict::call(&mut self).await?,
            Kind::Set => set::call(&mut self).await?,
            Kind::Value | Kind::Array | Kind::Namespace => plain::call(&mut self).await?,
            Kind::Event
            | Kind::Lock
            | Kind::RLock
            | Kind::Semaphore
            | Kind::BoundedSemaphore
            | Kind::Condition
            | Kind::Barrier => locks::call(&mut self).await?,
            Kind::Object => custom::call(&mut self).await?,
            // Its calls are no calls of an object: see [`super::iterators`].
            Kind::Iterator => None,
        };
        done.ok_or_else(|| self.unknown())
    }

    /// There is no such method, and which there are.
    fn unknown(&self) -> Raised {
        let (method, kind) = (self.method, self.shared.kind);
        let known: Vec<&str> = kind.exposed().collect();
        Raised::Remote(format!(
            "method {method:?} of {} is not served by this broker; these are: {}",
            self.shared,
            known.join(", ")
        ))
    }

    /// Calls a method of the object, which answers at once.
    async fn ask(&mut self, method: &str, args: &[Packed]) -> Result<Packed, Failure> {
        self.wait(method, args, Some(Duration::ZERO)).await
    }

    /// Calls a method of the object, which may wait.
    async fn wait(
        &mut self,
        method: &str,
        args: &[Packed],
        wait: Option<Duration>,
    ) -> Result<Packed, Failure> {
        let (object, typeid) = (&self.shared.object, self.typeid);
        self.inside.call(object, typeid, method, args, wait).await
    }

    /// What there is to tell, as a value.
    async fn told(&mut self, method: &str, args: &[Packed]) -> Result<Value, Failure> {
        Ok(self.ask(method, args).await?.unpack())
    }

    /// What `str(proxy)` says.
    async fn shown(&mut self) -> Result<String, Raised> {
        let shared = self.shared;
        let plain = |kind: Kind| format!("<{kind} object {}>", shared.object);
        let value = match shared.kind {
            Kind::List => self.told("slice", &[]).await?,
            Kind::Dict => dict::whole(self).await?,
            Kind::Set => set::whole(self).await?,
            Kind::Value => {
                let value = self.told("get", &[]).await?;
                let value = super::repr(&value);
                return Ok(format!("Value({value})"));
            }
            Kind::Namespace => {
                let Value::Map(entries) = self.told("items", &[]).await? else {
                    return Ok(plain(shared.kind));
                };
                let shown = entries.iter().map(|(name, value)| {
                    let name = if let Value::Text(name) = name { name.as_str() } else { "" };
                    format!("{name}={}", super::repr(value))
                });
                let mut shown: Vec<String> = shown.collect();
                shown.sort_unstable();
                return Ok(format!("Namespace({})", shown.join(", ")));
            }
            kind => return Ok(plain(kind)),
        };
        Ok(super::repr(&value))
    }
}

/// Python's words for an index that is none.
fn index_error(failure: Failure, what: &str) -> Raised {
    match failure {
        Failure::Call(CallError::Index { .. }) => {
            Raised::new(Exception::IndexError, format!("{what} index out of range"))
        }
        other => other.into(),
    }
}

/// A number of Python's, as an argument.
fn number(count: usize) -> Packed {
    Packed::from(count as u64)
}
