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
use ganger_rt::Stream;
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::key::KeyId;
use ganger_shared::object::QUEUE;
use ganger_shared::object::types::{self, Takes};
use ganger_shared::{
    Block, By, CallError, Durability, Name, Packed, Rejection, Request, RequestId, Response,
    SessionId, Value,
};

use crate::engine::{Engine, NotOpened, Opening};
use crate::outbox::{ConnectionId, Incoming, Leaving, Silence};

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
    next_request: u64,
    next_seq: u64,
    /// What the last call takes or has taken out of a queue.
    taking: Option<Taking>,
}

/// A call that takes an item out of a queue, for a client that may not get it.
#[derive(Debug)]
struct Taking {
    queue: Name,
    method: String,
    seq: u64,
    /// `None` until it is taken.
    item: Option<Packed>,
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
}

impl Inside {
    /// Opens a session of its own.
    pub(crate) fn open(engine: &Arc<Engine>, terms: Terms) -> Result<Self, Failure> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|_| Failure::Gone)?;
        let id = SessionId(u64::from_le_bytes(id));
        let Terms { key, name, frame_bytes_max } = terms;
        let line = connect(engine, id, key, &name)?;
        Ok(Self {
            engine: Arc::clone(engine),
            id,
            key,
            name,
            line,
            frame_bytes_max,
            next_request: 0,
            next_seq: 0,
            taking: None,
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
        let known = types::builtin(typeid).and_then(|found| found.method(method));
        let reads = known.is_some_and(|method| method.takes == Takes::Nothing);
        let seq = (!reads).then_some(self.next_seq);
        self.next_seq += u64::from(!reads);
        let takes = typeid == QUEUE && matches!(method, "get" | "get_nowait");
        self.taking = seq.filter(|_| takes).map(|seq| {
            let (queue, method) = (object.clone(), method.to_owned());
            Taking { queue, method, seq, item: None }
        });
        let returned = self.carry(object, typeid, method, args, wait, seq).await;
        match &returned {
            Ok(item) => {
                if let Some(taking) = &mut self.taking {
                    taking.item = Some(item.clone());
                }
            }
            Err(_) => self.taking = None,
        }
        returned
    }

    /// Puts back what the last call took, if its client does not get it: behind the others, as one that is
    /// put anew. A call that was abandoned may have been carried out too.
    pub(crate) async fn put_back(&mut self) -> Result<(), Failure> {
        const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
        let Some(Taking { queue, method, seq, item }) = self.taking.take() else { return Ok(()) };
        let item = match item {
            Some(item) => item,
            // Under its number it is answered as it was carried out; if it was not, it finds hardly
            // anything to take, for it has waited.
            None => match self.carry(&queue, QUEUE, &method, &[], AT_ONCE, Some(seq)).await {
                Err(Failure::Call(_)) => return Ok(()),
                taken => taken?,
            },
        };
        self.call(&queue, QUEUE, "put", &[item], None).await?;
        // Of the two puts one is done, for whoever joins.
        self.call(&queue, QUEUE, "task_done", &[], AT_ONCE).await?;
        log::info!(queue:%; "an item that a python client did not get is back in its queue");
        Ok(())
    }

    async fn carry(
        &mut self,
        object: &Name,
        typeid: &str,
        method: &str,
        args: &[Packed],
        wait: Option<Duration>,
        seq: Option<u64>,
    ) -> Result<Packed, Failure> {
        let mut bytes = Vec::new();
        args.iter().for_each(|arg| bytes.extend_from_slice(arg.as_bytes()));
        // One call after the other, so all before this one were answered.
        let answered = seq.unwrap_or(self.next_seq);
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
            match self.line.next(self.frame_bytes_max).await {
                None => return Err(Failure::Gone),
                Some(Response::Rejected { request, rejection }) if request == number => {
                    return Err(Failure::Rejected(rejection));
                }
                Some(response) if answers(&response, number) => return Ok(response),
                Some(_) => {}
            }
        }
    }

    /// Gives up the call that waits, and goes on with the same session: what it holds, it holds, but
    /// for what that call has taken out of a queue.
    pub(crate) async fn abandon(&mut self) -> Result<(), Failure> {
        self.engine.disconnected(self.id, self.line.connection);
        self.line = connect(&self.engine, self.id, self.key, &self.name)?;
        self.put_back().await
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
    let (held, name, silence) = (Vec::new(), name.to_owned(), Silence::IsNothing);
    let opening = Opening { session, key, held, name, silence };
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
