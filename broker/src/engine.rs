//! The engine: the machine, the clock, the journal and the outbox behind one lock.
//!
//! It decides nothing. What a client asked is judged by the machine, what may leave by the outbox,
//! what is kept by the journal; the engine passes one's results to the next.
//!
//! Whoever has commands drives the machine itself, under the lock, with all the commands it has:
//! the session that has read some frames, the timer, the broker at its start. There is no queue
//! in front of the machine and no task switch on the way, and a read that brought many frames is one
//! step of the journal and one write to each client that it concerns. The lock is never held
//! across an await, and with one runtime thread nobody ever waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use event_listener::{Event as Notice, listener};
use ganger_machine::registry::Registration;
use ganger_machine::{Command, Machine, Output};
use ganger_rt::Stream;
use ganger_shared::admin::QueueSettings;
use ganger_shared::key::KeyId;
use ganger_shared::{Durability, LeaseRange, Name, Rejection, Request, SessionId, Time};

use crate::clock::Clock;
use crate::error::BrokerError;
use crate::journal::{Journal, Progress, Report};
use crate::outbox::{ComeBack, ConnectionId, Incoming, Leaving, Outbox, Silence};
use crate::storage::{Seq, Until};

mod ending;

/// Free space beside a restatement, for what is appended while it is on its way: 2 MiB.
const RESTATING_BYTES: u64 = 2 << 20;

/// Shared by everything that has commands for the machine.
#[derive(Debug)]
pub(crate) struct Engine {
    core: Mutex<Core>,
    clock: Clock,
    /// Of the journal's threads, where there are any.
    progress: Option<Arc<Progress>>,
    /// The machine wants a tick earlier than the timer knows.
    earlier: Notice,
    /// The journal has come closer, and what it held back has left; or the broker has ended.
    moved: Notice,
    /// Why the broker has ended, taken by whoever reports it.
    failure: Mutex<Option<BrokerError>>,
    over: Notice,
}

#[derive(Debug)]
struct Core {
    machine: Machine,
    journal: Option<Journal>,
    outbox: Outbox,
    /// Empty between runs; kept for its memory.
    output: Output,
    /// When the timer will come by itself.
    timer: Time,
    ended: bool,
}

/// The connection is its session's no longer, or the broker has ended: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// What a client says of itself when it opens a session.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) session: SessionId,
    pub(crate) key: KeyId,
    pub(crate) held: Vec<LeaseRange>,
    pub(crate) name: String,
    pub(crate) silence: Silence,
}

/// Why a session was not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Refused(Rejection),
    Gone,
}

impl Engine {
    pub(crate) fn new(
        machine: Machine,
        journal: Option<Journal>,
        outbox: Outbox,
        clock: Clock,
    ) -> Self {
        let progress = journal.as_ref().map(|journal| Arc::clone(journal.progress()));
        let record = journal.as_ref().map(|journal| journal.last().next());
        let core = Core {
            machine,
            journal,
            outbox,
            output: Output { record, ..Output::default() },
            timer: Time::NEVER,
            ended: false,
        };
        Self {
            core: Mutex::new(core),
            clock,
            progress,
            earlier: Notice::new(),
            moved: Notice::new(),
            failure: Mutex::new(None),
            over: Notice::new(),
        }
    }

    /// Opens or resumes a session on `stream`, which it gives back if that is refused.
    pub(crate) fn open(
        &self,
        opening: Opening,
        stream: Stream,
    ) -> Result<(ConnectionId, Incoming, Leaving), (NotOpened, Stream)> {
        let Opening { session, key, held, name, silence } = opening;
        let Ok(mut core) = self.lock() else { return Err((NotOpened::Gone, stream)) };
        let core = &mut *core;
        // Asked first, for a refusal is for this connection and not for the one that the session may
        // have.
        if let Err(rejection) = core.machine.judge_open(session, key) {
            return Err((NotOpened::Refused(rejection), stream));
        }
        let attached = core.outbox.attach(session, stream, silence);
        core.step(self.clock.now(), Command::Open { session, key, held, name });
        self.finish(core);
        Ok(attached)
    }

