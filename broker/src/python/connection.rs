//! One connection of a Python program, from the handshake to its end.
//!
//! Not what its calls do.
//!
//! ```text
//!   handshake ─▶ one request without an object ─▶ its answer ─▶ the client closes
//!           └──▶ accept_connection ─▶ calls, one after the other ─▶ the client closes
//! ```
//!
//! While a call waits its client is listened to: when it goes away the wait is given up, so that nothing
//! is handed to nobody, and when it asks something else the wait was broken off by a Ctrl-C, and its
//! answer would be taken for that of the next call.

use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future::or;
use ganger_pickle::write::{self, Item, Reply};
use ganger_pickle::{PickleError, Request, Token};
use ganger_rt::{Peer, Stream, timeout};

use super::PythonDoor;
use super::arguments::Arguments;
use super::frame::{self, FrameError, Inbox};
use super::handshake::{self, AuthKey};
use super::inside::{Inside, Terms};
use super::kind::Kind;
use super::manager;
use super::methods::Call;
use super::raise::{Answer, Raised};
use crate::connections::{Place, Stranger};

/// Why a connection ends.
enum End {
    /// The client closed it, or it broke.
    Client(FrameError),
    /// The client has sent what is no request.
    Dismissed(PickleError),
    /// The broker ends.
    Broker,
}

/// Serves one connection to its end.
pub(crate) async fn serve(door: Arc<PythonDoor>, stream: Stream, place: Place, stranger: Stranger) {
    let mut inbox = Inbox::default();
    let keys = door.keys();
    let admitted = handshake::admit(&stream, &mut inbox, &keys, door.legacy);
    let admitted = timeout(door.door.handshake_timeout, admitted).await;
    drop(stranger);
    let peer = stream.peer();
    let key = match admitted {
        Ok(Ok(key)) => key,
        Ok(Err(reason)) => return refused(&door, &stream, &reason.to_string()),
        Err(ganger_rt::TimedOut) => return refused(&door, &stream, "its handshake took too long"),
    };
    let terms = Terms {
        key: key.id(),
        name: format!("python {peer}"),
        frame_bytes_max: door.door.frame_bytes_max,
        heartbeat: door.heartbeat,
    };
    let Ok(mut inside) = Inside::open(&door.door.engine, terms) else {
        return refused(&door, &stream, "no session could be opened for it");
    };
    let key = is_near(&stream).then_some(&key);
    let end = converse(&door, &stream, &mut inbox, &mut inside, key).await;
    match end {
        End::Client(FrameError::Closed) => log::debug!(peer:%; "python client closed"),
        End::Client(error) => log::info!(peer:%, reason:% = error; "python connection ended"),
        End::Dismissed(error) => log::warn!(peer:%, reason:% = error; "python client dismissed"),
        End::Broker => log::info!(peer:%; "python connection given up"),
    }
    inside.close();
    stream.close();
    drop(place);
}

/// Whether what is sent stays on this machine: nothing hides a key on its way.
fn is_near(stream: &Stream) -> bool {
    match stream.peer() {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix(_) | Peer::Pipe => true,
    }
}

fn refused(door: &PythonDoor, stream: &Stream, reason: &str) {
    if door.door.refusals.allows() {
        log::warn!(peer:% = stream.peer(), reason; "python connection refused");
    }
    stream.close();
}

/// Answers one request after the other.
async fn converse(
    door: &PythonDoor,
    stream: &Stream,
    inbox: &mut Inbox,
    inside: &mut Inside,
    key: Option<&AuthKey>,
) -> End {
    loop {
        let message = loop {
            let next = inbox.next(stream, door.limits.size_bytes);
            match timeout(inside.heartbeat(), next).await {
                Ok(Ok(message)) => break message,
                Ok(Err(error)) => return End::Client(error),
                Err(ganger_rt::TimedOut) => inside.show_life(),
            }
        };
        let request = match Request::read(Bytes::from(message), &door.limits) {
            Ok(request) => request,
            Err(error) => {
                // A client that sends no pickle is told what is wrong with it before the end: nothing that
                // comes after can be told from it.
                let told = Err(Raised::Remote(format!("this broker cannot read that: {error}")));
                let _ = stream.write_all(&reply(door, told, key)).await;
                return End::Dismissed(error);
            }
        };
        let answered = or(async { Some(carry_out(door, inside, &request).await) }, async {
            // Either it has gone, or it does not wait for the answer any more.
            let _ = inbox.stirred(stream).await;
            None
        });
        let told = match answered.await {
            Some(Err(Raised::Gone)) => return End::Broker,
            Some(told) => told,
            None => {
                if inside.abandon().is_err() {
                    return End::Broker;
                }
                continue;
            }
        };
        if let Err(error) = stream.write_all(&reply(door, told, key)).await {
            return End::Client(error.into());
        }
    }
}

async fn carry_out(
    door: &PythonDoor,
    inside: &mut Inside,
    request: &Request,
) -> Result<Answer, Raised> {
    let Request { ident, method, arguments, keywords, graph } = request;
    let args = Arguments::new(method, graph, arguments, keywords, &door.limits);
    let Some(ident) = ident else {
        if method == "accept_connection" {
            return Ok(Answer::NONE);
        }
        return manager::answer(door, inside, method, args).await;
    };
    let shared = door.shared(ident)?;
    door.references.note_used(&shared);
    if shared.kind == Kind::Iterator {
        return door.iterators.call(inside, &shared, method).await;
    }
    let typeid = door.typeid(&shared)?;
    Call { door, inside, shared: &shared, typeid, method, args }.run().await
}

/// The message that tells it.
fn reply(door: &PythonDoor, told: Result<Answer, Raised>, key: Option<&AuthKey>) -> Vec<u8> {
    let proxy = |id| door.proxy(id, key);
    let pickle = |reply: &Reply<'_>| write::reply(reply, &door.limits, &proxy);
    let written = match &told {
        Ok(Answer::Value(value)) => pickle(&Reply::Return(Item::Value(value))),
        Ok(Answer::Text(text)) => pickle(&Reply::Return(Item::Text(text))),
        Ok(Answer::Names(names)) => pickle(&Reply::Return(Item::Names(names))),
        Ok(Answer::Iter(items)) => pickle(&Reply::Return(Item::Iter(items))),
        Ok(Answer::Array(typecode, bytes)) => {
            pickle(&Reply::Return(Item::Array { typecode: *typecode, bytes }))
        }
        Ok(Answer::Created(shared, exposed)) => {
            let ident = shared.to_string();
            let parts = vec![Item::Text(&ident), Item::Names(exposed)];
            pickle(&Reply::Return(Item::Tuple(parts)))
        }
        Ok(Answer::Proxy(shared, exposed)) => {
            let typeid = shared.kind.word().to_owned();
            let token = Token { typeid, address: door.address.clone(), ident: shared.to_string() };
            pickle(&Reply::Proxy { exposed, token: &token })
        }
        Err(Raised::Exception(exception, arguments)) => {
            pickle(&Reply::Error { exception: *exception, arguments })
        }
        Err(Raised::Remote(text)) => pickle(&Reply::Traceback(text)),
        Err(Raised::Gone) => pickle(&Reply::Traceback("the broker ends")),
    };
    let written = written.or_else(|error| {
        // What another client has put there as a pickle is none, or is another language's.
        pickle(&Reply::Unserializable(&error.to_string()))
    });
    frame::message(&[&written.unwrap_or_default()])
}
