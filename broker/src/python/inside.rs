//! A session of Ganger's own protocol inside the process: how the Python door does everything.
//!
//! Not a second way to an object: what is asked goes to the engine as from any other client, and the
//! answers come through a pipe, held back by the journal like all others.
//!
//! ```text
//!   Python client ◀─ pickles ─▶ connection ── requests ──▶ engine
//!                                   ▲                        │
//!                                   └── pipe ◀── outbox ◀────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::or;
use ganger_rt::{Stream, TimedOut, timeout};
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::key::KeyId;
use ganger_shared::object::types::{self, Takes};
use ganger_shared::{
    Block, By, CallError, Durability, Name, Packed, Rejection, Request, RequestId, Response,
    SessionId, Value,
};

use crate::engine::{Engine, NotOpened, Opening};
use crate::outbox::{ConnectionId, Incoming, Leaving};

/// Room of the pipe, each way.
const PIPE_BYTES: usize = 64 << 10;

/// A wait without an end, in milliseconds: longer than any process lives.
const FOR_EVER_MS: u64 = 1 << 52;

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The method says so.
    Call(CallError),
    /// The broker refuses it.
    Rejected(Rejection),
    /// The broker has given up the session: it stops, or does not hear from its process.
    Gone,
}

/// An open session.
pub(crate) struct Inside {
    engine: Arc<Engine>,
    id: SessionId,
    key: KeyId,
    name: String,
    line: Line,
    frame_bytes_max: usize,
    /// As often it shows life.
    heartbeat: Duration,
    next_request: u64,
    next_seq: u64,
}

/// Its connection.
struct Line {
    connection: ConnectionId,
    leaving: Leaving,
    ours: Stream,
    frames: FrameBuffer,
    /// The broker's end, which nobody reads: requests do not come through the pipe.
    _incoming: Incoming,
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) key: KeyId,
    /// What people see in lists.
    pub(crate) name: String,
    pub(crate) frame_bytes_max: usize,
    pub(crate) heartbeat: Duration,
}

