//! What the fuzzer has found so far, and what reading it costs.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod corpus;
mod cost;
mod door;
mod journal;
