//! Brings connections up and keeps one up: dial, handshake, Open, read, dial again.
//!
//! Not what frames mean: that is the [`Session`]'s.
//!
//! ```text
//!              dial + handshake + Open          read until it breaks
//!   [ down ] ───────────────────────────▶ [ up ] ────────────────────▶ [ down ]
//!      │  unreachable for too long,          │  Goodbye for good,
//!      ▼  or not authorised                  ▼  or no ganger frames
//!   [ ended ]                             [ ended ]
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ganger_rt::{Outgoing, Stream, Task};
use ganger_shared::codec::{FrameBuffer, decode, encode};
use ganger_shared::handshake::{ClientHello, HandshakeError};
use ganger_shared::key::Key;
use ganger_shared::{Request, Response, limits};

use crate::error::{Error, ProtocolError};
use crate::session::Session;

/// How long one attempt to connect may take: 5 s, enough for a lost packet or two.
const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// How long handshake and Open may take together: 10 s, as a broker may be reading its journal.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The first pause after a failed attempt, and where doubling stops.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What waits to be written to a broker that does not read: 64 MiB, then new calls wait.
const OUTGOING_BYTES: usize = 64 << 20;

type Dialing = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// How to reach the broker.
pub(crate) struct Dialer {
    /// For messages.
    pub(crate) broker: String,
    pub(crate) key: Key,
    /// What the session calls itself.
    pub(crate) name: String,
    pub(crate) dial: Box<dyn Fn() -> Dialing + Send + Sync>,
    /// How long a broken connection is tried again; `None` is for ever.
    pub(crate) patience: Option<Duration>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Dialer {
    pub(crate) fn tcp(broker: String, key: Key, name: String, patience: Option<Duration>) -> Self {
        let address = broker.clone();
        let dial = move || -> Dialing {
            let address = address.clone();
            Box::pin(async move { Stream::connect(&address, DIAL_WITHIN).await })
        };
        Self { broker, key, name, dial: Box::new(dial), patience }
    }
}

/// A connection whose session is open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    frames: FrameBuffer,
    outgoing: Outgoing,
}

/// Why an attempt did not lead to an open session.
enum Failure {
    /// Trying again may help.
    Passing(Error),
    /// It will not.
    Final(Error),
}

impl Dialer {
    /// Tries until a session is open, for as long as `within`.
    pub(crate) async fn open(
        &self,
        session: &Session,
        within: Option<Duration>,
    ) -> Result<Connection, Error> {
        let started = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.attempt(session).await {
                Ok(connection) => return Ok(connection),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            };
            let left = within.map_or(PAUSE_MAX, |within| within.saturating_sub(started.elapsed()));
            if left.is_zero() {
                return Err(error);
            }
            log::debug!(broker = self.broker.as_str(), error = crate::error::sentence(&error); "no connection");
            ganger_rt::sleep(jittered(pause).min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, session: &Session) -> Result<Connection, Failure> {
        let unreachable = |error| Failure::Passing(self.unreachable(error));
        let stream = (self.dial)().await.map_err(unreachable)?;
        let opened = ganger_rt::timeout(OPEN_WITHIN, self.greet(&stream, session)).await;
        opened.unwrap_or_else(|late| {
            stream.close();
            Err(unreachable(io::Error::new(io::ErrorKind::TimedOut, late)))
        })
    }

    /// Handshake and Open on a fresh stream.
    async fn greet(&self, stream: &Stream, session: &Session) -> Result<Connection, Failure> {
        let mut frames = FrameBuffer::new();
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)
            .map_err(|error| Failure::Final(self.unreachable(io::Error::other(error))))?;
        let (state, hello) = ClientHello::start(self.key.clone(), nonce);
        self.say(stream, &hello).await?;
        let challenge = self.hear(stream, &mut frames, limits::HANDSHAKE_FRAME_BYTES_MAX).await?;
        let (state, proof) = state.handle(challenge).map_err(|error| self.refused(error))?;
        self.say(stream, &proof).await?;
        let welcome = self.hear(stream, &mut frames, limits::HANDSHAKE_FRAME_BYTES_MAX).await?;
        state.handle(welcome).map_err(|error| self.refused(error))?;

        let name = self.name.clone();
        let open = Request::Open { session: session.id, held: session.held(), name };
        self.say(stream, &open).await?;
        match self.hear(stream, &mut frames, limits::FRAME_BYTES_MAX).await? {
            Response::Opened { resumed, terms, .. } => {
                let outgoing = Outgoing::new(stream.clone(), OUTGOING_BYTES);
                session.up(outgoing.clone(), resumed, terms);
                Ok(Connection { stream: stream.clone(), frames, outgoing })
            }
            Response::Rejected { rejection, .. } => Err(Failure::Final(rejection.into())),
            Response::Goodbye { reason, come_back: true } => {
                Err(Failure::Passing(self.turned_away(reason)))
            }
            Response::Goodbye { reason, come_back: false } => {
                Err(Failure::Final(self.turned_away(reason)))
            }
            _ => Err(self.protocol(ProtocolError::Unexpected("it did not answer Open"))),
        }
    }

    async fn say(&self, stream: &Stream, message: &impl serde::Serialize) -> Result<(), Failure> {
        let mut frame = Vec::new();
        encode(message, &mut frame);
        let written = stream.write_all(&frame).await;
        written.map_err(|error| Failure::Passing(self.unreachable(error)))
    }

