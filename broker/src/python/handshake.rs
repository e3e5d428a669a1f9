//! Both sides prove that they have the same key, as Python's `multiprocessing.connection` does it.
//!
//! Not Ganger's own handshake, which says which key and which version.
//!
//! ```text
//!   broker ─▶ client   #CHALLENGE# M            M = {sha256} and 40 random bytes
//!   client ─▶ broker   its proof for M
//!   broker ─▶ client   #WELCOME#                or #FAILURE#, and the end
//!   client ─▶ broker   #CHALLENGE# N
//!   broker ─▶ client   the proof for N
//!   client ─▶ broker   #WELCOME#
//! ```
//!
//! A proof is an HMAC with the key of all of M or N. Python 3.12 and later put the digest's name in
//! front, `{sha256}`; older ones know MD5 only, and no name. Which it is shows by the length: there
//! is no version number. A key is proven to a stranger only after it has proven that it has it.

use bytes::Bytes;
use ganger_rt::Stream;
use ganger_shared::key::{Key, KeyId};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Sha256, Sha384};
use sha3::{Sha3_256, Sha3_384};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::frame::{self, FrameError, Inbox};

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

/// Both sides refuse longer messages before they know each other.
const MESSAGE_BYTES_MAX: usize = 256;

/// Random bytes of a challenge, as many as Python 3.12 takes.
const NONCE_BYTES: usize = 40;

/// What an MD5 proof without a name has, and what an older peer's challenge has.
const MD5_BYTES: usize = 16;
const OLD_CHALLENGE_BYTES: usize = 20;

/// Whether peers may prove their key with MD5: Python up to 3.11 cannot do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legacy {
    Allowed,
    Refused,
}

/// A key as Python programs have it.
#[derive(Clone)]
pub(crate) struct AuthKey {
    id: KeyId,
    secret: Zeroizing<Vec<u8>>,
}

impl AuthKey {
    /// Which one it is.
    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// Any bytes, as a program's `authkey`.
    pub(crate) fn new(secret: Zeroizing<Vec<u8>>) -> Self {
        let derived = blake3::derive_key("ganger v1 id of a python authkey", &secret);
        let id = KeyId(*derived.first_chunk().expect("eight of thirty-two bytes"));
        Self { id, secret }
    }

    /// It, for a program that has proven that it has it already.
    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.secret)
    }

    /// The text of a key of the broker's, byte for byte.
    pub(crate) fn of(key: &Key) -> Self {
        Self { id: key.id(), secret: Zeroizing::new(key.to_text().into_bytes()) }
    }
}

/// Why a peer did not come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("its proof is of no key of this broker")]
    WrongProof,
    #[error("its proof is made with MD5, which python.md5 refuses")]
    Md5,
    #[error("it sent {0}, which is no part of a handshake of multiprocessing")]
    Strange(&'static str),
    #[error("it did not take the broker's proof")]
    NotWelcome,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no random numbers for the challenge: {0}")]
    Random(#[from] getrandom::Error),
}

/// Lets the peer prove that it has one of `keys`, and proves the same to it. Returns which one.
///
/// # Cancel safety
///
/// Not safe, and need not be: a handshake that takes too long is over.
pub(crate) async fn admit(
    stream: &Stream,
    inbox: &mut Inbox,
    keys: &[AuthKey],
    legacy: Legacy,
) -> Result<AuthKey, NotAdmitted> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)?;
    let challenge = [Digest::Sha256.name(), &nonce].concat();
    say(stream, &[CHALLENGE, &challenge]).await?;
    let proof = inbox.next(stream, MESSAGE_BYTES_MAX).await?;
    let key = match judge(keys, &challenge, &proof, legacy) {
        Ok(key) => key,
        Err(reason) => {
            say(stream, &[FAILURE]).await?;
            return Err(reason);
        }
    };
    say(stream, &[WELCOME]).await?;
    let theirs = inbox.next(stream, MESSAGE_BYTES_MAX).await?;
    let theirs = theirs.strip_prefix(CHALLENGE).ok_or(NotAdmitted::Strange("no challenge"))?;
    say(stream, &[&answer(key, theirs, legacy)?]).await?;
    match inbox.next(stream, MESSAGE_BYTES_MAX).await? {
        welcome if welcome == WELCOME => Ok(key.clone()),
        _ => Err(NotAdmitted::NotWelcome),
    }
}

/// The key that a proof was made with.
fn judge<'a>(
    keys: &'a [AuthKey],
    challenge: &[u8],
    proof: &[u8],
    legacy: Legacy,
) -> Result<&'a AuthKey, NotAdmitted> {
    let (digest, tag) = match proof.len() {
        MD5_BYTES => (Digest::Md5, proof),
        _ => Digest::named(proof).ok_or(NotAdmitted::Strange("a proof by an unknown digest"))?,
    };
    if digest == Digest::Md5 && legacy == Legacy::Refused {
        return Err(NotAdmitted::Md5);
    }
    // All are tried, so that the time it takes says nothing about which of them it is.
    let mut found = None;
    for key in keys {
        if digest.is_tag(&key.secret, challenge, tag) {
            found = Some(key);
        }
    }
    found.ok_or(NotAdmitted::WrongProof)
}

