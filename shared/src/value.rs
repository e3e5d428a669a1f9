//! What shared objects hold: values that say themselves what they are.
//!
//! Not what jobs carry: a payload is bytes, and what they mean is between submitter and worker. A
//! [`Value`] is the tree, for people and programs; a [`Packed`] is its encoding, for the wire, the
//! journal and whoever only passes it on.
//!
//! The encoding is one tag and what belongs to it. It ends itself, so values can follow each other.
//!
//! ```text
//!   none     00
//!   false    01
//!   true     02
//!   int      03  number                      if it fits an i64: 0, -1, 1, -2, … as 0, 1, 2, 3, …
//!   int      04  size  bytes                 any other: two's complement, lowest byte first,
//!                                            no byte more than needed
//!   float    05  8 bytes                     IEEE 754 binary64, lowest byte first
//!   text     06  size  bytes                 UTF-8
//!   bytes    07  size  bytes
//!   list     08  count  value …
//!   tuple    09  count  value …
//!   map      0a  count  key value …          in the order of insertion; hashable keys, none twice
//!   set      0b  count  item …               in the order of insertion; hashable items, none twice
//!   opaque   0c  size  format  size  bytes   the format is UTF-8
//!   ref      0d  number
//!
//!   number, size, count: seven bits a byte, lowest first, the highest bit set in all but the last;
//!   at most 64 bits, no byte more than needed
//! ```
//!
//! At most [`DEPTH_MAX`](crate::limits::DEPTH_MAX) containers are around anything. Hashable is what
//! is neither list, map, set nor opaque, and a tuple without one of these inside.
//!
//! Equality is that of Python's built-in types: 1, 1.0 and true are equal, 0.0 and -0.0, maps and
//! sets in any order, and integers and floats are compared exactly; a text is never equal to bytes,
//! nor a list to a tuple. NaN equals itself, so that what is in a list can be found there.

use bytes::Bytes;

use crate::id::ObjectId;

mod canonical;
mod check;
mod compare;
mod data;
mod de;
mod error;
mod format;
mod integer;
mod json;
mod packed;
mod ser;

pub use data::ConvertError;
pub(crate) use data::OBJECT_ID;
pub use de::from_value;
pub use error::ValueError;
pub use integer::{Integer, ParseIntegerError};
pub use json::JsonError;
pub use packed::{Key, Packed};
pub use ser::to_value;

use format::{Piece, Reader, put_integer};

/// A value that says what it is.
///
/// Nothing stops a map built by hand from having a key twice or a list as a key;
/// [`Value::pack`] does.
///
/// ```
/// use ganger_shared::Value;
///
/// let tags = Value::List(vec!["a".into(), 1.into(), Value::None]);
/// let packed = tags.pack()?;
/// assert_eq!(packed.unpack(), tags);
/// assert_eq!(tags.to_json(), r#"["a",1,null]"#);
/// # Ok::<(), ganger_shared::value::ValueError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing: `None`, `null`, `()`.
    #[default]
    None,
    /// True or false.
    Bool(bool),
    /// A whole number of any size.
    Int(Integer),
    /// A floating-point number.
    Float(f64),
    /// Characters.
    Text(String),
    /// Any bytes.
    Bytes(Bytes),
    /// A sequence that is meant to change.
    List(Vec<Self>),
    /// A sequence that is not.
    Tuple(Vec<Self>),
    /// Keys with their values, in the order of insertion.
    Map(Vec<(Self, Self)>),
    /// Items without an order that means something, in that of insertion.
    Set(Vec<Self>),
    /// A value of another language, carried without being understood.
    Opaque {
        /// Says who understands it.
        format: String,
        /// What they wrote.
        bytes: Bytes,
    },
    /// A shared object without a name.
    Ref(ObjectId),
}

