//! Pickles of strangers, and fragments that any client may have stored.
//!
//! The first byte says what the others are: a message, the inside of one, or a fragment.

use bytes::Bytes;
use ganger_pickle::write::{self, Item, Reply};
use ganger_pickle::{Graph, Known, Limits, Node, PickleError, Request, Values, fragment, repr};
use ganger_shared::Value;

use crate::script::Script;
use crate::{Measure, Target};

/// This target.
pub const TARGET: Target = Target { name: "pickle", run: target, read: measure, memory_max };

/// Text of an error, at most: it goes to a peer and into a log. It may have a name of the input.
const REASON_MAX: usize = 5 << 10;

/// Most bytes of a value that is shown.
const SHOWN_MAX: usize = 1 << 10;

/// A part of a graph takes 40 bytes and may come from one; while a vector of them grows it is there
/// twice, and one half empty. A value takes more, and a tree may be eight times what it was described
/// by, and 4,096 values on top.
const fn memory_max(bytes: usize) -> usize {
    1_000 * bytes + (320 << 10)
}

/// Panics where a promise is broken.
///
/// # Panics
///
/// That is what it is for.
pub fn target(bytes: &[u8]) {
    let (kind, message) = input(bytes);
    let limits = limits();
    if kind == Kind::Fragment {
        stored(message, &limits);
        return;
    }
    match ganger_pickle::read(message.clone(), &limits) {
        Ok(graph) => sound(&graph, &limits),
        Err(error) => told(&error),
    }
    if let Ok(request) = Request::read(message, &limits) {
        let mut values = Values::new(&request.graph, &limits);
        for id in request.arguments.iter().chain(request.keywords.iter().map(|(_, id)| id)) {
            let _ = values.packed(*id, &mut |_| Some(Value::None));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Fragment,
}

fn input(bytes: &[u8]) -> (Kind, Bytes) {
    let mut script = Script::new(bytes);
    match script.choice(3) {
        0 => (Kind::Message, Bytes::copy_from_slice(script.rest())),
        1 => (Kind::Message, [b"\x80\x04", script.rest(), b"."].concat().into()),
        _ => (Kind::Fragment, Bytes::copy_from_slice(script.rest())),
    }
}

/// Small ones, so that inputs of the fuzzer's size reach them.
fn limits() -> Limits {
    Limits { depth: 1_000, work_bytes: 1 << 20, ..Limits::default() }
}

fn measure(bytes: &[u8], measured: &mut Measure<'_>) -> usize {
    let (kind, message) = input(bytes);
    let limits = limits();
    measured(&mut || {
        if kind == Kind::Fragment {
            let value = opaque(message.clone());
            drop(write::reply(&Reply::Return(Item::Value(&value)), &limits, &|_| None));
            drop(repr(&value, SHOWN_MAX, &limits));
        } else if let Ok(graph) = ganger_pickle::read(message.clone(), &limits) {
            let value = Values::new(&graph, &limits).value(graph.root(), &mut |_| None);
            drop(value.map(|value| repr(&value, SHOWN_MAX, &limits)));
        }
    });
    message.len()
}

fn told(error: &PickleError) {
    let text = error.to_string();
    assert!(text.len() <= REASON_MAX, "{} bytes of reason", text.len());
}

fn opaque(bytes: Bytes) -> Value {
    Value::Opaque { format: fragment::FORMAT.to_owned(), bytes }
}

fn shown(value: &Value, limits: &Limits) {
    let shown = repr(value, SHOWN_MAX, limits);
    assert!(shown.len() <= SHOWN_MAX + 3, "{} bytes are shown", shown.len());
}

/// A fragment that anybody may have written is put into answers, or refused.
fn stored(code: Bytes, limits: &Limits) {
    let value = opaque(code);
    let pair = Value::List(vec![value.clone(), value.clone()]);
    match write::reply(&Reply::Return(Item::Value(&pair)), limits, &|_| None) {
        Ok(message) => drop(ganger_pickle::read(message.into(), limits)),
        Err(error) => told(&error),
    }
    shown(&value, limits);
}

/// What was read is written and read again, and is the same.
fn sound(graph: &Graph, limits: &Limits) {
    let root = graph.root();
    let mut values = Values::new(graph, limits);
    let tokens = values.tokens(root);
    if let Some(Known::Range { .. }) = graph.known(root) {
        let numbers = graph.known(root).and_then(|range| Some(range.numbers()?.take(3).count()));
        assert!(numbers.is_none_or(|count| count <= 3));
    }
    let value = match values.value(root, &mut |_| None) {
        Ok(value) => value,
        Err(PickleError::TooDeep { .. } | PickleError::TooMuchWork { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    shown(&value, limits);
    let packed = value.pack().expect("what is taken out of a graph is a value");
    assert_eq!(values.packed(root, &mut |_| None).as_ref(), Ok(&packed));

    let Ok(code) = values.fragment(root) else { return };
    let code = Bytes::from(code);
    let again = fragment::read_fragment(&code, limits).expect("a fragment is read");
    let mut others = Values::new(&again, limits);
    assert_eq!(others.tokens(again.root()).ok(), tokens.ok(), "other tokens");
    let code_again = others.fragment(again.root()).expect("a fragment is cut again");
    assert_eq!(code_again, code, "a fragment does not stay the same");
    assert_eq!(others.packed(again.root(), &mut |_| None).as_ref(), Ok(&packed));

    // In an answer, behind another one.
    let pair = Value::Tuple(vec![opaque(code), value]);
    let message = write::reply(&Reply::Return(Item::Value(&pair)), limits, &|_| None);
    let message = message.expect("a value is answered");
    let answer = ganger_pickle::read(message.into(), limits).expect("an answer is read");
    let Node::Tuple(parts) = answer.node(answer.root()) else { panic!("an answer is a pair") };
    let Node::Tuple(pair) = answer.node(parts[1]) else { panic!("a pair was answered") };
    let mut answered = Values::new(&answer, limits);
    for part in pair {
        assert_eq!(answered.packed(*part, &mut |_| None).as_ref(), Ok(&packed));
    }
}
