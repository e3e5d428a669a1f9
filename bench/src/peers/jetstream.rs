//! The text protocol of NATS, as far as streams of JetStream with a pull consumer need it.
//! Not a client library: no headers, and just the replies that the commands in use can have.

use std::io::Write as _;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::peer::Site;
use crate::roles::PATIENCE;
use crate::wire::{Input, Output, Wire};

/// The one consumer of a stream. Everyone who pulls from it shares its messages.
const CONSUMER: &str = "all";

/// A stream and the subject whose messages it keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) subject: &'static str,
}

impl Stream {
    /// Creates the stream and its consumer.
    pub(crate) fn create(self, link: &mut Link, storage: &str) -> Result<()> {
        let Self { name, subject } = self;
        let stream = json!({
            "name": name,
            "subjects": [subject],
            "retention": "workqueue",
            "storage": storage,
            "num_replicas": 1,
        });
        link.request(&format!("$JS.API.STREAM.CREATE.{name}"), &stream.to_string())?;
        let consumer = json!({
            "stream_name": name,
            "config": {
                "durable_name": CONSUMER,
                "deliver_policy": "all",
                "replay_policy": "instant",
                "ack_policy": "explicit",
                // A minute to run, in nanoseconds.
                "ack_wait": 60_000_000_000_u64,
                // What is under way is bounded by the pulls.
                "max_ack_pending": -1,
            },
        });
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{name}.{CONSUMER}");
        link.request(&subject, &consumer.to_string()).map(drop)
    }
}

/// A connection with inboxes of its own for each kind of reply.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) wire: Wire,
    /// The name that its inboxes begin with; no other connection of the run has it.
    name: String,
    /// The subject that acknowledges the message read last.
    ack: Vec<u8>,
}

/// What the server sends.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A message of a stream, and the subject that acknowledges it.
    Delivered { body: &'a [u8], ack: &'a [u8] },
    /// A publish is in its stream.
    Stored,
    /// An ack is taken in.
    Acked,
    /// The answer to a request.
    Answer(&'a [u8]),
}

/// The inboxes of a link: the suffix of the subject, and the id of the subscription.
const DELIVERED: (&str, u32) = ("d", 1);
const STORED: (&str, u32) = ("s", 2);
const ACKED: (&str, u32) = ("a", 3);
const ANSWER: (&str, u32) = ("r", 4);

impl Link {
    /// Connects and subscribes to the inboxes.
    pub(crate) fn connect(site: &Site, name: &str) -> Result<Self> {
        let mut wire = Wire::connect(site.address)?;
        wire.input.set_patience(Some(PATIENCE))?;
        let line = wire.input.line()?;
        ensure!(line.starts_with(b"INFO "), "nats greets with {:?}", String::from_utf8_lossy(line));
        let out = &mut wire.output.buffer;
        let options = json!({"verbose": false, "pedantic": false, "headers": false, "name": name});
        write!(out, "CONNECT {options}\r\n")?;
        for (suffix, id) in [DELIVERED, STORED, ACKED, ANSWER] {
            write!(out, "SUB {name}.{suffix} {id}\r\n")?;
        }
        out.extend_from_slice(b"PING\r\n");
        wire.output.flush()?;
        // The server takes in commands in order: with the answer it has the subscriptions.
        let line = wire.input.line()?;
        ensure!(line == b"PONG", "nats answers {:?}, not PONG", String::from_utf8_lossy(line));
        Ok(Self { wire, name: name.to_owned(), ack: Vec::new() })
    }

    /// Appends a publish; its PubAck is a [`Message::Stored`].
    pub(crate) fn publish(&mut self, stream: Stream, body: &[u8]) {
        self.command(stream.subject.as_bytes(), STORED.0, body);
    }

    /// Appends an ack; its confirmation is a [`Message::Acked`].
    pub(crate) fn ack(&mut self, subject: &[u8]) {
        self.command(subject, ACKED.0, b"+ACK");
    }