impl Value {
    /// The word for what it is, as people see it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Map(_) => "map",
            Self::Set(_) => "set",
            Self::Opaque { .. } => "opaque",
            Self::Ref(_) => "ref",
        }
    }

    /// Its encoding.
    ///
    /// # Errors
    /// [`ValueError::TooDeep`], [`ValueError::Unhashable`] or [`ValueError::Repeated`]: a value built
    /// by hand may be one that nobody would read.
    pub fn pack(&self) -> Result<Packed, ValueError> {
        let mut bytes = Vec::new();
        self.encode_to(&mut bytes)?;
        Ok(Packed::trusted(bytes))
    }

    /// Appends its encoding to `out`, or nothing.
    ///
    /// # Errors
    /// As [`Value::pack`].
    pub fn encode_to(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let start = out.len();
        self.put(out);
        let checked = match self {
            Self::List(_) | Self::Tuple(_) | Self::Map(_) | Self::Set(_) => {
                check::size_of_first(&out[start..]).map(drop)
            }
            Self::None
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Opaque { .. }
            | Self::Ref(_) => Ok(()),
        };
        checked.inspect_err(|_| out.truncate(start))
    }

    /// Appends the encoding, whether or not anybody would read it.
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => Piece::None.put(out),
            Self::Bool(bool) => Piece::Bool(*bool).put(out),
            Self::Int(number) => put_integer(number, out),
            Self::Float(float) => Piece::Float(*float).put(out),
            Self::Text(text) => Piece::Text(text).put(out),
            Self::Bytes(bytes) => Piece::Bytes(bytes).put(out),
            Self::List(items) => {
                Piece::List(items.len()).put(out);
                items.iter().for_each(|item| item.put(out));
            }
            Self::Tuple(items) => {
                Piece::Tuple(items.len()).put(out);
                items.iter().for_each(|item| item.put(out));
            }
            Self::Map(entries) => {
                Piece::Map(entries.len()).put(out);
                for (key, value) in entries {
                    key.put(out);
                    value.put(out);
                }
            }
            Self::Set(items) => {
                Piece::Set(items.len()).put(out);
                items.iter().for_each(|item| item.put(out));
            }
            Self::Opaque { format, bytes } => Piece::Opaque { format, bytes }.put(out),
            Self::Ref(id) => Piece::Ref(id.0).put(out),
        }
    }

    /// Reads the next value of what was checked. Byte strings are slices of `all`, which the reader
    /// walks over.
    fn read(reader: &mut Reader<'_>, all: &Bytes) -> Self {
        let items = |count: usize, reader: &mut Reader<'_>| {
            (0..count).map(|_| Self::read(reader, all)).collect()
        };
        match reader.checked_piece() {
            Piece::None => Self::None,
            Piece::Bool(bool) => Self::Bool(bool),
            Piece::Int(number) => Self::Int(number.into()),
            Piece::LargeInt(bytes) => Self::Int(Integer::from_bytes(bytes)),
            Piece::Float(float) => Self::Float(float),
            Piece::Text(text) => Self::Text(text.to_owned()),
            Piece::Bytes(bytes) => Self::Bytes(all.slice_ref(bytes)),
            Piece::List(count) => Self::List(items(count, reader)),
            Piece::Tuple(count) => Self::Tuple(items(count, reader)),
            Piece::Map(count) => {
                let entry = |_| (Self::read(reader, all), Self::read(reader, all));
                Self::Map((0..count).map(entry).collect())
            }
            Piece::Set(count) => Self::Set(items(count, reader)),
            Piece::Opaque { format, bytes } => {
                Self::Opaque { format: format.to_owned(), bytes: all.slice_ref(bytes) }
            }
            Piece::Ref(id) => Self::Ref(ObjectId(id)),
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// One accessor for each kind: what is inside if it is of that kind, as it is and not converted.
macro_rules! accessors {
    ($($name:ident, $kind:ident($inside:ident) -> $type:ty = $lent:expr, $doc:literal;)*) => {
        impl Value {$(
            #[doc = $doc]
            #[must_use]
            pub const fn $name(&self) -> Option<$type> {
                match self {
                    Self::$kind($inside) => Some($lent),
                    _ => None,
                }
            }
        )*}
    };
}

accessors! {
    as_bool, Bool(bool) -> bool = *bool, "True or false, if it is a bool.";
    as_int, Int(number) -> &Integer = number, "The whole number, if it is an int.";
    as_float, Float(float) -> f64 = *float, "The number, if it is a float.";
    as_text, Text(text) -> &str = text.as_str(), "The characters, if it is a text.";
    as_bytes, Bytes(bytes) -> &Bytes = bytes, "The bytes, if it is bytes.";
    as_list, List(items) -> &[Self] = items.as_slice(), "The items, if it is a list.";
    as_tuple, Tuple(items) -> &[Self] = items.as_slice(), "The items, if it is a tuple.";
    as_map, Map(entries) -> &[(Self, Self)] = entries.as_slice(), "Keys and values, if it is a map.";
    as_set, Set(items) -> &[Self] = items.as_slice(), "The items, if it is a set.";
    as_ref_id, Ref(id) -> ObjectId = *id, "Which object, if it is a ref.";
}

/// From what is inside, or becomes it.
macro_rules! from {
    ($($kind:ident: $($type:ty),+;)*) => {$($(
        impl From<$type> for Value {
            fn from(inside: $type) -> Self {
                Self::$kind(inside.into())
            }
        }
    )+)*};
}

from! {
    Bool: bool;
    Int: Integer, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, usize;
    Float: f32, f64;
    Text: &str, String;
    Bytes: Bytes;
    List: Vec<Self>;
    Ref: ObjectId;
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessors_give_what_is_inside_and_nothing_of_another_kind() {
        let tuple = Value::Tuple(vec![1.into()]);
        assert_eq!(tuple.as_tuple(), Some(&[Value::from(1)][..]));
        assert_eq!((tuple.as_list(), tuple.as_set(), tuple.as_map()), (None, None, None));
        assert_eq!(Value::from("a").as_text(), Some("a"));
        assert_eq!(Value::from("a").as_bytes(), None);
        assert_eq!(Value::from(true).as_bool(), Some(true));
        assert_eq!(Value::from(true).as_int(), None);
        assert_eq!(Value::from(1).as_int(), Some(&Integer::from(1)));
        assert_eq!(Value::from(1).as_float(), None);
        assert_eq!(Value::from(ObjectId(7)).as_ref_id(), Some(ObjectId(7)));
        assert!(Value::from(()).is_none());
    }

    #[test]
    fn value_built_by_hand_that_nobody_would_read_is_not_packed_and_leaves_nothing() {
        let list = || Value::List(vec![]);
        let nested = (0..=100).fold(Value::None, |inside, _| Value::List(vec![inside]));
        let mut out = vec![7];
        for (value, error) in [
            (Value::Map(vec![(list(), 1.into())]), ValueError::Unhashable { kind: "list" }),
            (
                Value::Set(vec![true.into(), 1.0.into()]),
                ValueError::Repeated { kind: "set", entry: "1".into() },
            ),
            (nested, ValueError::TooDeep { kind: "list" }),
        ] {
            assert_eq!(value.encode_to(&mut out), Err(error));
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn byte_strings_of_an_unpacked_value_share_its_buffer() {
        let packed =
            Value::List(vec![Value::Bytes(Bytes::from_static(b"0123456789"))]).pack().unwrap();
        let Value::List(items) = packed.unpack() else { panic!("a list was packed") };
        let bytes = items[0].as_bytes().unwrap();
        assert!(packed.as_bytes().as_ptr_range().contains(&bytes.as_ptr()));
    }
}
