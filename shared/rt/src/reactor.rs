//! The epoll that streams wait in: one system call for a wait, none to prepare it.
//!
//! Not about the threads that wait there (`block`), and not for connecting, accepting, timers and
//! signals: those stay with async-io and its own thread, which wakes ours when one of them is due.
//!
//! async-io arms a socket again for each wait and sets a timer descriptor before each; that is
//! right for anything that can be polled and costs seven calls where one will do. A stream is a
//! simpler thing. It is registered once, for both directions and edges only (epoll(7)), and what
//! is known of it is remembered here:
//!
//! ```text
//!                     an event
//!   [ not ready ] ───────────────▶ [ ready ]
//!        ▲                             │ the system took or gave less than was asked,
//!        └─────────────────────────────┘ and no event came since that call began
//! ```
//!
//! The condition is the tick: an event that comes between the call and the note of its outcome
//! must win, for epoll does not repeat it. The end of a stream is no edge that a later one
//! follows, so after it a short read proves nothing.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

/// Events taken from the system at once; more wait for the next look.
const EVENTS: usize = 256;

/// The key of the bell; sockets count from one above.
const BELL: u64 = 0;

static REACTOR: LazyLock<Reactor> =
    LazyLock::new(|| Reactor::new().expect("the system allows two descriptors for the reactor"));

/// Says that the events are somebody's to collect, and wakes whom they concern.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: OwnedFd,
    /// An eventfd that is never read: each write to it is an edge, and 2⁶⁴ writes are not.
    bell: OwnedFd,
    sources: Mutex<Sources>,
    /// Whoever holds it collects events.
    turn: Mutex<()>,
}

/// Which socket an event is for.
///
/// No key is given out twice, so an event that was collected before its socket was dropped, and is
/// looked at after, meets nobody.
#[derive(Debug)]
struct Sources {
    next: u64,
    by_key: HashMap<u64, Arc<Watch>>,
}

/// What is known of one socket.
#[derive(Debug, Default)]
struct Watch {
    read: Readiness,
    write: Readiness,
}

impl Reactor {
    /// # Panics
    ///
    /// At the first call, when the system refuses the descriptors.
    pub(crate) fn get() -> &'static Self {
        &REACTOR
    }

    fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            bell,
            sources: Mutex::new(Sources { next: BELL + 1, by_key: HashMap::new() }),
            turn: Mutex::new(()),
        })
    }

    /// The right to collect events, unless another thread has it.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        match self.turn.try_lock() {
            Ok(held) => Some(Turn { reactor: self, _held: held }),
            Err(TryLockError::Poisoned(poisoned)) => {
                Some(Turn { reactor: self, _held: poisoned.into_inner() })
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Ends the wait of the thread that has the turn, or the next wait.
    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then it has rung often enough.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happened(&self, key: u64, flags: EventFlags) {
        let watch = self.sources().by_key.get(&key).cloned();
        if let Some(watch) = watch {
            watch.happened(flags);
        }
    }
}

/// The right to collect events; one thread has it at a time.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    reactor: &'a Reactor,
    _held: MutexGuard<'a, ()>,
}

/// How long [`Turn::collect`] waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Until there is an event.
    Endless,
    /// Not at all.
    None,
}

impl Turn<'_> {
    /// Collects events and wakes whoever waited for them; there may be none.
    ///
    /// `awake` is called between the two, for the caller is asleep in one and not in the other.
    pub(crate) fn collect(&mut self, patience: Patience, awake: impl FnOnce()) {
        let timeout = match patience {
            Patience::Endless => None,
            Patience::None => Some(&Timespec { tv_sec: 0, tv_nsec: 0 }),
        };
        let mut room = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let collected = match epoll::wait(&self.reactor.epoll, &mut room, timeout) {
            Ok((events, _)) => events,
            // A signal handler ran.
            Err(Errno::INTR) => &mut [],
            Err(error) => unreachable!("epoll_wait refuses only wrong arguments: {error}"),
        };
        awake();
        for event in collected {
            self.reactor.happened(event.data.u64(), event.flags);
        }
    }
}

/// A connected stream socket of any family that tasks wait for.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    key: u64,
    watch: Arc<Watch>,
}

