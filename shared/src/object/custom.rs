//! Object types that a program brings along: what the broker has to know of one.
//!
//! [`#[object]`](macro@crate::object) writes this for an ordinary `impl` block; [`SharedObject`] by hand is a page.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallError;
use super::types::Method;
use crate::value::{Packed, Value, from_value, to_value};

/// A type whose objects a broker can serve.
///
/// Calls are recorded and carried out again when a broker starts, so methods must be deterministic: no
/// clock, no randomness, no input or output, no maps whose order differs from run to run. A
/// method that panics poisons its object: nobody can call it any more.
///
/// The state is kept by its serde form, which says itself what it is: fields may be added with
/// `#[serde(default)]`. What changes the meaning of a method's arguments needs another version in the typeid.
///
/// ```
/// use ganger_shared::object::custom::{Arguments, SharedObject, returned};
/// use ganger_shared::object::{Method, Takes};
/// use ganger_shared::{CallError, Value};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Tally {
///     sum: i64,
/// }
///
/// impl SharedObject for Tally {
///     const TYPEID: &'static str = "tally/1";
///     const METHODS: &'static [Method] = &[
///         Method { name: "sum", args: "", returns: "i64", takes: Takes::Nothing, cost: "O(1)" },
///         Method { name: "add", args: "by: i64", returns: "i64", takes: Takes::Room, cost: "O(1)" },
///     ];
///
///     fn make(args: &mut Arguments) -> Result<Self, CallError> {
///         args.end()?;
///         Ok(Self::default())
///     }
///
///     fn call(&mut self, method: &str, args: &mut Arguments) -> Result<Value, CallError> {
///         match method {
///             "sum" => {
///                 args.end()?;
///                 returned(&self.sum)
///             }
///             "add" => {
///                 let by: i64 = args.next("by")?;
///                 args.end()?;
///                 self.sum += by;
///                 returned(&self.sum)
///             }
///             other => Err(CallError::Type(format!("tally/1 has no method {other}"))),
///         }
///     }
/// }
/// ```
pub trait SharedObject: Serialize + DeserializeOwned + Send + 'static {
    /// Its stable name with a version, as in `inventory/1`.
    const TYPEID: &'static str;

    /// Its methods: those with `&self` take [`Nothing`](super::Takes::Nothing), those with `&mut self`
    /// [`Room`](super::Takes::Room). Their arguments and what they return are part of the
    /// [`schema`].
    const METHODS: &'static [Method];

    /// Makes one.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    fn make(args: &mut Arguments) -> Result<Self, CallError>
    where
        Self: Sized;

    /// Carries out a method. One that fails must change nothing.
    ///
    /// # Errors
    /// What is wrong with the arguments, or [`failed`] with the error that the method has returned.
    fn call(&mut self, method: &str, args: &mut Arguments) -> Result<Value, CallError>;
}

/// What client and broker have to agree on: blake3 over the typeid and the methods' names, arguments and
/// results, line by line.
#[must_use]
pub fn schema(typeid: &str, methods: &[Method]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("ganger 2026 schema of an object type");
    hasher.update(typeid.as_bytes());
    for Method { name, args, returns, takes, .. } in methods {
        hasher.update(format!("\n{name}({args}) -> {returns} {takes:?}").as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The arguments of one call, taken one after the other.
#[derive(Debug)]
pub struct Arguments {
    values: std::vec::IntoIter<Packed>,
}

impl Arguments {
    /// From encoded values, one after the other.
    ///
    /// # Errors
    /// [`CallError::Value`] where they are none.
    pub fn new(mut encoded: bytes::Bytes) -> Result<Self, CallError> {
        let mut values = Vec::new();
        while !encoded.is_empty() {
            let value = Packed::first_of(&mut encoded);
            let at = values.len() + 1;
            let no_value = |error| CallError::Value(format!("argument {at} is no value: {error}"));
            values.push(value.map_err(no_value)?);
        }
        Ok(Self { values: values.into_iter() })
    }

    /// The next one, of the type that the method wants. One that was left out is none, which an
    /// `Option` takes.
    ///
    /// # Errors
    /// [`CallError::Type`] names the argument and both types.
    pub fn next<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, CallError> {
        let value = self.values.next().map_or(Value::None, |value| value.unpack());
        from_value(value).map_err(|error| CallError::Type(format!("argument {name}: {error}")))
    }

    /// That was all.
    ///
    /// # Errors
    /// [`CallError::Type`] if more were given.
    pub fn end(&mut self) -> Result<(), CallError> {
        match self.values.len() {
            0 => Ok(()),
            more => Err(CallError::Type(format!("{more} arguments too many"))),
        }
    }
}

/// What a method returns.
///
/// # Errors
/// [`CallError::Type`] if it cannot be a value.
pub fn returned<T: Serialize + ?Sized>(result: &T) -> Result<Value, CallError> {
    to_value(result).map_err(|error| CallError::Type(format!("the result: {error}")))
}

/// The error that a method has returned, as its caller gets it.
pub fn failed<E: Serialize + core::fmt::Display>(error: &E) -> CallError {
    let value = to_value(error).ok().and_then(|value| value.pack().ok()).unwrap_or_default();
    CallError::User { message: error.to_string(), value }
}
