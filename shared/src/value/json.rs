//! Values as JSON, which people read and write; nothing is lost on the way there and back.
//!
//! What JSON has no word for is an object with one key that begins with `$`.
//!
//! ```text
//!   null  true  7  1.5  "text"  [list]  {"map": "of text keys"}
//!   {"$int": "99999999999999999999"}         beyond 64 bits
//!   {"$float": "nan"}   "inf"   "-inf"
//!   {"$bytes": "<base64>"}
//!   {"$tuple": [item, …]}                    {"$set": [item, …]}
//!   {"$map": [[key, value], …]}              of other keys, or of one that begins with $
//!   {"$opaque": ["format", "<base64>"]}
//!   {"$ref": "<hexadecimal>"}
//! ```
//!
//! Large integers are read without the escape too, exactly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeSeed;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Value, ValueError};

mod read;

pub(super) use read::Node;
use read::escape_large_integers;

/// The text is not a value in JSON.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(#[from] Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Text(serde_json::Error),
    #[error(transparent)]
    Value(ValueError),
}

impl Value {
    /// The value as JSON, in one line.
    ///
    /// ```
    /// use ganger_shared::Value;
    ///
    /// let pair = Value::Tuple(vec![1.into(), 2.0.into()]);
    /// assert_eq!(pair.to_json(), r#"{"$tuple":[1,2.0]}"#);
    /// assert_eq!(Value::from_json(&pair.to_json())?, pair);
    /// # Ok::<(), ganger_shared::value::JsonError>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Json(self)).expect("its keys are text, and memory takes everything")
    }

    /// The value that `text` is.
    ///
    /// # Errors
    /// The text is no JSON, an escape is none, or what it says is no value: a key twice, a list in a
    /// set, containers nested too deep. Line and column count a large integer without its escape as if
    /// it had one.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let text = escape_large_integers(text);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        // The seed counts, and stops before the stack ends.
        deserializer.disable_recursion_limit();
        let value = Node { depth: 0 }.deserialize(&mut deserializer).map_err(Reason::Text)?;
        deserializer.end().map_err(Reason::Text)?;
        value.encode_to(&mut Vec::new()).map_err(Reason::Value)?;
        Ok(value)
    }
}

/// A value that serializes as its JSON does.
pub(super) struct Json<'a>(pub(super) &'a Value);

/// A map of one entry, whose key says what the value would not.
fn escape<S: Serializer>(key: &str, value: &impl Serialize, out: S) -> Result<S::Ok, S::Error> {
    let mut map = out.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

/// Items as an array.
struct Array<'a>(&'a [Value]);

impl Serialize for Array<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Json))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::None => out.serialize_unit(),
            Value::Bool(bool) => out.serialize_bool(*bool),
            Value::Int(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => out.serialize_i64(number),
                (None, Some(number)) => out.serialize_u64(number),
                (None, None) => escape("$int", &number.to_string(), out),
            },
            Value::Float(float) if float.is_finite() => out.serialize_f64(*float),
            Value::Float(float) if float.is_nan() => escape("$float", &"nan", out),
            Value::Float(float) if *float > 0.0 => escape("$float", &"inf", out),
            Value::Float(_) => escape("$float", &"-inf", out),
            Value::Text(text) => out.serialize_str(text),
            Value::Bytes(bytes) => escape("$bytes", &BASE64.encode(bytes), out),
            Value::List(items) => Array(items).serialize(out),
            Value::Tuple(items) => escape("$tuple", &Array(items), out),
            Value::Set(items) => escape("$set", &Array(items), out),
            Value::Map(entries) => match text_keys(entries) {
                Some(entries) => out.collect_map(entries.map(|(key, value)| (key, Json(value)))),
                None => {
                    let pairs: Vec<_> =
                        entries.iter().map(|(key, value)| (Json(key), Json(value))).collect();
                    escape("$map", &pairs, out)
                }
            },
            Value::Opaque { format, bytes } => {
                escape("$opaque", &(format, BASE64.encode(bytes)), out)
            }
            Value::Ref(id) => escape("$ref", &id.to_string(), out),
        }
    }
}

