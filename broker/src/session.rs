//! One connection, from the handshake to its end.
//!
//! Not what its requests mean: they go to the engine as they are, and answers leave through the
//! outbox.
//!
//! ```text
//!   accepted ─▶ handshake ─▶ Open ─▶ requests, in batches ─▶ closed, broken, dismissed or replaced
//!   └── within the handshake's time ──┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use ganger_rt::{Stream, timeout};
use ganger_shared::codec::{self, CodecError, FrameBuffer};
use ganger_shared::handshake::Verified;
use ganger_shared::{Request, Response, SessionId};

use crate::connections::{Connections, Place, Stranger};
use crate::engine::{Engine, Gone, NotOpened, Opening};
use crate::handshake::{self, Keys, NotAdmitted};
use crate::log_quota::LogQuota;
use crate::outbox::{ConnectionId, Incoming, Leaving, Silence};

/// Frames that one connection may have carried out before others get their turn.
const BATCH_FRAMES: usize = 64;

/// Bytes of frames, likewise; the frame that reaches it is still part of the batch.
const BATCH_BYTES: usize = 256 << 10;

/// How long a client may take to take in what it was sent before the connection closes.
const LINGER: Duration = Duration::from_secs(2);

/// What every connection needs to know.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) engine: Arc<Engine>,
    pub(crate) connections: Connections,
    pub(crate) keys: Keys,
    /// From the first byte to a session that is open.
    pub(crate) handshake_timeout: Duration,
    pub(crate) frame_bytes_max: usize,
    /// Above so many bytes that have not left, nothing more is read from a client.
    pub(crate) unsent_pause: usize,
    /// Strangers can fail as often as they like; the log must not grow with it.
    pub(crate) refusals: LogQuota,
}

/// An open session's connection.
struct Session {
    id: SessionId,
    connection: ConnectionId,
    incoming: Incoming,
    leaving: Leaving,
}

/// How the connection of a session ended.
enum End {
    /// By the client, with Close.
    Closed,
    /// The socket did.
    Broken(String),
    /// The client does not keep to the protocol.
    Dismissed(String),
    /// The broker said goodbye, or another connection took the session over.
    Gone,
}

/// Serves one connection to its end.
///
/// How a connection starts and how it ends takes more memory than what lies between, where it
/// spends its time; so both are boxed.
pub(crate) async fn serve(door: Arc<Door>, stream: Stream, place: Place, stranger: Stranger) {
    let peer = stream.peer();
    let mut frames = FrameBuffer::new();
    let opened = Box::pin(let_in(&door, stream, &mut frames, stranger)).await;
    let Some(session) = opened else { return };
    let end = or(session.read(&door, &mut frames), session.write()).await;
    drop(frames);
    let id = session.id;
    match &end {
        End::Closed => log::info!(session:% = id, peer:%; "session closed by its client"),
        End::Broken(reason) => log::info!(session:% = id, peer:%, reason:%; "connection ended"),
        End::Dismissed(reason) => {
            log::warn!(session:% = id, peer:%, reason:%; "client dismissed");
        }
        End::Gone => log::info!(session:% = id, peer:%; "connection given up"),
    }
    Box::pin(session.finish(&door.engine, end)).await;
    drop(place);
}

/// The handshake and the first frame. A peer that gets no session has been told why and hung up
/// on.
async fn let_in(
    door: &Door,
    stream: Stream,
    frames: &mut FrameBuffer,
    stranger: Stranger,
) -> Option<Session> {
    let deadline = Instant::now() + door.handshake_timeout;
    let admitted = handshake::admit(&stream, frames, &door.keys);
    let admitted = door.within(deadline, admitted).await.unwrap_or_else(|NotServed(late)| {
        handshake::refuse_at_once(&stream, late.clone());
        Err(NotAdmitted::Late(late))
    });
    drop(stranger);
    let opened = match admitted {
        Ok(verified) => {
            let opened = open(door, stream.clone(), frames, verified);
            door.within(deadline, opened).await.unwrap_or_else(|late| {
                turn_away(&stream, &late.0);
                Err(late)
            })
        }
        Err(reason) => Err(reason.into()),
    };
    match opened {
        Ok(session) => Some(session),
        Err(NotServed(reason)) => {
            if door.refusals.allows() {
                log::warn!(peer:% = stream.peer(), reason:%; "connection refused");
            }
            hang_up(&stream).await;
            None
        }
    }
}

struct NotServed(String);

impl From<NotAdmitted> for NotServed {
    fn from(reason: NotAdmitted) -> Self {
        Self(reason.to_string())
    }
}

