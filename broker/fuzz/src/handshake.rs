//! The handshake, with a stranger at the other end.
//!
//! Not sockets: the same states as in a broker's door and in a client, one message after the other.
//! The first byte says who is attacked and where each message of the stranger comes from: from the
//! bytes, or a right one that they change, or one that was meant for somebody else.

use ganger_shared::codec::{self, FrameBuffer, LENGTH_BYTES};
use ganger_shared::handshake::{
    BrokerChallenge, ClientHello, Handshake, HandshakeError, Nonce, Verified, hello_version,
};
use ganger_shared::key::Key;
use ganger_shared::limits::HANDSHAKE_FRAME_BYTES_MAX;

use crate::script::Script;
use crate::{Measure, Target};

/// This target.
pub const TARGET: Target = Target { name: "handshake", run: target, read: measure, memory_max };

const fn memory_max(bytes: usize) -> usize {
    4 * bytes + (64 << 10)
}

const BROKERS: Nonce = [0xb0; 32];
const CLIENTS: Nonce = [0xc1; 32];

/// A key that is the same in every run.
fn key(digit: char) -> Key {
    let text = format!("gk1_{}", String::from(digit).repeat(64));
    text.parse().expect("64 hex digits are a key")
}

fn measure(bytes: &[u8], measured: &mut Measure<'_>) -> usize {
    measured(&mut || target(bytes));
    bytes.len()
}

/// Panics where a promise is broken: whoever gets in has proven the key, in this conversation.
///
/// # Panics
///
/// That is what it is for.
pub fn target(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    if script.byte().is_multiple_of(2) {
        broker_is_attacked(&mut script);
    } else {
        client_is_attacked(&mut script);
    }
}

fn frame(message: &Handshake) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::encode(message, &mut frame);
    assert!(frame.len() <= LENGTH_BYTES + HANDSHAKE_FRAME_BYTES_MAX, "a message is too long");
    frame
}

/// A right frame with some of its bytes changed.
fn changed(message: &Handshake, script: &mut Script<'_>) -> Vec<u8> {
    let mut frame = frame(message);
    for _ in 0..script.choice(4) {
        let at = script.choice(frame.len());
        frame[at] ^= script.byte();
    }
    frame
}

/// The next frame's message, as the broker's door and the client read it.
fn read(frames: &mut FrameBuffer, is_hello: bool) -> Result<Option<Handshake>, HandshakeError> {
    let frame = match frames.next_frame(HANDSHAKE_FRAME_BYTES_MAX) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Ok(None),
        Err(_) => return Err(HandshakeError::NotGanger),
    };
    let version = hello_version(&frame[LENGTH_BYTES..]);
    let message = codec::decode::<Handshake>(frame).ok();
    if is_hello {
        // A Hello that decodes has a version, whatever it is.
        if let Some(Handshake::Hello { magic, version: says, .. }) = &message
            && *magic == ganger_shared::handshake::MAGIC
        {
            assert_eq!(version, Some(*says));
        }
    }
    Ok(message)
}

fn say(frames: &mut FrameBuffer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let spare = frames.spare();
        let count = spare.len().min(bytes.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        frames.filled(count);
        bytes = &bytes[count..];
    }
}

/// Whether the refusal of this error can be sent and read.
fn refuse(error: &HandshakeError) {
    let refused = Handshake::refused(&error.to_string());
    assert_eq!(codec::decode::<Handshake>(&frame(&refused)), Ok(refused));
}

