//! Bounds that hold from the moment a message is decoded, for fields whose types have none.
//!
//! A list of small entries is several times larger in memory than on the wire, so a frame within
//! its limit is no bound. For use as `deserialize_with`.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::complaint::complain;

/// A list of at most `MAX` entries; a longer one is refused before its entries are read.
pub(crate) fn vec<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Entries<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Entries<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let declared = entries.size_hint().unwrap_or(0);
            if declared > MAX {
                return Err(complain(format_args!("{declared} entries where {MAX} are allowed")));
            }
            let mut list = Vec::with_capacity(declared);
            while let Some(entry) = entries.next_element()? {
                if list.len() == MAX {
                    return Err(complain(format_args!("more than {MAX} entries")));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Entries::<T, MAX>(PhantomData))
}

/// A text for people, cut at the last character that fits into `MAX` bytes.
pub(crate) fn cut<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    struct Text<const MAX: usize>;

    impl<const MAX: usize> Visitor<'_> for Text<MAX> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text[..text.floor_char_boundary(MAX)].to_owned())
        }
    }

    deserializer.deserialize_str(Text::<MAX>)
}

/// A text of at most `MAX` bytes; a longer one is refused.
pub(crate) fn text<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    struct Text<const MAX: usize>;

    impl<const MAX: usize> Visitor<'_> for Text<MAX> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a text of at most {MAX} bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            match text.len() {
                size if size > MAX => {
                    Err(complain(format_args!("a text of {size} bytes where {MAX} are allowed")))
                }
                _ => Ok(text.to_owned()),
            }
        }
    }

    deserializer.deserialize_str(Text::<MAX>)
}

/// The count of a range, which is never 0. Not bounded above: a range of any length is one entry,
/// and those that join neighbours may grow long.
pub(crate) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(complain("a range of nothing")),
        count => Ok(count),
    }
}
