//! What a call is answered with: a value, or what Python raises.
//!
//! Not how that is written, which is `ganger_pickle`'s.

use ganger_pickle::PickleError;
use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Rejection, Value};

use super::inside::Failure;
use super::kind::Shared;

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A value.
    Value(Value),
    /// A text.
    Text(String),
    /// A tuple of names.
    Names(Vec<&'static str>),
    /// An iterator over these.
    Iter(Vec<Value>),
    /// An `array.array` of this typecode.
    Array(char, Vec<u8>),
    /// An object was made, or found: its ident, and the methods of its proxy.
    Created(Shared, Vec<&'static str>),
    /// A proxy of this object, of these methods.
    Proxy(Shared, Vec<&'static str>),
}

/// What a client is told instead of an answer.
#[derive(Debug)]
pub(crate) enum Raised {
    /// An exception of Python's own, made with these arguments.
    Exception(Exception, Vec<Value>),
    /// A `RemoteError`: what should not be asked in the first place.
    Remote(String),
    /// Nothing: the broker ends.
    Gone,
}

impl Raised {
    /// An exception made with a text.
    pub(crate) fn new(exception: Exception, text: impl Into<String>) -> Self {
        Self::Exception(exception, vec![Value::Text(text.into())])
    }

    /// An exception made with nothing.
    pub(crate) const fn bare(exception: Exception) -> Self {
        Self::Exception(exception, Vec::new())
    }
}

impl Answer {
    pub(crate) const NONE: Self = Self::Value(Value::None);
}

impl From<bool> for Answer {
    fn from(flag: bool) -> Self {
        Self::Value(flag.into())
    }
}

impl From<PickleError> for Raised {
    /// A request that was read as far as its envelope, and has an argument that is not taken.
    fn from(error: PickleError) -> Self {
        Self::new(Exception::ValueError, error.to_string())
    }
}

impl From<Failure> for Raised {
    /// What Python raises where the method has nothing better to say.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => Self::Gone,
            Failure::Call(error) => call_error(&error),
            Failure::Rejected(rejection) => rejected(&rejection),
        }
    }
}

fn call_error(error: &CallError) -> Raised {
    let exception = match error {
        CallError::Index { .. } => Exception::IndexError,
        CallError::Key { .. } => Exception::KeyError,
        CallError::Type(_) => Exception::TypeError,
        CallError::Absent { .. } | CallError::Value(_) => Exception::ValueError,
        CallError::Empty => return Raised::bare(Exception::Empty),
        CallError::Full { .. } => Exception::MemoryError,
        CallError::Broken => return Raised::bare(Exception::BrokenBarrierError),
        CallError::NotHeld(_)
        | CallError::StaleToken { .. }
        | CallError::Deadlock(_)
        | CallError::Revision { .. }
        | CallError::ShutDown
        | CallError::Removed
        | CallError::Poisoned(_)
        | CallError::User { .. } => Exception::RuntimeError,
    };
    Raised::new(exception, error.to_string())
}

fn rejected(rejection: &Rejection) -> Raised {
    let exception = match rejection {
        Rejection::TooLarge { .. } | Rejection::Invalid(_) => Exception::ValueError,
        Rejection::NotACaller { .. } => Exception::PermissionError,
        Rejection::MemoryFull { .. } | Rejection::StorageFull { .. } => Exception::MemoryError,
        _ => Exception::RuntimeError,
    };
    Raised::new(exception, rejection.to_string())
}
