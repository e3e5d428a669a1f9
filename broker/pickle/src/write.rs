//! What a manager answers: a pickle of protocol 4 that every Python from 3.4 on reads.
//!
//! Not requests, and not fragments, which are copied into answers as they are.
//!
//! There are no frames, and nothing is remembered but inside of fragments: checked against the
//! unpickler in C and the one in Python of each version from 3.6 to 3.13.

use core::slice;

use ganger_shared::{ObjectId, Value};

use crate::encode::Code;
use crate::fragment::{self, FORMAT};
use crate::known::{Address, MANAGERS, Proxy, Token};
use crate::opcode::Op;
use crate::{Limits, PickleError};

/// An answer, by what the client makes of it.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// It returns it.
    Return(Item<'a>),
    /// It raises it.
    Error {
        /// Its class.
        exception: Exception,
        /// What it is made with: usually one text.
        arguments: &'a [Value],
    },
    /// It makes a proxy of its own of it and returns that.
    Proxy {
        /// The methods of the proxy.
        exposed: &'a [&'a str],
        /// The object.
        token: &'a Token,
    },
    /// It raises `RemoteError` with this text.
    Traceback(&'a str),
    /// It raises `RemoteError`, saying that the answer could not be pickled, and this text.
    Unserializable(&'a str),
}

/// Something to return.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// A value.
    Value(&'a Value),
    /// A text.
    Text(&'a str),
    /// A tuple of names.
    Names(&'a [&'a str]),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A list.
    List(&'a [Value]),
    /// An iterator over these.
    Iter(&'a [Value]),
    /// An `array.array`.
    Array {
        /// Of its items, as Python has it.
        typecode: char,
        /// Its items, as the machine of the reader has them.
        bytes: &'a [u8],
    },
    /// What a proxy knows of its object.
    Token(&'a Token),
    /// A proxy.
    Proxy(&'a Proxy),
}

macro_rules! exceptions {
    ($($exception:ident = $module:literal $doc:literal;)*) => {
        /// The classes of what a manager raises at its clients.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exception {
            $(#[doc = $doc] $exception,)*
        }

        impl Exception {
            const fn place(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$exception => ($module, stringify!($exception)),)*
                }
            }
        }
    };
}

exceptions! {
    AssertionError = "builtins" "What should hold does not.";
    AttributeError = "builtins" "There is no such attribute.";
    BrokenBarrierError = "threading" "A barrier was broken or reset.";
    EOFError = "builtins" "There is nothing more to come.";
    Empty = "queue" "The queue is empty.";
    Full = "queue" "The queue is full.";
    IndexError = "builtins" "There is no such index.";
    KeyError = "builtins" "There is no such key.";
    MemoryError = "builtins" "It would take too much memory.";
    NotImplementedError = "builtins" "A broker does not do that.";
    OSError = "builtins" "The system refused something.";
    OverflowError = "builtins" "A number is too large.";
    PermissionError = "builtins" "It is not allowed.";
    RuntimeError = "builtins" "It is in no state for that.";
    StopIteration = "builtins" "The iterator is at its end.";
    TimeoutError = "builtins" "It took too long.";
    TypeError = "builtins" "An argument has the wrong type.";
    ValueError = "builtins" "An argument has a value that does not do.";
}

/// Writes an answer. `proxy` says what stands for an object in it.
///
/// ```
/// use ganger_pickle::{Limits, write};
/// use ganger_pickle::write::{Item, Reply};
/// use ganger_shared::Value;
///
/// let reply = Reply::Return(Item::Value(&Value::None));
/// let message = write::reply(&reply, &Limits::default(), &|_| None)?;
/// assert_eq!(message, b"\x80\x04\x8c\x07#RETURNN\x86.");
/// # Ok::<(), ganger_pickle::PickleError>(())
/// ```
///
/// # Errors
/// Those of [`crate::read`] for a fragment that is none, with places in the fragment;
/// [`PickleError::ForeignFormat`] and [`PickleError::NoProxy`].
pub fn reply(
    reply: &Reply<'_>,
    limits: &Limits,
    proxy: &dyn Fn(ObjectId) -> Option<Proxy>,
) -> Result<Vec<u8>, PickleError> {
    let mut writer = Writer { code: Code::default(), slots: 0, limits, proxy };
    writer.code.bytes.extend([Op::Proto.byte(), 4]);
    let kind = match reply {
        Reply::Return(_) => "#RETURN",
        Reply::Error { .. } => "#ERROR",
        Reply::Proxy { .. } => "#PROXY",
        Reply::Traceback(_) => "#TRACEBACK",
        Reply::Unserializable(_) => "#UNSERIALIZABLE",
    };
    writer.text(kind);
    match reply {
        Reply::Return(item) => writer.item(item)?,
        Reply::Error { exception, arguments } => {
            let (module, name) = exception.place();
            writer.code.global(module, name);
            writer.values(Some(Op::Mark), arguments, Op::Tuple)?;
            writer.code.op(Op::Reduce);
        }
        Reply::Proxy { exposed, token } => {
            writer.names(exposed);
            writer.token(token);
            writer.code.op(Op::Tuple2);
        }
        Reply::Traceback(text) | Reply::Unserializable(text) => writer.text(text),
    }
    writer.code.op(Op::Tuple2);
    writer.code.op(Op::Stop);
    Ok(writer.code.bytes)
}

struct Writer<'a> {
    code: Code,
    /// In use, all of them by fragments.
    slots: u32,
    limits: &'a Limits,
    proxy: &'a dyn Fn(ObjectId) -> Option<Proxy>,
}

/// A container whose items are being written.
enum Open<'v> {
    Items(slice::Iter<'v, Value>, Op),
    Entries(slice::Iter<'v, (Value, Value)>),
    /// The value of the entry at hand; its key is written.
    ValueOf(&'v Value),
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.code.text(text.as_bytes());
    }

    fn item(&mut self, item: &Item<'_>) -> Result<(), PickleError> {
        match item {
            Item::Value(value) => self.value(value)?,
            Item::Text(text) => self.text(text),
            Item::Names(names) => self.names(names),
            Item::Tuple(items) => {
                self.code.op(Op::Mark);
                items.iter().try_for_each(|item| self.item(item))?;
                self.code.op(Op::Tuple);
            }
            Item::List(values) => self.values(None, values, Op::Appends)?,
            Item::Iter(values) => {
                self.code.global("builtins", "iter");
                self.values(None, values, Op::Appends)?;
                self.code.op(Op::Tuple1);
                self.code.op(Op::Reduce);
            }
            Item::Array { typecode, bytes } => {
                self.code.global("array", "array");
                self.text(typecode.encode_utf8(&mut [0; 4]));
                self.code.blob(bytes);
                self.code.op(Op::Tuple2);
                self.code.op(Op::Reduce);
            }
            Item::Token(token) => self.token(token),
            Item::Proxy(proxy) => self.proxy(proxy),
        }
        Ok(())
    }

    fn names<T: AsRef<str>>(&mut self, names: &[T]) {
        self.code.op(Op::Mark);
        names.iter().for_each(|name| self.text(name.as_ref()));
        self.code.op(Op::Tuple);
    }

    /// A list of values, or a tuple if there is a mark to begin with.
    fn values(&mut self, mark: Option<Op>, values: &[Value], end: Op) -> Result<(), PickleError> {
        match mark {
            Some(mark) => self.code.op(mark),
            None => {
                self.code.op(Op::EmptyList);
                self.code.op(Op::Mark);
            }
        }
        values.iter().try_for_each(|value| self.value(value))?;
        self.code.op(end);
        Ok(())
    }

    fn token(&mut self, token: &Token) {
        self.code.global(MANAGERS, "Token");
        self.code.op(Op::EmptyTuple);
        self.code.op(Op::NewObj);
        self.text(&token.typeid);
        match &token.address {
            Address::Tcp { host, port } => {
                self.text(host);
                self.code.int(&(*port).into());
                self.code.op(Op::Tuple2);
            }
            Address::Path(path) => self.text(path),
            Address::Bytes(bytes) => self.code.blob(bytes),
        }
        self.text(&token.ident);
        self.code.op(Op::Tuple3);
        self.code.op(Op::Build);
    }

    fn proxy(&mut self, proxy: &Proxy) {
        self.code.global(MANAGERS, "RebuildProxy");
        self.code.op(Op::Mark);
        self.code.global(&proxy.module, &proxy.class);
        self.token(&proxy.token);
        self.text("pickle");
        self.code.op(Op::EmptyDict);
        if let Some(exposed) = &proxy.exposed {
            self.text("exposed");
            self.names(exposed);
            self.code.op(Op::SetItem);
        }
        if let Some(authkey) = &proxy.authkey {
            self.text("authkey");
            self.code.blob(authkey);
            self.code.op(Op::SetItem);
        }
        self.code.op(Op::Tuple);
        self.code.op(Op::Reduce);
    }

    /// Writes a value without calling itself, for one that was built by hand may be deep.
    fn value<'v>(&mut self, value: &'v Value) -> Result<(), PickleError> {
        let mut open = Vec::new();
        self.enter(value, &mut open)?;
        while let Some(last) = open.last_mut() {
            match last {
                Open::Items(items, end) => {
                    if let Some(item) = items.next() {
                        self.enter(item, &mut open)?;
                    } else {
                        self.code.op(*end);
                        open.pop();
                    }
                }
                Open::Entries(entries) => {
                    if let Some((key, value)) = entries.next() {
                        open.push(Open::ValueOf(value));
                        self.enter(key, &mut open)?;
                    } else {
                        self.code.op(Op::SetItems);
                        open.pop();
                    }
                }
                Open::ValueOf(value) => {
                    let value: &'v Value = value;
                    open.pop();
                    self.enter(value, &mut open)?;
                }
            }
        }
        Ok(())
    }

    fn enter<'v>(&mut self, value: &'v Value, open: &mut Vec<Open<'v>>) -> Result<(), PickleError> {
        match value {
            Value::None => self.code.op(Op::None),
            Value::Bool(bool) => self.code.bool(*bool),
            Value::Int(number) => self.code.int(number),
            Value::Float(float) => self.code.float(*float),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.code.blob(bytes),
            Value::List(items) => self.open(Some(Op::EmptyList), items, Op::Appends, open),
            Value::Set(items) => self.open(Some(Op::EmptySet), items, Op::AddItems, open),
            Value::Tuple(items) => self.open(None, items, Op::Tuple, open),
            Value::Map(entries) => {
                self.code.op(Op::EmptyDict);
                self.code.op(Op::Mark);
                open.push(Open::Entries(entries.iter()));
            }
            Value::Opaque { format, bytes } if format == FORMAT => {
                let out = &mut self.code.bytes;
                self.slots = fragment::append(bytes, self.slots, self.limits, out)?;
            }
            Value::Opaque { format, .. } => {
                return Err(PickleError::ForeignFormat { format: format.clone() });
            }
            Value::Ref(id) => {
                let proxy = (self.proxy)(*id).ok_or(PickleError::NoProxy { id: id.0 })?;
                self.proxy(&proxy);
            }
        }
        Ok(())
    }

    fn open<'v>(
        &mut self,
        begin: Option<Op>,
        items: &'v [Value],
        end: Op,
        open: &mut Vec<Open<'v>>,
    ) {
        if let Some(op) = begin {
            self.code.op(op);
        }
        self.code.op(Op::Mark);
        open.push(Open::Items(items.iter(), end));
    }
}
