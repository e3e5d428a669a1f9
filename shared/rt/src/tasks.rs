//! Where code runs: the executor, its tasks, threads and the pool for blocking calls.
//!
//! Not about the threads that run the tasks (`block`), waiting for time (`time`) or for bytes
//! (`net`).

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};

use async_executor::Executor;

use crate::{base, block_on};

/// Every spawned task of the process.
pub(crate) static EXECUTOR: Executor<'static> = Executor::new();

/// Starts a task and returns its owner.
///
/// The task makes progress while some thread is inside [`block_on`] or after
/// [`drive_in_background`].
///
/// ```
/// let sum = ganger_rt::block_on(async {
///     let one = ganger_rt::spawn(async { 1 });
///     let two = ganger_rt::spawn(async { 2 });
///     one.await + two.await
/// });
/// assert_eq!(sum, 3);
/// ```
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task { task: EXECUTOR.spawn(future) }
}

/// A spawned task: awaiting it gives its result, dropping it stops it.
///
/// A stopped task is dropped at the await it rests at, soon and on a thread of the executor; use
/// [`cancel`](Self::cancel) to know when that has happened.
///
/// # Panics
///
/// A panic of the task goes on in whoever awaits it. Of a detached task only the panic hook
/// hears.
///
/// # Cancel safety
///
/// Awaiting `&mut task` and dropping that await loses nothing.
#[derive(Debug)]
#[must_use = "dropping a task stops it: await it, keep it or detach it"]
pub struct Task<T> {
    task: async_executor::Task<T>,
}

impl<T> Task<T> {
    /// Lets the task run on without an owner.
    ///
    /// ```
    /// ganger_rt::block_on(async {
    ///     let (sender, mut receiver) = ganger_rt::Stream::pipe(8);
    ///     ganger_rt::spawn(async move { sender.write_all(b"done").await }).detach();
    ///     let mut buf = [0; 8];
    ///     assert_eq!(receiver.read(&mut buf).await.unwrap(), 4);
    /// });
    /// ```
    pub fn detach(self) {
        self.task.detach();
    }

    /// Stops the task and waits until it is gone; gives its result if it was already finished.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future still stops the task, like dropping the task.
    pub async fn cancel(self) -> Option<T> {
        self.task.cancel().await
    }

    /// Says whether the task has run to its end.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.task).poll(cx)
    }
}

/// Runs the tasks on a thread of their own, called `ganger-rt`, for the rest of the process.
///
/// For programs whose main thread belongs to another executor or to none. Calling it again does
/// nothing.
///
/// # Panics
///
/// When the system refuses the thread.
pub fn drive_in_background() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread("ganger-rt", || block_on(pending::<()>())).expect("the system allows one thread");
    });
}

/// Lets the other tasks that are ready run once.
///
/// # Cancel safety
///
/// Nothing is lost.
pub async fn yield_now() {
    base::yield_now().await;
}

/// Starts an operating system thread with a name.
///
/// # Errors
///
/// When the system refuses the thread.
///
/// # Panics
///
/// When `name` contains a zero byte.
///
/// ```
/// let answer = ganger_rt::thread("journal", || 42)?;
/// assert_eq!(answer.join().unwrap(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn thread<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(f)
}

/// Runs a function that blocks (files, name lookups) on a pool of threads made for that.
///
/// The pool grows with demand to at most 500 threads and lets idle ones go. What must happen in order
/// belongs on a [`thread`].
///
/// # Panics
///
/// A panic of `f` goes on here.
///
/// # Cancel safety
///
/// A dropped call does not start `f` if it has not started; otherwise `f` runs to its end and its
/// result is dropped.
pub async fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    blocking::unblock(f).await
}
