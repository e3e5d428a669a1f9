//! What is no pickle, or one that nobody should read: each has its error, and none does harm.

use std::collections::BTreeSet;

use bytes::Bytes;
use ganger_chance::Rng;
use ganger_pickle::write::{self, Item, Reply};
use ganger_pickle::{Limits, PickleError, Request, Values, read, repr};
use ganger_shared::Value;

fn error_with(message: &[u8], limits: &Limits) -> PickleError {
    read(Bytes::copy_from_slice(message), limits).unwrap_err()
}

fn error(message: &[u8]) -> PickleError {
    error_with(message, &Limits::default())
}

/// Of the inside of a pickle; places count the two bytes before it.
fn inside(code: &[u8]) -> PickleError {
    error(&[b"\x80\x04", code, b"."].concat())
}

fn value(code: &[u8], limits: &Limits) -> Result<Value, PickleError> {
    let graph = read([b"\x80\x04", code, b"."].concat().into(), limits).unwrap();
    Values::new(&graph, limits).value(graph.root(), &mut |_| None)
}

#[test]
fn other_protocols_are_refused_as_a_whole() {
    for found in [0, 1, 2, 6, 255] {
        let message = [0x80, u8::try_from(found).unwrap(), b'N', b'.'];
        assert_eq!(error(&message), PickleError::Protocol { found });
    }
    assert_eq!(error(b"N."), PickleError::NoProtocol);
    assert_eq!(error(b""), PickleError::NoProtocol);
    assert_eq!(error(b"\x80\x02N.").to_string(), "pickle has protocol 2 where 3, 4 and 5 are read");
}

#[test]
fn opcodes_that_ask_for_something_outside_are_refused_by_name() {
    for (code, opcode) in [
        (&b"Pid\n"[..], "PERSID"),
        (b"NQ", "BINPERSID"),
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\0", "EXT2"),
        (b"\x84\x01\0\0\0", "EXT4"),
        (b"(ios\nsystem\n", "INST"),
        (b"(No", "OBJ"),
        (b"\x97", "NEXT_BUFFER"),
        (b"\x98", "READONLY_BUFFER"),
    ] {
        assert!(
            matches!(inside(code), PickleError::Refused { opcode: name, .. } if name == opcode),
            "{opcode}"
        );
    }
    assert_eq!(inside(b"NQ").to_string(), "opcode BINPERSID at byte 3 is not read");
}

#[test]
fn each_fault_has_its_error_and_place() {
    let at = 2;
    for (code, expected) in [
        (&b"\xff"[..], PickleError::UnknownOpcode { byte: 255, at }),
        (b"\x80\x04", PickleError::Misplaced { opcode: "PROTO", at }),
        (b"\x85", PickleError::NoValue { opcode: "TUPLE1", at }),
        (b"N(\x85", PickleError::NoValue { opcode: "TUPLE1", at: 4 }),
        (b"t", PickleError::NoMark { opcode: "TUPLE", at }),
        (b"NNa", PickleError::Mismatch { opcode: "APPEND", at: 4, found: "None" }),
        (b"](Nu", PickleError::NoValue { opcode: "SETITEMS", at: 5 }),
        (b"](NNu", PickleError::Mismatch { opcode: "SETITEMS", at: 6, found: "a list" }),
        (b"K\x01)R", PickleError::Mismatch { opcode: "REDUCE", at: 5, found: "an int" }),
        (b"NN\x93", PickleError::Mismatch { opcode: "STACK_GLOBAL", at: 4, found: "None" }),
        (b"]}b", PickleError::Mismatch { opcode: "BUILD", at: 4, found: "a list" }),
        (b"h\x07", PickleError::EmptySlot { slot: 7, at }),
        (b"Nr\xff\xff\xff\x7f", PickleError::FarSlot { slot: 0x7fff_ffff, at: 3, used: 0 }),
        (b"\x8c\x01\xff", PickleError::NotText { at: 4 }),
        (b"Ix\n", PickleError::BadArgument { opcode: "INT", at }),
        (b"F\n", PickleError::BadArgument { opcode: "FLOAT", at }),
        (b"gx\n", PickleError::BadArgument { opcode: "GET", at }),
        (b"T\xff\xff\xff\xff", PickleError::BadArgument { opcode: "BINSTRING", at }),
        (b"NN", PickleError::NotOne { left: 2 }),
        (b"", PickleError::NotOne { left: 0 }),
        (b"N(", PickleError::NotOne { left: 2 }),
    ] {
        assert_eq!(inside(code), expected, "{code:?}");
    }
    assert_eq!(error(b"\x80\x04N.N"), PickleError::Trailing { at: 4, extra: 1 });
}

