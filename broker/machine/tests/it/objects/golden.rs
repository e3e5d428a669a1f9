//! The bytes of one object of every type in a restatement, pinned: a change that loses the objects of a
//! released broker fails here.
//!
//! A line is `typeid: hex of a part, …`. `UPDATE_GOLDEN=1` writes the file anew; lines that are already
//! there may only ever change before a release.

use std::fmt::Write;
use std::path::PathBuf;

use ganger_machine::stated::Stated;
use ganger_machine::{Event, Replay, Seq};
use ganger_shared::object::types::TYPES;
use ganger_shared::{Block, By, Durability, Request, SessionId, Value};

use super::desk::{Desk, Terms, config, encoded, name, restated, returned};

const SESSION: SessionId = SessionId(0x0123_4567_89ab_cdef);

/// What an object of the type is made with, and the calls that fill it.
fn sample(typeid: &str) -> (Vec<Value>, Vec<(&'static str, Vec<Value>)>) {
    let text = |text: &str| Value::from(text);
    match typeid {
        "array/1" => {
            let numbers = Value::List(vec![Value::from(-1), 2.into()]);
            (vec![text("i16"), numbers], vec![("set", vec![1.into(), 258.into()])])
        }
        "barrier/1" => (vec![3.into()], vec![("abort", vec![])]),
        "bounded_semaphore/1" | "semaphore/1" => {
            (vec![3.into()], vec![("acquire", vec![]), ("acquire", vec![])])
        }
        "condition/1" | "lock/1" => (vec![], vec![("acquire", vec![])]),
        "rlock/1" => (vec![], vec![("acquire", vec![]), ("acquire", vec![])]),
        "counter/1" => (vec![], vec![("add", vec![Value::from(-300)])]),
        "dict/1" => {
            let pair = Value::Tuple(vec![text("p"), Value::Float(2.5)]);
            let first = ("set", vec![text("k"), 7.into(), 60_000.into()]);
            (vec![], vec![first, ("set", vec![pair, Value::List(vec![])])])
        }
        "event/1" => (vec![], vec![("set", vec![])]),
        "list/1" => (vec![], vec![("extend", vec![Value::List(vec![1.into(), text("x")])])]),
        "namespace/1" => (vec![], vec![("set", vec![text("x"), true.into()])]),
        "queue/1" => {
            let puts = [("put", vec![1.into()]), ("put", vec![text("b")])];
            (
                vec![3.into()],
                puts.into_iter().chain([("get", vec![]), ("shutdown", vec![])]).collect(),
            )
        }
        "set/1" => {
            let items = Value::List(vec![1.into(), text("b"), Value::None]);
            (vec![], vec![("update", vec![items]), ("remove", vec![1.into()])])
        }
        "value/1" => (vec![], vec![("set", vec![Value::Map(vec![(text("a"), 1.into())])])]),
        _ => panic!("{typeid} has no sample: add one"),
    }
}

/// What a machine with the sample says of it.
fn stated(typeid: &str) -> Vec<Stated> {
    let mut desk = Desk::new(config());
    desk.open(SESSION, "ann@host", &[]);
    let (made_with, calls) = sample(typeid);
    let (request, args) = (desk.request(), encoded(&made_with));
    let (object, durability) = (Some(name("sample")), Some(Durability::Strict));
    let made =
        Request::Use { request, object, typeid: name(typeid), schema: None, args, durability };
    desk.ask(SESSION, made);
    for ((method, args), seq) in calls.into_iter().zip(0..) {
        let terms = Terms { seq: Some(seq), answered: seq, by: By::Holder(7), wait_ms: 0 };
        let call = desk.call("sample", None, method, terms, Block::one(encoded(&args)));
        let told = desk.ask(SESSION, call);
        assert!(returned(&told[0].1).unwrap()[0].is_ok(), "{told:?}");
    }
    let events = restated(&mut desk.machine);
    let mut replay = Replay::new(config(), desk.now);
    events.iter().for_each(|event| replay.take(Seq::FIRST, event.clone()));
    assert_eq!(restated(&mut replay.finish()), events, "{typeid} comes back as another");
    let stated = events.into_iter().filter_map(|event| match event {
        Event::Stated(stated) => Some(stated),
        _ => None,
    });
    let is_of_it = |stated: &Stated| {
        matches!(
            stated,
            Stated::Object { .. }
                | Stated::Part { .. }
                | Stated::Values { .. }
                | Stated::Queue { .. }
                | Stated::Fifo { .. }
                | Stated::Jobs(_)
        )
    };
    stated.filter(is_of_it).collect()
}

fn hex(stated: &Stated) -> String {
    let bytes = postcard::to_stdvec(stated).unwrap();
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn bytes_of_objects_are_as_released() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/objects.hex");
    let line = |typeid: &str| {
        let parts = stated(typeid);
        assert!(!parts.is_empty(), "{typeid} says nothing of itself");
        format!("{typeid}: {}", parts.iter().map(hex).collect::<Vec<_>>().join(", "))
    };
    let lines: Vec<String> = TYPES.iter().map(|found| line(found.typeid)).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let pinned: Vec<&str> = text.lines().collect();
    for (line, pinned) in lines.iter().zip(&pinned) {
        assert_eq!(line, pinned, "it is encoded differently");
    }
    assert_eq!(lines.len(), pinned.len(), "types and lines");
}
