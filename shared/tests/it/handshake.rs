//! Two peers prove the key to each other, and everyone else is told nothing.

use ganger_shared::codec::{CodecError, FrameBuffer, encode};
use ganger_shared::handshake::{
    BrokerChallenge, ClientHello, ClientProof, Handshake, HandshakeError, MAGIC, VERSION,
    hello_version,
};
use ganger_shared::key::{Key, KeyId};
use ganger_shared::limits::HANDSHAKE_FRAME_BYTES_MAX;
use ganger_shared::read_buffer::ReadBuffer;

use crate::samples::{handshakes, key};

fn other_key() -> Key {
    format!("gk1_{}", "08".repeat(32)).parse().unwrap()
}

fn decoy() -> Key {
    format!("gk1_{}", "dd".repeat(32)).parse().unwrap()
}

/// A challenge to `hello` from a broker that knows `keys`, with a nonce of its own.
fn challenge(hello: Handshake, keys: &[Key]) -> (BrokerChallenge, Handshake) {
    BrokerChallenge::handle(hello, keys, &decoy(), [2; 32]).unwrap()
}

#[test]
fn peers_with_the_same_key_verify_each_other() {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let (broker, answer) = challenge(hello, &[other_key(), key()]);
    let (client, proof) = client.handle(answer).unwrap();
    assert_eq!(broker.verify(&proof).unwrap().key(), key().id());
    assert_eq!(client.handle(Handshake::Welcome).unwrap().key(), key().id());
}

#[test]
fn client_notices_a_broker_without_the_key_and_sends_no_proof() {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let (_, answer) = challenge(hello, &[other_key()]);
    assert_eq!(client.handle(answer).unwrap_err(), HandshakeError::WrongKey);
}

#[test]
fn broker_that_claims_the_key_id_but_has_another_key_is_noticed() {
    let (client, _) = ClientHello::start(key(), [1; 32]);
    let (_, hello) = ClientHello::start(other_key(), [1; 32]);
    let (_, answer) = challenge(hello, &[other_key()]);
    assert_eq!(client.handle(answer).unwrap_err(), HandshakeError::WrongKey);
}

#[test]
fn wrong_proof_is_refused_bit_by_bit() {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let (_, answer) = challenge(hello.clone(), &[key()]);
    let (_, proof) = client.handle(answer).unwrap();
    let Handshake::Proof { proof } = proof else { panic!("not a proof: {proof:?}") };
    for bit in 0..256 {
        let mut wrong = proof;
        wrong[bit / 8] ^= 1 << (bit % 8);
        let (broker, _) = challenge(hello.clone(), &[key()]);
        let refused = broker.verify(&Handshake::Proof { proof: wrong }).unwrap_err();
        assert_eq!(refused, HandshakeError::WrongKey);
    }
}

#[test]
fn unknown_key_id_is_challenged_and_refused_like_a_wrong_proof() {
    // A stranger guesses ids: one that exists and one that does not.
    let hello =
        |key: KeyId| Handshake::Hello { magic: MAGIC, version: VERSION, key, nonce: [1; 32] };
    for id in [key().id(), KeyId([0; 8])] {
        let (broker, answer) = challenge(hello(id), &[key()]);
        assert!(matches!(answer, Handshake::Challenge { .. }));
        let refused = broker.verify(&Handshake::Proof { proof: [0; 32] }).unwrap_err();
        assert_eq!(refused, HandshakeError::WrongKey);
    }
}

#[test]
fn decoy_opens_nothing_even_to_one_who_knows_it() {
    let (client, hello) = ClientHello::start(decoy(), [1; 32]);
    let (broker, answer) = challenge(hello, &[key()]);
    let (_, proof) = client.handle(answer).unwrap();
    assert_eq!(broker.verify(&proof).unwrap_err(), HandshakeError::WrongKey);
}

#[test]
fn reflected_proof_is_refused() {
    let (_, hello) = ClientHello::start(key(), [1; 32]);
    let (broker, answer) = challenge(hello, &[key()]);
    let Handshake::Challenge { proof, .. } = answer else { panic!("no challenge") };
    let refused = broker.verify(&Handshake::Proof { proof }).unwrap_err();
    assert_eq!(refused, HandshakeError::WrongKey);
}

#[test]
fn replayed_proof_is_refused_by_a_challenge_with_another_nonce() {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let (_, answer) = challenge(hello.clone(), &[key()]);
    let (_, proof) = client.handle(answer).unwrap();
    let (broker, _) = BrokerChallenge::handle(hello, &[key()], &decoy(), [3; 32]).unwrap();
    assert_eq!(broker.verify(&proof).unwrap_err(), HandshakeError::WrongKey);
}

#[test]
fn replayed_challenge_is_refused_by_a_client_with_another_nonce() {
    let (_, hello) = ClientHello::start(key(), [1; 32]);
    let (_, answer) = challenge(hello, &[key()]);
    let (client, _) = ClientHello::start(key(), [4; 32]);
    assert_eq!(client.handle(answer).unwrap_err(), HandshakeError::WrongKey);
}

