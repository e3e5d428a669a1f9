//! Who is connected, and what may leave on each connection, and when.
//!
//! Not what is said, which the machine decides. Only this module can make bytes that the
//! connection of a session will carry: [`Outbox::attach`] takes the stream away, and gives back
//! what can read but not write.
//!
//! ```text
//!   promise      Memory ───────────────────────────────▶ outgoing ─▶ socket
//!                Relaxed, Strict ─▶ held until the record of its step has got so far ─┘
//! ```
//!
//! What promises nothing overtakes what is held: an Assign does not wait for a disk. What is held
//! leaves in the order in which it came, so a later answer is never seen before an earlier one that
//! it may rest on.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use ganger_rt::{Outgoing, Stream};
use ganger_shared::{Durability, Response, SessionId, codec};
use slab::Slab;

use crate::journal::Reached;
use crate::storage::Seq;

/// How long a goodbye may take to leave. A client that does not read it within this will not.
const LEAVING_MAX: Duration = Duration::from_secs(2);

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Above so many bytes that have not left, nothing more is read from the client.
    pub(crate) unsent_pause: usize,
    /// Above so many the connection is closed.
    pub(crate) unsent_max: usize,
    /// A client that takes nothing for so long is given up.
    pub(crate) write_stall: Duration,
    /// So is one that says nothing for so long.
    pub(crate) silence: Duration,
}

/// Which connection of a session: a session has one at a time, and may have many in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    key: usize,
    serial: u64,
}

/// The reading half of a session's connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: Stream,
}

impl Incoming {
    /// Reads what is there, waiting for it; 0 means the end.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Takes in what the client sent and nobody will look at: bytes left unread when a socket closes
    /// would make the system withdraw what was written last, and that is the reason for the close.
    pub(crate) async fn discard(&self) {
        let mut scrap = vec![0; 4096];
        while let Ok(1..) = self.stream.read(&mut scrap).await {}
    }
}

/// The view that a session has of what leaves on its connection: it can wait for it and end it.
#[derive(Debug)]
pub(crate) struct Leaving {
    outgoing: Outgoing,
}

impl Leaving {
    /// Writes what the socket did not take at once, until the connection ends.
    pub(crate) async fn drain(&self) -> io::Result<()> {
        self.outgoing.drain().await
    }

    /// Waits until fewer than `bytes` are to leave, or the connection has ended.
    pub(crate) async fn below(&self, bytes: usize) {
        self.outgoing.below(bytes).await;
    }

    /// Bytes that have yet to leave.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.queued()
    }

    /// Ends the connection, whatever has not left.
    pub(crate) fn close(&self) {
        self.outgoing.close();
    }
}

/// The connections of all open sessions.
#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: Bounds,
    connections: Slab<Connection>,
    /// Keys are chosen by clients, hence the hasher with a random seed.
    sessions: HashMap<SessionId, usize>,
    /// Connections with frames to flush.
    dirty: Vec<usize>,
    /// Connections with frames that wait for the journal.
    holding: Vec<usize>,
    /// How far the journal was when it was last heard of.
    reached: Reached,
    /// Connections of no session that a goodbye is still leaving on, and since when.
    leaving: Vec<(Outgoing, Instant)>,
    next_serial: u64,
}

#[derive(Debug)]
struct Connection {
    session: SessionId,
    serial: u64,
    outgoing: Outgoing,
    held: Held,
    silence: Silence,
    heard: Instant,
    dirty: bool,
}

/// Frames that must not leave yet, end to end.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    marks: VecDeque<Mark>,
}

/// Where a held frame ends and what it waits for.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: usize,
    seq: Seq,
    promise: Durability,
}

/// Whether the record `seq` is as safe as `promise` says.
fn is_kept(seq: Seq, promise: Durability, reached: Reached) -> bool {
    match promise {
        Durability::Memory => true,
        Durability::Relaxed => seq <= reached.written,
        Durability::Strict => seq <= reached.durable,
    }
}

impl Held {
    fn push(&mut self, response: &Response, seq: Seq, promise: Durability) {
        codec::encode(response, &mut self.bytes);
        self.marks.push_back(Mark { end: self.bytes.len(), seq, promise });
    }

