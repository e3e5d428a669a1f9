//! Values inside data of other types, and what goes wrong between the two.
//!
//! Formats for people get a value as its JSON, others its encoding as a byte string, and
//! [`super::to_value`] and [`super::from_value`] the value itself. A reader of JSON other than
//! [`Value::from_json`] rounds an integer beyond 64 bits that stands there without its escape, and
//! serde's `flatten` and `untagged` know no kinds but those of JSON.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use super::json::{Json, Node};
use super::{Packed, Value};
use crate::complaint::complain;

/// The name by which our own serializer knows a value that is to be taken as it is; to others a
/// newtype is what is inside.
pub(super) const AS_IT_IS: &str = "ganger::Value";

/// The same for a shared object's id.
pub(crate) const OBJECT_ID: &str = "ganger::ObjectId";

/// A value that does not convert to or from the type, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError {
    /// `.field`, `[3]`, from the outside in.
    path: String,
    what: String,
}

impl ConvertError {
    /// The same, found inside `step` of something.
    pub(super) fn inside(self, step: impl fmt::Display) -> Self {
        Self { path: format!("{step}{}", self.path), what: self.what }
    }

    pub(super) fn inside_key(self, key: &Value) -> Self {
        match key {
            Value::Text(name) => self.inside(format_args!(".{name}")),
            other => self.inside(format_args!("[{}]", other.to_json())),
        }
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.strip_prefix('.').unwrap_or(&self.path) {
            "" => f.write_str(&self.what),
            path => write!(f, "{path}: {}", self.what),
        }
    }
}

impl core::error::Error for ConvertError {}

impl serde::ser::Error for ConvertError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { path: String::new(), what: what.to_string() }
    }
}

impl serde::de::Error for ConvertError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { path: String::new(), what: what.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::custom(format_args!("found {} where {wanted} is wanted", Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }
}

/// What was found, in the words for kinds of values.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(bool) => write!(f, "bool {bool}"),
            Unexpected::Unsigned(number) => write!(f, "int {number}"),
            Unexpected::Signed(number) => write!(f, "int {number}"),
            Unexpected::Float(float) => write!(f, "float {float:?}"),
            Unexpected::Char(char) => write!(f, "text {char:?}"),
            Unexpected::Str(text) => write!(f, "text {:?}", super::integer::shortened(text)),
            Unexpected::Bytes(bytes) => write!(f, "bytes, {} of them,", bytes.len()),
            Unexpected::Unit | Unexpected::Option => f.write_str("none"),
            Unexpected::Seq => f.write_str("list"),
            Unexpected::Map => f.write_str("map"),
            other => other.fmt(f),
        }
    }
}

/// For the format it is written in: JSON or bytes.
struct Inner<'a>(&'a Packed);

