//! Frames and messages of both directions.
//!
//! The first byte says what the others are: one message of a kind, or a stream of frames of it.

use std::fmt::Debug;

use ganger_shared::codec::{self, CodecError, FrameBuffer, LENGTH_BYTES};
use ganger_shared::handshake::Handshake;
use ganger_shared::limits::SETTLEMENTS_MAX;
use ganger_shared::read_buffer::ReadBuffer;
use ganger_shared::{Request, Response, Settlement};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::script::Script;
use crate::{Measure, Target};

/// This target.
pub const TARGET: Target = Target { name: "wire", run: target, read: measure, memory_max };

/// A small one, so that inputs of the fuzzer's size reach it.
const FRAME_MAX: usize = 64 << 10;

/// Text of an error, at most: it goes to a peer and into a log.
const REASON_MAX: usize = 1 << 10;

/// A message in memory is up to four times what it was on the wire; what a connection holds for
/// what it may read next is the 64 KiB. Entries of a list are larger than that: room is made for as
/// many as the message says, if it has so many bytes and not more than a list may have entries.
const fn memory_max(bytes: usize) -> usize {
    let entries = if bytes < SETTLEMENTS_MAX { bytes } else { SETTLEMENTS_MAX };
    4 * bytes + (64 << 10) + entries * size_of::<Settlement>()
}

trait Message: Serialize + DeserializeOwned + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Message for T {}

/// Panics where a promise is broken.
///
/// # Panics
///
/// That is what it is for.
pub fn target(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    match script.choice(6) {
        0 => message::<Request>(script.rest()),
        1 => message::<Response>(script.rest()),
        2 => message::<Handshake>(script.rest()),
        3 => stream::<Request>(script),
        4 => stream::<Response>(script),
        _ => stream::<Handshake>(script),
    }
}

fn measure(bytes: &[u8], measured: &mut Measure<'_>) -> usize {
    let mut script = Script::new(bytes);
    let kind = script.choice(6);
    if kind < 3 {
        let frame = framed(script.rest());
        measured(&mut || match kind {
            0 => drop(codec::decode::<Request>(&frame)),
            1 => drop(codec::decode::<Response>(&frame)),
            _ => drop(codec::decode::<Handshake>(&frame)),
        });
    } else {
        let read = script.short();
        let wire = script.rest();
        measured(&mut || match kind {
            3 => feed(wire, read, &mut |frame| drop(codec::decode::<Request>(frame))),
            4 => feed(wire, read, &mut |frame| drop(codec::decode::<Response>(frame))),
            _ => feed(wire, read, &mut |frame| drop(codec::decode::<Handshake>(frame))),
        });
    }
    bytes.len()
}

/// `message` as a frame whose length is right.
fn framed(message: &[u8]) -> Vec<u8> {
    let size = u32::try_from(message.len()).expect("an input is far below 4 GiB");
    [&size.to_le_bytes(), message].concat()
}

fn decode<T: Message>(frame: &[u8]) -> Option<T> {
    match codec::decode(frame) {
        Ok(message) => Some(message),
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= REASON_MAX, "{} bytes of reason", text.len());
            None
        }
    }
}

/// What decodes, encodes to what decodes to the same; and nothing fits behind it.
fn message<T: Message>(bytes: &[u8]) {
    let frame = framed(bytes);
    let Some(value) = decode::<T>(&frame) else { return };
    let mut again = Vec::new();
    let size = codec::encode(&value, &mut again);
    assert_eq!(size, again.len());
    assert_eq!(codec::frame_size(&again, size), Ok(Some(size)));
    assert_eq!(decode::<T>(&again).as_ref(), Some(&value), "it decodes to something else");
    let mut twice = Vec::new();
    codec::encode(&decode::<T>(&again), &mut twice);
    assert_eq!(twice[LENGTH_BYTES + 1..], again[LENGTH_BYTES..], "it encodes to something else");

    let longer = framed(&[bytes, &[0]].concat());
    let trailing = CodecError::Trailing { size: bytes.len() + 1, extra: 1 };
    assert_eq!(codec::decode::<T>(&longer), Err(trailing));
    let shorter = framed(&bytes[..bytes.len() - 1]);
    assert!(decode::<T>(&shorter).is_none(), "a message that was cut is taken for whole");
}

/// Reads `wire` in reads of at most so many bytes, and shows each frame until the first that is too
/// long.
fn feed(mut wire: &[u8], read: usize, show: &mut dyn FnMut(&[u8])) {
    let mut frames = FrameBuffer::new();
    let mut arrived = 0;
    while !wire.is_empty() {
        let spare = frames.spare();
        let count = wire.len().min(spare.len()).min(read.max(1));
        spare[..count].copy_from_slice(&wire[..count]);
        wire = &wire[count..];
        frames.filled(count);
        arrived += count;
        assert!(frames.capacity() <= ReadBuffer::STEP.max(3 * arrived), "it holds too much");
        loop {
            match frames.next_frame(FRAME_MAX) {
                Ok(Some(frame)) => show(frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// However a stream is cut, the same frames come out of it.
fn stream<T: Message>(mut script: Script<'_>) {
    let read = script.short();
    let wire = script.rest();
    let mut cut = Vec::new();
    feed(wire, read, &mut |frame| cut.push(frame.to_vec()));
    let mut rest = wire;
    for frame in &cut {
        let size = codec::frame_size(rest, FRAME_MAX);
        assert_eq!(size, Ok(Some(frame.len())));
        assert_eq!(rest[..frame.len()], frame[..]);
        message::<T>(&frame[LENGTH_BYTES..]);
        rest = &rest[frame.len()..];
    }
    assert!(!matches!(codec::frame_size(rest, FRAME_MAX), Ok(Some(_))), "a frame was not seen");
}
