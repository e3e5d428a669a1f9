//! `block_on`: the threads that run the tasks and, when there is nothing to run, wait for events.
//!
//! Not about what the events are (`reactor`) or what a task is (`tasks`).
//!
//! One thread at a time has the reactor's turn; the others park. Whoever gives the turn back, or
//! was woken and may be busy for a while, hands it to a parked thread, so that events are
//! collected as long as any thread inside `block_on` has nothing better to do.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::reactor::{Patience, Reactor, Turn};
use crate::tasks::EXECUTOR;

/// How often a thread with nothing to do lets other threads run and looks for events, before it
/// sleeps: 40, which takes about as long as it costs to sleep and be woken (some 40 µs on a virtual
/// machine, where waking another processor is a call of the host). So it never wastes more than a
/// sleep does, and whoever answers within that time finds this thread awake.
const LOOKS: u32 = 40;

/// A look that takes longer than this has let other programs run, who do not give the processor back
/// before their turn is over: 500 µs, where our own threads yield after some tens.
const CROWDED: Duration = Duration::from_micros(500);

/// How long nobody gives way on a crowded machine: 250 ms. Asleep, a thread is run as soon as there is
/// something for it; after giving way, only when all others have had their turn.
const NO_LOOKS: Duration = Duration::from_millis(250);

/// How often a future of [`block_on`] and the tasks may wake each other before events are looked at.
const ROUNDS: u32 = 16;

/// The threads that found the turn taken.
///
/// A thread enters first and tries for the turn after; one that gives it back does so first and
/// looks here after. So one of the two notices.
static PARKED: Mutex<Vec<Arc<Sleeper>>> = Mutex::new(Vec::new());

/// Runs `future` on this thread until it is finished, and meanwhile every task that was
/// [`spawn`](crate::spawn)ed.
///
/// This thread becomes the runtime: it polls tasks and, when all of them wait, waits itself, for
/// the sockets of all. When several threads are inside `block_on`, they share the tasks; a program
/// that has one runs all its tasks on it. Tasks that are unfinished when `future` ends rest until
/// somebody calls `block_on` again.
///
/// A thread that runs out of work looks for events some tens of microseconds long, giving way to
/// others, before it sleeps; on a machine that others keep busy it sleeps at once. A wait for a stream
/// is then one system call, `epoll_wait`. Timers, signals, connecting and accepting are looked after
/// by a second thread, `async-io`, and cost a switch from it to this one: right for what happens once
/// per connection or per second, too slow for once per frame.
///
/// ```
/// assert_eq!(ganger_rt::block_on(async { 6 * 7 }), 42);
/// ```
///
/// `future` itself is treated like a task: it is polled when its own waker was called and not
/// whenever some task was, and if a task on this thread wakes it, it is polled next, before the
/// reactor is asked for events. Busy tasks cannot keep events out: these are looked at after 200
/// tasks at the latest.
///
/// # Panics
///
/// Like `future`, and when the system refuses the two descriptors of the reactor.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    // Dropped last, when this thread's share of the tasks is back with the others.
    let _leaving = Leaving;
    let here = Here::default();
    let (wake_main, wake_tasks) = (Waker::from(here.main.clone()), Waker::from(here.tasks.clone()));
    let mut future = pin!(future);
    let mut tasks = pin!(EXECUTOR.run(pending::<()>()));
    let mut rounds = 0;
    loop {
        if here.main.take()
            && let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&wake_main))
        {
            return done;
        }
        if here.tasks.take() {
            // Never ready: this is the one that runs the tasks.
            let _ = tasks.as_mut().poll(&mut Context::from_waker(&wake_tasks)).is_ready();
        }
        if !here.woken() {
            here.rest();
            rounds = 0;
            continue;
        }
        rounds += 1;
        // The executor has stopped after 200 tasks although there are more, or the two have played
        // ball for long enough: sockets have their turn.
        if here.tasks.is_set() || rounds >= ROUNDS {
            here.look();
            rounds = 0;
        }
    }
}

/// Passes on what this thread may have been about to do for all.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        hand_over();
    }
}

/// Wakes a parked thread if nobody has the turn.
fn hand_over() {
    let mut parked = parked();
    if parked.is_empty() || Reactor::get().try_turn().is_none() {
        // Whoever has the turn will come here after it. (A thread that failed to get it because it
        // was ours just now is in the list.)
        return;
    }
    while let Some(sleeper) = parked.pop() {
        // One that is awake already looks for the turn by itself.
        if sleeper.rouse() == Sleep::PARKED {
            break;
        }
    }
}

fn parked() -> MutexGuard<'static, Vec<Arc<Sleeper>>> {
    PARKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call of [`block_on`].
struct Here {
    sleeper: Arc<Sleeper>,
    main: Arc<Call>,
    tasks: Arc<Call>,
    /// Until when there is no use in giving way.
    crowded_until: Cell<Option<Instant>>,
}