impl Inside {
    /// Opens a session of its own.
    pub(crate) fn open(engine: &Arc<Engine>, terms: Terms) -> Result<Self, Failure> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|_| Failure::Gone)?;
        let id = SessionId(u64::from_le_bytes(id));
        let Terms { key, name, frame_bytes_max, heartbeat } = terms;
        let line = connect(engine, id, key, &name)?;
        Ok(Self {
            engine: Arc::clone(engine),
            id,
            key,
            name,
            line,
            frame_bytes_max,
            heartbeat,
            next_request: 0,
            next_seq: 0,
        })
    }

    /// Calls a method once. `wait` is how long it may; `None` is for ever.
    ///
    /// # Cancel safety
    ///
    /// Not safe: [`abandon`](Self::abandon) has to follow, for the call may have been carried out and may
    /// wait.
    pub(crate) async fn call(
        &mut self,
        object: &Name,
        typeid: &str,
        method: &str,
        args: &[Packed],
        wait: Option<Duration>,
    ) -> Result<Packed, Failure> {
        let mut bytes = Vec::new();
        args.iter().for_each(|arg| bytes.extend_from_slice(arg.as_bytes()));
        let known = types::builtin(typeid).and_then(|found| found.method(method));
        let reads = known.is_some_and(|method| method.takes == Takes::Nothing);
        // One call after the other, so all before this one were answered.
        let (answered, seq) = (self.next_seq, (!reads).then_some(self.next_seq));
        self.next_seq += u64::from(!reads);
        let (object, method) = (object.clone(), method.to_owned());
        let wait_ms = wait.map_or(FOR_EVER_MS, ganger_shared::time::millis);
        let typeid = Some(typeid.parse().map_err(|_| Failure::Gone)?);
        let answer = self.ask(|request| Request::Call {
            request,
            object,
            typeid,
            method,
            seq,
            answered,
            by: By::Session,
            wait_ms,
            args: Block::one(Bytes::from(bytes)),
        });
        match answer.await? {
            Response::Returned { results, mut errors, .. } => match errors.pop() {
                Some((_, error)) => Err(Failure::Call(error)),
                None if results.get(0).is_empty() => Ok(Packed::none()),
                None => Packed::new(results.get(0)).map_err(|_| Failure::Gone),
            },
            _ => Err(Failure::Gone),
        }
    }

    /// Makes an object without a name, and returns the name that the broker gives it.
    pub(crate) async fn make(
        &mut self,
        typeid: &str,
        args: &[Value],
        durability: Option<Durability>,
    ) -> Result<Name, Failure> {
        let mut bytes = Vec::new();
        for arg in args {
            let encoded = arg.encode_to(&mut bytes);
            encoded.map_err(|error| Failure::Call(CallError::Value(error.to_string())))?;
        }
        let typeid = typeid.parse().map_err(|_| Failure::Gone)?;
        let answer = self.ask(|request| Request::Use {
            request,
            object: None,
            typeid,
            schema: None,
            args: Bytes::from(bytes),
            durability,
        });
        match answer.await? {
            Response::Using { object, .. } => Ok(object),
            _ => Err(Failure::Gone),
        }
    }

    /// What answers the request that `make` makes with a number.
    pub(crate) async fn ask(
        &mut self,
        make: impl FnOnce(RequestId) -> Request,
    ) -> Result<Response, Failure> {
        let number = RequestId(self.next_request);
        self.next_request += 1;
        self.engine.ready().await;
        let ran = self.engine.run(self.id, self.line.connection, [make(number)]);
        ran.map_err(|_| Failure::Gone)?;
        loop {
            match timeout(self.heartbeat, self.line.next(self.frame_bytes_max)).await {
                Err(TimedOut) => self.show_life(),
                Ok(None) => return Err(Failure::Gone),
                Ok(Some(Response::Rejected { request, rejection })) if request == number => {
                    return Err(Failure::Rejected(rejection));
                }
                Ok(Some(response)) => {
                    if answers(&response, number) {
                        return Ok(response);
                    }
                }
            }
        }
    }

    /// Tells the engine that the client is not silent: its own protocol has no heartbeat.
    pub(crate) fn show_life(&self) {
        self.engine.heard(self.line.connection);
    }

    /// How often that has to be.
    pub(crate) const fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Gives up the call that waits, and goes on with the same session: what it holds, it holds.
    pub(crate) fn abandon(&mut self) -> Result<(), Failure> {
        self.engine.disconnected(self.id, self.line.connection);
        self.line = connect(&self.engine, self.id, self.key, &self.name)?;
        Ok(())
    }

    /// Ends the session: what it holds is free, and what waits is given up.
    pub(crate) fn close(self) {
        // Of no effect where the broker has ended.
        let _ = self.engine.run(self.id, self.line.connection, [Request::Close]);
        self.engine.closed(self.line.connection);
    }
}

impl Line {
    /// The next answer; `None` if there will be none.
    async fn next(&mut self, frame_bytes_max: usize) -> Option<Response> {
        loop {
            match self.frames.next_frame(frame_bytes_max) {
                Ok(Some(frame)) => return codec::decode(frame).ok(),
                Ok(None) => {}
                Err(_) => return None,
            }
            let (ours, leaving) = (&self.ours, &self.leaving);
            let read = async { ours.read(self.frames.spare()).await.unwrap_or(0) };
            // What does not fit into the pipe at once leaves as it is read.
            let ended = async {
                let _ = leaving.drain().await;
                0
            };
            match or(read, ended).await {
                0 => return None,
                count => self.frames.filled(count),
            }
        }
    }
}

fn connect(
    engine: &Arc<Engine>,
    session: SessionId,
    key: KeyId,
    name: &str,
) -> Result<Line, Failure> {
    let (theirs, ours) = Stream::pipe(PIPE_BYTES);
    let opening = Opening { session, key, held: Vec::new(), name: name.to_owned() };
    match engine.open(opening, theirs) {
        Ok((connection, incoming, leaving)) => {
            let frames = FrameBuffer::new();
            Ok(Line { connection, leaving, ours, frames, _incoming: incoming })
        }
        Err((NotOpened::Refused(rejection), _)) => Err(Failure::Rejected(rejection)),
        Err((NotOpened::Gone, _)) => Err(Failure::Gone),
    }
}

/// Whether this is the answer to a request of that number, of the kinds that the door makes.
fn answers(response: &Response, number: RequestId) -> bool {
    match response {
        Response::Returned { request, .. }
        | Response::Using { request, .. }
        | Response::Admin { request, .. } => *request == number,
        _ => false,
    }
}
