//! Mutual proof of the key, without sending it.
//!
//! ```text
//!  client                                      broker
//!    │  Hello      magic, version, key id, nonce ─▶│
//!    │◀─ Challenge nonce, proof(broker)            │   or Refused, in words
//!    │  Proof      proof(client)                  ─▶│
//!    │◀─ Welcome                                   │   or Refused
//! ```
//!
//! A proof is BLAKE3, keyed with a key derived for one role, over the version and both nonces. The
//! nonces stop replays, the roles stop a proof from being sent back to the one who made it, and
//! the version is inside, so that nobody on the way can lower it. The order lets the client see
//! that the broker knows the key before it sends anything that depends on it.
//!
//! Each state is consumed by the message that ends it, and only [`Verified`] lets a connection
//! go on: code that serves requests cannot be reached without one.

use core::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::key::{Key, KeyId};
use crate::limits::HANDSHAKE_FRAME_BYTES_MAX;

/// The version of the protocol that this code speaks.
pub const VERSION: u16 = 1;

/// The first bytes of a Hello.
pub const MAGIC: [u8; 4] = *b"GNGR";

/// 32 random bytes, used once.
pub type Nonce = [u8; 32];

/// One frame of the handshake. In every version Hello starts with magic and version, and Refused
/// is as here, so that peers of different versions part with words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handshake {
    /// The client's first message.
    Hello {
        /// [`MAGIC`].
        magic: [u8; 4],
        /// The client's [`VERSION`].
        version: u16,
        /// Which of the broker's keys the client has.
        key: KeyId,
        /// The client's.
        nonce: Nonce,
    },
    /// The broker's proof and challenge.
    Challenge {
        /// The broker's.
        nonce: Nonce,
        /// That the broker knows the key.
        proof: [u8; 32],
    },
    /// The client's proof.
    Proof {
        /// That the client knows the key.
        proof: [u8; 32],
    },
    /// Requests may follow.
    Welcome,
    /// The connection ends here.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl Handshake {
    /// A refusal in words, cut so that it fits a frame of the handshake.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        Self::Refused { reason: reason.to_owned() }
    }
}

/// Longest reason of a refusal: with variant and length it stays below the frame's limit.
const REASON_BYTES_MAX: usize = HANDSHAKE_FRAME_BYTES_MAX - 3;

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer does not speak this protocol at all.
    #[error("the peer does not speak the ganger protocol")]
    NotGanger,
    /// The peer speaks another version of it.
    #[error("the peer speaks version {theirs} of the protocol, this is version {VERSION}")]
    Version {
        /// The peer's.
        theirs: u16,
    },
    /// The proof is wrong, or no key of this id is known: the two are not told apart.
    #[error("the key was not accepted")]
    WrongKey,
    /// A message that does not belong here.
    #[error("unexpected message in the handshake")]
    Unexpected,
    /// The broker said no.
    #[error("the broker refused: {0}")]
    Refused(String),
}

/// The peer has proven that it knows this key.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    key: KeyId,
}

impl Verified {
    /// Which key.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }
}

#[derive(Clone, Copy)]
enum Role {
    Broker,
    Client,
}

