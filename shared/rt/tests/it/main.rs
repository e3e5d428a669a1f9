//! What the rest of Ganger relies on, seen from outside.

mod latency;
mod net;
mod outgoing;
mod pipe;
mod streams;
mod tasks;
mod unix;
