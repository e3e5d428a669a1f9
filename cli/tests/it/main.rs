//! The command as a process, against a broker and workers that are processes too.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic, and the lint knows only tests"
)]

mod backup;
mod bulk;
mod guarded;
mod journal;
mod objects;
mod operate;
mod results;
mod submit;
mod support;
mod text;