#[test]
fn sizes_that_lie_are_refused_before_anything_is_made() {
    for code in [
        &b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"B\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
    ] {
        assert!(matches!(inside(code), PickleError::Truncated { .. }), "{code:?}");
    }
}

#[test]
fn message_that_is_cut_anywhere_is_refused() {
    let whole =
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0(N\x8c\x05dummy\x94K\x01\x85J\0\0\0\0G\0\0\0\0\0\0\0\0\
                  cmodule\nname\n)R\x86}Vname\\u20ac\nI12\nst\x94.";
    assert!(read(Bytes::from_static(whole), &Limits::default()).is_ok());
    for size in 0..whole.len() {
        let error = error(&whole[..size]);
        let is_cut = matches!(error, PickleError::Truncated { .. } | PickleError::NoProtocol);
        assert!(is_cut, "{size}: {error}");
    }
}

#[test]
fn bytes_that_were_changed_do_no_harm() {
    let whole = b"\x80\x04(\x8c\x02id\x94\x8c\x06append\x94]\x94(\x8c\x01k\x94}h\x02h\x03sK\x07\x8f(K\x01\x90cm\nC\n)\x81\x94}\
                  \x8c\x01ah\x04sbe\x85\x94}\x94t\x94.";
    let limits = Limits::default();
    Request::read(Bytes::from_static(whole), &limits).unwrap();
    let mut read_ones = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut message = whole.to_vec();
        for _ in 0..rng.size(1..=3) {
            let place = rng.size(2..=message.len() as u64 - 1);
            message[place] = rng.draw().to_le_bytes()[0];
        }
        let Ok(request) = Request::read(message.into(), &limits) else { continue };
        for id in &request.arguments {
            let value = Values::new(&request.graph, &limits).value(*id, &mut |_| None).unwrap();
            let answer = Reply::Return(Item::Value(&value));
            let answer = write::reply(&answer, &limits, &|_| None).unwrap();
            assert!(read(answer.into(), &limits).is_ok());
            assert!(repr(&value, 100, &limits).len() <= 103);
            read_ones += 1;
        }
    }
    assert!(read_ones > 500, "{read_ones} were requests");
}

#[test]
fn nesting_costs_no_stack_and_is_bounded() {
    let deep = 1_000_000;
    for (before, after) in [
        (b"]".repeat(deep), b"a".repeat(deep - 1)),
        ([&b"N"[..], &b"\x85".repeat(deep)].concat(), Vec::new()),
        (b"(".repeat(deep), b"t".repeat(deep)),
        (b"(".repeat(deep), b"\x91".repeat(deep)),
        (b"cm\nf\n".repeat(deep), [&b"N"[..], &b"\x85R".repeat(deep)].concat()),
    ] {
        let code = [&before[..], &after].concat();
        assert_eq!(value(&code, &Limits::default()), Err(PickleError::TooDeep { max: 10_000 }));
    }
    // As deep as a value may be, and one more: that is a fragment.
    let nested = |deep: usize| [b"]".repeat(deep), b"a".repeat(deep - 1)].concat();
    let kinds = [100, 101].map(|deep| value(&nested(deep), &Limits::default()).unwrap().kind());
    assert_eq!(kinds, ["list", "opaque"]);
}

#[test]
fn value_comes_back_as_what_it_came_however_its_pickle_was_written() {
    // Two long texts that are equal, many times each: as two, and as the one that a fragment has.
    let long = [&b"X\xff\0\0\0"[..], &[b'a'; 255]].concat();
    let twice = |first: &[u8], second: &[u8], count: usize| {
        let (first_again, second_again) = (b"h\0".repeat(count), b"h\x01".repeat(count));
        [b"(", first, b"q\0", &first_again, second, b"q\x01", &second_again, b"l"].concat()
    };
    let limits = Limits::default();
    for (count, kind) in [(5, "list"), (14, "opaque"), (100, "opaque")] {
        let (as_two, as_one) = (twice(&long, &long, count), twice(&long, b"h\0", count));
        let (two, one) = (value(&as_two, &limits).unwrap(), value(&as_one, &limits).unwrap());
        assert_eq!(two.kind(), kind, "{count} times");
        assert!(two.pack() == one.pack(), "{count} times: the one is {}", one.kind());
    }
}

