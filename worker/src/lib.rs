//! The client side of Ganger: connect, submit jobs, collect results, and run handlers.
//!
//! Not the broker, and not the command line beyond the `worker` command.
//!
//! | to | use |
//! | --- | --- |
//! | connect | [`Client::connect`], [`Client::over`] for a stream that exists |
//! | submit one job | [`Queue::submit`], [`Queue::submit_json`]: set options, then await; [`Submit::result`] waits for the result too |
//! | submit many | [`Queue::submit_many`], [`Client::submit_run`] for one frame |
//! | wait for results | [`JobHandle::result`], [`Client::wait`], [`Endings::next`] |
//! | share a list | [`Client::list`]: [`append`](List::append), [`pop`](List::pop), [`range`](List::range), [`follow`](List::follow) |
//! | share other objects | [`Objects`]: dicts, counters, locks and the like |
//! | be told what changes in one | [`Object::watch`] |
//! | run handlers | [`Worker`]; [`Ctx::finish`] has things happen together with the end of a job |
//! | take jobs by hand | [`Queue::subscribe`]: [`pull`](Subscription::pull) one by one, [`next_run`](Subscription::next_run) whole runs |
//! | look after a broker | [`Client::admin`] |
//! | run commands as handlers | [`exec::Exec`] |
//! | build a program | [`command`]: options that every client program takes, and the `worker` command |
//!
//! All of it needs a thread inside [`block_on`].
//!
//! ```no_run
//! use ganger_worker::{Client, Ctx, JobError, Options, Worker, key_file};
//!
//! async fn square(number: u64, _: Ctx) -> Result<u64, JobError> {
//!     number.checked_mul(number).ok_or_else(|| JobError::dead("overflow", "too large to square"))
//! }
//!
//! ganger_worker::block_on(async {
//!     let key = key_file::read(&key_file::default_path())?;
//!     let client = Client::connect(Options::new("127.0.0.1:7117", key)).await?;
//!     let worker = Worker::new(client.clone()).queue("squares").concurrency(4);
//!     let working = ganger_worker::spawn(worker.handle("square", square).run());
//!
//!     let squares = client.queue("squares")?;
//!     let job = squares.submit_json(&12).handler("square").notify().await?;
//!     assert_eq!(job.result_json::<u64>().await?, 144);
//!     working.cancel().await;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod builtin;
mod calls;
mod client;
pub mod command;
mod connection;
mod ctx;
mod effects;
mod endings;
pub mod error;
pub mod exec;
mod feed;
mod follow;
mod handler;
mod heartbeat;
mod inbox;
pub mod key_file;
mod list;
mod object;
mod oneshot;
mod pops;
mod queue;
mod ranges;
mod session;
mod stop;
mod submit;
mod subscription;
mod watch;
mod worker;

pub use client::{Cancelled, Client, DEFAULT_BROKER, IntoName, Options};
pub use ctx::Ctx;
pub use effects::Done;
pub use endings::{Ended, Endings, JobFailed};
pub use error::Error;
pub use ganger_rt::{block_on, spawn};
pub use handler::{JobError, Router, UnknownHandler};
pub use list::{Follow, Item, List, Page};
pub use object::{
    Array, Barrier, Condition, Counter, Dict, Event, Guard, Holder, Lock, Namespace, Object,
    Objects, Semaphore, Set, SharedValue, TypedList, TypedQueue,
};
pub use queue::Queue;
pub use stop::StopReason;
pub use submit::{Accepted, IntoJobs, JobHandle, Many, One, Submit, SubmitRun, Submitted};
pub use subscription::{Delivery, NotFinished, Run, Settling, Subscription};
pub use watch::Watch;
pub use worker::{DRAIN_TIMEOUT, Drainer, Worker};