fn proof(key: &Key, role: Role, client: &Nonce, broker: &Nonce) -> [u8; 32] {
    let purpose = match role {
        Role::Broker => "ganger v1 handshake broker proof",
        Role::Client => "ganger v1 handshake client proof",
    };
    let mut hasher = blake3::Hasher::new_keyed(&key.derive(purpose));
    hasher.update(&VERSION.to_le_bytes());
    hasher.update(client);
    hasher.update(broker);
    *hasher.finalize().as_bytes()
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

/// The client, waiting for the Challenge.
#[derive(Debug)]
pub struct ClientHello {
    key: Key,
    nonce: Nonce,
}

impl ClientHello {
    /// Starts a handshake: the message to send, and the state that waits for the answer.
    #[must_use]
    pub fn start(key: Key, nonce: Nonce) -> (Self, Handshake) {
        let hello = Handshake::Hello { magic: MAGIC, version: VERSION, key: key.id(), nonce };
        (Self { key, nonce }, hello)
    }

    /// Takes the broker's answer: the message to send, and the state that waits for Welcome.
    ///
    /// # Errors
    /// [`HandshakeError::WrongKey`] if the broker does not know the key; others as they say.
    pub fn handle(self, answer: Handshake) -> Result<(ClientProof, Handshake), HandshakeError> {
        match answer {
            Handshake::Challenge { nonce, proof: theirs } => {
                let expected = proof(&self.key, Role::Broker, &self.nonce, &nonce);
                if !same(&expected, &theirs) {
                    return Err(HandshakeError::WrongKey);
                }
                let ours = proof(&self.key, Role::Client, &self.nonce, &nonce);
                Ok((ClientProof { key: self.key.id() }, Handshake::Proof { proof: ours }))
            }
            Handshake::Refused { reason } => Err(HandshakeError::Refused(reason)),
            Handshake::Hello { .. } | Handshake::Proof { .. } | Handshake::Welcome => {
                Err(HandshakeError::Unexpected)
            }
        }
    }
}

/// The client, waiting for Welcome.
#[derive(Debug)]
pub struct ClientProof {
    key: KeyId,
}

impl ClientProof {
    /// Takes the broker's last word.
    ///
    /// # Errors
    /// [`HandshakeError::Refused`] with the broker's reason.
    pub fn handle(self, answer: Handshake) -> Result<Verified, HandshakeError> {
        match answer {
            Handshake::Welcome => Ok(Verified { key: self.key }),
            Handshake::Refused { reason } => Err(HandshakeError::Refused(reason)),
            Handshake::Hello { .. } | Handshake::Challenge { .. } | Handshake::Proof { .. } => {
                Err(HandshakeError::Unexpected)
            }
        }
    }
}

/// The broker, waiting for the client's proof.
pub struct BrokerChallenge {
    key: KeyId,
    /// Kept out of Debug: whoever reads it in a log could answer in the client's place.
    expected: [u8; 32],
    known: bool,
}

impl BrokerChallenge {
    /// Takes a Hello: the message to send, and the state that waits for the proof.
    ///
    /// A key id that is not among `keys` gets a challenge too, made with `decoy`, so that a
    /// stranger cannot find out which ids exist.
    ///
    /// # Errors
    /// [`HandshakeError::NotGanger`] or [`HandshakeError::Version`]; tell the peer which.
    pub fn handle(
        hello: Handshake,
        keys: &[Key],
        decoy: &Key,
        nonce: Nonce,
    ) -> Result<(Self, Handshake), HandshakeError> {
        let Handshake::Hello { magic, version, key: id, nonce: client } = hello else {
            return Err(HandshakeError::Unexpected);
        };
        if magic != MAGIC {
            return Err(HandshakeError::NotGanger);
        }
        if version != VERSION {
            return Err(HandshakeError::Version { theirs: version });
        }
        let found = keys.iter().find(|key| key.id() == id);
        let key = found.unwrap_or(decoy);
        let challenge =
            Handshake::Challenge { nonce, proof: proof(key, Role::Broker, &client, &nonce) };
        let expected = proof(key, Role::Client, &client, &nonce);
        Ok((Self { key: id, expected, known: found.is_some() }, challenge))
    }

    /// Takes the client's proof. Answer with Welcome, or with Refused on an error.
    ///
    /// # Errors
    /// [`HandshakeError::WrongKey`] or [`HandshakeError::Unexpected`].
    pub fn verify(self, answer: &Handshake) -> Result<Verified, HandshakeError> {
        let Handshake::Proof { proof } = answer else { return Err(HandshakeError::Unexpected) };
        if same(&self.expected, proof) && self.known {
            Ok(Verified { key: self.key })
        } else {
            Err(HandshakeError::WrongKey)
        }
    }
}

impl fmt::Debug for BrokerChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerChallenge").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Reads magic and version from the message of a Hello that may be of any version; `None` if it
/// is no Hello.
#[must_use]
pub fn hello_version(message: &[u8]) -> Option<u16> {
    let (0, rest) = postcard::take_from_bytes::<u8>(message).ok()? else { return None };
    let (magic, rest) = postcard::take_from_bytes::<[u8; 4]>(rest).ok()?;
    let (version, _) = postcard::take_from_bytes::<u16>(rest).ok()?;
    (magic == MAGIC).then_some(version)
}