/// What proves `key` to a peer that sent `challenge`.
fn answer(key: &AuthKey, challenge: &[u8], legacy: Legacy) -> Result<Vec<u8>, NotAdmitted> {
    if challenge.len() == OLD_CHALLENGE_BYTES {
        return match legacy {
            Legacy::Allowed => Ok(Digest::Md5.tag(&key.secret, challenge)),
            Legacy::Refused => Err(NotAdmitted::Md5),
        };
    }
    let named = Digest::named(challenge).filter(|_| challenge.len() > OLD_CHALLENGE_BYTES);
    let (digest, _) = named.ok_or(NotAdmitted::Strange("a challenge by an unknown digest"))?;
    if digest == Digest::Md5 && legacy == Legacy::Refused {
        return Err(NotAdmitted::Md5);
    }
    Ok([digest.name(), &digest.tag(&key.secret, challenge)].concat())
}

async fn say(stream: &Stream, parts: &[&[u8]]) -> Result<(), NotAdmitted> {
    let written = stream.write_all(&frame::message(parts)).await;
    written.map_err(|error| NotAdmitted::Frame(error.into()))
}

/// The digests that Python 3.12 and later allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Md5,
    Sha256,
    Sha384,
    Sha3_256,
    Sha3_384,
}

impl Digest {
    const ALL: [Self; 5] = [Self::Md5, Self::Sha256, Self::Sha384, Self::Sha3_256, Self::Sha3_384];

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Md5 => b"{md5}",
            Self::Sha256 => b"{sha256}",
            Self::Sha384 => b"{sha384}",
            Self::Sha3_256 => b"{sha3_256}",
            Self::Sha3_384 => b"{sha3_384}",
        }
    }

    /// The digest that `bytes` begin with the name of, and what follows.
    fn named(bytes: &[u8]) -> Option<(Self, &[u8])> {
        Self::ALL.into_iter().find_map(|digest| Some((digest, bytes.strip_prefix(digest.name())?)))
    }

    fn tag(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => tag::<Hmac<Md5>>(key, message),
            Self::Sha256 => tag::<Hmac<Sha256>>(key, message),
            Self::Sha384 => tag::<Hmac<Sha384>>(key, message),
            Self::Sha3_256 => tag::<Hmac<Sha3_256>>(key, message),
            Self::Sha3_384 => tag::<Hmac<Sha3_384>>(key, message),
        }
    }

    /// Whether it is the tag of `message`, in a time that says no more than that.
    fn is_tag(self, key: &[u8], message: &[u8], tag: &[u8]) -> bool {
        self.tag(key, message).ct_eq(tag).into()
    }
}

fn tag<M: KeyInit + Mac>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn key(secret: &str) -> AuthKey {
        AuthKey { id: KeyId([7; 8]), secret: Zeroizing::new(secret.as_bytes().to_vec()) }
    }

    /// As `hmac.new(b"key", message, digest).hexdigest()` of Python gives them.
    #[test]
    fn tags_are_those_of_python() {
        let message = b"The quick brown fox jumps over the lazy dog";
        let expected = [
            (Digest::Md5, "80070713463e7749b90c2dc24911e275"),
            (Digest::Sha256, "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"),
        ];
        for (digest, tag) in expected {
            assert_eq!(hex(&digest.tag(b"key", message)), tag, "{digest:?}");
        }
        let sizes = Digest::ALL.map(|digest| digest.name().len() + digest.tag(b"", b"").len());
        assert_eq!(sizes, [21, 40, 56, 42, 58]);
    }

    #[test]
    fn proof_is_taken_with_any_digest_and_any_key_and_no_other_one() {
        let (one, other) = (key("one"), key("other"));
        let challenge = [Digest::Sha256.name(), &[9; NONCE_BYTES]].concat();
        let keys = [one, other];
        for digest in Digest::ALL {
            let mut proof = [digest.name(), &digest.tag(b"other", &challenge)].concat();
            assert!(judge(&keys, &challenge, &proof, Legacy::Allowed).is_ok(), "{digest:?}");
            *proof.last_mut().unwrap() ^= 1;
            let refused = judge(&keys, &challenge, &proof, Legacy::Allowed);
            assert!(matches!(refused, Err(NotAdmitted::WrongProof)), "{digest:?}");
            let short = &proof[..proof.len() - 1];
            assert!(judge(&keys, &challenge, short, Legacy::Allowed).is_err(), "{digest:?}");
        }
        let old = Digest::Md5.tag(b"one", &challenge);
        assert!(judge(&keys, &challenge, &old, Legacy::Allowed).is_ok());
        let refused = judge(&keys, &challenge, &old, Legacy::Refused);
        assert!(matches!(refused, Err(NotAdmitted::Md5)));
        for strange in [&b""[..], b"{sha1}0123456789012345678901234567890123456789", b"GET / "] {
            let refused = judge(&keys, &challenge, strange, Legacy::Allowed);
            assert!(matches!(refused, Err(NotAdmitted::Strange(_))), "{strange:?}");
        }
    }

    #[test]
    fn challenges_of_old_and_new_peers_are_answered_in_their_way() {
        let key = key("one");
        let old = [3; OLD_CHALLENGE_BYTES];
        assert_eq!(answer(&key, &old, Legacy::Allowed).unwrap(), Digest::Md5.tag(b"one", &old));
        assert!(answer(&key, &old, Legacy::Refused).is_err());
        let new = [b"{sha3_384}", &[4; NONCE_BYTES][..]].concat();
        let proof = answer(&key, &new, Legacy::Refused).unwrap();
        assert_eq!(proof, [b"{sha3_384}", &Digest::Sha3_384.tag(b"one", &new)[..]].concat());
        for strange in [&b""[..], b"{sha256}too short", b"{sha1}012345678901234567890123456789"] {
            assert!(answer(&key, strange, Legacy::Allowed).is_err(), "{strange:?}");
        }
    }
}