impl Socket {
    /// # Errors
    ///
    /// What the system says of one more registered descriptor (`fs.epoll.max_user_watches`).
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let watch = Arc::new(Watch::default());
        let reactor = Reactor::get();
        let key = {
            let mut sources = reactor.sources();
            let key = sources.next;
            sources.next += 1;
            sources.by_key.insert(key, Arc::clone(&watch));
            key
        };
        // From here on a failure drops the socket, and that forgets the key.
        let socket = Self { fd, key, watch };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&reactor.epoll, &socket.fd, EventData::new_u64(key), flags)?;
        Ok(socket)
    }

    /// Reads what is there into `buf`, or waits for it.
    ///
    /// A read that got less than it asked for has emptied the socket, so the next one waits
    /// without asking the system first. (Urgent bytes and, on a unix socket, passed descriptors end
    /// a read early too. What follows them is then read when yet more comes: whoever sends such
    /// things, which no protocol here has, makes itself wait.)
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let Poll::Ready(tick) = self.watch.read.poll(cx) else { return Poll::Pending };
            match rustix::net::recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT) {
                Ok((n, _)) => {
                    if n < buf.len() {
                        self.watch.read.fell_short(tick);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) => self.watch.read.was_not(tick),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes what fits into the socket, or waits for room.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(tick) = self.watch.write.poll(cx) else { return Poll::Pending };
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch.write.was_not(tick);
                }
                Ok(n) if n < bytes.len() => {
                    self.watch.write.fell_short(tick);
                    return Poll::Ready(Ok(n));
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes what fits at once; whoever waits for room keeps waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    /// Only for TCP.
    pub(crate) fn quick_ack(&self) -> io::Result<()> {
        Ok(sockopt::set_tcp_quickack(&self.fd, true)?)
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.fd, Shutdown::Both)?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let reactor = Reactor::get();
        // By name and not by closing alone, for a child process between fork and exec still holds
        // the socket. It fails only for one that was never added.
        let _ = epoll::delete(&reactor.epoll, &self.fd);
        // Its wakers, which are foreign code, are dropped with `self.watch`, after the lock.
        let _ = reactor.sources().by_key.remove(&self.key);
    }
}

impl Watch {
    fn happened(&self, flags: EventFlags) {
        let over = EventFlags::HUP | EventFlags::ERR;
        let read_over = over | EventFlags::RDHUP;
        if flags.intersects(EventFlags::IN | read_over) {
            self.read.set(flags.intersects(read_over));
        }
        if flags.intersects(EventFlags::OUT | over) {
            self.write.set(flags.intersects(over));
        }
    }
}

/// What is known of one direction of a socket, and who waits for it.
#[derive(Debug, Default)]
struct Readiness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The system may have something for us.
    ready: bool,
    /// An event said that the direction is over; no further edge is to be expected.
    over: bool,
    /// Counts the events.
    tick: u64,
    waiting: Option<Waker>,
}

impl Default for State {
    /// Ready, so that the first call asks the system: a fresh connection has room, and often the
    /// first frame is there.
    fn default() -> Self {
        Self { ready: true, over: false, tick: 0, waiting: None }
    }
}

impl Readiness {
    /// Waits until it is worth asking the system; gives the tick to report the outcome with.
    ///
    /// Like a pipe it remembers one waiting task; another one takes the place and wakes the first.
    fn poll(&self, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.lock();
        if state.ready {
            return Poll::Ready(state.tick);
        }
        let other = match &state.waiting {
            Some(same) if same.will_wake(cx.waker()) => return Poll::Pending,
            _ => state.waiting.replace(cx.waker().clone()),
        };
        drop(state);
        if let Some(other) = other {
            other.wake();
        }
        Poll::Pending
    }

    /// An event: ask the system again, whatever a call in progress is about to say.
    fn set(&self, over: bool) {
        let mut state = self.lock();
        state.ready = true;
        state.over |= over;
        state.tick = state.tick.wrapping_add(1);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// The system had less than was asked for, so the next that comes is an event, or the end.
    fn fell_short(&self, tick: u64) {
        let mut state = self.lock();
        if state.tick == tick && !state.over {
            state.ready = false;
        }
    }

    /// The system had nothing.
    fn was_not(&self, tick: u64) {
        let mut state = self.lock();
        if state.tick == tick {
            state.ready = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn socket() -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Socket::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap().into()).unwrap()
    }

    #[test]
    fn late_event_of_a_dropped_socket_reaches_nobody() {
        let gone = socket();
        let key = gone.key;
        drop(gone);
        let next = socket();
        assert_ne!(next.key, key);
        Reactor::get().happened(key, EventFlags::IN | EventFlags::HUP);
        assert!(!Reactor::get().sources().by_key.contains_key(&key));
    }

    #[test]
    fn quick_acknowledgements_are_on_again_after_the_system_put_them_off() {
        let socket = socket();
        for _ in 0..2 {
            sockopt::set_tcp_quickack(&socket.fd, false).unwrap();
            assert!(!sockopt::tcp_quickack(&socket.fd).unwrap());
            socket.quick_ack().unwrap();
            assert!(sockopt::tcp_quickack(&socket.fd).unwrap());
        }
    }

    #[test]
    fn event_during_a_call_outlives_its_outcome() {
        let readiness = Readiness::default();
        let cx = Context::from_waker(Waker::noop());
        let Poll::Ready(tick) = readiness.poll(&cx) else { panic!("fresh ones are ready") };
        readiness.set(false);
        readiness.was_not(tick);
        readiness.fell_short(tick);
        let Poll::Ready(tick) = readiness.poll(&cx) else { panic!("the event was lost") };
        readiness.was_not(tick);
        assert!(readiness.poll(&cx).is_pending());
    }

    #[test]
    fn end_outlives_a_short_read() {
        let readiness = Readiness::default();
        let cx = Context::from_waker(Waker::noop());
        readiness.set(true);
        let Poll::Ready(tick) = readiness.poll(&cx) else { panic!("an event came") };
        readiness.fell_short(tick);
        assert!(readiness.poll(&cx).is_ready());
    }
}
