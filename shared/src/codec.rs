//! Frames: a `u32` little-endian length, then one postcard message of exactly that many bytes.
//!
//! Not the transport: bytes come from and go to whoever owns a socket.

use serde::Serialize;
use serde::de::Deserialize;

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
    let written = postcard::to_extend(message, core::mem::take(buffer))
        .expect("writing into memory cannot fail, and every message serializes");
    *buffer = written;
    let size = buffer.len() - start - LENGTH_BYTES;
    let size = u32::try_from(size).expect("senders keep frames far below 4 GiB");
    buffer[start..start + LENGTH_BYTES].copy_from_slice(&size.to_le_bytes());
    size as usize + LENGTH_BYTES
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
    let message = &frame[LENGTH_BYTES..];
    let size = message.len();
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, extra)) => Err(CodecError::Trailing { size, extra: extra.len() }),
        Err(error) => Err(CodecError::Malformed { size, reason: error.to_string() }),
    }
}
