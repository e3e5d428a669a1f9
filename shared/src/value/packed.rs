//! Values as they are sent, kept and compared: encoded.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::format::{FALSE, NONE, Piece, Reader, TRUE, put_integer};
use super::{Value, ValueError, canonical, check};
use crate::id::ObjectId;

/// One well-formed encoded value.
///
/// `==` compares the bytes; what is equal as a value has the same [`Packed::canonical`]. Cloning and
/// splitting share the buffer, so whoever keeps a small value out of a large frame keeps the frame.
///
/// ```
/// use ganger_shared::{Packed, Value};
///
/// let mut arguments = bytes::Bytes::from_static(b"\x06\x02hi\x03\x0e");
/// let name = Packed::first_of(&mut arguments)?;
/// let count = Packed::new(arguments)?;
/// assert_eq!((name.unpack(), count.unpack()), (Value::from("hi"), Value::from(7)));
/// assert_eq!(count.key()?, Value::from(7.0).pack()?.key()?);
/// # Ok::<(), ganger_shared::value::ValueError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    /// Invariant: [`check::size_of_first`] says that it is one value and nothing else.
    bytes: Bytes,
}

/// What stands for a value as a key of a map or an item of a set: equal for equal values.
///
/// Its order is that of the bytes and means nothing to people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Packed {
    /// The value that `bytes` are, which are checked and taken over.
    ///
    /// Builds nothing; the keys of each map and set are copied while they are compared.
    ///
    /// # Errors
    /// Each of [`ValueError`]'s.
    pub fn new(bytes: Bytes) -> Result<Self, ValueError> {
        let size = check::size_of_first(&bytes)?;
        match bytes.len() - size {
            0 => Ok(Self { bytes }),
            extra => Err(ValueError::Trailing { size, extra }),
        }
    }

    /// Splits the value off that `bytes` begin with, which are left as they are if there is none.
    ///
    /// # Errors
    /// Each of [`ValueError`]'s but [`ValueError::Trailing`].
    pub fn first_of(bytes: &mut Bytes) -> Result<Self, ValueError> {
        let size = check::size_of_first(bytes)?;
        Ok(Self { bytes: bytes.split_to(size) })
    }

    /// Of bytes that were checked, or were made by what makes no others.
    pub(super) fn trusted(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into() }
    }

    /// The encoding of nothing; allocates nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { bytes: Bytes::from_static(&[NONE]) }
    }

    fn of(piece: Piece<'_>) -> Self {
        let mut bytes = Vec::new();
        piece.put(&mut bytes);
        Self::trusted(bytes)
    }

    /// The list of these values.
    ///
    /// # Errors
    /// [`ValueError::TooDeep`] if they are nested as deep as values may be.
    pub fn list(values: &[Self]) -> Result<Self, ValueError> {
        Self::around(Piece::List(values.len()), values)
    }

    /// The tuple of these values.
    ///
    /// # Errors
    /// As [`Packed::list`].
    pub fn tuple(values: &[Self]) -> Result<Self, ValueError> {
        Self::around(Piece::Tuple(values.len()), values)
    }

    fn around(piece: Piece<'_>, values: &[Self]) -> Result<Self, ValueError> {
        let size: usize = values.iter().map(|value| value.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(size + 11); // a tag and a count
        piece.put(&mut bytes);
        values.iter().for_each(|value| bytes.extend_from_slice(&value.bytes));
        check::size_of_first(&bytes)?;
        Ok(Self::trusted(bytes))
    }

    /// The items of a list, tuple or set, sharing the buffer; `None` for anything else.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Self>> {
        let mut reader = Reader::new(&self.bytes);
        let (Piece::List(count) | Piece::Tuple(count) | Piece::Set(count)) = reader.checked_piece()
        else {
            return None;
        };
        let mut rest = self.bytes.slice(self.bytes.len() - reader.left()..);
        let item = |_| Self::first_of(&mut rest).expect("what is inside a value is well formed");
        Some((0..count).map(item).collect())
    }

    /// The same value in a buffer of its own, which keeps nothing else in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes) }
    }

    /// The value. Byte strings in it share the buffer.
    #[must_use]
    pub fn unpack(&self) -> Value {
        Value::read(&mut Reader::new(&self.bytes), &self.bytes)
    }

    /// The encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The encoding.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The word for what it is, as people see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        Reader::new(&self.bytes).checked_piece().kind()
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self.bytes == [NONE]
    }

    /// The objects that it refers to, as often and in the order as it does.
    pub fn refs(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let mut reader = Reader::new(&self.bytes);
        core::iter::from_fn(move || {
            while !reader.is_at_end() {
                if let Piece::Ref(id) = reader.checked_piece() {
                    return Some(ObjectId(id));
                }
            }
            None
        })
    }

    /// Whether it refers to any object.
    #[must_use]
    pub fn has_refs(&self) -> bool {
        self.refs().next().is_some()
    }

    /// An encoding that is the same for all values that are equal, and for no others. It is well
    /// formed too. Borrowed where nothing had to change: text, bytes, integers.
    #[must_use]
    pub fn canonical(&self) -> Cow<'_, [u8]> {
        if canonical::is_canonical(&self.bytes) {
            return Cow::Borrowed(&self.bytes);
        }
        let mut out = Vec::new();
        canonical::append(&self.bytes, &mut out);
        Cow::Owned(out)
    }

    /// What stands for it as a key or an item of a set; shares the buffer where it can.
    ///
    /// # Errors
    /// [`ValueError::Unhashable`] names what can be neither.
    pub fn key(&self) -> Result<Key, ValueError> {
        if let Some(kind) = check::unhashable(&self.bytes) {
            return Err(ValueError::Unhashable { kind });
        }
        Ok(Key(match self.canonical() {
            Cow::Borrowed(_) => self.bytes.clone(),
            Cow::Owned(bytes) => bytes.into(),
        }))
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::none()
    }
}