/// The entries, if an object of JSON can have them and would not be taken for an escape.
fn text_keys(entries: &[(Value, Value)]) -> Option<impl Iterator<Item = (&str, &Value)>> {
    let is_escape = match entries {
        [(Value::Text(key), _)] => key.starts_with('$'),
        _ => false,
    };
    let are_text = entries.iter().all(|(key, _)| key.as_text().is_some());
    let pairs = entries.iter().filter_map(|(key, value)| Some((key.as_text()?, value)));
    (are_text && !is_escape).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ObjectId;
    use crate::limits::DEPTH_MAX;

    fn error(text: &str) -> String {
        Value::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_has_its_json_and_comes_back() {
        let bytes = Bytes::from_static(b"\x00\xff");
        let key = |key: &str| Value::Map(vec![(key.into(), 1.into())]);
        for (value, json) in [
            (Value::None, "null"),
            (true.into(), "true"),
            (i64::MIN.into(), "-9223372036854775808"),
            (u64::MAX.into(), "18446744073709551615"),
            ((1_u128 << 64).into(), r#"{"$int":"18446744073709551616"}"#),
            (1.0.into(), "1.0"),
            ((-0.0).into(), "-0.0"),
            (1e300.into(), "1e+300"),
            (5e-324.into(), "5e-324"),
            (f64::NAN.into(), r#"{"$float":"nan"}"#),
            (f64::INFINITY.into(), r#"{"$float":"inf"}"#),
            (f64::NEG_INFINITY.into(), r#"{"$float":"-inf"}"#),
            ("\"\\$\n".into(), r#""\"\\$\n""#),
            (Value::Bytes(bytes.clone()), r#"{"$bytes":"AP8="}"#),
            (Value::List(vec![Value::List(vec![])]), "[[]]"),
            (Value::Tuple(vec!["a".into()]), r#"{"$tuple":["a"]}"#),
            (Value::Set(vec!["a".into()]), r#"{"$set":["a"]}"#),
            (Value::Map(vec![]), "{}"),
            (key("a"), r#"{"a":1}"#),
            (key("$a"), r#"{"$map":[["$a",1]]}"#),
            (
                Value::Map(vec![("$a".into(), 1.into()), ("$int".into(), "2".into())]),
                r#"{"$a":1,"$int":"2"}"#,
            ),
            (Value::Map(vec![(1.into(), "b".into())]), r#"{"$map":[[1,"b"]]}"#),
            (Value::Opaque { format: "pickle".into(), bytes }, r#"{"$opaque":["pickle","AP8="]}"#),
            (ObjectId(0x7f3a).into(), r#"{"$ref":"7f3a"}"#),
        ] {
            assert_eq!(value.to_json(), json);
            let read = Value::from_json(json).unwrap();
            assert_eq!((read.kind(), &read), (value.kind(), &value), "{json}");
            assert_eq!(read.to_json(), json);
        }
    }

    #[test]
    fn large_integers_are_read_exactly_without_an_escape() {
        let read = Value::from_json(
            r#"[ 99999999999999999999,"-1e\"99999999999999999999", -99999999999999999999 ]"#,
        );
        let large = 99_999_999_999_999_999_999_i128;
        let text = "-1e\"99999999999999999999".into();
        assert_eq!(read.unwrap(), Value::List(vec![large.into(), text, (-large).into()]));
        assert_eq!(Value::from_json("99999999999999999999.0").unwrap(), Value::Float(1e20));
        assert_eq!(Value::from_json("99999999999999999999e0").unwrap().kind(), "float");
        assert!(error("099999999999999999999").contains("invalid number"));
        assert!(error(&"9".repeat(5_000)).contains("5000 decimal digits where 4300 are read"));
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        for text in
            ["", "nul", "[1,]", "1 2", "\"", "\"\\", "-", "{1:2}", "{99999999999999999999:1}"]
        {
            assert!(error(text).contains("line 1"), "{text}: {}", error(text));
        }
    }

    #[test]
    fn escape_that_says_nothing_is_refused_with_what_was_wrong() {
        for (text, what) in [
            (r#"{"$foo":1}"#, r#""$foo" is no escape"#),
            (r#"{"$int":1}"#, "$int needs a text, not int"),
            (r#"{"$int":"x"}"#, r#""x" is not a whole number"#),
            (r#"{"$float":"1"}"#, r#""1" is none of nan, inf and -inf"#),
            (r#"{"$bytes":"?"}"#, r#""?" is not base64"#),
            (r#"{"$tuple":{"$set":[]}}"#, "$tuple needs an array, not set"),
            (r#"{"$map":[[1,2,3]]}"#, "$map needs arrays of two, not list"),
            (r#"{"$opaque":["a"]}"#, "$opaque needs an array of a format and of base64"),
            (r#"{"$ref":"x"}"#, r#""x" is not the id of an object"#),
        ] {
            assert!(error(text).starts_with(what), "{}", error(text));
        }
    }

    #[test]
    fn json_of_what_is_no_value_is_refused() {
        assert_eq!(error(r#"{"a":1,"a":2}"#), "map has \"a\" more than once");
        assert_eq!(error(r#"{"$int":"1","$int":"2"}"#), "map has \"$int\" more than once");
        assert_eq!(error(r#"{"$set":[1,1.0]}"#), "set has 1 more than once");
        assert!(error(r#"{"$set":[[]]}"#).starts_with("list is not hashable"));
    }

    #[test]
    fn deepest_value_survives_and_deeper_text_is_refused_without_ending_the_stack() {
        let map = |inside, _| Value::Map(vec![(1.into(), inside)]);
        let deepest = (0..DEPTH_MAX).fold(Value::from(f64::NAN), map);
        assert_eq!(Value::from_json(&deepest.to_json()).unwrap(), deepest);
        let refused = error(&map(deepest, 0).to_json());
        assert!(refused.starts_with("arrays and objects are nested 303 deep"), "{refused}");
        assert!(
            error(&format!("{}{}", "[".repeat(101), "]".repeat(101)))
                .starts_with("list is nested 101")
        );
        for open in ["[", r#"{"a":"#, r#"{"$tuple":["#] {
            assert!(error(&open.repeat(10_000)).starts_with("arrays and objects are nested"));
        }
    }
}