impl Door {
    /// What `future` gives before `deadline` and the broker's end.
    async fn within<T>(
        &self,
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, NotServed> {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = async {
            self.engine.ended().await;
            Err(NotServed("the broker is stopping".to_owned()))
        };
        let timed = timeout(left, or(async { Ok(future.await) }, ended)).await;
        timed.unwrap_or_else(|ganger_rt::TimedOut| {
            let limit = self.handshake_timeout;
            Err(NotServed(format!("no session was opened within {limit:?}")))
        })
    }
}

/// The first frame, which must be Open.
async fn open(
    door: &Door,
    stream: Stream,
    frames: &mut FrameBuffer,
    verified: Verified,
) -> Result<Session, NotServed> {
    let first = loop {
        match frames.next_frame(door.frame_bytes_max).map(|frame| frame.map(codec::decode)) {
            Ok(Some(request)) => break request,
            Err(error) => break Err(error),
            Ok(None) => {}
        }
        match stream.read(frames.spare()).await {
            Ok(count @ 1..) => frames.filled(count),
            Ok(0) | Err(_) => return Err(NotAdmitted::Left.into()),
        }
    };
    let opening = match first {
        Ok(Request::Open { session, held, name }) => {
            Opening { session, key: verified.key(), held, name, silence: Silence::IsDeath }
        }
        Ok(_) => return Err(turn_away(&stream, "the first frame must be Open")),
        Err(error) => return Err(turn_away(&stream, &error.to_string())),
    };
    let (id, name) = (opening.session, opening.name.clone());
    let peer = stream.peer();
    door.engine.ready().await;
    match door.engine.open(opening, stream) {
        Ok((connection, incoming, leaving)) => {
            log::info!(session:% = id, peer:%, key:% = verified.key(), name:?; "session opened");
            Ok(Session { id, connection, incoming, leaving })
        }
        Err((NotOpened::Refused(rejection), stream)) => {
            Err(turn_away(&stream, &rejection.to_string()))
        }
        Err((NotOpened::Gone, _)) => Err(NotServed("the broker is stopping".to_owned())),
    }
}

/// Tells a client that has proven a key, and has no session, why it gets none. Does not wait: so
/// little has been written to the socket that this fits.
fn turn_away(stream: &Stream, reason: &str) -> NotServed {
    let goodbye = Response::Goodbye { reason: reason.to_owned(), come_back: false };
    let mut bytes = Vec::new();
    codec::encode(&goodbye, &mut bytes);
    // It may be gone, and then needs no reason.
    let _ = stream.try_write(&bytes);
    NotServed(reason.to_owned())
}

/// Closes a connection whose last words have been written. See [`Incoming::discard`].
async fn hang_up(stream: &Stream) {
    stream.close();
    let mut scrap = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut scrap).await {}
}

impl Session {
    async fn read(&self, door: &Door, frames: &mut FrameBuffer) -> End {
        loop {
            let batch = Batch::take(frames, door.frame_bytes_max);
            let (closes, full) = (batch.closes(), batch.full);
            if !batch.requests.is_empty() {
                door.engine.ready().await;
                match door.engine.run(self.id, self.connection, batch.requests) {
                    Ok(waiting) if waiting > door.unsent_pause => {
                        let half = door.unsent_pause / 2;
                        door.engine.room(self.connection, &self.leaving, half).await;
                    }
                    Ok(_) => {}
                    Err(Gone) => return End::Gone,
                }
            } else if !frames.is_empty() {
                door.engine.heard(self.connection);
            }
            if closes {
                return End::Closed;
            }
            if let Some(error) = batch.error {
                return End::Dismissed(error.to_string());
            }
            if full {
                ganger_rt::yield_now().await;
                continue;
            }
            match self.incoming.read(frames.spare()).await {
                Ok(count @ 1..) => frames.filled(count),
                Ok(0) if frames.is_empty() => return End::Broken("closed by the peer".to_owned()),
                Ok(0) => return End::Broken("closed by the peer amid a frame".to_owned()),
                Err(error) => return End::Broken(error.to_string()),
            }
        }
    }

    async fn write(&self) -> End {
        match self.leaving.drain().await {
            Ok(()) => End::Gone,
            Err(error) => End::Broken(error.to_string()),
        }
    }

    async fn finish(self, engine: &Engine, end: End) {
        match end {
            End::Closed => engine.closed(self.connection),
            End::Dismissed(reason) => engine.dismiss(self.id, self.connection, &reason),
            // Of no effect where the session has another connection or has ended.
            End::Broken(_) | End::Gone => engine.disconnected(self.id, self.connection),
        }
        // What was said last leaves; of a dismissed connection the outbox knows when it has.
        let drained = async {
            let _ = self.leaving.drain().await;
        };
        let _ = timeout(LINGER, or(self.leaving.below(1), drained)).await;
        self.leaving.close();
        self.incoming.discard().await;
    }
}

/// Requests to be carried out together.
struct Batch {
    requests: Vec<Request>,
    /// What came after them was no frame.
    error: Option<CodecError>,
    /// There may be more.
    full: bool,
}

impl Batch {
    fn take(frames: &mut FrameBuffer, frame_bytes_max: usize) -> Self {
        let mut batch = Self { requests: Vec::new(), error: None, full: false };
        let mut size_bytes = 0;
        loop {
            if batch.requests.len() == BATCH_FRAMES || size_bytes >= BATCH_BYTES {
                batch.full = true;
                return batch;
            }
            match frames.next_frame(frame_bytes_max) {
                Ok(None) => return batch,
                Ok(Some(frame)) => {
                    size_bytes += frame.len();
                    match codec::decode(frame) {
                        Ok(request) => batch.requests.push(request),
                        Err(error) => {
                            batch.error = Some(error);
                            return batch;
                        }
                    }
                }
                Err(error) => {
                    batch.error = Some(error);
                    return batch;
                }
            }
            if batch.closes() {
                return batch;
            }
        }
    }

    /// Whether the last one is Close, after which nothing counts.
    fn closes(&self) -> bool {
        matches!(self.requests.last(), Some(Request::Close))
    }
}