    async fn hear<T: serde::de::DeserializeOwned>(
        &self,
        stream: &Stream,
        frames: &mut FrameBuffer,
        limit: usize,
    ) -> Result<T, Failure> {
        loop {
            if let Some(frame) = frames.next_frame(limit).map_err(|e| self.protocol(e.into()))? {
                return decode(frame).map_err(|error| self.protocol(error.into()));
            }
            let end = || io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
            match stream.read(frames.spare()).await {
                Ok(count @ 1..) => frames.filled(count),
                Ok(0) => return Err(Failure::Passing(self.unreachable(end()))),
                Err(error) => return Err(Failure::Passing(self.unreachable(error))),
            }
        }
    }

    fn turned_away(&self, reason: String) -> Error {
        Error::TurnedAway { broker: self.broker.clone(), reason }
    }

    fn unreachable(&self, error: io::Error) -> Error {
        Error::Unreachable { broker: self.broker.clone(), source: Arc::new(error) }
    }

    fn refused(&self, error: HandshakeError) -> Failure {
        let broker = self.broker.clone();
        match error {
            HandshakeError::WrongKey => {
                Failure::Final(Error::NotAuthorised { broker, source: error })
            }
            // Too many connections, too slow: the key was not even looked at.
            HandshakeError::Refused(reason) => Failure::Passing(self.turned_away(reason)),
            HandshakeError::NotGanger
            | HandshakeError::Version { .. }
            | HandshakeError::Unexpected => self.protocol(error.into()),
        }
    }

    fn protocol(&self, source: ProtocolError) -> Failure {
        Failure::Final(Error::Protocol { broker: self.broker.clone(), source })
    }
}

/// Keeps the session connected until it ends: the body of a client's one task.
pub(crate) async fn keep_open(session: Arc<Session>, dialer: Dialer, mut connection: Connection) {
    loop {
        let over = connection.serve(&session).await;
        connection.outgoing.close();
        session.down();
        let broken = match over {
            Ok(broken) => broken,
            Err(failure) => return session.end(failure.into_error(&dialer)),
        };
        log::warn!(broker = dialer.broker.as_str(), reason = broken.as_str(); "connection lost, connecting again");
        match dialer.open(&session, dialer.patience).await {
            Ok(next) => connection = next,
            Err(error) => return session.end(error),
        }
        log::info!(broker = dialer.broker.as_str(), session:% = session.id; "connected again");
    }
}

/// The end of a session, said by its peer.
enum Over {
    Goodbye(String),
    Protocol(ProtocolError),
}

impl Over {
    fn into_error(self, dialer: &Dialer) -> Error {
        match self {
            Self::Goodbye(reason) => Error::Closed { reason },
            Self::Protocol(source) => Error::Protocol { broker: dialer.broker.clone(), source },
        }
    }
}

impl Connection {
    /// Feeds the session until the connection breaks, and says why it did; or why there is no use
    /// in another one.
    async fn serve(&mut self, session: &Arc<Session>) -> Result<String, Over> {
        let outgoing = self.outgoing.clone();
        let _writer = ganger_rt::spawn(async move {
            // The reader finds out about errors: they end the stream.
            let _ = outgoing.drain().await;
        });
        let (outgoing, flushing) = (self.outgoing.clone(), Arc::clone(session));
        let _flusher = ganger_rt::spawn(async move { flushing.flush_together(outgoing).await });
        let reads = Arc::new(AtomicU64::new(0));
        let _watchdog = watch(self.outgoing.clone(), session.terms().heartbeat_ms, &reads);
        loop {
            while let Some(frame) = self
                .frames
                .next_frame(limits::FRAME_BYTES_MAX)
                .map_err(|error| Over::Protocol(error.into()))?
            {
                match decode(frame).map_err(|error| Over::Protocol(error.into()))? {
                    Response::Goodbye { reason, come_back: true } => return Ok(reason),
                    Response::Goodbye { reason, come_back: false } => {
                        return Err(Over::Goodbye(reason));
                    }
                    response => session.handle(response).map_err(Over::Protocol)?,
                }
            }
            match self.stream.read(self.frames.spare()).await {
                Ok(count @ 1..) => self.frames.filled(count),
                Ok(0) => return Ok("the broker closed it".to_owned()),
                Err(error) => return Ok(error.to_string()),
            }
            reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ends a connection on which nothing has come for two heartbeats, each of which is answered.
///
/// It counts its own turns and reads no clock: while a handler blocks the runtime, nothing is read
/// and no turn passes either, so a busy worker does not take its broker for dead.
fn watch(outgoing: Outgoing, heartbeat_ms: u64, reads: &Arc<AtomicU64>) -> Task<()> {
    let reads = Arc::clone(reads);
    let turn = Duration::from_millis((heartbeat_ms / 3).max(1));
    ganger_rt::spawn(async move {
        let (mut seen, mut silent) = (0, 0);
        while silent < 6 {
            ganger_rt::sleep(turn).await;
            let count = reads.load(Ordering::Relaxed);
            silent = if count == seen { silent + 1 } else { 0 };
            seen = count;
        }
        log::warn!(heartbeat_ms; "the broker has been silent for two heartbeats");
        outgoing.close();
    })
}

/// Between half of `pause` and all of it, so that clients do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let random = getrandom::u32().unwrap_or(u32::MAX);
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
