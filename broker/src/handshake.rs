//! The door: who may come in, in which time and with how many bytes.
//!
//! Not what a proof is made of, which both ends share ([`ganger_shared::handshake`]).

use std::sync::{Arc, Mutex, PoisonError};

use ganger_rt::Stream;
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::handshake::{
    BrokerChallenge, Handshake, HandshakeError, Nonce, VERSION, Verified, hello_version,
};
use ganger_shared::key::Key;
use ganger_shared::limits::HANDSHAKE_FRAME_BYTES_MAX;

/// The keys that open the door. They can be changed while the broker runs.
#[derive(Debug)]
pub(crate) struct Keys {
    known: Mutex<Arc<[Key]>>,
    /// Stands in for keys that nobody knows, so that a stranger cannot tell which exist.
    decoy: Key,
}

impl Keys {
    pub(crate) fn new(known: Vec<Key>) -> Result<Self, getrandom::Error> {
        tell(&known);
        Ok(Self { known: Mutex::new(known.into()), decoy: Key::generate()? })
    }

    pub(crate) fn replace(&self, known: Vec<Key>) {
        tell(&known);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.into();
    }

    /// All of them.
    pub(crate) fn known(&self) -> Arc<[Key]> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The ids of the keys, by which the configuration names them.
fn tell(known: &[Key]) {
    for key in known {
        log::info!(key:% = key.id(); "key taken");
    }
}

/// Why a peer did not come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// It was told why.
    #[error(transparent)]
    Refused(#[from] HandshakeError),
    /// It sent what is no frame of a handshake, and was told.
    #[error(transparent)]
    NoFrame(#[from] codec::CodecError),
    /// It went away.
    #[error("it closed the connection during the handshake")]
    Left,
    /// It took too long, or the broker stopped meanwhile; and was told.
    #[error("{0}")]
    Late(String),
    /// The system has no random numbers.
    #[error("no random numbers for the challenge: {0}")]
    Random(#[from] getrandom::Error),
}

/// Lets the peer prove that it has one of `keys`. What it sent after that is left in `frames`.
///
/// A peer that is refused is told why, and the connection is left for the caller to close.
///
/// # Cancel safety
///
/// Not safe, and need not be: a handshake that takes too long is over.
pub(crate) async fn admit(
    stream: &Stream,
    frames: &mut FrameBuffer,
    keys: &Keys,
) -> Result<Verified, NotAdmitted> {
    let admitted = converse(stream, frames, keys).await;
    if let Err(error @ (NotAdmitted::Refused(_) | NotAdmitted::NoFrame(_))) = &admitted {
        refuse(stream, error.to_string()).await;
    }
    admitted
}

/// Tells a peer that has proven nothing why it is not served.
pub(crate) async fn refuse(stream: &Stream, reason: String) {
    // It may be gone, and then needs no reason.
    let _ = send(stream, &Handshake::Refused { reason }).await;
}

/// [`refuse`] without waiting, and the end: the first write fits any socket.
pub(crate) fn refuse_at_once(stream: &Stream, reason: String) {
    let mut bytes = Vec::new();
    codec::encode(&Handshake::Refused { reason }, &mut bytes);
    // It may be gone, and then needs no reason.
    let _ = stream.try_write(&bytes);
    stream.close();
}

async fn converse(
    stream: &Stream,
    frames: &mut FrameBuffer,
    keys: &Keys,
) -> Result<Verified, NotAdmitted> {
    let hello = read_frame(stream, frames, hello_of_this_version).await?;
    let mut nonce: Nonce = [0; 32];
    getrandom::fill(&mut nonce)?;
    let (challenge, answer) = BrokerChallenge::handle(hello, &keys.known(), &keys.decoy, nonce)?;
    send(stream, &answer).await?;
    let proof = read_frame(stream, frames, |frame| Ok(codec::decode(frame)?)).await?;
    let verified = challenge.verify(&proof)?;
    send(stream, &Handshake::Welcome).await?;
    Ok(verified)
}

/// A Hello of another version need not decode, so its version is looked at first.
fn hello_of_this_version(frame: &[u8]) -> Result<Handshake, NotAdmitted> {
    match hello_version(&frame[codec::LENGTH_BYTES..]) {
        None => Err(HandshakeError::NotGanger.into()),
        Some(VERSION) => Ok(codec::decode(frame)?),
        Some(theirs) => Err(HandshakeError::Version { theirs }.into()),
    }
}

async fn read_frame(
    stream: &Stream,
    frames: &mut FrameBuffer,
    decode: impl Fn(&[u8]) -> Result<Handshake, NotAdmitted>,
) -> Result<Handshake, NotAdmitted> {
    loop {
        match frames.next_frame(HANDSHAKE_FRAME_BYTES_MAX) {
            Ok(Some(frame)) => return decode(frame),
            Ok(None) => {}
            // What a stranger says first need not be a frame at all: a browser, a port scanner.
            Err(_) => return Err(HandshakeError::NotGanger.into()),
        }
        match stream.read(frames.spare()).await {
            Ok(count @ 1..) => frames.filled(count),
            Ok(0) | Err(_) => return Err(NotAdmitted::Left),
        }
    }
}

async fn send(stream: &Stream, message: &Handshake) -> Result<(), NotAdmitted> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes);
    stream.write_all(&bytes).await.map_err(|_| NotAdmitted::Left)
}
