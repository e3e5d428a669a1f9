//! The deterministic core of the broker: sessions, queues, leases, retries and results lists.
//!
//! No clock, no socket, no file, no log, no randomness: time and requests come in, responses and
//! journal events come out, and the same inputs give the same outputs, byte for byte.
//!
//! ```text
//!   Command ─▶ decide (reads) ─▶ Event… ─▶ apply (writes) ─▶ Output
//!                                  │                            sends: responses, each with its promise
//!                                  └─ journal: events of objects that must survive
//! ```
//!
//! A job's way through the files: [`submit`](self) accepts it, `run` keeps it, `places` says where
//! it waits, `backlog` whether its payload is in memory meanwhile, `dispatch` leases it, `settle`
//! ends the lease, `list` holds its result.
//!
//! A call's way: `objects` finds what it is about, `invoke` judges it, the type's file below `object` carries it out, `waiting` keeps it
//! until its turn comes, `holding` knows what it holds, `watching` tells what it has changed. Calls of queues are
//! carried out by `queue::methods`, and wait in `queue::callers` or among the submits.

pub mod answers;
mod apply;
mod backlog;
mod calls;
mod cancel;
mod check;
mod clients;
pub mod command;
mod completion;
pub mod config;
mod dispatch;
pub mod event;
mod finished;
mod held;
mod holding;
pub mod invoke;
mod join;
mod list;
mod machine;
mod memory;
mod numbers;
pub mod object;
mod objects;
mod operator;
pub mod output;
mod payloads;
mod places;
mod promise;
mod queue;
mod ready;
pub mod registry;
mod removal;
mod replay;
mod room;
mod run;
mod seq;
mod session;
mod settle;
pub mod stated;
mod submit;
mod timer;
mod unnamed;
mod waiting;
mod watching;

pub use backlog::Load;
pub use command::Command;
pub use config::Config;
pub use event::Event;
pub use machine::Machine;
pub use output::{Output, Send};
pub use replay::Replay;
pub use seq::Seq;
