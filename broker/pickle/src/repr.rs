//! Values as Python's `repr` shows them.
//!
//! Not a format that anybody reads back. What is printable is what Rust's library takes for it: the
//! rule is Python's, the edition of Unicode may be a later one. An object is shown by the name of its
//! class, since only that would know better.

use core::fmt::Write as _;
use std::collections::BTreeSet;

use bytes::Bytes;
use ganger_shared::Value;
use ganger_shared::value::Integer;

use crate::Limits;
use crate::fragment::{self, FORMAT};
use crate::graph::{Graph, How, Node, NodeId};
use crate::known::Known;
use crate::text;

/// What ends a text that was cut.
const CUT: &str = "...";

/// What closes a tuple.
const TUPLE: &str = ")";

/// What closes one with a single item.
const TUPLE_OF_ONE: &str = ",)";

/// The value as Python's `repr` shows it, at most `bytes_max` bytes of that and then `...`.
///
/// Takes time in proportion to `bytes_max` and to the fragments that it gets to; a fragment that is
/// none is shown by its format.
///
/// ```
/// use ganger_pickle::{Limits, repr};
/// use ganger_shared::Value;
///
/// let value = Value::Tuple(vec![Value::List(vec!["it's".into(), 1e16.into(), Value::None])]);
/// assert_eq!(repr(&value, 100, &Limits::default()), r#"(["it's", 1e+16, None],)"#);
/// assert_eq!(repr(&value, 10, &Limits::default()), r#"(["it's", ..."#);
/// ```
#[must_use]
pub fn repr(value: &Value, bytes_max: usize, limits: &Limits) -> String {
    let out = Text { text: String::new(), bytes_max };
    let mut printer = Printer { out, limits, graphs: Vec::new(), inside: BTreeSet::new() };
    printer.print(value);
    let Text { mut text, bytes_max } = printer.out;
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(CUT);
    }
    text
}

/// What is shown of text that may grow no further than a bit over its bound.
struct Text {
    text: String,
    bytes_max: usize,
}

impl Text {
    const fn is_full(&self) -> bool {
        self.text.len() > self.bytes_max
    }

    fn push(&mut self, text: &str) {
        if !self.is_full() {
            self.text.push_str(text);
        }
    }

    fn float(&mut self, float: f64) {
        let text = float_repr(float, true);
        self.push(&text);
    }

    fn int(&mut self, number: &Integer) {
        // Each byte is two digits and a bit. The work to make them grows with the square.
        if number.as_i64().is_none() && number.to_bytes().len() / 3 > self.bytes_max {
            self.text
                .push_str(&"0".repeat(self.bytes_max + 1 - self.text.len().min(self.bytes_max)));
            return;
        }
        self.push(&number.to_string());
    }

    /// A string: quotes, and escapes for whatever is not printable.
    fn string(&mut self, bytes: &[u8]) {
        let quote = quote(bytes);
        self.text.push(quote);
        for point in text::code_points(bytes) {
            if self.is_full() {
                return;
            }
            match char::from_u32(point) {
                Some(char) if char == quote || char == '\\' => {
                    self.text.extend(['\\', char]);
                }
                Some(char) if is_printable(char) => self.text.push(char),
                Some(_) | None => self.escape(point),
            }
        }
        self.text.push(quote);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let quote = quote(bytes);
        self.text.push('b');
        self.text.push(quote);
        for &byte in bytes {
            if self.is_full() {
                return;
            }
            match char::from(byte) {
                char if char == quote || char == '\\' => self.text.extend(['\\', char]),
                char @ ' '..='~' => self.text.push(char),
                _ => self.escape(byte.into()),
            }
        }
        self.text.push(quote);
    }

    fn escape(&mut self, point: u32) {
        let written = match point {
            0x9 => self.text.write_str("\\t"),
            0xa => self.text.write_str("\\n"),
            0xd => self.text.write_str("\\r"),
            0..0x100 => write!(self.text, "\\x{point:02x}"),
            0x100..0x1_0000 => write!(self.text, "\\u{point:04x}"),
            _ => write!(self.text, "\\U{point:08x}"),
        };
        written.expect("writing to a string does not fail");
    }
}

/// The quote that needs no escape, if there is one; else the single one.
fn quote(bytes: &[u8]) -> char {
    if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' }
}

