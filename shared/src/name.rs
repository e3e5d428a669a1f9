//! Names of queues, lists, handlers and other objects.
//!
//! Not job ids, which are numbers: see [`crate::id`].

use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::complaint::complain;
use crate::limits::NAME_BYTES_MAX;

/// Segments of `A-Z a-z 0-9 . _ -` joined by `/`, at most 200 bytes in all, no segment empty, `.` or `..`.
///
/// The alphabet is small on purpose: a name stands unquoted in a shell, a URL and a file name.
/// Checked once, where it enters; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing between two slashes.
    #[error("name {0:?} has an empty segment; write it as in `mail` or `img/thumbs`")]
    Empty(String),
    /// Longer than the limit.
    #[error("name of {size} bytes is longer than {NAME_BYTES_MAX} bytes")]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// A character outside the alphabet.
    #[error("name {name:?} has the character {found:?}; letters, digits and . _ - / are allowed")]
    Character {
        /// The whole text.
        name: String,
        /// The first character at fault.
        found: char,
    },
    /// A segment `.` or `..`.
    #[error("name {0:?} has a segment of dots only, which would climb out of a folder")]
    Dots(String),
}

impl Name {
    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The list that the results of the queue of this name go to unless told otherwise: `<name>.results`.
    ///
    /// # Errors
    /// [`NameError::TooLong`] where the longer name passes the limit.
    pub fn results_list(&self) -> Result<Self, NameError> {
        Self::new(&format!("{self}.results"))
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { size: text.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if let Some(found) = text.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character { name: text.to_owned(), found });
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err(NameError::Empty(text.to_owned())),
            "." | ".." => return Err(NameError::Dots(text.to_owned())),
            _ => {}
        }
    }
    Ok(())
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                Name::new(text).map_err(complain)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for text in ["mail", "thumbs.results", "img/thumbs-2_x", "a", &"x".repeat(200)] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert!(matches!(Name::new(""), Err(NameError::Empty(_))));
        assert!(matches!(Name::new("a//b"), Err(NameError::Empty(_))));
        assert!(matches!(Name::new("/a"), Err(NameError::Empty(_))));
        assert!(matches!(Name::new("a/../b"), Err(NameError::Dots(_))));
        assert!(matches!(Name::new("a b"), Err(NameError::Character { found: ' ', .. })));
        assert!(matches!(Name::new("né"), Err(NameError::Character { found: 'é', .. })));
        assert!(matches!(Name::new(&"x".repeat(201)), Err(NameError::TooLong { size: 201 })));
    }
}