    /// Appends a pull of `batch` messages, which waits for them as long as it takes.
    pub(crate) fn pull(&mut self, stream: Stream, batch: usize) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", stream.name);
        let request = match batch {
            1 => String::new(),
            _ => format!("{{\"batch\":{batch}}}"),
        };
        self.command(subject.as_bytes(), DELIVERED.0, request.as_bytes());
    }

    /// Sends a request of the API and returns its answer.
    pub(crate) fn request(&mut self, subject: &str, body: &str) -> Result<Value> {
        self.command(subject.as_bytes(), ANSWER.0, body.as_bytes());
        let Message::Answer(answer) = self.next()? else { bail!("nats does not answer {subject}") };
        let answer: Value = serde_json::from_slice(answer)?;
        ensure!(answer.get("error").is_none(), "nats answers {answer} to {subject}");
        Ok(answer)
    }

    /// Reads a PubAck.
    pub(crate) fn expect_stored(&mut self) -> Result<()> {
        let message = self.next()?;
        ensure!(matches!(message, Message::Stored), "nats sends {message:?}, not a PubAck");
        Ok(())
    }

    /// Reads the confirmation of an ack.
    pub(crate) fn expect_acked(&mut self) -> Result<()> {
        let message = self.next()?;
        ensure!(
            matches!(message, Message::Acked),
            "nats sends {message:?}, not that it has an ack"
        );
        Ok(())
    }

    /// Appends a message to the server whose reply goes to an inbox.
    fn command(&mut self, subject: &[u8], inbox: &str, body: &[u8]) {
        let out = &mut self.wire.output.buffer;
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(subject);
        write!(out, " {}.{inbox} {}\r\n", self.name, body.len()).expect("a Vec takes every byte");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    /// Reads the next message. What has gathered is sent before, unless one is already here.
    pub(crate) fn next(&mut self) -> Result<Message<'_>> {
        let Self { wire: Wire { input, output }, ack, .. } = self;
        if input.is_drained() {
            output.flush()?;
        }
        let (id, len) = head(input, output, ack)?;
        let body = &input.bytes(len + 2)?[..len];
        Ok(match id {
            id if id == DELIVERED.1 => {
                ensure!(!ack.is_empty(), "a pull ends: {:?}", String::from_utf8_lossy(body));
                Message::Delivered { body, ack }
            }
            id if id == STORED.1 => {
                let is_stored = body.starts_with(b"{\"stream\":");
                ensure!(is_stored, "nats answers {:?} to a job", String::from_utf8_lossy(body));
                Message::Stored
            }
            id if id == ACKED.1 => Message::Acked,
            id if id == ANSWER.1 => Message::Answer(body),
            id => bail!("nats sends to subscription {id}, which nobody made"),
        })
    }
}

/// Reads up to the next message: `MSG subject subscription [reply] length`. Puts its reply subject
/// in `reply`, or nothing, and returns subscription and length.
fn head(input: &mut Input, output: &mut Output, reply: &mut Vec<u8>) -> Result<(u32, usize)> {
    loop {
        let line = str::from_utf8(input.line()?)?;
        if line == "PING" {
            // All that is gathered goes with it, which hurts nobody.
            output.buffer.extend_from_slice(b"PONG\r\n");
            output.flush()?;
            continue;
        }
        // The server says again what it is whenever that changes.
        if line.starts_with("INFO ") {
            continue;
        }
        let mut words = line.split(' ');
        let parts = (words.next(), words.next(), words.next(), words.next(), words.next());
        let (Some("MSG"), Some(_), Some(id), Some(reply_or_len), len) = parts else {
            bail!("nats says {line:?}, not MSG")
        };
        reply.clear();
        let len = match len {
            Some(len) => {
                reply.extend_from_slice(reply_or_len.as_bytes());
                len
            }
            None => reply_or_len,
        };
        return Ok((id.parse()?, len.parse()?));
    }
}