    /// Moves what may leave to `outgoing`; says whether there was any.
    fn release(&mut self, reached: Reached, outgoing: &Outgoing) -> bool {
        let mut end = 0;
        let leaves = |mark: &&Mark| is_kept(mark.seq, mark.promise, reached);
        while let Some(mark) = self.marks.front().filter(leaves) {
            end = mark.end;
            self.marks.pop_front();
        }
        if end == 0 {
            return false;
        }
        let all = self.marks.is_empty();
        outgoing.append(|bytes| {
            if all && bytes.is_empty() {
                std::mem::swap(bytes, &mut self.bytes);
            } else {
                bytes.extend_from_slice(&self.bytes[..end]);
            }
        });
        if all {
            *self = Self::default();
        } else {
            self.bytes.drain(..end);
            self.marks.iter_mut().for_each(|mark| mark.end -= end);
        }
        true
    }
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            connections: Slab::new(),
            sessions: HashMap::new(),
            dirty: Vec::new(),
            holding: Vec::new(),
            reached: Reached::default(),
            leaving: Vec::new(),
            next_serial: 0,
        }
    }

    /// Makes `stream` the session's connection. An earlier one is told so and closed.
    pub(crate) fn attach(
        &mut self,
        session: SessionId,
        stream: Stream,
        silence: Silence,
    ) -> (ConnectionId, Incoming, Leaving) {
        self.dismiss(session, "the session was opened on another connection", ComeBack::No);
        let outgoing = Outgoing::new(stream.clone(), self.bounds.unsent_pause);
        self.next_serial += 1;
        let serial = self.next_serial;
        let key = self.connections.insert(Connection {
            session,
            serial,
            outgoing: outgoing.clone(),
            held: Held::default(),
            silence,
            heard: Instant::now(),
            dirty: false,
        });
        self.sessions.insert(session, key);
        (ConnectionId { key, serial }, Incoming { stream }, Leaving { outgoing })
    }

    /// Whether `connection` is still its session's; notes that the client was heard.
    pub(crate) fn heard(&mut self, connection: ConnectionId) -> bool {
        match self.connections.get_mut(connection.key) {
            Some(found) if found.serial == connection.serial => {
                found.heard = Instant::now();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends `connection` with nothing more to be said; `false` if it was its session's no longer.
    pub(crate) fn detach(&mut self, connection: ConnectionId) -> bool {
        let current = self
            .connections
            .get(connection.key)
            .is_some_and(|found| found.serial == connection.serial);
        if current {
            self.remove(connection.key);
        }
        current
    }

    fn remove(&mut self, key: usize) -> Option<Connection> {
        let connection = self.connections.try_remove(key)?;
        self.sessions.remove(&connection.session);
        Some(connection)
    }

    /// Lets `response` go to `session` once the record `seq` is as safe as `promise` says. Dropped
    /// if the session has no connection.
    pub(crate) fn send(
        &mut self,
        session: SessionId,
        response: &Response,
        promise: Durability,
        seq: Seq,
    ) {
        let Some(&key) = self.sessions.get(&session) else { return };
        let connection = &mut self.connections[key];
        // What promises something stays behind what is held for the same client.
        let overtakes = promise == Durability::Memory || connection.held.marks.is_empty();
        if overtakes && is_kept(seq, promise, self.reached) {
            connection.outgoing.append(|bytes| {
                codec::encode(response, bytes);
            });
            if !connection.dirty {
                connection.dirty = true;
                self.dirty.push(key);
            }
        } else {
            if connection.held.marks.is_empty() {
                self.holding.push(key);
            }
            connection.held.push(response, seq, promise);
        }
    }

    /// Lets everything leave whose record has got far enough.
    pub(crate) fn release(&mut self, reached: Reached) {
        self.reached.advance(reached);
        let reached = self.reached;
        let mut holding = std::mem::take(&mut self.holding);
        holding.retain(|&key| {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            if connection.held.release(reached, &connection.outgoing) && !connection.dirty {
                connection.dirty = true;
                self.dirty.push(key);
            }
            !connection.held.marks.is_empty()
        });
        // Nothing was added meanwhile; a key that was taken over by a further connection may be in
        // the list twice, which costs a second look.
        self.holding = holding;
    }

    /// Writes everything that may leave, as far as the sockets take it.
    pub(crate) fn flush(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.dirty = false;
            // An error has ended the connection, which its session notices by itself.
            let _ = connection.outgoing.flush();
            let queued = connection.outgoing.queued();
            if queued > self.bounds.unsent_max {
                let session = connection.session;
                log::warn!(session:%, queued_bytes = queued; "client takes too little: closed");
                connection.outgoing.close();
            }
        }
    }

    /// Bytes that wait to leave on `connection`, for the journal or for the socket; 0 once it is
    /// its session's no longer.
    pub(crate) fn waiting(&self, connection: ConnectionId) -> usize {
        self.connections
            .get(connection.key)
            .filter(|found| found.serial == connection.serial)
            .map_or(0, |found| found.held.bytes.len() + found.outgoing.queued())
    }

    /// Says goodbye on the session's connection, and ends it once that has left.
    pub(crate) fn dismiss(&mut self, session: SessionId, reason: &str, come_back: ComeBack) {
        let Some(&key) = self.sessions.get(&session) else { return };
        if let Some(connection) = self.remove(key) {
            self.leave(connection.outgoing, reason, come_back);
        }
    }

    fn leave(&mut self, outgoing: Outgoing, reason: &str, come_back: ComeBack) {
        say_goodbye(&outgoing, reason, come_back);
        if outgoing.queued() == 0 {
            outgoing.close();
        } else {
            self.leaving.push((outgoing, Instant::now()));
        }
    }

    /// [`dismiss`](Self::dismiss) for everybody.
    pub(crate) fn dismiss_all(&mut self, reason: &str, come_back: ComeBack) {
        let connections: Vec<_> = self.connections.drain().collect();
        for connection in connections {
            self.leave(connection.outgoing, reason, come_back);
        }
        self.sessions.clear();
    }

    /// Ends every connection without a word.
    pub(crate) fn close_all(&mut self) {
        for (outgoing, _) in self.leaving.drain(..) {
            outgoing.close();
        }
        for connection in self.connections.drain() {
            connection.outgoing.close();
        }
        self.sessions.clear();
    }

    /// Gives up clients that take nothing or say nothing.
    pub(crate) fn sweep(&mut self) {
        let Bounds { write_stall, silence, .. } = self.bounds;
        let mut silent = Vec::new();
        for (_, connection) in &self.connections {
            let session = connection.session;
            let stalled = connection.outgoing.stalled_for();
            if let Some(stalled) = stalled.filter(|stalled| *stalled > write_stall) {
                log::warn!(session:%, stalled:?; "client reads nothing: closed");
                connection.outgoing.close();
            } else if connection.silence == Silence::IsDeath && connection.heard.elapsed() > silence
            {
                silent.push(session);
            }
        }
        for session in silent {
            log::warn!(session:%, silence:?; "client is silent: closed");
            let Some(&key) = self.sessions.get(&session) else { continue };
            // Still the session's connection until its task has noticed, so that the machine is told.
            let outgoing = &self.connections[key].outgoing;
            say_goodbye(outgoing, &format!("nothing was heard for {silence:?}"), ComeBack::Yes);
            outgoing.close();
        }
        self.leaving.retain(|(outgoing, since)| {
            let stays = outgoing.queued() > 0 && since.elapsed() < LEAVING_MAX;
            if !stays {
                outgoing.close();
            }
            stays
        });
    }

    /// How many sessions are connected.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }
}

/// What it means that nothing is heard on a connection for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The client would have shown life: it is gone, or cannot be reached.
    IsDeath,
    /// Nothing: whoever has the other end is a task of this process, and says when it ends.
    IsNothing,
}

