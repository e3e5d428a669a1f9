//! The protocol from outside: pinned bytes, damaged bytes, and the handshake of two peers. And what
//! `#[object]` makes.
#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod damage;
mod document;
mod golden;
mod handshake;
mod local;
mod objects;
mod samples;
mod value;
