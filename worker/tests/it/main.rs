//! The client against a broker in the same process, and against a scripted peer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commands;
mod connection;
mod custom;
mod effects;
mod jobs;
mod lists;
mod objects;
mod peer;
mod prerequisites;
mod registry;
mod support;
mod workers;
