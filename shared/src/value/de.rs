//! From a value to any type of Rust.
//!
//! The reverse of [`super::to_value`], and more lenient: a list does where a tuple is wanted and the
//! reverse, a set where either is, bytes where a list of numbers is.

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::data::{AS_IT_IS, ConvertError, OBJECT_ID};
use super::{Integer, Value};

/// `value` as a `T`.
///
/// # Errors
/// Says where in the value, what was found there and what was wanted.
///
/// ```
/// use ganger_shared::{Value, value};
///
/// let points = Value::from_json("[[1, 2], [3, null]]").unwrap();
/// let error = value::from_value::<Vec<(u8, u8)>>(points).unwrap_err();
/// assert_eq!(error.to_string(), "[1][1]: found none where u8 is wanted");
/// ```
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ConvertError> {
    T::deserialize(Taken { value, for_people: true })
}

/// A value that is taken apart.
struct Taken {
    value: Value,
    for_people: bool,
}

impl Taken {
    const fn for_people(value: Value) -> Self {
        Self { value, for_people: true }
    }
}

/// Gives an integer to a visitor, in the narrowest type that holds it.
fn visit_integer<'de, V: Visitor<'de>>(
    number: &Integer,
    visitor: V,
) -> Result<V::Value, ConvertError> {
    if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i128() {
        visitor.visit_i128(number)
    } else if let Some(number) = number.as_u128() {
        visitor.visit_u128(number)
    } else {
        Err(ConvertError::invalid_type(Unexpected::Other("int of more than 128 bits"), &visitor))
    }
}

/// Gives all items to a visitor, which must take all of them.
fn visit_items<'de, V: Visitor<'de>>(
    items: impl ExactSizeIterator<Item = Value>,
    visitor: V,
) -> Result<V::Value, ConvertError> {
    let count = items.len();
    let mut items = Items { items, count };
    let taken = visitor.visit_seq(&mut items)?;
    match items.items.len() {
        0 => Ok(taken),
        left => Err(ConvertError::custom(format_args!(
            "found {count} items where {} are wanted",
            count - left
        ))),
    }
}

impl<'de> de::Deserializer<'de> for Taken {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.value {
            Value::None => visitor.visit_unit(),
            Value::Bool(bool) => visitor.visit_bool(bool),
            Value::Int(number) => visit_integer(&number, visitor),
            Value::Float(float) => visitor.visit_f64(float),
            Value::Text(text) => visitor.visit_string(text),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
                visit_items(items.into_iter(), visitor)
            }
            Value::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
            }
            Value::Opaque { .. } => {
                Err(ConvertError::invalid_type(Unexpected::Other("opaque"), &visitor))
            }
            Value::Ref(_) => Err(ConvertError::invalid_type(Unexpected::Other("ref"), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if self.value.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.value {
            Value::Bytes(bytes) => {
                let numbers: Vec<Value> = bytes.into_iter().map(Value::from).collect();
                visit_items(numbers.into_iter(), visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let inside = match (name, self.value) {
            (AS_IT_IS, value) => {
                let packed = value.pack().map_err(ConvertError::custom)?;
                Self { value: Value::Bytes(packed.into_bytes()), for_people: false }
            }
            (OBJECT_ID, Value::Ref(id)) => Self { value: id.0.into(), for_people: false },
            (_, value) => Self { value, for_people: self.for_people },
        };
        visitor.visit_newtype_struct(inside)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let (name, inside) = match self.value {
            Value::Text(name) => (name, None),
            Value::Map(entries) => match <[_; 1]>::try_from(entries) {
                Ok([(Value::Text(name), inside)]) => (name, Some(inside)),
                Ok([(key, _)]) => {
                    let kind = key.kind();
                    return Err(ConvertError::custom(format_args!(
                        "found a key of kind {kind} where the name of a variant is wanted"
                    )));
                }
                Err(entries) => {
                    return Err(ConvertError::custom(format_args!(
                        "found a map of {} entries where one is wanted, the variant",
                        entries.len()
                    )));
                }
            },
            other => return Self::for_people(other).deserialize_any(visitor),
        };
        visitor.visit_enum(Variant { name, inside })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier
    }

    fn is_human_readable(&self) -> bool {
        self.for_people
    }
}

struct Items<I> {
    items: I,
    count: usize,
}

impl<'de, I: ExactSizeIterator<Item = Value>> de::SeqAccess<'de> for &mut Items<I> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        let at = self.count - self.items.len();
        let Some(item) = self.items.next() else { return Ok(None) };
        let item = seed.deserialize(Taken::for_people(item));
        item.map(Some).map_err(|error| error.inside(format_args!("[{at}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries {
    entries: std::vec::IntoIter<(Value, Value)>,
    /// Of the key that was given last.
    value: Option<(Value, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConvertError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key.clone(), value));
        seed.deserialize(Taken::for_people(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ConvertError> {
        let Some((key, value)) = self.value.take() else {
            return Err(ConvertError::custom("a value is asked for before its key"));
        };
        seed.deserialize(Taken::for_people(value)).map_err(|error| error.inside_key(&key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct Variant {
    name: String,
    inside: Option<Value>,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = ConvertError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ConvertError> {
        let name: de::value::StrDeserializer<'_, ConvertError> =
            self.name.as_str().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant {
    /// Reads what is inside, which a variant alone has not.
    fn inside<T>(
        self,
        read: impl FnOnce(Taken) -> Result<T, ConvertError>,
    ) -> Result<T, ConvertError> {
        let Self { name, inside } = self;
        match inside {
            Some(inside) => read(Taken::for_people(inside))
                .map_err(|error| error.inside(format_args!(".{name}"))),
            None => Err(ConvertError::custom(format_args!(
                "found variant {name} alone where a map of it and its content is wanted"
            ))),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Variant {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        match self.inside {
            None | Some(Value::None) => Ok(()),
            Some(inside) => Err(ConvertError::custom(format_args!(
                "found {} in variant {} where nothing is wanted",
                inside.kind(),
                self.name
            ))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConvertError> {
        self.inside(|inside| seed.deserialize(inside))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _count: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.inside(|inside| de::Deserializer::deserialize_seq(inside, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.inside(|inside| de::Deserializer::deserialize_any(inside, visitor))
    }
}
