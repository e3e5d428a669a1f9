//! Frames: a `u32` little-endian length, then one postcard message of exactly that many bytes.
//!
//! Not the transport: bytes come from and go to whoever owns a socket.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::Deserialize;

use crate::complaint;
use crate::read_buffer::ReadBuffer;

/// Bytes of the length in front of a message.
pub const LENGTH_BYTES: usize = 4;

/// The peer sent bytes that are no frame. The connection cannot go on: where the next frame
/// starts is unknown, or what it would mean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The length is over the limit; nothing was allocated for it.
    #[error("frame of {size} bytes is over the limit of {limit} bytes")]
    TooLong {
        /// As the peer said.
        size: usize,
        /// In force here.
        limit: usize,
    },
    /// The message does not decode: cut short, an unknown variant, a value out of range.
    #[error("frame of {size} bytes is no known message: {reason}")]
    Malformed {
        /// Of the message, in bytes.
        size: usize,
        /// What the decoder says.
        reason: String,
    },
    /// The message ends before its frame does.
    #[error("frame of {size} bytes has {extra} bytes after its message")]
    Trailing {
        /// Of the frame, in bytes.
        size: usize,
        /// How many too many.
        extra: usize,
    },
}

/// Appends `message` to `buffer` as one frame and returns the frame's size, length included.
///
/// # Panics
/// If the message is 4 GiB or longer; every sender bounds what it puts into one.
pub fn encode(message: &impl Serialize, buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; LENGTH_BYTES]);
    append(message, buffer);
    let size = buffer.len() - start - LENGTH_BYTES;
    let size = u32::try_from(size).expect("senders keep frames far below 4 GiB");
    buffer[start..start + LENGTH_BYTES].copy_from_slice(&size.to_le_bytes());
    size as usize + LENGTH_BYTES
}

/// Appends `value` to `buffer` in postcard's format, with nothing around it.
pub fn append(value: &impl Serialize, buffer: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Appended(buffer))
        .expect("writing into memory cannot fail, and every message serializes");
}

/// Copies payloads as a whole, where [`postcard::to_extend`] goes byte by byte.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// What the start of `bytes` holds: `Some(n)` if a whole frame of `n` bytes, length included.
///
/// # Errors
/// [`CodecError::TooLong`] as soon as the length is known, before its message has arrived.
pub fn frame_size(bytes: &[u8], limit: usize) -> Result<Option<usize>, CodecError> {
    let Some(size) = declared(bytes) else { return Ok(None) };
    if size > limit {
        return Err(CodecError::TooLong { size, limit });
    }
    let whole = LENGTH_BYTES + size;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// The size that the frame at the start of `bytes` will have, length included, if its length has arrived.
#[must_use]
pub fn declared_size(bytes: &[u8]) -> Option<usize> {
    declared(bytes).map(|size| size + LENGTH_BYTES)
}

fn declared(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH_BYTES>()?;
    Some(u32::from_le_bytes(*length) as usize)
}

/// Decodes the message of one whole frame, length included.
///
/// # Errors
/// [`CodecError::Malformed`] or [`CodecError::Trailing`].
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, CodecError> {
    read(&frame[LENGTH_BYTES..])
}

/// Decodes what [`append`] has written.
///
/// # Errors
/// As for [`decode`].
pub fn read<'a, T: Deserialize<'a>>(message: &'a [u8]) -> Result<T, CodecError> {
    let size = message.len();
    // One that an earlier message left behind is not about this one.
    complaint::take();
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, extra)) => Err(CodecError::Trailing { size, extra: extra.len() }),
        Err(error) => {
            let reason = complaint::take().unwrap_or_else(|| plainly(error));
            Err(CodecError::Malformed { size, reason })
        }
    }
}

/// The decoder's errors in words for whoever wrote the other end.
fn plainly(error: postcard::Error) -> String {
    match error {
        postcard::Error::DeserializeUnexpectedEnd => "it ends too early".to_owned(),
        postcard::Error::DeserializeBadUtf8 => "a text or name is not UTF-8".to_owned(),
        postcard::Error::SerdeDeCustom => "a variant or value that does not exist".to_owned(),
        other => other.to_string(),
    }
}

/// Turns a stream of bytes into frames: a socket reads into one end, whole frames leave the other.
///
/// Memory follows the bytes that arrived, never a length that a peer declared ([`ReadBuffer`]). Frames are
/// lent, not copied; the start of one that is not whole yet moves at most once.
///
/// ```
/// use ganger_shared::codec::{FrameBuffer, decode, encode};
///
/// let mut wire = Vec::new();
/// encode(&"first", &mut wire);
/// encode(&"second", &mut wire);
///
/// let mut frames = FrameBuffer::new();
/// frames.spare()[..wire.len()].copy_from_slice(&wire); // as `read` does
/// frames.filled(wire.len());
/// let mut words = Vec::new();
/// while let Some(frame) = frames.next_frame(100)? {
///     words.push(decode::<String>(frame)?);
/// }
/// assert_eq!(words, ["first", "second"]);
/// # Ok::<(), ganger_shared::codec::CodecError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameBuffer {
    buffer: ReadBuffer,
    /// Size of the frame at the front, if its length has arrived and is within the limit.
    partial: Option<usize>,
}

