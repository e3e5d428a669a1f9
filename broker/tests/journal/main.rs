//! The journal on disks that lose, damage and refuse.
//!
//! A binary of its own, for it keeps a core busy for a minute, and the tests beside it in `it` have
//! deadlines.
//!
//! `SEED=n` repeats a run, `CRASH_IMAGES=n` says how many crashes there are in one.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]
#![expect(clippy::print_stderr, reason = "the seed of what failed is for the reader of its output")]

mod arbitrary;
mod backup;
mod corruption;
mod crash;
mod errors;
mod golden;
mod life;
mod measure;
mod sim;
