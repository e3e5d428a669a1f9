//! What is wrong with a value, in our words.
//!
//! Postcard has no allocation and so drops the text of a custom error. Ours is left here, on the
//! thread that decodes, for [`crate::codec::decode`] to pick up: a peer at fault is told which rule it broke.

use core::cell::Cell;
use core::fmt::Display;

thread_local! {
    static LATEST: Cell<Option<String>> = const { Cell::new(None) };
}

/// A decoding error that says `what`.
pub(crate) fn complain<E: serde::de::Error>(what: impl Display) -> E {
    let what = what.to_string();
    let error = E::custom(&what);
    LATEST.set(Some(what));
    error
}

/// The latest complaint of this thread, which is forgotten.
pub(crate) fn take() -> Option<String> {
    LATEST.take()
}
