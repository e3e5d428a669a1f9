//! What has changed in a shared object, as it is told to those who watch it.
//!
//! Not how often that is told, which is the window's to say, nor how much of it is remembered, which is the
//! machine's.

use serde::{Deserialize, Serialize};

use crate::value::Packed;

/// One change of an object.
///
/// Of anything but a list it says what is so afterwards, not what was done: to take a change that was taken
/// already does no harm, once all that came after it is taken again too. Changes of a list are taken once
/// each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How often the object was changed by then. Grows from change to change; several changes that
    /// happened together have the same, and numbers are missing where nothing changed that can be seen.
    pub revision: u64,
    /// What.
    pub what: What,
}

/// What has changed. Append variants, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The counter is at this number.
    Number(i64),
    /// The value is this one.
    Value(Packed),
    /// An entry of the dict was set, or is gone: deleted, or its time was up.
    Key {
        /// Its key, in the spelling in which it came first.
        key: Packed,
        /// Its value; none if it is gone.
        value: Option<Packed>,
    },
    /// There is nothing in it any more.
    Cleared,
    /// More than a change can say: read the object anew.
    Anew,
    /// Of a list: other items are in the place of these. An append removes none, at the end.
    Spliced {
        /// The position of the first, counted from the front.
        at: u64,
        /// How many from there on are gone.
        removed: u64,
        /// What is there instead.
        items: Vec<Packed>,
    },
}