#[test]
fn proof_is_blake3_keyed_for_its_role_over_version_and_nonces() {
    // As docs/protocol.md describes it, for those who write it in another language.
    let proof = |purpose: &str| {
        let key = blake3::derive_key(purpose, &[7; 32]);
        let hashed = [&[1, 0][..], &[1; 32], &[2; 32]].concat();
        *blake3::keyed_hash(&key, &hashed).as_bytes()
    };
    let id = *blake3::derive_key("ganger v1 key id", &[7; 32]).first_chunk().unwrap();
    let sent: Vec<_> = handshakes().into_iter().map(|(_, message)| message).collect();
    let expected = [
        Handshake::Hello { magic: *b"GNGR", version: 1, key: KeyId(id), nonce: [1; 32] },
        Handshake::Challenge { nonce: [2; 32], proof: proof("ganger v1 handshake broker proof") },
        Handshake::Proof { proof: proof("ganger v1 handshake client proof") },
    ];
    assert_eq!(sent[..3], expected);
}

#[test]
fn other_version_is_refused_with_its_number() {
    let hello = Handshake::Hello { magic: MAGIC, version: 9, key: key().id(), nonce: [1; 32] };
    let refused = BrokerChallenge::handle(hello, &[key()], &decoy(), [2; 32]).unwrap_err();
    assert_eq!(refused, HandshakeError::Version { theirs: 9 });
    let words = "the peer speaks version 9 of the protocol, this is version 1";
    assert_eq!(refused.to_string(), words);
}

#[test]
fn version_of_a_hello_is_read_whatever_follows_it() {
    assert_eq!(hello_version(b"\0GNGR\x01"), Some(1));
    assert_eq!(hello_version(b"\0GNGR\x02 of a later version"), Some(2));
    assert_eq!(hello_version(b"\0GNGR\xff\xff\x03"), Some(u16::MAX));
    for (_, message) in handshakes() {
        let message_bytes = postcard::to_stdvec(&message).unwrap();
        let is_hello = matches!(message, Handshake::Hello { .. });
        assert_eq!(hello_version(&message_bytes), is_hello.then_some(VERSION));
    }
}

#[test]
fn garbage_is_no_hello() {
    for garbage in [&b""[..], b"\0", b"\0GNG", b"\0GNGR", b"\0GNGQ\x01", b"\x01GNGR\x01", b"GET /"]
    {
        assert_eq!(hello_version(garbage), None, "{garbage:?}");
    }
    let hello =
        Handshake::Hello { magic: *b"HTTP", version: VERSION, key: key().id(), nonce: [1; 32] };
    let refused = BrokerChallenge::handle(hello, &[key()], &decoy(), [2; 32]).unwrap_err();
    assert_eq!(refused, HandshakeError::NotGanger);
}

#[test]
fn message_out_of_turn_is_refused_in_every_state() {
    let messages = || handshakes().into_iter().map(|(_, message)| message);
    let client_proof = || -> ClientProof {
        let (client, hello) = ClientHello::start(key(), [1; 32]);
        let (_, answer) = challenge(hello, &[key()]);
        client.handle(answer).unwrap().0
    };
    for message in messages() {
        let first = BrokerChallenge::handle(message.clone(), &[key()], &decoy(), [2; 32]);
        let second = ClientHello::start(key(), [1; 32]).0.handle(message.clone());
        let (_, hello) = ClientHello::start(key(), [1; 32]);
        let third = challenge(hello, &[key()]).0.verify(&message);
        let fourth = client_proof().handle(message.clone());

        let refused = HandshakeError::Refused("the key was not accepted".to_owned());
        let unexpected = HandshakeError::Unexpected;
        let outcomes = [first.err(), second.err(), third.err(), fourth.err()];
        let none = || Some(unexpected.clone());
        let expected = match message {
            Handshake::Hello { .. } => [None, none(), none(), none()],
            Handshake::Challenge { .. } => [none(), None, none(), none()],
            Handshake::Proof { .. } => [none(), none(), None, none()],
            Handshake::Welcome => [none(), none(), none(), None],
            Handshake::Refused { .. } => [none(), Some(refused.clone()), none(), Some(refused)],
        };
        assert_eq!(outcomes, expected, "{message:?}");
    }
}

#[test]
fn every_message_fits_the_bound_for_strangers() {
    let long = Handshake::refused(&"é".repeat(10_000));
    for message in handshakes().into_iter().map(|(_, message)| message).chain([long]) {
        let mut frame = Vec::new();
        let size = encode(&message, &mut frame);
        assert!(size <= HANDSHAKE_FRAME_BYTES_MAX + 4, "{size} bytes: {message:?}");
    }
}

#[test]
fn stranger_who_speaks_http_is_refused_on_the_first_four_bytes() {
    let mut frames = FrameBuffer::new();
    frames.spare()[..4].copy_from_slice(b"GET ");
    frames.filled(4);
    let size = u32::from_le_bytes(*b"GET ") as usize;
    let limit = HANDSHAKE_FRAME_BYTES_MAX;
    assert_eq!(frames.next_frame(limit), Err(CodecError::TooLong { size, limit }));
    assert_eq!(frames.capacity(), ReadBuffer::FIRST);
}

#[test]
fn debug_of_every_state_hides_the_key_and_the_expected_proof() {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let mut shown = format!("{client:?}");
    let (broker, answer) = challenge(hello, &[key()]);
    shown += &format!("{broker:?}");
    let (client, proof) = client.handle(answer).unwrap();
    shown += &format!("{client:?}");
    let Handshake::Proof { proof } = proof else { panic!("not a proof: {proof:?}") };
    shown += &format!("{:?}", broker.verify(&Handshake::Proof { proof }).unwrap());

    for secret in [[7; 32], proof] {
        let list = format!("{secret:?}");
        assert!(!shown.contains(&list[1..list.len() - 1]), "{shown}");
    }
    assert!(!shown.contains(&key().to_text()[4..]), "{shown}");
}