#[test]
fn value_built_by_hand_is_answered_however_deep() {
    let mut value = Value::None;
    for _ in 0..50_000 {
        value = Value::List(vec![value]);
    }
    let answer = write::reply(&Reply::Return(Item::Value(&value)), &Limits::default(), &|_| None);
    assert_eq!(answer.unwrap().len(), 14 + 3 * 50_000);
    assert!(repr(&value, 100, &Limits::default()).ends_with("[[[..."));
    // Dropping it is the standard library's matter, and recursive.
    while let Value::List(mut items) = value {
        value = items.pop().unwrap_or_default();
    }
}

#[test]
fn little_that_stands_for_much_is_carried_and_not_unfolded() {
    // t = (t, t), forty times: a tree of a million million nodes.
    let doubled = (0..40_u8).flat_map(|slot| [b'0', b'h', slot, b'h', slot, 0x86, 0x94]);
    let code: Vec<u8> = b"N\x85\x94".iter().copied().chain(doubled).collect();
    let Ok(Value::Opaque { bytes, .. }) = value(&code, &Limits::default()) else {
        panic!("it is a fragment")
    };
    assert!(bytes.len() < 3 * 40 * 6, "{} bytes", bytes.len());
    // A large text, many times.
    let text = [&b"X\x40\x42\x0f\0"[..], &b"x".repeat(1_000_000), b"\x94"].concat();
    let code = [&b"]("[..], &text, &b"h\0".repeat(10_000), b"e"].concat();
    let Ok(Value::Opaque { bytes, .. }) = value(&code, &Limits::default()) else {
        panic!("it is a fragment")
    };
    assert!(bytes.len() < 1_100_000, "{} bytes", bytes.len());
    // Each of many arguments is the same large list.
    let list = [&b"]\x94("[..], &b"G\0\0\0\0\0\0\0\0".repeat(10_000), b"e0"].concat();
    let code = [&b"\x80\x04"[..], &list, b"(", &b"h\0".repeat(10_000), b"t."].concat();
    let limits = Limits::default();
    let graph = read(code.into(), &limits).unwrap();
    let mut values = Values::new(&graph, &limits);
    let items = values.items(graph.root()).unwrap();
    let taken = items.iter().map(|id| values.fragment(*id)).find_map(Result::err);
    assert!(matches!(taken, Some(PickleError::TooMuchWork { .. })), "{taken:?}");
}

#[test]
fn limits_are_kept() {
    let with = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    let list = b"\x80\x04](K\x01K\x02K\x03e\x94.";
    let small = with(&|limits| limits.size_bytes = 5);
    assert_eq!(error_with(list, &small), PickleError::TooLong { size: 13, max: 5 });
    let few = with(&|limits| limits.nodes = 6);
    assert_eq!(error_with(list, &few), PickleError::TooMany { what: "parts", max: 6 });
    let forgetful = with(&|limits| limits.memo_slots = 0);
    assert_eq!(error_with(list, &forgetful), PickleError::TooMany { what: "memo slots", max: 0 });
    let copied = [
        &b"\x80\x04cbuiltins\nset\n\x94]\x94("[..],
        &b"N".repeat(100),
        b"e0",
        &b"h\0h\x01\x85R0".repeat(3),
        b".",
    ]
    .concat();
    let max = copied.len();
    assert_eq!(error(&copied), PickleError::TooMany { what: "copied items", max });
}

#[test]
fn only_classes_on_the_list_pass_if_there_is_one() {
    let allowed = BTreeSet::from(["decimal.Decimal".to_owned()]);
    let limits = Limits { allowed: Some(allowed), ..Limits::default() };
    let read = |code: &[u8]| read([b"\x80\x04", code, b"."].concat().into(), &limits).map(drop);
    assert_eq!(read(b"cdecimal\nDecimal\n\x8c\x011\x85R"), Ok(()));
    assert_eq!(read(b"cbuiltins\nset\n)R"), Ok(()));
    assert_eq!(read(b"cmultiprocessing.managers\nToken\n)\x81"), Ok(()));
    let refused = PickleError::Forbidden { name: "builtins.eval".into() };
    assert_eq!(refused.to_string(), "builtins.eval is not among the classes that may pass");
    assert_eq!(read(b"cbuiltins\neval\n"), Err(refused.clone()));
    assert_eq!(read(b"\x8c\x08builtins\x8c\x04eval\x93"), Err(refused.clone()));
    // Nor in what a native client stored.
    let bytes = Bytes::from_static(b"\x8c\x08builtins\x8c\x04eval\x93");
    let stored = Value::Opaque { format: "pickle".into(), bytes };
    let answer = write::reply(&Reply::Return(Item::Value(&stored)), &limits, &|_| None);
    assert_eq!(answer, Err(refused));
}

