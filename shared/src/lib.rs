//! What both ends of Ganger agree on: ids, names, jobs, values, frames, the codec, the handshake and the limits.
//!
//! Nothing here opens a socket, reads a clock or touches a file: the crate turns bytes into
//! messages and back, and says what is allowed.

pub mod admin;
pub mod block;
mod bounded;
pub mod codec;
mod complaint;
pub mod effect;
pub mod handshake;
pub mod id;
pub mod job;
pub mod kept;
pub mod key;
pub mod limits;
pub mod name;
pub mod object;
mod pool;
pub mod rejection;
pub mod request;
pub mod response;
pub mod time;
pub mod value;

pub use block::{Block, Shape};
pub use effect::Effect;
pub use id::{
    JobId, JobRange, LeaseId, LeaseRange, ObjectId, RequestId, SessionId, SubscriptionId,
};
pub use job::{
    Backoff, DeathReason, Durability, Ending, Failure, JobOptions, Outcome, Priority, ResultsTo,
    Settlement,
};
pub use name::Name;
pub use object::{By, CallError, ObjectType};
pub use rejection::Rejection;
pub use request::Request;
pub use response::Response;
pub use time::Time;
pub use value::{Packed, Value};
