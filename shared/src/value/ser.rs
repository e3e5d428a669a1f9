//! From any type of Rust to a value.
//!
//! ```text
//!   None, (), unit struct       none          integers, up to 128 bits   int
//!   Some(x), newtype struct     x             char, str                  text
//!   Vec, slice, set             list          bytes of serde             bytes
//!   tuple, array                tuple         struct, map                map
//!   Enum::Unit                  text          Enum::Other(…)             map of one, by its name
//! ```

use serde::ser::{self, Error as _, Serialize};

use super::data::{AS_IT_IS, ConvertError, OBJECT_ID};
use super::{Integer, Packed, Value};
use crate::id::ObjectId;

/// `data` as a value.
///
/// That keys are hashable is checked where they are packed ([`Value::pack`]).
///
/// # Errors
/// What `data` says itself when it cannot be serialized.
///
/// ```
/// use ganger_shared::{Value, value};
///
/// let ages = std::collections::BTreeMap::from([("ann", Some(41)), ("bob", None)]);
/// let ages = value::to_value(&ages)?;
/// assert_eq!(ages.to_json(), r#"{"ann":41,"bob":null}"#);
/// # Ok::<(), value::ConvertError>(())
/// ```
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Result<Value, ConvertError> {
    data.serialize(Writer { for_people: true })
}

/// Makes a value. Texts for people rather than numbers: others read it too. Except inside what it
/// knows, whose numbers it wants.
#[derive(Clone, Copy)]
struct Writer {
    for_people: bool,
}

/// A map of one entry, which says the variant.
fn variant(name: &'static str, inside: Value) -> Value {
    Value::Map(vec![(name.into(), inside)])
}

macro_rules! as_it_is {
    ($($serialize:ident: $type:ty),*) => {$(
        fn $serialize(self, inside: $type) -> Result<Value, ConvertError> {
            Ok(inside.into())
        }
    )*};
}

impl ser::Serializer for Writer {
    type Ok = Value;
    type Error = ConvertError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    as_it_is! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_f32: f32,
        serialize_f64: f64, serialize_str: &str
    }

    fn serialize_char(self, char: char) -> Result<Value, ConvertError> {
        Ok(char.to_string().into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ConvertError> {
        Ok(Value::Bytes(bytes.to_vec().into()))
    }

    fn serialize_none(self) -> Result<Value, ConvertError> {
        Ok(Value::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inside: &T) -> Result<Value, ConvertError> {
        inside.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ConvertError> {
        Ok(Value::None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ConvertError> {
        Ok(Value::None)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ConvertError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        inside: &T,
    ) -> Result<Value, ConvertError> {
        let for_us = || inside.serialize(Self { for_people: false });
        match name {
            AS_IT_IS => match for_us()? {
                Value::Bytes(bytes) => {
                    Packed::new(bytes).map(|packed| packed.unpack()).map_err(ConvertError::custom)
                }
                other => Ok(other),
            },
            OBJECT_ID => {
                let id = for_us()?;
                let number = id.as_int().and_then(Integer::as_u64);
                Ok(number.map_or(id, |number| ObjectId(number).into()))
            }
            _ => inside.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        name: &'static str,
        inside: &T,
    ) -> Result<Value, ConvertError> {
        let inside =
            inside.serialize(self).map_err(|error| error.inside(format_args!(".{name}")))?;
        Ok(variant(name, inside))
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Items, ConvertError> {
        Ok(self.items(Value::List, None, count.unwrap_or(0)))
    }

    fn serialize_tuple(self, count: usize) -> Result<Items, ConvertError> {
        Ok(self.items(Value::Tuple, None, count))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        count: usize,
    ) -> Result<Items, ConvertError> {
        Ok(self.items(Value::Tuple, None, count))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Items, ConvertError> {
        Ok(self.items(Value::Tuple, Some(variant), count))
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Entries, ConvertError> {
        Ok(self.entries(None, count.unwrap_or(0)))
    }

    fn serialize_struct(self, _name: &'static str, count: usize) -> Result<Entries, ConvertError> {
        Ok(self.entries(None, count))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        count: usize,
    ) -> Result<Entries, ConvertError> {
        Ok(self.entries(Some(variant), count))
    }

    fn is_human_readable(&self) -> bool {
        self.for_people
    }
}

impl Writer {
    fn items(
        self,
        sequence: fn(Vec<Value>) -> Value,
        variant: Option<&'static str>,
        count: usize,
    ) -> Items {
        Items { items: Vec::with_capacity(count), sequence, variant, writer: self }
    }

    fn entries(self, variant: Option<&'static str>, count: usize) -> Entries {
        Entries { entries: Vec::with_capacity(count), key: None, variant, writer: self }
    }
}

/// A list or a tuple that is being made.
pub(super) struct Items {
    items: Vec<Value>,
    sequence: fn(Vec<Value>) -> Value,
    variant: Option<&'static str>,
    writer: Writer,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ConvertError> {
        let at = self.items.len();
        let item = item.serialize(self.writer);
        self.items.push(item.map_err(|error| error.inside(format_args!("[{at}]")))?);
        Ok(())
    }

    fn finish(self) -> Value {
        let items = (self.sequence)(self.items);
        match self.variant {
            Some(name) => variant(name, items),
            None => items,
        }
    }
}

/// A map that is being made.
pub(super) struct Entries {
    entries: Vec<(Value, Value)>,
    key: Option<Value>,
    variant: Option<&'static str>,
    writer: Writer,
}

impl Entries {
    fn push<T: Serialize + ?Sized>(&mut self, key: Value, value: &T) -> Result<(), ConvertError> {
        match value.serialize(self.writer) {
            Ok(value) => {
                self.entries.push((key, value));
                Ok(())
            }
            Err(error) => Err(error.inside_key(&key)),
        }
    }

    fn finish(self) -> Value {
        let map = Value::Map(self.entries);
        match self.variant {
            Some(name) => variant(name, map),
            None => map,
        }
    }
}

/// The four sequences of serde, which differ in the name of one method.
macro_rules! items {
    ($($trait:ident: $push:ident),*) => {$(
        impl ser::$trait for Items {
            type Ok = Value;
            type Error = ConvertError;

            fn $push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ConvertError> {
                self.push(item)
            }

            fn end(self) -> Result<Value, ConvertError> {
                Ok(self.finish())
            }
        }
    )*};
}

items! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
}

/// Both structs of serde.
macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Entries {
            type Ok = Value;
            type Error = ConvertError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), ConvertError> {
                self.push(name.into(), value)
            }

            fn end(self) -> Result<Value, ConvertError> {
                Ok(self.finish())
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(key.serialize(self.writer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let key = self.key.take();
        self.push(
            key.ok_or_else(|| ConvertError::custom("a map has a value before its key"))?,
            value,
        )
    }

    fn end(self) -> Result<Value, ConvertError> {
        Ok(self.finish())
    }
}