#[test]
fn stored_fragment_that_takes_what_is_not_its_own_is_refused() {
    let answer = |code: &'static [u8]| {
        let stored = Value::Opaque { format: "pickle".into(), bytes: Bytes::from_static(code) };
        // Behind one that has a slot.
        let first = Bytes::from_static(b"]\x94(j\0\0\0\0e");
        let first = Value::Opaque { format: "pickle".into(), bytes: first };
        let both = Value::Tuple(vec![first, stored]);
        write::reply(&Reply::Return(Item::Value(&both)), &Limits::default(), &|_| None)
    };
    assert_eq!(
        answer(b"]\x94(j\0\0\0\0e").unwrap(),
        b"\x80\x04\x8c\x07#RETURN(]\x94(j\0\0\0\0e]\x94(j\x01\0\0\0et\x86."
    );
    for (code, expected) in [
        (&b""[..], PickleError::NotOne { left: 0 }),
        (b"NN", PickleError::NotOne { left: 2 }),
        (b"N(", PickleError::NotOne { left: 2 }),
        (b"N.", PickleError::Misplaced { opcode: "STOP", at: 1 }),
        (b"h\0", PickleError::Misplaced { opcode: "BINGET", at: 0 }),
        (b"Nq\0", PickleError::Misplaced { opcode: "BINPUT", at: 1 }),
        (b"\x80\x04N", PickleError::Misplaced { opcode: "PROTO", at: 0 }),
        (b"j\0\0\0\0", PickleError::EmptySlot { slot: 0, at: 0 }),
        (b"0N", PickleError::NoValue { opcode: "POP", at: 0 }),
        (b"Na", PickleError::NoValue { opcode: "APPEND", at: 1 }),
        (b"eN", PickleError::NoMark { opcode: "APPENDS", at: 0 }),
        (b"NNa", PickleError::Mismatch { opcode: "APPEND", at: 2, found: "a plain value" }),
        (b"K", PickleError::Truncated { at: 1, wanted: 1, left: 0 }),
        (b"\x8c\x01\xff", PickleError::NotText { at: 2 }),
    ] {
        assert_eq!(answer(code), Err(expected), "{code:?}");
    }
}

#[test]
fn what_is_no_request_is_told_what_it_is() {
    let error = |code: &[u8]| {
        let message = [b"\x80\x04", code, b"."].concat();
        Request::read(message.into(), &Limits::default()).unwrap_err().to_string()
    };
    let is = "request is not (ident, method, arguments, keywords):";
    for (code, told) in [
        (&b"N"[..], "it is None"),
        (b"NN\x86", "it is a tuple"),
        (b"(K\x01\x8c\x01m)}t", "the ident is an int"),
        (b"(NK\x01)}t", "the method is an int"),
        (b"(N\x8c\x03\xed\xa0\x80)}t", "the method is a str"),
        (b"(N\x8c\x01mN}t", "what should be the arguments is None"),
        (b"(N\x8c\x01m)]t", "what should be the keywords is a list"),
        (b"(N\x8c\x01m)}K\x01Nst", "the name of a keyword is an int"),
    ] {
        assert_eq!(error(code), format!("{is} {told}"));
    }
}

#[test]
fn equal_values_are_the_same_fragment_wherever_they_were_cut_from() {
    let limits = Limits::default();
    let fragment = |code: &[u8]| match value(code, &limits) {
        Ok(Value::Opaque { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    // frozenset(['text', 'text2']), in five ways.
    let expected = &b"(\x8c\x04text\x8c\x05text2\x91"[..];
    for code in [
        &b"(\x8c\x04text\x8c\x05text2\x91"[..],
        b"(\x8c\x04text\x94\x8c\x05text2\x94\x91\x94",
        b"\x8c\x04text\x940(h\0\x8c\x05text2\x91",
        b"(X\x04\0\0\0textq\x00X\x05\0\0\0text2q\x01\x91q\x02",
        b"cbuiltins\nfrozenset\n](\x8c\x04text\x8c\x05text2e\x85R",
    ] {
        assert_eq!(fragment(code), expected, "{code:?}");
    }
    // A text that is there twice is there once, whether or not it was the same one.
    let twice = &b"(\x8c\x04text\x94j\0\0\0\0\x91"[..];
    assert_eq!(fragment(b"(\x8c\x04text\x8c\x04text\x91"), twice);
    assert_eq!(fragment(b"(\x8c\x04text\x94h\0\x91"), twice);
}
