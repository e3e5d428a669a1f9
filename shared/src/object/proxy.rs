//! Proxies: an object's methods as functions, with the program's own types for values.
//!
//! Not how a call reaches the broker: that is a [`Caller`]'s, so that proxies need no connection of a
//! certain kind, and a test can do without any.

mod collections;
mod queue;
mod single;
mod sync;

use core::future::Future;
use core::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::collections::{ArrayProxy, DictProxy, Entry, ListProxy, NamespaceProxy, SetProxy};
pub use self::queue::QueueProxy;
pub use self::single::{CounterProxy, ValueProxy};
pub use self::sync::{
    BarrierProxy, ConditionGuard, ConditionProxy, EventProxy, Guard, LockProxy, SemaphoreProxy,
};
use super::types::Takes;
use crate::value::{ConvertError, Packed, ValueError, from_value, to_value};

/// One call of a method.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The method.
    pub method: &'static str,
    /// What it takes of the broker.
    pub takes: Takes,
    /// Its arguments: encoded values, one after the other.
    pub args: Bytes,
    /// How long it may wait; nothing for one that answers at once.
    pub wait: Duration,
}

impl Invocation {
    /// A call that answers at once.
    #[must_use]
    pub const fn new(method: &'static str, takes: Takes, args: Bytes) -> Self {
        Self { method, takes, args, wait: Duration::ZERO }
    }

    /// A call without arguments that may wait so long.
    #[must_use]
    pub const fn waiting(method: &'static str, wait: Duration) -> Self {
        Self { method, takes: Takes::Time, args: Bytes::new(), wait }
    }
}

/// A way to one object.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Why a call has no answer; a [`CallError`](super::CallError) among others.
    type Error: CallFailure;

    /// Calls a method and returns its answer.
    fn call(&self, call: Invocation) -> impl Future<Output = Result<Packed, Self::Error>> + Send;

    /// Calls a method once for each string of arguments, in one frame, and returns the answers. The first
    /// call that fails is the error; the others were carried out nevertheless.
    fn call_many(
        &self,
        method: &'static str,
        takes: Takes,
        args: Vec<Bytes>,
    ) -> impl Future<Output = Result<Vec<Packed>, Self::Error>> + Send;

    /// Calls a method and does not wait for the answer: for what is dropped.
    fn send(&self, call: Invocation);
}

/// The proxy of a type that a program brings along.
pub trait ObjectProxy<C: Caller> {
    /// The type's stable name.
    const TYPEID: &'static str;

    /// The type's methods, as the program was built with them.
    const METHODS: &'static [super::Method];

    /// The proxy of the object that `object` leads to.
    fn over(object: C) -> Self;
}

/// Why a call has no answer.
pub trait CallFailure: From<ConvertError> + Send + Sized {
    /// The error that the method itself has returned, as a value.
    ///
    /// # Errors
    /// Itself, if it is no such error.
    fn into_user(self) -> Result<Packed, Self>;
}

/// What a method that returns a `Result` has returned: the program's own error is the inner one.
///
/// # Errors
/// The caller's, whatever else has gone wrong.
pub fn outcome<T, E, F>(answered: Result<Packed, F>) -> Result<Result<T, E>, F>
where
    T: DeserializeOwned,
    E: DeserializeOwned,
    F: CallFailure,
{
    match answered {
        Ok(packed) => Ok(Ok(answer(&packed)?)),
        Err(error) => Ok(Err(answer(&error.into_user()?)?)),
    }
}

/// Arguments that are put together.
#[derive(Debug, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
}

impl Arguments {
    /// Adds one.
    ///
    /// # Errors
    /// [`ConvertError`] if it cannot be a value.
    pub fn push<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), ConvertError> {
        let value = to_value(argument)?;
        value.encode_to(&mut self.bytes).map_err(unencodable)
    }

    /// All of them.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

fn unencodable(error: ValueError) -> ConvertError {
    serde::ser::Error::custom(error)
}

/// The answer as the program's type.
///
/// # Errors
/// [`ConvertError`] if it is another.
pub fn answer<T: DeserializeOwned>(packed: &Packed) -> Result<T, ConvertError> {
    from_value(packed.unpack())
}

/// Encodes arguments, one after the other.
macro_rules! args {
    ($($argument:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "there may be none")]
        let mut args = $crate::object::proxy::Arguments::default();
        $(args.push(&$argument)?;)*
        args.finish()
    }};
}

/// The call of a method of the table, made and answered.
macro_rules! call {
    ($self:ident, $takes:ident, $method:literal $(, $argument:expr)*) => {{
        let args = $crate::object::proxy::args!($($argument),*);
        let takes = $crate::object::types::Takes::$takes;
        let call = $crate::object::proxy::Invocation::new($method, takes, args);
        let packed = $self.object.call(call).await?;
        Ok($crate::object::proxy::answer(&packed)?)
    }};
}

/// A proxy around the way to its object.
macro_rules! proxy {
    ($(#[$doc:meta])* $name:ident <$($type:ident),*>) => {
        $(#[$doc])*
        pub struct $name<C $(, $type)*> {
            object: C,
            types: core::marker::PhantomData<fn() -> ($($type,)*)>,
        }

        impl<C $(, $type)*> $name<C $(, $type)*> {
            /// The proxy of the object that `object` leads to.
            #[must_use]
            pub const fn new(object: C) -> Self {
                Self { object, types: core::marker::PhantomData }
            }

            /// The way to the object.
            #[must_use]
            pub const fn object(&self) -> &C {
                &self.object
            }
        }

        impl<C: Clone $(, $type)*> Clone for $name<C $(, $type)*> {
            fn clone(&self) -> Self {
                Self::new(self.object.clone())
            }
        }

        impl<C: core::fmt::Debug $(, $type)*> core::fmt::Debug for $name<C $(, $type)*> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.object).finish()
            }
        }
    };
}

pub(crate) use {args, call, proxy};
