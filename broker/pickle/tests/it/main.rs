//! Pickles as they come from Python and from nobody.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]
#![expect(clippy::disallowed_methods, reason = "the package is pure, its tests start Pythons")]

mod captured;
mod python;
mod refused;
mod replies;
mod shown;