/// As `str.isprintable` says: neither a control, a format, a surrogate, for private use, unassigned,
/// nor a separator but the space. Rust escapes just these, and behind another character only these.
fn is_printable(char: char) -> bool {
    let mut two = [b'a'; 5];
    let size = char.encode_utf8(&mut two[1..]).len();
    match char {
        ' '..='~' => true,
        _ => str::from_utf8(&two[..=size])
            .is_ok_and(|two| two.escape_debug().nth(1).is_some_and(|shown| shown == char)),
    }
}

/// The shortest digits that mean the same float, with an exponent below 1e-4 and from 1e16 on.
fn float_repr(float: f64, with_point: bool) -> String {
    if !float.is_finite() {
        let sign = if float.is_nan() || float > 0.0 { "" } else { "-" };
        return format!("{sign}{}", if float.is_nan() { "nan" } else { "inf" });
    }
    let shortest = format!("{float:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else { return shortest };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        let point = if with_point && !plain.contains('.') { ".0" } else { "" };
        return plain + point;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Something to print: of a value, or of one of the graphs.
#[derive(Clone, Copy)]
enum Thing<'v> {
    Value(&'v Value),
    Node(usize, NodeId),
}

/// What a container has in it.
#[derive(Clone, Copy)]
enum Inside<'v> {
    Values(&'v [Value]),
    Entries(&'v [(Value, Value)]),
    Nodes(usize, NodeId),
}

/// A container that is being printed.
struct Open<'v> {
    inside: Inside<'v>,
    next: usize,
    has_keys: bool,
    close: &'static str,
}

struct Printer<'l> {
    out: Text,
    limits: &'l Limits,
    /// Of the fragments that were met.
    graphs: Vec<Graph>,
    /// Parts of them that are being printed.
    inside: BTreeSet<(usize, NodeId)>,
}

impl Printer<'_> {
    fn print<'v>(&mut self, value: &'v Value) {
        let mut open: Vec<Open<'v>> = Vec::new();
        self.thing(Thing::Value(value), &mut open);
        while let Some(last) = open.last_mut() {
            if self.out.is_full() {
                return;
            }
            let index = last.next;
            last.next += 1;
            let separator = if last.has_keys && index % 2 == 1 { ": " } else { ", " };
            let thing = match last.inside {
                Inside::Values(values) => values.get(index).map(Thing::Value),
                Inside::Entries(entries) => entries.get(index / 2).map(|(key, value)| {
                    Thing::Value(if index.is_multiple_of(2) { key } else { value })
                }),
                Inside::Nodes(graph, id) => {
                    self.graphs[graph].parts(id).get(index).map(|part| Thing::Node(graph, *part))
                }
            };
            if let Some(thing) = thing {
                if index > 0 {
                    self.out.push(separator);
                }
                self.thing(thing, &mut open);
            } else {
                let close = last.close;
                if let Inside::Nodes(graph, id) = last.inside {
                    self.inside.remove(&(graph, id));
                }
                self.out.push(if close == TUPLE && index == 1 { TUPLE_OF_ONE } else { close });
                open.pop();
            }
        }
    }

    fn thing<'v>(&mut self, thing: Thing<'v>, open: &mut Vec<Open<'v>>) {
        match thing {
            Thing::Value(value) => self.value(value, open),
            Thing::Node(graph, id) => self.node(graph, id, open),
        }
    }

    fn value<'v>(&mut self, value: &'v Value, open: &mut Vec<Open<'v>>) {
        let mut container = |out: &mut Text, begin, inside, close, has_keys| {
            out.push(begin);
            open.push(Open { inside, next: 0, has_keys, close });
        };
        let out = &mut self.out;
        match value {
            Value::None => out.push("None"),
            Value::Bool(bool) => out.push(if *bool { "True" } else { "False" }),
            Value::Int(number) => out.int(number),
            Value::Float(float) => out.float(*float),
            Value::Text(text) => out.string(text.as_bytes()),
            Value::Bytes(bytes) => out.bytes(bytes),
            Value::List(items) => container(out, "[", Inside::Values(items), "]", false),
            Value::Tuple(items) => container(out, "(", Inside::Values(items), TUPLE, false),
            Value::Map(entries) => container(out, "{", Inside::Entries(entries), "}", true),
            Value::Set(items) if items.is_empty() => out.push("set()"),
            Value::Set(items) => container(out, "{", Inside::Values(items), "}", false),
            Value::Opaque { format, bytes } => self.opaque(format, bytes, open),
            Value::Ref(id) => out.push(&format!("<object {}>", id.0)),
        }
    }

    fn opaque(&mut self, format: &str, bytes: &Bytes, open: &mut Vec<Open<'_>>) {
        let graph = fragment::read_fragment(bytes, self.limits).ok().filter(|_| format == FORMAT);
        let Some(graph) = graph else {
            self.out.push(&format!("<opaque {format}>"));
            return;
        };
        let root = graph.root();
        self.graphs.push(graph);
        self.node(self.graphs.len() - 1, root, open);
    }

    fn node(&mut self, index: usize, id: NodeId, open: &mut Vec<Open<'_>>) {
        let graph = &self.graphs[index];
        let out = &mut self.out;
        let (begin, close, again) = match graph.node(id) {
            Node::None => return out.push("None"),
            Node::Bool(bool) => return out.push(if *bool { "True" } else { "False" }),
            Node::Int(number) => return out.int(number),
            Node::Float(float) => return out.float(*float),
            Node::Text(text) => return out.string(text),
            Node::Bytes(bytes) => return out.bytes(bytes),
            Node::ByteArray(bytes) => {
                out.push("bytearray(");
                out.bytes(bytes);
                return out.push(")");
            }
            Node::Global(_) => return out.push(&format!("<{}>", name(graph, id))),
            Node::Set(items) if items.is_empty() => return out.push("set()"),
            Node::FrozenSet(items) if items.is_empty() => return out.push("frozenset()"),
            Node::Tuple(_) => ("(", TUPLE, "(...)"),
            Node::List(_) => ("[", "]", "[...]"),
            Node::Dict(_) => ("{", "}", "{...}"),
            Node::Set(_) => ("{", "}", "set(...)"),
            Node::FrozenSet(_) => ("frozenset({", "})", "frozenset(...)"),
            Node::Made(made) => {
                let shown = match graph.known(id) {
                    // Its three arguments are printed as a tuple is.
                    Some(Known::Slice { .. }) => {
                        out.push("slice(");
                        let inside = Inside::Nodes(index, made.arguments());
                        open.push(Open { inside, next: 0, has_keys: false, close: TUPLE });
                        return;
                    }
                    Some(Known::Range { start, stop, step }) => match step.as_i64() {
                        Some(1) => format!("range({start}, {stop})"),
                        _ => format!("range({start}, {stop}, {step})"),
                    },
                    Some(Known::Complex { real, imaginary }) => complex(real, imaginary),
                    Some(Known::Proxy(proxy)) => {
                        format!("<{} object, typeid '{}'>", proxy.class, proxy.token.typeid)
                    }
                    Some(Known::Token(_)) | None => format!("<{} object>", name(graph, id)),
                };
                return out.push(&shown);
            }
        };
        if !self.inside.insert((index, id)) {
            return out.push(again);
        }
        out.push(begin);
        let has_keys = matches!(graph.node(id), Node::Dict(_));
        open.push(Open { inside: Inside::Nodes(index, id), next: 0, has_keys, close });
    }
}

/// The name of a class or function, or of the class of an object.
fn name(graph: &Graph, id: NodeId) -> String {
    let mut id = id;
    // A class may itself be made by something, and so on.
    for _ in 0..8 {
        id = match graph.node(id) {
            Node::Global(global) => {
                let [module, name] =
                    [&global.module, &global.name].map(|text| String::from_utf8_lossy(text));
                return format!("{module}.{name}");
            }
            Node::Made(made) => match (made.how(), graph.tuple(made.arguments())) {
                // copyreg._reconstructor(class, base, state) and its like.
                (How::Reduce, Some(&[class, ..]))
                    if graph.is_global(made.maker(), "copyreg", "_reconstructor") =>
                {
                    class
                }
                _ => made.maker(),
            },
            _ => break,
        };
    }
    "opaque".to_owned()
}

fn complex(real: f64, imaginary: f64) -> String {
    let shown = float_repr(imaginary, false);
    if real == 0.0 && real.is_sign_positive() {
        return format!("{shown}j");
    }
    let sign = if shown.starts_with('-') { "" } else { "+" };
    format!("({}{sign}{shown}j)", float_repr(real, false))
}
