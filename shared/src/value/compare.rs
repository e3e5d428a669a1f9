//! Which values are equal, and which comes first.

use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

use super::{Value, canonical};

impl Value {
    /// How it compares, as Python's `<` does: numbers and bools by value, text by code points, bytes
    /// by bytes, lists with lists and tuples with tuples by the first items that differ. `None` for
    /// all others and for NaN.
    ///
    /// ```
    /// use core::cmp::Ordering;
    /// use ganger_shared::Value;
    ///
    /// assert_eq!(Value::from(2).compare(&Value::from(2.5)), Some(Ordering::Less));
    /// assert_eq!(Value::from(2).compare(&Value::from("2")), None);
    /// ```
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                match a.iter().zip(b).find(|(a, b)| a != b) {
                    Some((a, b)) => a.compare(b),
                    None => Some(a.len().cmp(&b.len())),
                }
            }
            _ => self.compare_numbers(other),
        }
    }

    /// `None` if one of them is no number.
    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(bool), _) => Self::from(i64::from(*bool)).compare_numbers(other),
            (_, Self::Bool(bool)) => self.compare_numbers(&Self::from(i64::from(*bool))),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Float(b)) => a.compare_float(*b),
            (Self::Float(a), Self::Int(b)) => b.compare_float(*a).map(Ordering::reverse),
            _ => None,
        }
    }

    /// See [`super::Packed::canonical`].
    fn canonical(&self) -> Vec<u8> {
        let (mut bytes, mut canonical) = (Vec::new(), Vec::new());
        self.put(&mut bytes);
        canonical::append(&bytes, &mut canonical);
        canonical
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && self.canonical() == other.canonical()
            }
            (Self::Set(a), Self::Set(b)) => {
                a.len() == b.len() && self.canonical() == other.canonical()
            }
            (Self::Opaque { format, bytes }, Self::Opaque { format: to, bytes: with }) => {
                format == to && bytes == with
            }
            (Self::Ref(a), Self::Ref(b)) => a == b,
            (Self::Float(a), Self::Float(b)) if a.is_nan() => b.is_nan(),
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.canonical());
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use bytes::Bytes;

    use super::*;
    use crate::ObjectId;

    fn hash(value: &Value) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// Values in groups of equal ones; no value equals one of another group.
    fn groups() -> Vec<Vec<Value>> {
        let list = |items: &[Value]| Value::List(items.to_vec());
        let set = |items: &[Value]| Value::Set(items.to_vec());
        let (a, b): (Value, Value) = ("a".into(), "b".into());
        let large = 2_f64.powi(64);
        vec![
            vec![Value::None],
            vec![1.into(), 1.0.into(), true.into()],
            vec![0.into(), 0.0.into(), (-0.0).into(), false.into()],
            vec![f64::NAN.into(), (-f64::NAN).into(), f64::from_bits(0x7ff0_0000_0000_0001).into()],
            vec![f64::INFINITY.into()],
            vec![large.into(), (1_u128 << 64).into()],
            vec![((1_u128 << 64) + 1).into()],
            vec![2_f64.powi(53).into(), (1_i64 << 53).into()],
            vec![((1_i64 << 53) + 1).into()],
            vec![(-(2_f64.powi(63))).into(), i64::MIN.into()],
            vec![1.5.into()],
            vec!["1".into()],
            vec![Value::Bytes(Bytes::from_static(b"1"))],
            vec![list(&[1.into()]), list(&[true.into()])],
            vec![Value::Tuple(vec![1.into()])],
            vec![list(&[]), list(&[])],
            vec![Value::Map(vec![])],
            vec![set(&[])],
            vec![
                Value::Map(vec![(a.clone(), 1.into()), (b.clone(), set(&[1.into(), a.clone()]))]),
                Value::Map(vec![
                    (b.clone(), set(&[a.clone(), 1.0.into()])),
                    (a.clone(), true.into()),
                ]),
            ],
            vec![Value::Map(vec![(a.clone(), 1.into()), (b.clone(), 1.into())])],
            vec![set(&[a.clone(), b.clone()]), set(&[b, a.clone()])],
            vec![set(&[a])],
            vec![Value::Opaque { format: "x".into(), bytes: Bytes::new() }],
            vec![Value::Opaque { format: String::new(), bytes: Bytes::from_static(b"x") }],
            vec![ObjectId(1).into()],
        ]
    }

    #[test]
    fn equality_hash_and_canonical_bytes_agree_with_python() {
        let groups = groups();
        for (at, group) in groups.iter().enumerate() {
            for (with, other_group) in groups.iter().enumerate() {
                for (a, b) in group.iter().flat_map(|a| other_group.iter().map(move |b| (a, b))) {
                    let packed = [a.pack().unwrap(), b.pack().unwrap()];
                    let are_equal = at == with;
                    assert_eq!(a == b, are_equal, "{a:?} {b:?}");
                    assert_eq!(
                        packed[0].canonical() == packed[1].canonical(),
                        are_equal,
                        "{a:?} {b:?}"
                    );
                    if are_equal {
                        assert_eq!(hash(a), hash(b), "{a:?} {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn canonical_bytes_are_a_value_that_is_its_own_canonical_form() {
        for value in groups().into_iter().flatten() {
            let canonical = value.pack().unwrap().canonical().into_owned();
            let again = crate::Packed::new(canonical.clone().into()).unwrap();
            assert_eq!(again.canonical(), canonical, "{value:?}");
            assert_eq!(again.unpack(), value);
        }
    }

    #[test]
    fn order_is_that_of_python() {
        let compare = |a: Value, b: Value| a.compare(&b);
        let list = |items: &[i64]| Value::List(items.iter().map(|&item| item.into()).collect());
        assert_eq!(compare(true.into(), 2.into()), Some(Ordering::Less));
        assert_eq!(compare(1.5.into(), 1.into()), Some(Ordering::Greater));
        assert_eq!(compare(true.into(), 1.0.into()), Some(Ordering::Equal));
        assert_eq!(compare("Z".into(), "a".into()), Some(Ordering::Less));
        assert_eq!(compare("\u{ffff}".into(), "\u{10000}".into()), Some(Ordering::Less));
        assert_eq!(compare(list(&[1, 2]), list(&[1, 2, 0])), Some(Ordering::Less));
        assert_eq!(compare(list(&[2]), list(&[1, 2])), Some(Ordering::Greater));
        let named = |name: &str| Value::Tuple(vec![Value::None, name.into()]);
        assert_eq!(compare(named("a"), named("b")), Some(Ordering::Less));
    }

    #[test]
    fn what_python_would_not_order_has_no_order() {
        let list = |item: Value| Value::List(vec![item]);
        for (a, b) in [
            (Value::None, Value::None),
            (1.into(), "1".into()),
            ("a".into(), Value::Bytes(Bytes::from_static(b"a"))),
            (list(1.into()), Value::Tuple(vec![1.into()])),
            (list(1.into()), list("1".into())),
            (f64::NAN.into(), f64::NAN.into()),
            (f64::NAN.into(), u128::MAX.into()),
            (Value::Set(vec![]), Value::Set(vec![])),
            (Value::Map(vec![]), Value::Map(vec![])),
            (ObjectId(1).into(), ObjectId(2).into()),
        ] {
            assert_eq!((a.compare(&b), b.compare(&a)), (None, None), "{a:?} {b:?}");
        }
    }
}
