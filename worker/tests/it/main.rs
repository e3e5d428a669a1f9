//! The client against a broker in the same process, and against a scripted peer.

mod connection;
mod jobs;
mod lists;
mod support;
mod workers;