    /// Carries out `requests` of the session whose connection this is. Returns how many bytes wait
    /// to leave on it.
    pub(crate) fn run(
        &self,
        session: SessionId,
        connection: ConnectionId,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<usize, Gone> {
        let mut core = self.lock()?;
        if !core.outbox.heard(connection) {
            return Err(Gone);
        }
        let now = self.clock.now();
        for request in requests {
            core.step(now, Command::Request { session, request });
        }
        self.finish(&mut core);
        Ok(core.outbox.waiting(connection))
    }

    /// The connection broke. Does nothing if its session has another one by now.
    pub(crate) fn disconnected(&self, session: SessionId, connection: ConnectionId) {
        let Ok(mut core) = self.lock() else { return };
        if core.outbox.detach(connection) {
            core.step(self.clock.now(), Command::Disconnected { session });
            self.finish(&mut core);
        }
    }

    /// The client has broken the protocol: tells it, and treats the connection as broken.
    pub(crate) fn dismiss(&self, session: SessionId, connection: ConnectionId, reason: &str) {
        let Ok(mut core) = self.lock() else { return };
        if core.outbox.heard(connection) {
            core.outbox.dismiss(session, reason, ComeBack::No);
            core.step(self.clock.now(), Command::Disconnected { session });
            self.finish(&mut core);
        }
    }

    /// The client has closed its session: nothing more is sent to it.
    pub(crate) fn closed(&self, connection: ConnectionId) {
        if let Ok(mut core) = self.lock() {
            core.outbox.detach(connection);
        }
    }

    /// Bytes of a frame have come that is not whole yet: the client is not silent.
    pub(crate) fn heard(&self, connection: ConnectionId) {
        if let Ok(mut core) = self.lock() {
            core.outbox.heard(connection);
        }
    }

    /// Waits while the journal is too far behind to take more.
    pub(crate) async fn ready(&self) {
        self.until(|core| !core.journal.as_ref().is_some_and(Journal::is_full)).await;
    }

    /// Waits until no more than `bytes` wait to leave on a connection.
    pub(crate) async fn room(&self, connection: ConnectionId, leaving: &Leaving, bytes: usize) {
        loop {
            // Those that wait for the socket can be few; the others wait for the journal.
            leaving.below(bytes).await;
            let waits = |core: &Core| core.outbox.waiting(connection) > bytes;
            self.until(|core| !waits(core) || leaving.queued() > bytes).await;
            if !self.lock().is_ok_and(|core| waits(&core)) {
                return;
            }
        }
    }

    /// Waits until the journal's progress has brought it about that `met`, or the broker has ended.
    async fn until(&self, met: impl Fn(&Core) -> bool) {
        loop {
            listener!(self.moved => moved);
            match self.lock() {
                Ok(core) if !met(&core) => {}
                Ok(_) | Err(Gone) => return,
            }
            moved.await;
        }
    }

    /// When the machine wants its next tick, and a wait for it to want one earlier than that.
    pub(crate) fn next_tick(&self) -> (Option<Instant>, event_listener::EventListener) {
        let earlier = self.earlier.listen();
        let due = self.lock().map_or(Time::NEVER, |core| core.timer);
        (self.clock.instant(due).filter(|_| due != Time::NEVER), earlier)
    }

    /// Tells the machine that time has passed.
    pub(crate) fn tick(&self) {
        let Ok(mut core) = self.lock() else { return };
        core.timer = Time::NEVER;
        core.step(self.clock.now(), Command::Tick);
        self.finish(&mut core);
    }

    /// What the journal's threads report, where there are any.
    pub(crate) const fn progress(&self) -> Option<&Arc<Progress>> {
        self.progress.as_ref()
    }

    /// Lets leave what the journal has made safe, and says to the machine how much more it takes.
    pub(crate) fn heed(&self, report: Report) {
        if let Ok(mut core) = self.lock() {
            let core = &mut *core;
            core.outbox.release(report.reached);
            core.machine.set_room(report.room.bytes, report.room.taken, &mut core.output);
            for (jobs, payloads) in report.loaded {
                core.machine.load(jobs, &payloads, &mut core.output);
            }
            if let (Some(long), Some(progress)) = (report.long, &self.progress) {
                let bytes = core.machine.restated_bytes();
                // Where it does not fit, what ends jobs goes on, until it does.
                if bytes < long.bytes / 2 && bytes + bytes / 8 + RESTATING_BYTES < long.room {
                    core.ended |= core.restate().is_err();
                } else {
                    let (log, room) = (long.bytes, long.room);
                    log::debug!(bytes, log, room; "the journal is not compacted yet");
                    progress.decline();
                }
            }
            self.finish(core);
        }
        self.moved.notify(usize::MAX);
    }

    /// Gives up clients that do not read or do not speak.
    pub(crate) fn sweep(&self) {
        self.lock_even_ended().outbox.sweep();
    }

    /// Makes a queue as the configuration says.
    pub(crate) fn configure(&self, queue: Name, settings: QueueSettings) -> Result<(), Rejection> {
        let Ok(mut core) = self.lock() else { return Ok(()) };
        let core = &mut *core;
        let configured = core.machine.configure(queue, settings, &mut core.output);
        self.finish(core);
        configured
    }

    /// Has an object exist that is to be there from the start.
    pub(crate) fn register(
        &self,
        name: &Name,
        registration: &Registration,
    ) -> Result<(), Rejection> {
        let Ok(mut core) = self.lock() else { return Ok(()) };
        let core = &mut *core;
        let registered = core.machine.register(name, registration, &mut core.output);
        self.finish(core);
        registered
    }

    /// The type of the object of this name.
    pub(crate) fn typeid_of(&self, object: &Name) -> Option<&'static str> {
        self.lock().ok()?.machine.typeid_of(object)
    }

