//! Frames read from a stream, through one buffer that grows with what has arrived.

use std::io;

use ganger_rt::Stream;
use ganger_shared::codec::{self, CodecError};

/// What is read at once, and what the buffer grows by: 64 KiB, a socket's usual worth.
const STEP: usize = 64 << 10;

/// A buffer larger than this is given back once it is empty: 1 MiB.
const KEPT: usize = 1 << 20;

/// The incoming side of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: Stream,
    buffer: Vec<u8>,
    /// What has arrived and was not taken: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// Largest frame that is taken, without its length.
    limit: usize,
}

impl Frames {
    pub(crate) fn new(stream: Stream, limit: usize) -> Self {
        Self { stream, buffer: vec![0; STEP], start: 0, end: 0, limit }
    }

    pub(crate) const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next whole frame that has arrived, its length included.
    ///
    /// # Errors
    /// A frame over the limit; the connection cannot go on.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, CodecError> {
        let arrived = &self.buffer[self.start..self.end];
        let Some(size) = codec::frame_size(arrived, self.limit)? else { return Ok(None) };
        let frame = self.start..self.start + size;
        self.start += size;
        Ok(Some(&self.buffer[frame]))
    }

    /// Waits for more bytes; `false` at the end of the stream.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        self.make_room();
        let n = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += n;
        Ok(n > 0)
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEPT {
                self.buffer = vec![0; STEP];
            }
        }
        // A frame that has begun moves to the front once it cannot end where it is.
        let wanted = codec::declared_size(&self.buffer[self.start..self.end]).unwrap_or(0);
        if self.start + wanted > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // The buffer doubles with what has really arrived, whatever length was announced.
        if self.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).min(wanted.max(STEP)).max(self.end + STEP);
            self.buffer.resize(larger, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        ganger_rt::block_on(async {
            let (here, there) = Stream::pipe(1000);
            let texts: Vec<String> = (0..40).map(|i| "x".repeat(i * i * i * 5)).collect();
            let mut wire = Vec::new();
            for text in &texts {
                codec::encode(text, &mut wire);
            }
            let writer = ganger_rt::spawn(async move { there.write_all(&wire).await });
            let mut frames = Frames::new(here, 1 << 20);
            let mut read: Vec<String> = Vec::new();
            while read.len() < texts.len() {
                match frames.next().unwrap() {
                    Some(frame) => read.push(codec::decode(frame).unwrap()),
                    None => assert!(frames.fill().await.unwrap()),
                }
            }
            assert_eq!(read, texts);
            writer.await.unwrap();
            assert!(!frames.fill().await.unwrap());
        });
    }

    #[test]
    fn frame_over_the_limit_is_refused_by_its_length() {
        ganger_rt::block_on(async {
            let (here, there) = Stream::pipe(1000);
            there.write_all(&1_000_u32.to_le_bytes()).await.unwrap();
            let mut frames = Frames::new(here, 999);
            assert!(frames.fill().await.unwrap());
            assert!(matches!(frames.next(), Err(CodecError::TooLong { size: 1_000, limit: 999 })));
        });
    }
}