impl Serialize for Inner<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Json(&self.0.unpack()).serialize(serializer)
        } else {
            serializer.serialize_bytes(self.0.as_bytes())
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(AS_IT_IS, &Inner(self))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Outer;

        impl<'de> Visitor<'de> for Outer {
            type Value = Packed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Packed, D::Error> {
                if inner.is_human_readable() {
                    Node { depth: 0 }.deserialize(inner)?.pack().map_err(complain)
                } else {
                    Packed::new(Bytes::deserialize(inner)?).map_err(complain)
                }
            }
        }

        deserializer.deserialize_newtype_struct(AS_IT_IS, Outer)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pack().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Packed::deserialize(deserializer).map(|packed| packed.unpack())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::de::DeserializeOwned;

    use super::super::{from_value, to_value};
    use super::*;
    use crate::ObjectId;

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Order {
        id: u64,
        lines: Vec<(String, i8)>,
        state: State,
        note: Option<char>,
        paid: bool,
        history: BTreeMap<i32, State>,
        huge: u128,
        unit: (),
        price: f64,
        ratio: f32,
        tags: BTreeSet<String>,
        anything: Value,
        packed: Packed,
        object: ObjectId,
        blob: Bytes,
    }

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    enum State {
        New,
        Sent(Option<u8>),
        Lost(u8, String),
        Back { why: String },
    }

    fn order() -> Order {
        Order {
            id: u64::MAX,
            lines: vec![("tea".into(), -1)],
            state: State::Lost(1, "sea".into()),
            note: Some('ß'),
            paid: true,
            history: BTreeMap::from([
                (-1, State::New),
                (2, State::Sent(None)),
                (3, State::Back { why: "wet".into() }),
            ]),
            huge: u128::MAX,
            unit: (),
            price: 1.0,
            ratio: 0.1,
            tags: BTreeSet::from(["x".into()]),
            anything: Value::Set(vec![Value::Tuple(vec![ObjectId(1).into(), true.into()])]),
            packed: Packed::from(true),
            object: ObjectId(7),
            blob: Bytes::from_static(b"\x00"),
        }
    }

    #[test]
    fn each_shape_of_rust_has_its_kind() {
        let value = to_value(&order()).unwrap();
        let expected = concat!(
            r#"{"id":18446744073709551615,"lines":[{"$tuple":["tea",-1]}],"#,
            r#""state":{"Lost":{"$tuple":[1,"sea"]}},"note":"ß","paid":true,"#,
            r#""history":{"$map":[[-1,"New"],[2,{"Sent":null}],[3,{"Back":{"why":"wet"}}]]},"#,
            r#""huge":{"$int":"340282366920938463463374607431768211455"},"unit":null,"price":1.0,"#,
            r#""ratio":0.10000000149011612,"tags":["x"],"#,
            r#""anything":{"$set":[{"$tuple":[{"$ref":"1"},true]}]},"packed":true,"#,
            r#""object":{"$ref":"7"},"blob":{"$bytes":"AA=="}}"#,
        );
        assert_eq!(value.to_json(), expected);
    }

    #[test]
    fn nested_data_survives_a_value_json_and_postcard() {
        let order = order();
        assert_eq!(from_value::<Order>(to_value(&order).unwrap()), Ok(order.clone()));
        let json = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&json).unwrap(), order);
        let bytes = postcard::to_stdvec(&order).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(order));
    }

    #[test]
    fn value_is_its_own_value() {
        for value in [Value::None, Value::from("x"), Value::Set(vec![1.into()])] {
            let same = to_value(&value).unwrap();
            assert_eq!((same.kind(), &same), (value.kind(), &value));
            assert_eq!(from_value::<Value>(same), Ok(value));
        }
    }

    fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        from_value(Value::from_json(json).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn sequences_of_every_kind_do_where_one_is_wanted() {
        assert_eq!(read(r#"["a", 1]"#), Ok(("a".to_owned(), 1_u8)));
        assert_eq!(read(r#"{"$tuple": [1, 2]}"#), Ok(vec![1, 2]));
        assert_eq!(read(r#"{"$set": [2, 1]}"#), Ok(BTreeSet::from([1, 2])));
        assert_eq!(read(r#"{"$bytes": "AP8="}"#), Ok(vec![0_u8, 255]));
        assert_eq!(read(r#"{"Lost": [1, "sea"]}"#), Ok(State::Lost(1, "sea".into())));
        assert_eq!(read(r#"{"New": null}"#), Ok(State::New));
        assert_eq!(read("3"), Ok(3.0));
    }

    #[test]
    fn error_says_where_what_was_found_and_what_was_wanted() {
        let errors = [
            (read::<u8>("300").map(drop), "found int 300 where u8 is wanted"),
            (read::<u8>("-1").map(drop), "found int -1 where u8 is wanted"),
            (read::<Vec<u8>>(r#"[1, "a"]"#).map(drop), r#"[1]: found text "a" where u8 is wanted"#),
            (
                read::<BTreeMap<String, Vec<bool>>>(r#"{"a": [true], "b": [true, null]}"#)
                    .map(drop),
                "b[1]: found none where a boolean is wanted",
            ),
            (
                read::<BTreeMap<u8, bool>>(r#"{"$map": [[7, 1.5]]}"#).map(drop),
                "[7]: found float 1.5 where a boolean is wanted",
            ),
            (read::<(u8, u8)>("[1, 2, 3]").map(drop), "found 3 items where 2 are wanted"),
            (read::<String>(r#"{"$ref": "1"}"#).map(drop), "found ref where a string is wanted"),
            (
                read::<State>(r#"{"Lost": ["a", "b"]}"#).map(drop),
                r#"Lost[0]: found text "a" where u8 is wanted"#,
            ),
            (
                read::<State>(r#""Lost""#).map(drop),
                "found variant Lost alone where a map of it and its content is wanted",
            ),
            (
                read::<State>(r#"{"New": 1}"#).map(drop),
                "found int in variant New where nothing is wanted",
            ),
            (
                read::<State>(r#"{"New": null, "Lost": null}"#).map(drop),
                "found a map of 2 entries where one is wanted, the variant",
            ),
        ];
        for (result, text) in errors {
            assert_eq!(result, Err(text.to_owned()));
        }
    }

    #[test]
    fn value_that_nobody_would_read_is_not_carried_inside_others() {
        let value = vec![Value::Set(vec![Value::List(vec![])])];
        let error = to_value(&value).unwrap_err().to_string();
        assert!(error.starts_with("[0]: list is not hashable"), "{error}");
    }
}