/// Whether a client that was told goodbye should connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComeBack {
    Yes,
    No,
}

fn say_goodbye(outgoing: &Outgoing, reason: &str, come_back: ComeBack) {
    let goodbye =
        Response::Goodbye { reason: reason.to_owned(), come_back: come_back == ComeBack::Yes };
    outgoing.append(|bytes| {
        codec::encode(&goodbye, bytes);
    });
    let _ = outgoing.flush();
}

#[cfg(test)]
mod tests {
    use ganger_shared::RequestId;

    use super::*;

    const SESSION: SessionId = SessionId(7);

    fn bounds() -> Bounds {
        Bounds {
            unsent_pause: 1 << 10,
            unsent_max: 1 << 20,
            write_stall: Duration::from_secs(30),
            silence: Duration::from_secs(30),
        }
    }

    fn settled(number: u64) -> Response {
        Response::Settled { request: RequestId(number), lost: Vec::new() }
    }

    /// The numbers of the answers that have arrived at the client.
    async fn arrived(client: &Stream, count: usize) -> Vec<u64> {
        let mut frames = codec::FrameBuffer::new();
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let read = client.read(frames.spare()).await.unwrap();
            assert_ne!(read, 0, "the connection ended after {numbers:?}");
            frames.filled(read);
            while let Some(frame) = frames.next_frame(1 << 20).unwrap() {
                match codec::decode(frame).unwrap() {
                    Response::Settled { request, .. } => numbers.push(request.0),
                    other => panic!("{other:?}"),
                }
            }
        }
        numbers
    }

    #[test]
    fn what_promises_leaves_in_order_once_it_is_safe_and_the_rest_at_once() {
        ganger_rt::block_on(async {
            let (ours, client) = Stream::pipe(1 << 16);
            let mut outbox = Outbox::new(bounds());
            let (connection, _incoming, _leaving) = outbox.attach(SESSION, ours, Silence::IsDeath);
            outbox.send(SESSION, &settled(1), Durability::Strict, Seq(1));
            outbox.send(SESSION, &settled(2), Durability::Relaxed, Seq(2));
            outbox.send(SESSION, &settled(3), Durability::Strict, Seq(3));
            outbox.send(SESSION, &settled(4), Durability::Memory, Seq(3));
            outbox.flush();
            assert_eq!(arrived(&client, 1).await, [4]);

            // The second one is safe enough, and may not be seen before the first.
            outbox.release(Reached { written: Seq(3), durable: Seq(0) });
            outbox.flush();
            assert!(outbox.waiting(connection) > 0);
            outbox.release(Reached { written: Seq(3), durable: Seq(2) });
            outbox.flush();
            assert_eq!(arrived(&client, 2).await, [1, 2]);
            outbox.release(Reached { written: Seq(3), durable: Seq(3) });
            outbox.flush();
            assert_eq!(arrived(&client, 1).await, [3]);

            // What rests on records that are safe waits for nothing: there may be no further ones.
            outbox.send(SESSION, &settled(5), Durability::Strict, Seq(3));
            outbox.flush();
            assert_eq!(arrived(&client, 1).await, [5]);
            assert_eq!((outbox.waiting(connection), outbox.holding.len()), (0, 0));
        });
    }

    #[test]
    fn answer_that_is_safe_stays_behind_one_that_is_held() {
        ganger_rt::block_on(async {
            let (ours, client) = Stream::pipe(1 << 16);
            let mut outbox = Outbox::new(bounds());
            let (_connection, _incoming, _leaving) = outbox.attach(SESSION, ours, Silence::IsDeath);
            outbox.release(Reached { written: Seq(2), durable: Seq(0) });
            outbox.send(SESSION, &settled(1), Durability::Strict, Seq(1));
            outbox.send(SESSION, &settled(2), Durability::Relaxed, Seq(2));
            outbox.send(SESSION, &settled(3), Durability::Memory, Seq(2));
            outbox.flush();
            assert_eq!(arrived(&client, 1).await, [3]);
            outbox.release(Reached { written: Seq(2), durable: Seq(1) });
            outbox.flush();
            assert_eq!(arrived(&client, 2).await, [1, 2]);
        });
    }

    #[test]
    fn silence_ends_the_connections_on_which_it_means_something() {
        ganger_rt::block_on(async {
            let mut outbox = Outbox::new(Bounds { silence: Duration::ZERO, ..bounds() });
            let (ours, client) = Stream::pipe(1 << 16);
            let _of_client = outbox.attach(SESSION, ours, Silence::IsDeath);
            let (ours, task) = Stream::pipe(1 << 16);
            let _of_task = outbox.attach(SessionId(8), ours, Silence::IsNothing);
            outbox.sweep();
            let mut goodbye = [0; 256];
            assert_ne!(client.read(&mut goodbye).await.unwrap(), 0);
            assert_eq!(client.read(&mut goodbye).await.unwrap(), 0);
            outbox.send(SessionId(8), &settled(1), Durability::Memory, Seq(0));
            outbox.flush();
            assert_eq!(arrived(&task, 1).await, [1]);
        });
    }

    #[test]
    fn what_was_held_for_one_connection_never_leaves_on_the_next() {
        ganger_rt::block_on(async {
            let (ours, first) = Stream::pipe(1 << 16);
            let mut outbox = Outbox::new(bounds());
            let (before, ..) = outbox.attach(SESSION, ours, Silence::IsDeath);
            outbox.send(SESSION, &settled(1), Durability::Strict, Seq(1));
            let (ours, second) = Stream::pipe(1 << 16);
            let (after, ..) = outbox.attach(SESSION, ours, Silence::IsDeath);
            assert_eq!(outbox.len(), 1);
            assert!(!outbox.heard(before) && outbox.heard(after));
            assert!(!outbox.detach(before), "the end of the first ended the second");

            outbox.send(SESSION, &settled(2), Durability::Strict, Seq(2));
            outbox.release(Reached { written: Seq(2), durable: Seq(2) });
            outbox.flush();
            assert_eq!(arrived(&second, 1).await, [2]);
            let mut goodbye = [0; 256];
            let read = first.read(&mut goodbye).await.unwrap();
            let told = codec::decode::<Response>(&goodbye[..read]).unwrap();
            assert!(matches!(told, Response::Goodbye { come_back: false, .. }), "{told:?}");
            assert_eq!(first.read(&mut goodbye).await.unwrap(), 0);
        });
    }
}
