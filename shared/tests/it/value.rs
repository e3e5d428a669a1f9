//! Values from outside: pinned bytes, any values and any bytes.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use ganger_shared::value::Integer;
use ganger_shared::{ObjectId, Packed, Value, value};
use proptest::collection::vec;
use proptest::prelude::*;

/// One value of each kind and its bytes, which are frozen.
#[test]
fn bytes_of_each_kind_are_pinned() {
    let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
    let items = || vec![Value::from(1), Value::None];
    for (value, pinned) in [
        (Value::None, "00"),
        (false.into(), "01"),
        (true.into(), "02"),
        (0.into(), "0300"),
        ((-1).into(), "0301"),
        (1.into(), "0302"),
        (300.into(), "03d804"),
        (i64::MAX.into(), "03feffffffffffffffff01"),
        (i64::MIN.into(), "03ffffffffffffffffff01"),
        (u64::MAX.into(), "0409ffffffffffffffff00"),
        ((i128::from(i64::MIN) - 1).into(), "0409ffffffffffffff7fff"),
        (1.5.into(), "05000000000000f83f"),
        ((-0.0).into(), "050000000000000080"),
        ("hé".into(), "060368c3a9"),
        (bytes(b"\x00\xff"), "070200ff"),
        (Value::List(items()), "0802030200"),
        (Value::Tuple(items()), "0902030200"),
        (
            Value::Map(vec![("b".into(), 1.into()), ("a".into(), 2.into())]),
            "0a0206016203020601610304",
        ),
        (Value::Set(items()), "0b02030200"),
        (
            Value::Opaque { format: "pickle".into(), bytes: Bytes::from_static(b"N.") },
            "0c067069636b6c65024e2e",
        ),
        (ObjectId(0x7f3a).into(), "0dbafe01"),
    ] {
        let packed = value.pack().unwrap();
        let hex: String = packed.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, pinned, "{value:?}");
        assert_eq!(packed.unpack(), value);
    }
}

/// What checking `bytes` takes at most at a time.
fn memory(bytes: Vec<u8>) -> u64 {
    let bytes = Bytes::from(bytes);
    allocation_counter::measure(|| drop(Packed::new(bytes))).bytes_max
}

#[test]
fn checking_takes_memory_for_keys_only_and_in_proportion() {
    let (list, tuple, set, most) = (8, 9, 11, [0xff, 0xff, 0xff, 0x7f]);
    let items = |tag| [&[tag, 0x80, 0x80, 0x40][..], &[0; 1 << 20]].concat();
    assert_eq!(memory(items(list)) + memory(items(tuple)), 0);
    let declared = [&[set][..], &most].concat().repeat(100);
    assert!(memory(declared) < 1_000, "a count is only a claim");
    let numbers: Vec<Value> = (1 << 13..1 << 19).map(Value::from).collect();
    let keys = Value::Set(numbers).pack().unwrap().into_bytes();
    let taken = memory(keys.to_vec());
    assert!(taken < 8 * keys.len() as u64, "{taken} for {}", keys.len());
}

fn float() -> impl Strategy<Value = f64> {
    let whole = any::<i64>().prop_map(|bits| {
        #[expect(clippy::cast_precision_loss, reason = "any whole float will do")]
        let float = bits as f64;
        float
    });
    prop_oneof![
        any::<f64>(),
        whole,
        any::<u64>().prop_map(f64::from_bits),
        (-3_i8..3).prop_map(f64::from),
        (-70_i32..70).prop_map(|power| 2_f64.powi(power)),
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]),
    ]
}

fn integer() -> impl Strategy<Value = Integer> {
    let near_a_power =
        (0_u32..126, -1_i128..=1, any::<bool>()).prop_map(|(bits, near, negative)| {
            let number = (1_i128 << bits) + near;
            Integer::from(if negative { -number } else { number })
        });
    prop_oneof![
        (-3_i64..3).prop_map(Integer::from),
        any::<i64>().prop_map(Integer::from),
        any::<i128>().prop_map(Integer::from),
        near_a_power,
        "-?0x[1-9a-f][0-9a-f]{30,80}".prop_map(|text| text.parse().unwrap()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", "\\$[a-z]{0,6}", any::<String>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..9).prop_map(Bytes::from)
}

fn hashable() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        integer().prop_map(Value::from),
        float().prop_map(Value::from),
        text().prop_map(Value::from),
        bytes().prop_map(Value::from),
        any::<u64>().prop_map(|id| ObjectId(id).into()),
    ];
    scalar.prop_recursive(3, 8, 3, |inside| vec(inside, 0..3).prop_map(Value::Tuple))
}

/// Without those entries whose key is there already.
fn unique<T>(mut entries: Vec<T>, key: impl Fn(&T) -> &Value) -> Vec<T> {
    let mut seen = Vec::new();
    entries.retain(|entry| {
        let is_new = !seen.contains(key(entry));
        seen.push(key(entry).clone());
        is_new
    });
    entries
}

fn any_value() -> impl Strategy<Value = Value> {
    let opaque = (text(), bytes()).prop_map(|(format, bytes)| Value::Opaque { format, bytes });
    let leaf = prop_oneof![9 => hashable(), 1 => opaque];
    leaf.prop_recursive(4, 32, 5, |inside| {
        let entry = (prop_oneof![text().prop_map(Value::from), hashable()], inside.clone());
        prop_oneof![
            vec(inside.clone(), 0..5).prop_map(Value::List),
            vec(inside, 0..5).prop_map(Value::Tuple),
            vec(entry, 0..5).prop_map(|map| Value::Map(unique(map, |entry| &entry.0))),
            vec(hashable(), 0..5).prop_map(|set| Value::Set(unique(set, |item| item))),
        ]
    })
}