impl FrameBuffer {
    /// An empty buffer. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: ReadBuffer::new(), partial: None }
    }

    /// Room to read into, never empty. Say with [`FrameBuffer::filled`] how much of it was filled.
    ///
    /// Take every frame with [`FrameBuffer::next_frame`] first: what is left there is moved to make
    /// room, and while a frame's length is unknown the room grows by one step at a time.
    pub fn spare(&mut self) -> &mut [u8] {
        self.buffer.spare(self.partial)
    }

    /// Takes over the first `count` bytes of the room that [`FrameBuffer::spare`] gave.
    ///
    /// # Panics
    /// If there was not so much room.
    pub fn filled(&mut self, count: usize) {
        self.buffer.filled(count);
    }

    /// The next whole frame, length included, ready for [`decode`]; `None` until more has arrived.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] as soon as a length over `limit` has arrived, and from then on at
    /// each call: the connection cannot go on.
    pub fn next_frame(&mut self, limit: usize) -> Result<Option<&[u8]>, CodecError> {
        let waiting = self.buffer.waiting();
        match frame_size(waiting, limit)? {
            Some(size) => {
                self.partial = None;
                Ok(Some(self.buffer.take(size)))
            }
            None => {
                self.partial = declared_size(waiting);
                self.buffer.rest();
                Ok(None)
            }
        }
    }

    /// Whether no byte waits: a peer that closes the connection now has cut no frame short.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;

    fn frame(size: usize, fill: u8) -> Vec<u8> {
        let size_declared = u32::try_from(size).unwrap().to_le_bytes();
        [&size_declared[..], &vec![fill; size]].concat()
    }

    /// Reads `wire` through `frames` in reads of at most `read` bytes.
    fn feed(frames: &mut FrameBuffer, wire: &[u8], read: usize) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let mut rest = wire;
        while !rest.is_empty() {
            let spare = frames.spare();
            assert!(!spare.is_empty());
            let count = rest.len().min(read).min(spare.len());
            spare[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            frames.filled(count);
            while let Some(frame) = frames.next_frame(64 << 20).unwrap() {
                taken.push(frame.to_vec());
            }
        }
        taken
    }

    #[test]
    fn frames_come_out_whole_and_in_order_however_the_stream_is_cut() {
        let sizes = [0, 1, 3, 4, 5, 4_091, 4_092, 4_093, 70_000, 0, 300_000, 65_532, 9];
        let sent: Vec<_> = sizes.iter().zip(1..).map(|(&size, fill)| frame(size, fill)).collect();
        for read in [1, 2, 3, 4, 5, 7, 1_000, 4_096, 65_536, usize::MAX] {
            let mut frames = FrameBuffer::new();
            assert_eq!(feed(&mut frames, &sent.concat(), read), sent, "reads of {read}");
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn room_follows_what_arrived_and_not_what_was_declared() {
        let size = 16 << 20;
        let wire = frame(size, 7);
        let mut frames = FrameBuffer::new();
        let mut arrived = 0;
        for part in wire.chunks(10_000) {
            if arrived + part.len() < wire.len() {
                assert!(feed(&mut frames, part, usize::MAX).is_empty());
                arrived += part.len();
                let bound = ReadBuffer::STEP.max(arrived * 3);
                assert!(frames.capacity() <= bound, "{} for {arrived}", frames.capacity());
            } else {
                assert_eq!(feed(&mut frames, part, usize::MAX).concat(), wire);
            }
        }
        assert!(frames.capacity() <= size + ReadBuffer::STEP, "{}", frames.capacity());
    }

    #[test]
    fn quiet_connection_holds_a_first_room_only() {
        let mut frames = FrameBuffer::new();
        assert_eq!(frames.capacity(), 0);
        for _ in 0..10_000 {
            feed(&mut frames, &frame(1, 1), usize::MAX);
        }
        assert_eq!(frames.capacity(), ReadBuffer::FIRST);
    }

    #[test]
    fn room_for_a_burst_is_given_back_once_it_is_over() {
        let mut frames = FrameBuffer::new();
        for _ in 0..3 {
            feed(&mut frames, &frame(8 << 20, 1), usize::MAX);
            assert!(frames.capacity() >= 8 << 20, "{}", frames.capacity());
        }
        for _ in 0..Kept::SMALL_USES {
            assert_eq!(feed(&mut frames, &frame(3, 1), 2), [frame(3, 1)]);
        }
        assert_eq!(frames.capacity(), Kept::LEAST_BYTES);
    }

    #[test]
    fn reading_on_without_taking_frames_loses_none() {
        let sent: Vec<_> = (0..100).map(|fill| frame(5_000, fill)).collect();
        let wire = sent.concat();
        let mut frames = FrameBuffer::new();
        let mut rest = &wire[..];
        let mut taken = Vec::new();
        while !rest.is_empty() {
            let spare = frames.spare();
            let count = rest.len().min(spare.len());
            spare[..count].copy_from_slice(&rest[..count]);
            frames.filled(count);
            rest = &rest[count..];
            taken.extend(frames.next_frame(5_000).unwrap().map(<[u8]>::to_vec)); // one of many
        }
        while let Some(frame) = frames.next_frame(5_000).unwrap() {
            taken.push(frame.to_vec());
        }
        assert_eq!(taken, sent);
    }

    #[test]
    fn length_over_the_limit_is_refused_before_its_message_and_ever_after() {
        for (size, refused) in [(512, false), (513, true), (u32::MAX as usize, true)] {
            let mut frames = FrameBuffer::new();
            let length = u32::try_from(size).unwrap().to_le_bytes();
            frames.spare()[..4].copy_from_slice(&length);
            frames.filled(4);
            for _ in 0..2 {
                let too_long = CodecError::TooLong { size, limit: 512 };
                assert_eq!(frames.next_frame(512), if refused { Err(too_long) } else { Ok(None) });
                frames.spare();
            }
            assert_eq!(frames.capacity(), ReadBuffer::FIRST);
        }
    }

    #[test]
    #[should_panic(expected = "5000 bytes read into a room of 4096")]
    fn more_bytes_than_there_was_room_for_is_a_bug_of_the_reader() {
        let mut frames = FrameBuffer::new();
        frames.spare();
        frames.filled(5_000);
    }
}