    /// The methods of the object of this name that clients may call.
    pub(crate) fn methods_of(&self, object: &Name) -> Vec<&'static str> {
        self.lock().map_or_else(|Gone| Vec::new(), |core| core.machine.methods_of(object))
    }

    /// An object without a name is in use, although nobody calls it.
    pub(crate) fn keep(&self, object: &Name) {
        if let Ok(mut core) = self.lock() {
            core.machine.keep(object);
        }
    }

    /// Nobody has a proxy of an object without a name any more: it goes unless something refers to it.
    pub(crate) fn let_go(&self, object: &Name) {
        if let Ok(mut core) = self.lock() {
            core.machine.let_go(object);
            self.finish(&mut core);
        }
    }

    /// For closing down. The outbox is sound even where the machine has panicked.
    fn lock_even_ended(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Core>, Gone> {
        match self.core.lock() {
            Ok(core) if core.ended => Err(Gone),
            Ok(core) => Ok(core),
            Err(poisoned) => {
                // The machine panicked in the middle of a step: what it holds means nothing now.
                let ended = poisoned.get_ref().ended;
                drop(poisoned);
                if !ended {
                    self.fail(BrokerError::Panicked);
                }
                Err(Gone)
            }
        }
    }

    /// Passes on what the machine has put out, and sets the timer.
    fn finish(&self, core: &mut Core) {
        if core.commit().is_err() {
            // The journal's threads have ended and say why in their progress.
            core.ended = true;
            return;
        }
        if let Some(due) = core.machine.next_deadline()
            && due < core.timer
        {
            core.timer = due;
            self.earlier.notify(usize::MAX);
        }
    }
}

impl Core {
    fn step(&mut self, now: Time, command: Command) {
        self.machine.step(now, command, &mut self.output);
    }

    /// Has the journal begin anew with all that there is.
    fn restate(&mut self) -> Result<(), crate::journal::Closed> {
        // What has happened is stated, and must not happen again after that.
        self.commit()?;
        let Self { machine, journal: Some(journal), output, .. } = self else { return Ok(()) };
        let (from, taken) = (journal.last().next(), machine.room_taken());
        let mut result = Ok(());
        machine.restate(from, |part| {
            if result.is_ok() {
                result = journal.restate(part, taken);
            }
        });
        result?;
        output.record = Some(journal.last().next());
        journal.forget(from)
    }

    /// Journal first, then what rests on it.
    fn commit(&mut self) -> Result<(), crate::journal::Closed> {
        let Self { machine, journal, outbox, output, .. } = self;
        let mut seq = Seq::START;
        if let Some(journal) = journal {
            if !output.journal.is_empty() {
                let strict = output.sends.iter().any(|send| send.promise == Durability::Strict);
                let until = if strict { Until::Durable } else { Until::Written };
                let events = std::mem::take(&mut output.journal);
                if let Some(reached) = journal.append(events, until, machine.room_taken())? {
                    outbox.release(reached);
                }
            }
            if !output.loads.is_empty() {
                journal.load(std::mem::take(&mut output.loads))?;
            }
            // A step without events may confirm an earlier one that is still on its way.
            seq = journal.last();
            output.record = Some(seq.next());
        }
        debug_assert!(output.journal.is_empty(), "events to keep, and nothing to keep them");
        for send in output.sends.drain(..) {
            outbox.send(send.session, &send.response, send.promise, seq);
        }
        for (session, reason) in output.expelled.drain(..) {
            log::info!(session:%, reason:%; "session expelled");
            outbox.dismiss(session, &reason, ComeBack::No);
        }
        outbox.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ganger_machine::Config;

    use super::*;
    use crate::outbox::Bounds;

    #[test]
    fn panic_in_the_machine_ends_the_broker_and_every_connection() {
        let clock = Clock::start();
        let bounds = Bounds {
            unsent_pause: 1,
            unsent_max: 1,
            write_stall: Duration::MAX,
            silence: Duration::MAX,
        };
        let machine = Machine::new(Config::default(), clock.started());
        let engine = Engine::new(machine, None, Outbox::new(bounds), clock);
        let (ours, client) = Stream::pipe(1 << 10);
        let (session, key) = (SessionId(1), KeyId([0; 8]));
        let (held, name, silence) = (Vec::new(), String::new(), Silence::IsDeath);
        let opening = Opening { session, key, held, name, silence };
        let (connection, ..) = engine.open(opening, ours).map_err(|(error, _)| error).unwrap();

        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _core = engine.core.lock();
            panic!("as the machine might");
        }));
        assert!(panicked.is_err());
        assert_eq!(engine.run(session, connection, [Request::Heartbeat]), Err(Gone));
        ganger_rt::block_on(async {
            assert!(matches!(engine.failed().await, BrokerError::Panicked));
            engine.ended().await;
            let mut buffer = [0; 256];
            while let Ok(1..) = client.read(&mut buffer).await {}
        });
    }
}
