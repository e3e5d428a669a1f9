//! What can be wrong with a value.

use crate::limits::DEPTH_MAX;

/// Bytes that are no value, or a value that has no encoding. Whoever made it is at fault; nothing
/// was allocated for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The bytes end before the value does.
    #[error("value at byte {at} needs {wanted} bytes more where {left} are left")]
    Truncated {
        /// Where the missing bytes should begin.
        at: usize,
        /// How many it needs from there.
        wanted: u64,
        /// How many there are.
        left: usize,
    },
    /// The value ends before the bytes do.
    #[error("value of {size} bytes has {extra} bytes after it")]
    Trailing {
        /// Of the value, in bytes.
        size: usize,
        /// How many too many.
        extra: usize,
    },
    /// No kind of value begins so.
    #[error("tag {tag} at byte {at} is none of the 14 from 0 to 13")]
    UnknownTag {
        /// As it was found.
        tag: u8,
        /// Where.
        at: usize,
    },
    /// A number takes more bytes than it needs, or more than 64 bits.
    #[error("number at byte {at} is not the shortest form of one of at most 64 bits")]
    Number {
        /// Where it begins.
        at: usize,
    },
    /// A large integer takes more bytes than it needs, or needs no large form.
    #[error("integer at byte {at} takes {size} bytes, which is not its shortest form")]
    LongInteger {
        /// Where it begins.
        at: usize,
        /// As many bytes as were found.
        size: usize,
    },
    /// More entries than there can be in what is left, at a byte or two each.
    #[error("{kind} of {count} entries cannot lie in the {left} bytes that are left")]
    Count {
        /// Of the container.
        kind: &'static str,
        /// As it says.
        count: u64,
        /// Bytes after its count.
        left: usize,
    },
    /// A text is none.
    #[error("text at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Where its bytes begin.
        at: usize,
    },
    /// Containers in containers, deeper than is read.
    #[error("{kind} is nested {} deep where {DEPTH_MAX} are allowed", DEPTH_MAX + 1)]
    TooDeep {
        /// The container that is one too many.
        kind: &'static str,
    },
    /// A key or an item of a set that can change, or that nobody here can compare.
    #[error(
        "{kind} is not hashable: neither it nor what contains it can be a key or an item of a set"
    )]
    Unhashable {
        /// What is not hashable; it may lie inside a tuple that was to be the key.
        kind: &'static str,
    },
    /// Two keys of a map or two items of a set are equal.
    #[error("{kind} has {entry} more than once")]
    Repeated {
        /// A map or a set.
        kind: &'static str,
        /// The key or item, as JSON and perhaps cut.
        entry: String,
    },
    /// More bytes of keys than are compared.
    #[error("{kind} has keys of more than the {} bytes that are compared", u32::MAX)]
    KeysTooLong {
        /// A map or a set.
        kind: &'static str,
    },
}