impl Default for Here {
    fn default() -> Self {
        let sleeper = Arc::new(Sleeper::default());
        let call = || Arc::new(Call { made: AtomicBool::new(true), sleeper: Arc::clone(&sleeper) });
        Self { main: call(), tasks: call(), sleeper, crowded_until: Cell::default() }
    }
}

impl Here {
    fn woken(&self) -> bool {
        self.main.is_set() || self.tasks.is_set()
    }

    /// Waits until there is something to poll.
    fn rest(&self) {
        self.linger();
        while !self.woken() {
            let turn = Reactor::get().try_turn().or_else(|| self.park());
            if let Some(turn) = turn {
                self.wait(turn);
            }
        }
        // What comes may take long, be it that the turn was here or that it was about to come.
        hand_over();
    }

    /// Gives way to whoever is about to have something for this thread: on the same processor it could
    /// not happen otherwise.
    fn linger(&self) {
        let mut before = Instant::now();
        if self.crowded_until.get().is_some_and(|until| before < until) {
            return;
        }
        for _ in 0..LOOKS {
            std::thread::yield_now();
            let looked = self.look();
            let now = Instant::now();
            let is_crowded = now - before > CROWDED;
            self.crowded_until.set(is_crowded.then(|| now + NO_LOOKS));
            // Where another thread has the turn, it will say what there is.
            if self.woken() || !looked || is_crowded {
                return;
            }
            before = now;
        }
    }

    /// Waits for events, those of other threads too, until one is for this thread.
    fn wait(&self, mut turn: Turn<'_>) {
        loop {
            self.sleeper.state.store(Sleep::WAITING, Ordering::SeqCst);
            // Awake before the wakers are called: this thread need not ring for itself.
            let awake = || self.sleeper.state.store(Sleep::AWAKE, Ordering::SeqCst);
            if self.woken() {
                awake();
                return;
            }
            turn.collect(Patience::Endless, awake);
            if self.woken() {
                return;
            }
        }
    }

    /// Sleeps until this thread is woken or gets the turn, of which there may be nothing to see.
    fn park(&self) -> Option<Turn<'static>> {
        // In this order: who takes the sleeper from the list must find it asleep.
        self.sleeper.state.store(Sleep::PARKED, Ordering::SeqCst);
        parked().push(Arc::clone(&self.sleeper));
        let turn = if self.woken() { None } else { Reactor::get().try_turn() };
        if turn.is_none() && !self.woken() {
            self.sleeper.sleep();
        }
        self.sleeper.state.store(Sleep::AWAKE, Ordering::SeqCst);
        parked().retain(|other| !Arc::ptr_eq(other, &self.sleeper));
        turn
    }

    /// Takes the events that are there; not if another thread is at it.
    fn look(&self) -> bool {
        let Some(mut turn) = Reactor::get().try_turn() else { return false };
        turn.collect(Patience::None, || {});
        drop(turn);
        hand_over();
        true
    }
}

/// Wakes the future of one [`block_on`], or its share of the executor.
struct Call {
    made: AtomicBool,
    sleeper: Arc<Sleeper>,
}

impl Call {
    fn is_set(&self) -> bool {
        self.made.load(Ordering::SeqCst)
    }

    fn take(&self) -> bool {
        self.made.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Each side writes its own word before it reads the other's (the sleeper its state, the caller
    /// `made`), so a wake is seen by one of them.
    fn wake_by_ref(self: &Arc<Self>) {
        self.made.store(true, Ordering::SeqCst);
        if self.sleeper.state.load(Ordering::SeqCst) != Sleep::AWAKE {
            self.sleeper.rouse();
        }
    }
}

/// How a thread sleeps.
struct Sleep;

impl Sleep {
    /// Not: it will look whether it was called before it does.
    const AWAKE: u8 = 0;
    /// With the turn, in the reactor.
    const WAITING: u8 = 1;
    /// Without.
    const PARKED: u8 = 2;
}

/// What a thread sleeps on.
///
/// A condition variable of our own and not `std::thread::park`: its token belongs to the program,
/// which may use it on this thread for something else.
#[derive(Debug, Default)]
struct Sleeper {
    /// One of [`Sleep`].
    state: AtomicU8,
    lock: Mutex<()>,
    roused: Condvar,
}

impl Sleeper {
    /// Ends the sleep and says what it was.
    fn rouse(&self) -> u8 {
        let was = self.state.swap(Sleep::AWAKE, Ordering::SeqCst);
        match was {
            Sleep::WAITING => Reactor::get().ring(),
            Sleep::PARKED => {
                // Between its look at the state and its wait, the sleeper holds this.
                drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
                self.roused.notify_one();
            }
            _ => {}
        }
        was
    }

    fn sleep(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.state.load(Ordering::SeqCst) == Sleep::PARKED {
            lock = self.roused.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
