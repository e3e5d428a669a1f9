//! The classes that CPython's own tests have on their server, as types of a program.

use ganger_shared::object::custom::{Arguments, SharedObject, returned};
use ganger_shared::object::{Method, Takes};
use ganger_shared::{CallError, Value};
use serde::{Deserialize, Serialize};

const fn method(name: &'static str) -> Method {
    Method { name, args: "", returns: "String", takes: Takes::Room, cost: "O(1)" }
}

/// With all of its methods that do not begin with an underscore.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Foo;

impl SharedObject for Foo {
    const TYPEID: &'static str = "foo/1";
    const METHODS: &'static [Method] = &[method("f"), method("g")];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self)
    }

    fn call(&mut self, method: &str, _args: &mut Arguments) -> Result<Value, CallError> {
        match method {
            "f" => returned(&"f()"),
            _ => Err(CallError::Value("g".to_owned())),
        }
    }
}

/// With one of those that do.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bar;

impl SharedObject for Bar {
    const TYPEID: &'static str = "bar/1";
    const METHODS: &'static [Method] = &[method("f"), method("_h")];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self)
    }

    fn call(&mut self, method: &str, _args: &mut Arguments) -> Result<Value, CallError> {
        returned(&format!("{method}()"))
    }
}

/// Ten squares, one after the other.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Squares {
    next: u64,
}

impl SharedObject for Squares {
    const TYPEID: &'static str = "squares/1";
    const METHODS: &'static [Method] = &[method("__next__")];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }

    fn call(&mut self, _method: &str, _args: &mut Arguments) -> Result<Value, CallError> {
        if self.next == 10 {
            return Err(CallError::Empty);
        }
        self.next += 1;
        returned(&((self.next - 1) * (self.next - 1)))
    }
}
