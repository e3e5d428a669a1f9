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

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future::or;
use ganger_pickle::write::{self, Item, Reply};
use ganger_pickle::{PickleError, Request, Token};
use ganger_rt::{Peer, Stream, TimedOut, timeout};
use ganger_shared::Value;

use super::arguments::Arguments;
use super::frame::{self, FrameError, Inbox};
use super::handshake::{self, AuthKey};
use super::inside::{Inside, Terms};
use super::kind::Kind;
use super::manager;
use super::methods::Call;
use super::raise::{Answer, Raised};
use super::xmlrpc;
use super::{PythonDoor, Serializer};
use crate::connections::{Place, Stranger};

/// Why a connection ends.
enum End {
    /// The client closed it, or it broke.
    Client(FrameError),
    /// The client has sent what is no request.
    Dismissed(String),
    /// The broker ends.
    Broker,
}

/// Why a message is no request.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Pickle(#[from] PickleError),
    #[error(transparent)]
    XmlRpc(#[from] xmlrpc::XmlError),
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    door: Arc<PythonDoor>,
    stream: Stream,
    serializer: Serializer,
    place: Place,
    stranger: Stranger,
) {
    let mut inbox = Inbox::default();
    let keys = door.keys();
    let admitted = handshake::admit(&stream, &mut inbox, &keys, door.legacy);
    let admitted = timeout(door.door.handshake_timeout, admitted).await;
    drop(stranger);
    let peer = stream.peer();
    let key = match admitted {
        Ok(Ok(key)) => key,
        Ok(Err(reason)) => return refused(&door, &stream, &reason.to_string()),
        Err(TimedOut) => return refused(&door, &stream, "its handshake took too long"),
    };
    let terms = Terms {
        key: key.id(),
        name: format!("python {peer}"),
        frame_bytes_max: door.door.frame_bytes_max,
    };
    let Ok(mut inside) = Inside::open(&door.door.engine, terms) else {
        return refused(&door, &stream, "no session could be opened for it");
    };
    let key = is_near(&stream).then_some(&key);
    let voice = Voice { door: &door, stream: &stream, serializer, key };
    let end = converse(&voice, &mut inbox, &mut inside).await;
    match end {
        End::Client(FrameError::Closed) => log::debug!(peer:%; "python client closed"),
        End::Client(error) => log::info!(peer:%, reason:% = error; "python connection ended"),
        End::Dismissed(reason) => log::warn!(peer:%, reason; "python client dismissed"),
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
async fn converse(voice: &Voice<'_>, inbox: &mut Inbox, inside: &mut Inside) -> End {
    let Voice { door, stream, .. } = *voice;
    loop {
        let message = match inbox.next(stream, door.limits.size_bytes).await {
            Ok(message) => message,
            Err(error) => return End::Client(error),
        };
        let request = match voice.read(message) {
            Ok(request) => request,
            Err(unread) => {
                let reason = unread.to_string();
                let told = Err(Raised::Remote(format!("this broker cannot read that: {reason}")));
                match voice.say(told).await {
                    // A good request otherwise, and more may come.
                    Ok(()) if matches!(unread, Unread::Pickle(PickleError::Forbidden { .. })) => {
                        continue;
                    }
                    Ok(()) => return End::Dismissed(reason),
                    Err(error) => return End::Client(error.into()),
                }
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
                if inside.abandon().await.is_err() {
                    return End::Broker;
                }
                continue;
            }
        };
        if let Err(error) = voice.say(told).await {
            // Of no effect where the broker has ended.
            let _ = inside.put_back().await;
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
    if shared.kind == Kind::Iterator {
        return door.iterators.call(inside, &shared, method).await;
    }
    let typeid = door.typeid(&shared)?;
    let answer = Call { door, inside, shared: &shared, typeid, method, args }.run().await?;
    door.references.note_used(&shared);
    Ok(answer)
}

/// How one client speaks and is spoken to.
struct Voice<'a> {
    door: &'a PythonDoor,
    stream: &'a Stream,
    serializer: Serializer,
    /// Its key, if that may be told to it.
    key: Option<&'a AuthKey>,
}

impl Voice<'_> {
    fn read(&self, message: Vec<u8>) -> Result<Request, Unread> {
        let limits = &self.door.limits;
        let message = match self.serializer {
            Serializer::Pickle => message,
            Serializer::XmlRpc => xmlrpc::request(&message, limits.size_bytes)?,
        };
        Ok(Request::read(Bytes::from(message), limits)?)
    }

    /// Tells it, to a client that takes it in time.
    async fn say(&self, told: Result<Answer, Raised>) -> io::Result<()> {
        let message = self.message(told);
        let mut rest = &message[..];
        while !rest.is_empty() {
            match timeout(self.door.write_stall, self.stream.write(rest)).await {
                Ok(written) => rest = &rest[written?..],
                Err(TimedOut) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// The message that tells it.
    fn message(&self, told: Result<Answer, Raised>) -> Vec<u8> {
        let written = match self.serializer {
            Serializer::Pickle => self.pickle(&told),
            Serializer::XmlRpc => xml(told),
        };
        frame::message(&[&written])
    }

    fn pickle(&self, told: &Result<Answer, Raised>) -> Vec<u8> {
        let door = self.door;
        let proxy = |id| door.proxy(id, self.key);
        let pickle = |reply: &Reply<'_>| write::reply(reply, &door.limits, &proxy);
        let written = match told {
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
                let (typeid, ident) = (shared.kind.word().to_owned(), shared.to_string());
                let token = Token { typeid, address: door.address.clone(), ident };
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
        written.unwrap_or_default()
    }
}

/// XML-RPC has no exceptions, proxies and iterators: what is raised is told in words.
fn xml(told: Result<Answer, Raised>) -> Vec<u8> {
    let names = |names: Vec<&str>| Value::List(names.into_iter().map(Value::from).collect());
    let (kind, value) = match told {
        Ok(Answer::Value(value)) => ("#RETURN", value),
        Ok(Answer::Text(text)) => ("#RETURN", Value::Text(text)),
        Ok(Answer::Names(found)) => ("#RETURN", names(found)),
        Ok(Answer::Iter(items)) => ("#RETURN", Value::List(items)),
        Ok(Answer::Array(_, bytes)) => ("#RETURN", Value::Bytes(bytes.into())),
        Ok(Answer::Created(shared, exposed)) => {
            let ident = Value::Text(shared.to_string());
            ("#RETURN", Value::List(vec![ident, names(exposed)]))
        }
        Ok(Answer::Proxy(shared, _)) => {
            ("#UNSERIALIZABLE", Value::Text(format!("a proxy of {shared} has no form in XML-RPC")))
        }
        Err(Raised::Exception(exception, arguments)) => {
            let arguments: Vec<String> = arguments.iter().map(super::repr).collect();
            ("#TRACEBACK", Value::Text(format!("{exception:?}({})", arguments.join(", "))))
        }
        Err(Raised::Remote(text)) => ("#TRACEBACK", Value::Text(text)),
        Err(Raised::Gone) => ("#TRACEBACK", Value::from("the broker ends")),
    };
    xmlrpc::reply(kind, &value).unwrap_or_else(|error| {
        let why = Value::Text(error.to_string());
        xmlrpc::reply("#UNSERIALIZABLE", &why).unwrap_or_default()
    })
}