fn broker_is_attacked(script: &mut Script<'_>) {
    let (keys, decoy) = ([key('1'), key('2')], key('d'));
    let mut frames = FrameBuffer::new();
    let (client, right_hello) = ClientHello::start(keys[0].clone(), CLIENTS);
    let hello = match script.choice(3) {
        0 => script.bytes().to_vec(),
        1 => changed(&right_hello, script),
        _ => changed(&ClientHello::start(key('3'), CLIENTS).1, script),
    };
    say(&mut frames, &hello);
    let Ok(Some(hello)) = read(&mut frames, true) else { return };
    let begun = BrokerChallenge::handle(hello.clone(), &keys, &decoy, BROKERS);
    let (broker, challenge) = match begun {
        Ok(begun) => begun,
        Err(error) => return refuse(&error),
    };
    let Handshake::Challenge { nonce, proof } = challenge else { panic!("it is no challenge") };
    assert_eq!(nonce, BROKERS);
    // What the owner of the key would answer to it.
    let right = owners_answer(&hello, &keys, &challenge);
    let answer = match script.choice(6) {
        0 => script.bytes().to_vec(),
        1 => right.as_ref().map_or_else(Vec::new, |right| changed(right, script)),
        // The broker's own, sent back.
        2 => changed(&Handshake::Proof { proof }, script),
        // One of another conversation.
        3 => {
            let other = BrokerChallenge::handle(right_hello, &keys, &decoy, [0xb1; 32]);
            let other = other.and_then(|(_, challenge)| client.handle(challenge));
            other.map_or_else(|_| Vec::new(), |(_, proof)| changed(&proof, script))
        }
        // With the key that stands in for unknown ones, as if it were no secret.
        4 => {
            let Handshake::Hello { nonce, .. } = hello else { panic!("it is no hello") };
            let known = ClientHello::start(decoy, nonce).0.handle(challenge);
            known.map_or_else(|_| Vec::new(), |(_, proof)| frame(&proof))
        }
        _ => frame(&hello),
    };
    say(&mut frames, &answer);
    let Ok(Some(answer)) = read(&mut frames, false) else { return };
    match broker.verify(&answer) {
        Ok(verified) => {
            assert_eq!(Some(answer), right, "it let in whoever has not proven the key");
            assert!(keys.iter().any(|key| key.id() == verified.key()));
        }
        Err(error) => {
            assert_ne!(Some(answer), right, "it refused the owner of the key: {error}");
            refuse(&error);
        }
    }
}

/// The proof of a client that has the key its Hello names, if that is one of `keys`.
fn owners_answer(hello: &Handshake, keys: &[Key], challenge: &Handshake) -> Option<Handshake> {
    let Handshake::Hello { key: id, nonce, .. } = hello else { return None };
    let key = keys.iter().find(|key| key.id() == *id)?;
    let (client, _) = ClientHello::start(key.clone(), *nonce);
    Some(client.handle(challenge.clone()).expect("its key is the broker's").1)
}

fn client_is_attacked(script: &mut Script<'_>) {
    let mut frames = FrameBuffer::new();
    let (client, hello) = ClientHello::start(key('1'), CLIENTS);
    let challenge = |keys: &[Key], hello: Handshake| {
        BrokerChallenge::handle(hello, keys, &key('d'), BROKERS).expect("the hello is right").1
    };
    let right = challenge(&[key('1')], hello.clone());
    let said = match script.choice(5) {
        0 => script.bytes().to_vec(),
        1 => changed(&right, script),
        // Of a broker that does not know the key.
        2 => changed(&challenge(&[], hello), script),
        // Of an earlier conversation of this client.
        3 => frame(&challenge(&[key('1')], ClientHello::start(key('1'), [0xc2; 32]).1)),
        _ => frame(&hello),
    };
    say(&mut frames, &said);
    let Ok(Some(answer)) = read(&mut frames, false) else { return };
    let is_right = answer == right;
    let client = match client.handle(answer) {
        Ok((client, Handshake::Proof { .. })) => client,
        Ok((_, other)) => panic!("it answers with {other:?}"),
        Err(error) => {
            assert!(!is_right, "it refuses its own broker: {error}");
            return;
        }
    };
    assert!(is_right, "it believes a broker that has not proven the key");
    let said = match script.choice(2) {
        0 => script.bytes().to_vec(),
        _ => changed(&Handshake::Welcome, script),
    };
    say(&mut frames, &said);
    let Ok(Some(answer)) = read(&mut frames, false) else { return };
    let is_welcome = answer == Handshake::Welcome;
    let verified: Result<Verified, _> = client.handle(answer);
    assert_eq!(verified.is_ok(), is_welcome);
}
