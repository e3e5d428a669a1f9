//! A blocking TCP connection with buffers that suit line protocols.
//! Not any protocol: the peers speak theirs through it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The first size of a read buffer; it grows to hold the longest message.
const BUFFER_LEN: usize = 256 << 10;

/// The longest line that is waited for. The protocols' own lines are far shorter.
const LINE_MAX: usize = 64 << 10;

/// A connection whose two directions can be borrowed apart: a command may be written from bytes
/// that are still in the read buffer.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) input: Input,
    pub(crate) output: Output,
}

/// The reading half.
#[derive(Debug)]
pub(crate) struct Input {
    stream: TcpStream,
    /// Unread bytes are at `start..end`, and `start <= end <= buffer.len()`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// As the socket has it.
    patience: Option<Duration>,
}

/// The writing half: commands gather in `buffer` until [`Output::flush`].
#[derive(Debug)]
pub(crate) struct Output {
    stream: TcpStream,
    pub(crate) buffer: Vec<u8>,
}

impl Wire {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    ///
    /// The address does not answer.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address)?)
    }

    /// Takes over a connection.
    ///
    /// # Errors
    ///
    /// The socket refuses an option.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let output = Output { stream: stream.try_clone()?, buffer: Vec::with_capacity(BUFFER_LEN) };
        let input = Input { stream, buffer: vec![0; BUFFER_LEN], start: 0, end: 0, patience: None };
        Ok(Self { input, output })
    }
}

impl Input {
    /// Lets a read fail with [`ErrorKind::TimedOut`] after this time without a byte; none waits for
    /// ever.
    ///
    /// # Errors
    ///
    /// The socket refuses the option.
    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        if self.patience != patience {
            self.stream.set_read_timeout(patience)?;
            self.patience = patience;
        }
        Ok(())
    }

    /// Whether all bytes that were received are read: the next read waits for the peer.
    pub(crate) fn is_drained(&self) -> bool {
        self.start == self.end
    }

    /// The next line, without its CR LF.
    ///
    /// # Errors
    ///
    /// The connection is closed or silent for too long, or the line does not end.
    pub(crate) fn line(&mut self) -> io::Result<&[u8]> {
        let mut searched = 0;
        let len = loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread[searched..].iter().position(|byte| *byte == b'\n') {
                break searched + at;
            }
            searched = unread.len();
            if searched > LINE_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line without an end"));
            }
            self.fill()?;
        };
        let line = &self.buffer[self.start..self.start + len];
        self.start += len + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// The connection is closed or silent for too long.
    pub(crate) fn bytes(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.end - self.start < len {
            self.fill()?;
        }
        let bytes = &self.buffer[self.start..self.start + len];
        self.start += len;
        Ok(bytes)
    }

    /// All bytes up to a multiple of `unit`, at least one unit.
    ///
    /// # Errors
    ///
    /// The connection is closed or silent for too long.
    pub(crate) fn chunk(&mut self, unit: usize) -> io::Result<&[u8]> {
        while self.end - self.start < unit {
            self.fill()?;
        }
        let len = (self.end - self.start) / unit * unit;
        self.bytes(len)
    }

    /// Reads once, making room first.
    fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end > self.buffer.len() / 2 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        let read = loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What an elapsed read timeout is called depends on the system.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                other => break other?,
            }
        };
        if read == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer closed the connection"));
        }
        self.end += read;
        Ok(())
    }
}

impl Output {
    /// Sends what has gathered, in one write if the socket takes it.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Whether an error means that the peer was silent for longer than [`Input::set_patience`] allows.
pub(crate) fn is_timeout(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn message_larger_than_the_buffer_arrives_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let sender = thread::spawn(move || {
            other.write_all(b"first\r\nx\n").unwrap();
            other.write_all(&vec![7; 3 * BUFFER_LEN]).unwrap();
            other.write_all(b"last\r\n").unwrap();
        });
        assert_eq!(wire.input.line().unwrap(), b"first");
        assert_eq!(wire.input.line().unwrap(), b"x");
        assert_eq!(wire.input.bytes(3 * BUFFER_LEN).unwrap(), vec![7; 3 * BUFFER_LEN]);
        assert_eq!(wire.input.line().unwrap(), b"last");
        sender.join().unwrap();
        assert_eq!(wire.input.line().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
