//! What `repr` shows where random values of Python do not come to.

use bytes::Bytes;
use ganger_pickle::{Limits, repr};
use ganger_shared::{ObjectId, Value};

fn shown(value: &Value) -> String {
    repr(value, 1_000, &Limits::default())
}

fn opaque(code: &'static [u8]) -> Value {
    Value::Opaque { format: "pickle".into(), bytes: Bytes::from_static(code) }
}

#[test]
fn objects_are_shown_by_their_class() {
    for (code, text) in [
        (&b"\x8c\x01m\x8c\x03A.B\x93)\x81"[..], "<m.A.B object>"),
        (b"\x8c\x01m\x8c\x01f\x93)R", "<m.f object>"),
        (b"\x8c\x01m\x8c\x01f\x93", "<m.f>"),
        (
            b"\x8c\x07copyreg\x8c\x0e_reconstructor\x93\x8c\x01m\x8c\x01A\x93\x8c\x08builtins\x8c\x06object\x93N\x87R",
            "<m.A object>",
        ),
        (b"](\x8c\x01m\x8c\x01f\x93)RK\x01e", "[<m.f object>, 1]"),
    ] {
        assert_eq!(shown(&opaque(code)), text);
    }
}

#[test]
fn what_nobody_understands_is_shown_by_its_format() {
    assert_eq!(shown(&opaque(b"\xff")), "<opaque pickle>");
    let other = Value::Opaque { format: "cbor".into(), bytes: Bytes::new() };
    assert_eq!(shown(&Value::List(vec![other, ObjectId(3).into()])), "[<opaque cbor>, <object 3>]");
}

#[test]
fn what_is_shown_is_cut_where_it_may_grow_no_further() {
    let large = Value::Int("0x1".parse().map(|one| (0..12).fold(one, |n, _| &n + &n)).unwrap());
    let long = Value::List(vec!["ä".repeat(100).into(), large]);
    for most in 0..120 {
        let text = repr(&long, most, &Limits::default());
        assert!(text.len() <= most + 3 && text.ends_with("..."), "{most}: {text}");
    }
    let huge = Value::Int(ganger_shared::value::Integer::from_bytes(&[1; 100_000]));
    assert_eq!(repr(&huge, 10, &Limits::default()).len(), 13);
}