impl From<bool> for Packed {
    fn from(bool: bool) -> Self {
        Self { bytes: Bytes::from_static(if bool { &[TRUE] } else { &[FALSE] }) }
    }
}

impl From<i64> for Packed {
    fn from(number: i64) -> Self {
        Self::of(Piece::Int(number))
    }
}

impl From<u64> for Packed {
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(number) => Self::from(number),
            Err(_) => {
                let mut bytes = Vec::new();
                put_integer(&number.into(), &mut bytes);
                Self::trusted(bytes)
            }
        }
    }
}

impl From<&[u8]> for Packed {
    fn from(bytes: &[u8]) -> Self {
        Self::of(Piece::Bytes(bytes))
    }
}

impl From<&str> for Packed {
    fn from(text: &str) -> Self {
        Self::of(Piece::Text(text))
    }
}

impl From<ObjectId> for Packed {
    fn from(id: ObjectId) -> Self {
        Self::of(Piece::Ref(id.0))
    }
}

impl From<&Key> for Packed {
    /// The value of equal ones that is canonical: 1 for true.
    fn from(key: &Key) -> Self {
        Self { bytes: key.0.clone() }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({})", self.unpack().to_json())
    }
}

impl Key {
    /// The canonical encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", Packed::from(self).unpack().to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_a_row_are_split_off_until_none_is_left() {
        let mut bytes = Vec::new();
        let values = [Value::from(1), "two".into(), Value::List(vec![3.0.into()])];
        values.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
        let mut bytes = Bytes::from(bytes);
        for value in &values {
            assert_eq!(Packed::first_of(&mut bytes).unwrap().unpack(), *value);
        }
        assert!(bytes.is_empty());
        assert_eq!(
            Packed::first_of(&mut bytes),
            Err(ValueError::Truncated { at: 0, wanted: 1, left: 0 })
        );
    }

    #[test]
    fn bytes_that_begin_with_no_value_stay_whole() {
        let mut bytes = Bytes::from_static(b"\x08\x02\x00\xff");
        Packed::first_of(&mut bytes).unwrap_err();
        assert_eq!(bytes.len(), 4);
    }

    #[test]
    fn refs_are_found_wherever_they_are() {
        let inside = Value::Tuple(vec![ObjectId(7).into(), "\x0d\x01".into(), ObjectId(7).into()]);
        let value = Value::Map(vec![(inside, ObjectId(u64::MAX).into())]).pack().unwrap();
        assert_eq!(value.refs().collect::<Vec<_>>(), [7, 7, u64::MAX].map(ObjectId));
        assert!(value.has_refs());
        assert!(!Packed::from("\x0d\x01").has_refs());
    }

    #[test]
    fn short_ways_to_common_values_are_the_values() {
        for (packed, value) in [
            (Packed::none(), Value::None),
            (Packed::default(), Value::None),
            (true.into(), true.into()),
            (false.into(), false.into()),
            (i64::MIN.into(), i64::MIN.into()),
            ("ä".into(), "ä".into()),
            (ObjectId(9).into(), ObjectId(9).into()),
        ] {
            assert_eq!(Ok(&packed), value.pack().as_ref());
            assert_eq!((packed.kind(), packed.is_none()), (value.kind(), value.is_none()));
        }
    }

    #[test]
    fn it_is_shown_as_people_write_it() {
        assert_eq!(format!("{:?}", Packed::from("hi")), r#"Packed("hi")"#);
        assert_eq!(format!("{:?}", Packed::from(true).key().unwrap()), "Key(1)");
    }

    #[test]
    fn usual_keys_are_the_value_itself_and_not_a_copy() {
        let pair = Value::Tuple(vec!["a".into(), 7.into(), 0.5.into(), u128::MAX.into()]);
        for packed in [Packed::from("a"), 7_i64.into(), Packed::none(), pair.pack().unwrap()] {
            assert!(matches!(packed.canonical(), Cow::Borrowed(_)));
            assert_eq!(packed.key().unwrap().as_bytes().as_ptr(), packed.as_bytes().as_ptr());
        }
    }

    #[test]
    fn postcard_has_it_as_a_byte_string_and_checks_it() {
        let packed = Packed::from("hi");
        let wire = postcard::to_stdvec(&packed).unwrap();
        assert_eq!(wire, [4, 6, 2, b'h', b'i']);
        assert_eq!(postcard::from_bytes(&wire), Ok(packed));
        let frame = [3, 0, 0, 0, 2, 3, 0x80];
        let error = crate::codec::decode::<Packed>(&frame).unwrap_err().to_string();
        assert!(error.contains("value at byte 2 needs 1 bytes more where 0 are left"), "{error}");
    }
}
