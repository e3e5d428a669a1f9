//! The client against a broker in the same process, and against a scripted peer.

#![expect(missing_docs, reason = "tests are named after what they show")]

mod connection;
mod jobs;
mod lists;
mod support;
mod workers;
