//! Histories that break a rule, and ones that nearly do.

#![expect(clippy::unwrap_used, reason = "a test that finds something else fails")]

mod format;
mod rules;
mod support;
