//! Where code runs: the executor, its tasks, threads and the pool for blocking calls.
//!
//! Not about waiting for time (`time`) or for bytes (`net`).

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, JoinHandle};

use async_executor::Executor;

use crate::base;

/// Every spawned task of the process.
static EXECUTOR: Executor<'static> = Executor::new();

/// Runs `future` on this thread until it is finished, and meanwhile every task that was
/// [`spawn`]ed.
///
/// This thread becomes the runtime: it polls tasks and waits for sockets and timers. When several
/// threads are inside `block_on`, they share the tasks; a program that has one runs all its tasks
/// on it. Tasks that are unfinished when `future` ends rest until somebody calls `block_on` again.
///
/// It is async-io's `block_on`, which is what async-std's calls too, without the thread pool that
/// async-std starts first: a round trip is about 4 µs shorter for it (`tests/it/latency.rs`). One
/// extra thread, `async-io`, exists all the same. It looks after the reactor when nobody has for
/// 20 ms, and then costs the next event one thread switch; a process with any event or timer more
/// often than every 10 ms does not meet it.
///
/// ```
/// assert_eq!(ganger_rt::block_on(async { 6 * 7 }), 42);
/// ```
///
/// `future` itself is treated like a task: it is polled when its own waker was called and not
/// whenever some task was, and if a task on this thread wakes it, it is polled next, before the
/// reactor is asked for events (five system calls, about a microsecond).
///
/// Stay inside: leaving wakes the thread `async-io`, which then holds the reactor until the next
/// call has met it, and that costs two thread switches. A program that calls this for each request
/// pays them for each request.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut tasks = pin!(EXECUTOR.run(pending::<()>()));
    let main = Arc::new(Main::default());
    let waker = Waker::from(Arc::clone(&main));
    async_io::block_on(poll_fn(|cx| {
        main.enter(cx.waker());
        for _ in 0..ROUNDS {
            if main.woken.swap(false, Ordering::SeqCst) {
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_ready() {
                    return polled;
                }
            }
            // Never ready: this is the one that runs the tasks.
            let _ = tasks.as_mut().poll(cx).is_ready();
            if main.leave() {
                return Poll::Pending;
            }
        }
        // Whatever keeps waking the other, sockets and timers have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// How often a future of [`block_on`] and the tasks may wake each other before events are looked at.
const ROUNDS: u32 = 16;

/// Who waits for the future of one [`block_on`].
#[derive(Debug)]
struct Main {
    /// It is to be polled.
    woken: AtomicBool,
    /// Its thread will look at `woken` by itself.
    looking: AtomicBool,
    /// Wakes that thread.
    thread: Mutex<Waker>,
}

impl Default for Main {
    fn default() -> Self {
        Self {
            woken: AtomicBool::new(true),
            looking: AtomicBool::new(false),
            thread: Mutex::new(Waker::noop().clone()),
        }
    }
}

impl Main {
    fn enter(&self, thread: &Waker) {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).clone_from(thread);
        self.looking.store(true, Ordering::SeqCst);
    }

    /// Says whether the thread may sleep.
    ///
    /// Each side writes its own flag before it reads the other's, so a wake is seen by one of them.
    fn leave(&self) -> bool {
        self.looking.store(false, Ordering::SeqCst);
        if self.woken.load(Ordering::SeqCst) {
            self.looking.store(true, Ordering::SeqCst);
            return false;
        }
        true
    }
}

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if !self.looking.load(Ordering::SeqCst) {
            self.thread.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

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