/// Values some of which are equal: the same, written another way.
fn other_form(value: &Value) -> Value {
    let all = |items: &[Value]| items.iter().map(other_form).collect::<Vec<_>>();
    match value {
        Value::Bool(bool) => i64::from(*bool).into(),
        Value::Int(number) => match number.as_i64() {
            Some(small @ (0 | 1)) => Value::Bool(small == 1),
            Some(small) if small.unsigned_abs() < 1 << 53 => {
                #[expect(clippy::cast_precision_loss, reason = "it was just compared")]
                let float = small as f64;
                float.into()
            }
            _ => value.clone(),
        },
        Value::List(items) => Value::List(all(items)),
        Value::Tuple(items) => Value::Tuple(all(items)),
        Value::Set(items) => Value::Set(all(items).into_iter().rev().collect()),
        Value::Map(entries) => {
            let other = |(key, value): &(Value, Value)| (other_form(key), other_form(value));
            Value::Map(entries.iter().rev().map(other).collect())
        }
        Value::None
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Opaque { .. }
        | Value::Ref(_) => value.clone(),
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Whether equality, canonical bytes and hash say the same of both.
fn agree(a: &Value, b: &Value) -> Result<(), TestCaseError> {
    let (packed_a, packed_b) = (a.pack().unwrap(), b.pack().unwrap());
    prop_assert_eq!(a == b, packed_a.canonical() == packed_b.canonical());
    prop_assert!(a != b || hash(a) == hash(b));
    if let (Ok(key_a), Ok(key_b)) = (packed_a.key(), packed_b.key()) {
        prop_assert_eq!(a == b, key_a == key_b);
    }
    let order = a.compare(b);
    prop_assert_eq!(order, b.compare(a).map(Ordering::reverse));
    prop_assert!(order.is_none() || (order == Some(Ordering::Equal)) == (a == b));
    Ok(())
}

proptest! {
    #[test]
    fn value_survives_its_encoding_bit_by_bit(value in any_value()) {
        let packed = value.pack().unwrap();
        prop_assert_eq!(&packed.unpack(), &value);
        prop_assert_eq!(&packed.unpack().pack().unwrap(), &packed);
        prop_assert_eq!(Packed::new(packed.as_bytes().clone()), Ok(packed.clone()));
        prop_assert_eq!(packed.kind(), value.kind());
        let wire = postcard::to_stdvec(&value).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Packed>(&wire), Ok(packed));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(bytes in any_bytes()) {
        if let Ok(packed) = Packed::new(bytes.clone()) {
            prop_assert_eq!(packed.unpack().pack().unwrap().into_bytes(), bytes);
        }
    }

    #[test]
    fn damaged_value_is_refused_or_another_value(
        value in any_value(), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let mut bytes = value.pack().unwrap().into_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(packed) = Packed::new(bytes.clone().into()) {
            prop_assert_eq!(packed.unpack().pack().unwrap().into_bytes(), bytes);
            let _ = (packed.canonical(), packed.key(), packed.refs().count());
        }
    }

    #[test]
    fn equality_canonical_bytes_hash_and_order_agree(a in any_value(), b in any_value()) {
        agree(&a, &b)?;
        agree(&a, &a)?;
    }

    #[test]
    fn they_agree_on_keys(a in hashable(), b in hashable()) {
        agree(&a, &b)?;
    }

    #[test]
    fn they_agree_on_numbers(a in integer(), b in float()) {
        agree(&a.into(), &b.into())?;
    }

    #[test]
    fn value_equals_itself_in_another_form(value in any_value()) {
        let other = other_form(&value);
        prop_assert_eq!(&other, &value);
        agree(&value, &other)?;
    }

    #[test]
    fn value_survives_its_json(value in any_value()) {
        let json = value.to_json();
        let read = Value::from_json(&json).unwrap();
        prop_assert_eq!(read.to_json(), json);
        if !has_nan(&value) {
            prop_assert_eq!(read.pack().unwrap(), value.pack().unwrap());
        }
        prop_assert_eq!(&read, &value);
        prop_assert!(!value.to_json().contains('\n'));
        let by_serde: Value = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
        prop_assert_eq!(by_serde, value);
    }

    #[test]
    fn any_text_is_json_or_an_error(text in "[\\[\\]{}\",:$a-c0-9.\\\\eE+-]{0,40}") {
        if let Ok(value) = Value::from_json(&text) {
            prop_assert_eq!(Value::from_json(&value.to_json()).unwrap(), value);
        }
    }

    #[test]
    fn integer_and_sum_survive_their_text(a in integer(), b in integer()) {
        let sum = &a + &b;
        prop_assert_eq!(sum.to_string().parse(), Ok(sum.clone()));
        prop_assert_eq!(sum.cmp(&a), b.cmp(&Integer::from(0)));
    }

    #[test]
    fn value_inside_data_is_that_value(values in vec(any_value(), 0..3)) {
        let list = value::to_value(&values).unwrap();
        prop_assert_eq!(list.pack().unwrap(), Value::List(values.clone()).pack().unwrap());
        prop_assert_eq!(value::from_value::<Vec<Value>>(list), Ok(values));
    }
}

/// Bytes that are often the beginning of a value.
fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![3 => 0_u8..16, 1 => any::<u8>()], 0..40).prop_map(Bytes::from)
}

/// Its bits are its own, and JSON has one word for all of them.
fn has_nan(value: &Value) -> bool {
    match value {
        Value::Float(float) => float.is_nan(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.iter().any(has_nan),
        Value::Map(entries) => entries.iter().any(|(key, value)| has_nan(key) || has_nan(value)),
        Value::None
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Opaque { .. }
        | Value::Ref(_) => false,
    }
}
