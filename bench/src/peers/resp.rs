//! What both ways of driving Redis share: the server, and its protocol RESP2.
//! Not a client library: just the replies that the commands in use can have.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::peer::{self, Durability, Program, Site};
use crate::roles::PATIENCE;
use crate::wire::{Input, Wire};

/// The list of results, in both ways.
pub(crate) const RESULTS: &[u8] = b"results";

/// A reply, or the head of one: the elements of an array follow as replies of their own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Status,
    Integer(i64),
    Bulk(&'a [u8]),
    Array(usize),
    Nil,
}

/// Finds the server.
pub(crate) fn locate() -> Result<Program> {
    peer::locate("redis-server", "--version", "redis-server")
}

/// Runs the server, without snapshots and without rewriting its log in the middle of a run.
pub(crate) fn server(program: &Program, site: &Site) -> Command {
    let mut command = Command::new(&program.path);
    command.arg("--bind").arg(site.address.ip().to_string());
    command.arg("--port").arg(site.address.port().to_string());
    command.arg("--dir").arg(&site.dir).args(["--save", "", "--daemonize", "no"]);
    let log: &[&str] = match site.durability {
        Durability::None => &["--appendonly", "no"],
        Durability::Relaxed => &["--appendonly", "yes", "--appendfsync", "everysec"],
        Durability::Strict => &["--appendonly", "yes", "--appendfsync", "always"],
    };
    command.args(log).args(["--auto-aof-rewrite-percentage", "0"]);
    command
}

/// Asks whether the server serves.
pub(crate) fn ask(site: &Site) -> Result<()> {
    let mut wire = connect(site.address)?;
    command(&mut wire.output.buffer, &[b"PING"]);
    wire.output.flush()?;
    expect_status(&mut wire.input)
}

/// Connects; reads give up after [`PATIENCE`].
pub(crate) fn connect(address: SocketAddr) -> Result<Wire> {
    let mut wire = Wire::connect(address)?;
    wire.input.set_patience(Some(PATIENCE))?;
    Ok(wire)
}

/// Appends a command.
pub(crate) fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    open(out, parts.len());
    parts.iter().for_each(|part| bulk(out, part));
}

/// Appends the head of a command of `parts` parts, each to be appended with [`bulk`].
pub(crate) fn open(out: &mut Vec<u8>, parts: usize) {
    head(out, '*', parts);
}

/// Appends a part of a command.
pub(crate) fn bulk(out: &mut Vec<u8>, part: &[u8]) {
    head(out, '$', part.len());
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

/// Appends a command that puts results into their list.
pub(crate) fn publish(out: &mut Vec<u8>, results: &[impl AsRef<[u8]>]) {
    open(out, 2 + results.len());
    bulk(out, b"LPUSH");
    bulk(out, RESULTS);
    results.iter().for_each(|result| bulk(out, result.as_ref()));
}

fn head(out: &mut Vec<u8>, kind: char, len: usize) {
    write!(out, "{kind}{len}\r\n").expect("a Vec takes every byte");
}

/// Reads a reply.
///
/// # Errors
///
/// The connection breaks or is silent for too long, or the server reports an error.
pub(crate) fn reply(input: &mut Input) -> Result<Reply<'_>> {
    let line = input.line()?;
    let (kind, rest) = line.split_first().context("redis sent an empty line")?;
    match kind {
        b'+' => Ok(Reply::Status),
        b':' => Ok(Reply::Integer(number(rest)?)),
        b'*' => Ok(usize::try_from(number(rest)?).map_or(Reply::Nil, Reply::Array)),
        b'$' => {
            let Ok(len) = usize::try_from(number(rest)?) else { return Ok(Reply::Nil) };
            let bytes = input.bytes(len + 2)?;
            Ok(Reply::Bulk(&bytes[..len]))
        }
        _ => bail!("redis answers {:?}", String::from_utf8_lossy(line)),
    }
}

/// Reads a reply that must be an integer.
pub(crate) fn expect_integer(input: &mut Input) -> Result<i64> {
    match reply(input)? {
        Reply::Integer(number) => Ok(number),
        other => bail!("redis answers {other:?} where an integer belongs"),
    }
}

/// Reads a reply that must be bytes.
pub(crate) fn expect_bulk(input: &mut Input) -> Result<&[u8]> {
    match reply(input)? {
        Reply::Bulk(bytes) => Ok(bytes),
        other => bail!("redis answers {other:?} where bytes belong"),
    }
}

/// Reads a reply that must be an array, and returns its length.
pub(crate) fn expect_array(input: &mut Input) -> Result<usize> {
    match reply(input)? {
        Reply::Array(len) => Ok(len),
        other => bail!("redis answers {other:?} where an array belongs"),
    }
}

/// Reads a reply that must be a success without a value.
pub(crate) fn expect_status(input: &mut Input) -> Result<()> {
    let reply = reply(input)?;
    ensure!(reply == Reply::Status, "redis answers {reply:?} where a status belongs");
    Ok(())
}

/// Reads `count` confirmations that say how long a list is or how many entries are gone.
pub(crate) fn skip_integers(input: &mut Input, count: usize) -> Result<()> {
    (0..count).try_for_each(|_| expect_integer(input).map(drop))
}

fn number(text: &[u8]) -> Result<i64> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.with_context(|| format!("redis sent {text:?} where a number belongs"))
}
