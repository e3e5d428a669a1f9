//! Messages on the wire: a length and as many bytes.
//!
//! Not what is in them.
//!
//! ```text
//!   length      as a 32-bit signed number, big-endian          at most 2^31 - 1 bytes
//!   -1 length   the same, then a 64-bit unsigned one           more
//! ```
//!
//! After `Connection.send_bytes` of Python's `multiprocessing.connection`, which writes up to 16 KiB
//! in one piece and more in two: the length, and then the rest.

use std::io;

use ganger_rt::Stream;
use ganger_shared::read_buffer::ReadBuffer;

/// Bytes of the short length.
const LENGTH_BYTES: usize = 4;

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The peer has closed the connection between two messages.
    #[error("closed by the peer")]
    Closed,
    /// The peer has closed the connection amid a message.
    #[error("closed by the peer amid a message")]
    Torn,
    /// The message is larger than is taken.
    #[error("a message of {size} bytes, where at most {limit} are taken")]
    TooLarge {
        /// As it says.
        size: u64,
        /// In bytes.
        limit: usize,
    },
    /// What should be a length is none.
    #[error("a message of the length {0}")]
    NoLength(i32),
    /// The connection.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// What has come and was not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: ReadBuffer,
    /// Bytes of the message at the front, its length included, if that has come.
    whole: Option<usize>,
}

impl Inbox {
    /// The next message, which has at most `limit` bytes.
    ///
    /// # Cancel safety
    ///
    /// What has come stays for the next call.
    pub(crate) async fn next(
        &mut self,
        stream: &Stream,
        limit: usize,
    ) -> Result<Vec<u8>, FrameError> {
        loop {
            if let Some(message) = self.take(limit)? {
                return Ok(message);
            }
            self.read(stream).await?;
        }
    }

    /// Waits until something comes that no message was asked for, and keeps it.
    ///
    /// # Cancel safety
    ///
    /// As for [`next`](Self::next).
    pub(crate) async fn stirred(&mut self, stream: &Stream) -> Result<(), FrameError> {
        if self.buffer.is_empty() { self.read(stream).await } else { Ok(()) }
    }

    async fn read(&mut self, stream: &Stream) -> Result<(), FrameError> {
        // The length of a long message comes alone, and the rest waits for its acknowledgement: 40 ms, if
        // the system is left to it. A whole message needs none of its own: its answer is one.
        if !self.buffer.is_empty() {
            stream.quick_ack();
        }
        match stream.read(self.buffer.spare(self.whole)).await? {
            0 if self.buffer.is_empty() => Err(FrameError::Closed),
            0 => Err(FrameError::Torn),
            count => {
                self.buffer.filled(count);
                Ok(())
            }
        }
    }

    fn take(&mut self, limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
        let waiting = self.buffer.waiting();
        let Some((start, size)) = length(waiting)? else {
            self.buffer.rest();
            return Ok(None);
        };
        let too_large = FrameError::TooLarge { size, limit };
        let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or(too_large)?;
        let whole = start + size;
        self.whole = (waiting.len() < whole).then_some(whole);
        Ok(self.whole.is_none().then(|| self.buffer.take(whole)[start..].to_vec()))
    }
}

/// Where the message at the start of `bytes` begins and how long it is, if its length has come.
fn length(bytes: &[u8]) -> Result<Option<(usize, u64)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    match i32::from_be_bytes(*head) {
        -1 => {
            let long = rest.first_chunk::<8>();
            Ok(long.map(|long| (LENGTH_BYTES + 8, u64::from_be_bytes(*long))))
        }
        short => {
            let size = u64::try_from(short).map_err(|_| FrameError::NoLength(short))?;
            Ok(Some((LENGTH_BYTES, size)))
        }
    }
}

/// A message of these parts, to be written in one piece: of two pieces the second would wait for
/// the first one's acknowledgement.
pub(crate) fn message(parts: &[&[u8]]) -> Vec<u8> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + 8 + size);
    match i32::try_from(size) {
        Ok(short) => bytes.extend_from_slice(&short.to_be_bytes()),
        Err(_) => {
            bytes.extend_from_slice(&(-1_i32).to_be_bytes());
            bytes.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an inbox says of these bytes, whose sender then closes.
    fn read(bytes: &[u8], limit: usize) -> (Vec<Vec<u8>>, FrameError) {
        ganger_rt::block_on(async {
            let (ours, theirs) = Stream::pipe(bytes.len() + 1);
            theirs.write_all(bytes).await.unwrap();
            drop(theirs);
            let (mut inbox, mut messages) = (Inbox::default(), Vec::new());
            loop {
                match inbox.next(&ours, limit).await {
                    Ok(message) => messages.push(message),
                    Err(error) => return (messages, error),
                }
            }
        })
    }

    #[test]
    fn messages_of_either_length_are_told_apart() {
        let mut bytes = message(&[b"#WEL", b"COME#"]);
        assert_eq!(bytes, b"\0\0\0\x09#WELCOME#");
        bytes.extend(message(&[]));
        bytes.extend(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x02hi");
        let (messages, end) = read(&bytes, 9);
        assert_eq!(messages, [b"#WELCOME#".to_vec(), Vec::new(), b"hi".to_vec()]);
        assert!(matches!(end, FrameError::Closed), "{end}");
    }

    #[test]
    fn message_that_ends_too_early_is_torn_at_every_byte() {
        let whole = message(&[b"payload"]);
        for end in 1..whole.len() {
            let (messages, error) = read(&whole[..end], 100);
            assert!(messages.is_empty() && matches!(error, FrameError::Torn), "{end}: {error}");
        }
    }

    #[test]
    fn length_that_cannot_be_is_refused_before_anything_is_read() {
        let (_, error) = read(&message(&[&[0; 11]]), 10);
        assert_eq!(error.to_string(), "a message of 11 bytes, where at most 10 are taken");
        let (_, error) = read(b"\xff\xff\xff\xfe", 10);
        assert_eq!(error.to_string(), "a message of the length -2");
        let (_, error) = read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
        assert!(error.to_string().contains("18446744073709551615 bytes"), "{error}");
    }
}
