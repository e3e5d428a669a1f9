//! The Ganger broker: the process that owns queues and lists, as a daemon and as a library.
//!
//! What jobs and lists are, and what every request means, is not here but in `ganger-machine`; this
//! package brings it clients, a clock and a journal.
//!
//! ```text
//!   listener ─▶ session ─▶ engine ─▶ machine
//!   handshake     ▲          │ ├──▶ journal ─▶ Storage
//!                 └─ outbox ◀┘ └─── how far it got
//! ```
//!
//! [`Broker::builder`] starts one inside a program or a test; [`command`] is the daemon.

mod broker;
mod builder;
mod clock;
pub mod command;
pub mod config;
mod connections;
mod engine;
mod error;
mod folders;
mod handshake;
mod journal;
mod keepers;
mod key_file;
mod listener;
mod log_quota;
mod outbox;
pub mod python;
mod session;
pub mod storage;

pub use broker::Broker;
pub use builder::Builder;
pub use config::Config;
pub use error::{BrokerError, StartError};
pub use ganger_machine::registry::Registration;
pub use journal::Replayed;
pub use key_file::KeyFileError;
