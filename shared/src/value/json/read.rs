//! Reading the JSON of a value, out of text or of any data that describes itself.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::BASE64;
use crate::id::ParseObjectIdError;
use crate::limits::DEPTH_MAX;
use crate::value::Value;
use crate::value::integer::shortened;

/// Most arrays and objects around anything in the JSON of a value: a map of other keys takes three
/// for each level, and an escape may lie within.
const NESTED_MAX: usize = 3 * DEPTH_MAX + 2;

/// Reads one value inside `depth` arrays and objects, out of anything that describes itself.
pub(in crate::value) struct Node {
    pub(in crate::value) depth: usize,
}

impl Node {
    fn inside<E: Error>(&self) -> Result<usize, E> {
        if self.depth < NESTED_MAX {
            Ok(self.depth + 1)
        } else {
            Err(E::custom(format_args!(
                "arrays and objects are nested {} deep where {NESTED_MAX} are allowed",
                self.depth + 1
            )))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Visits what becomes a value as it is.
macro_rules! as_it_is {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: Error>(self, inside: $type) -> Result<Value, E> {
            Ok(inside.into())
        }
    )*};
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    as_it_is! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64, visit_str: &str, visit_string: String
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self { depth })? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Self { depth })? {
            entries.push((key, map.next_value_seed(Self { depth })?));
        }
        match entries.pop() {
            Some((Value::Text(key), inside)) if entries.is_empty() && key.starts_with('$') => {
                unescaped(&key, inside).map_err(Error::custom)
            }
            last => {
                entries.extend(last);
                Ok(Value::Map(entries))
            }
        }
    }
}

/// What the object of one `key` that begins with `$` stands for.
fn unescaped(key: &str, inside: Value) -> Result<Value, String> {
    let base64 = |text: &str| {
        let bytes = BASE64.decode(text).map(Bytes::from);
        bytes.map_err(|error| format!("{:?} is not base64: {error}", shortened(text)))
    };
    match (key, inside) {
        ("$int", Value::Text(text)) => {
            text.parse().map(Value::Int).map_err(|error| error.to_string())
        }
        ("$float", Value::Text(text)) => match text.as_str() {
            "nan" => Ok(Value::Float(f64::NAN)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(format!("{:?} is none of nan, inf and -inf", shortened(&text))),
        },
        ("$bytes", Value::Text(text)) => base64(&text).map(Value::Bytes),
        ("$tuple", Value::List(items)) => Ok(Value::Tuple(items)),
        ("$set", Value::List(items)) => Ok(Value::Set(items)),
        ("$map", Value::List(pairs)) => {
            pairs.into_iter().map(entry).collect::<Result<_, _>>().map(Value::Map)
        }
        ("$opaque", Value::List(parts)) => match &*parts {
            [Value::Text(format), Value::Text(bytes)] => {
                Ok(Value::Opaque { format: format.clone(), bytes: base64(bytes)? })
            }
            _ => Err("$opaque needs an array of a format and of base64".to_owned()),
        },
        ("$ref", Value::Text(text)) => {
            text.parse().map(Value::Ref).map_err(|error: ParseObjectIdError| error.to_string())
        }
        ("$int" | "$float" | "$bytes" | "$ref", inside) => {
            Err(format!("{key} needs a text, not {}", inside.kind()))
        }
        ("$tuple" | "$set" | "$map" | "$opaque", inside) => {
            Err(format!("{key} needs an array, not {}", inside.kind()))
        }
        _ => Err(format!(
            "{:?} is no escape; a map with this key is written {{\"$map\": [[key, value]]}}",
            shortened(key)
        )),
    }
}

/// The key and the value that an array of both is.
fn entry(pair: Value) -> Result<(Value, Value), String> {
    let kind = pair.kind();
    let parts = match pair {
        Value::List(items) => <[Value; 2]>::try_from(items).ok(),
        _ => None,
    };
    let [key, value] = parts.ok_or_else(|| format!("$map needs arrays of two, not {kind}"))?;
    Ok((key, value))
}

/// `text` with an escape around each integer that JSON readers would round.
pub(super) fn escape_large_integers(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let is_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let size = bytes[at..].iter().take_while(|byte| is_number(byte)).count();
                let number = &text[at..at + size];
                if is_large_integer(number) {
                    out.push_str(&text[copied..at]);
                    out.extend(["{\"$int\":\"", number, "\"}"]);
                    copied = at + size;
                }
                at += size;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Where the string that begins at `start` ends, or the text if it does not.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_large_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    is_integer
        && !digits.is_empty()
        && number.parse::<i64>().is_err()
        && number.parse::<u64>().is_err()
}
