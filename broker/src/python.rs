//! The Python door: unmodified clients of `multiprocessing.managers`.
//!
//! Not a second kind of object: each connection has a session of Ganger's own inside the process, and
//! what a Python program calls is what all other clients call. Nothing is ever unpickled in the
//! sense of Python: no class is looked up and nothing is called.
//!
//! ```text
//!   listener ─▶ handshake ─▶ connection ─▶ manager    make, keep, let go
//!                                      └─▶ methods    of each kind of object
//!                                             └─▶ inside ─▶ engine
//! ```
//!
//! docs/python.md says what works and what cannot.

mod arguments;
mod connection;
mod frame;
mod handshake;
mod inside;
mod iterators;
mod kind;
mod manager;
mod methods;
mod raise;
mod references;
mod xmlrpc;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use ganger_pickle::Address;
use ganger_pickle::{Limits, Proxy, Token};
use ganger_rt::Stream;
use ganger_shared::{Durability, ObjectId, Value};

pub(crate) use self::handshake::AuthKey;
use self::handshake::Legacy;
use self::iterators::Iterators;
pub use self::kind::{Kind, Named, ParseSharedError, Shared};
use self::raise::Raised;
use self::references::References;
use crate::config::Config;
use crate::session::Door;

/// Bytes of what `str(proxy)` says: 1 MiB.
const SHOWN_BYTES_MAX: usize = 1 << 20;

/// What every connection of a Python program needs to know.
pub(crate) struct PythonDoor {
    pub(crate) door: Arc<Door>,
    /// Where it is, as its clients reach it.
    pub(crate) address: Address,
    /// What programs have as their key, if it is none of the broker's own.
    pub(crate) authkey: Option<AuthKey>,
    pub(crate) legacy: Legacy,
    pub(crate) limits: Limits,
    /// How long a client may take none of an answer.
    pub(crate) write_stall: Duration,
    /// What locks and semaphores promise: to outlive the broker, but not to be on a disk at each turn.
    pub(crate) locks: Durability,
    pub(crate) names: BTreeMap<String, Named>,
    pub(crate) references: References,
    pub(crate) iterators: Iterators,
}

impl PythonDoor {
    pub(crate) fn new(
        door: Arc<Door>,
        address: Address,
        authkey: Option<AuthKey>,
        config: &Config,
    ) -> Self {
        let size_bytes = config.python.message_max.bytes();
        Self {
            door,
            address,
            authkey,
            legacy: if config.python.md5 { Legacy::Allowed } else { Legacy::Refused },
            limits: Limits {
                size_bytes,
                allowed: config.python.classes.clone(),
                ..Limits::default()
            },
            write_stall: config.limits.write_stall.0,
            locks: config.durability.min(Durability::Relaxed),
            names: config.python.names.clone(),
            references: References::default(),
            iterators: Iterators::default(),
        }
    }

    fn keys(&self) -> Vec<AuthKey> {
        match &self.authkey {
            Some(key) => vec![key.clone()],
            None => self.door.keys.known().iter().map(AuthKey::of).collect(),
        }
    }

    /// The object of an ident. Of those with a name only the configured ones are known here.
    fn shared(&self, ident: &str) -> Result<Shared, Raised> {
        let unknown = || {
            let ident = repr(&Value::from(ident));
            Raised::Remote(format!("there is no object of this ident\nKeyError: {ident}"))
        };
        let shared: Shared = ident.parse().map_err(|_| unknown())?;
        let is_unnamed = ObjectId::of(&shared.object).is_some();
        let is_named = |named: &Named| matches!(named, Named::Shared(known) if *known == shared);
        if is_unnamed || self.names.values().any(is_named) {
            return Ok(shared);
        }
        Err(unknown())
    }

    /// The type of its object.
    fn typeid(&self, shared: &Shared) -> Result<&'static str, Raised> {
        let found = shared.kind.typeid();
        found.or_else(|| self.door.engine.typeid_of(&shared.object)).ok_or_else(|| gone(shared))
    }

    /// Whether there is something that could be referred to: counts are kept of nothing else.
    fn judge_there(&self, shared: &Shared) -> Result<(), Raised> {
        let is_there = match shared.kind {
            Kind::Iterator => self.iterators.is_open(shared),
            _ => self.door.engine.typeid_of(&shared.object).is_some(),
        };
        if is_there { Ok(()) } else { Err(gone(shared)) }
    }

    /// The methods of a proxy that has no class of its own.
    fn exposed(&self, shared: &Shared) -> Vec<&'static str> {
        match shared.kind {
            Kind::Object => self.door.engine.methods_of(&shared.object),
            kind => kind.exposed().collect(),
        }
    }

    /// What stands for an object in a value. With the key its reader needs none of its own.
    fn proxy(&self, id: ObjectId, authkey: Option<&AuthKey>) -> Option<Proxy> {
        let object = id.name();
        let kind = Kind::of(self.door.engine.typeid_of(&object)?);
        let class = kind.proxy_class();
        let shared = Shared { kind, object };
        let exposed = self.exposed(&shared).into_iter().map(str::to_owned).collect();
        let (ident, address) = (shared.to_string(), self.address.clone());
        Some(Proxy {
            module: "multiprocessing.managers".to_owned(),
            class: class.to_owned(),
            token: Token { typeid: kind.word().to_owned(), address, ident },
            exposed: (class == "AutoProxy").then_some(exposed),
            authkey: authkey.map(AuthKey::to_bytes),
        })
    }
}

/// How messages are written. A client's library opens one connection for each address, so each serializer
/// has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// `pickle`
    Pickle,
    /// `xmlrpclib`
    XmlRpc,
}

/// Serves `stream`, or closes it: its client would take words for no part of a handshake.
pub(crate) fn take_in(door: &Arc<PythonDoor>, stream: Stream, serializer: Serializer) {
    let connections = &door.door.connections;
    let Some(place) = connections.admit() else {
        if door.door.refusals.allows() {
            log::warn!(peer:% = stream.peer(); "too many connections: python client refused");
        }
        return;
    };
    let (door, stranger) = (Arc::clone(door), connections.stranger());
    connections
        .clone()
        .spawn(place, |place| connection::serve(door, stream, serializer, place, stranger));
}

/// Keeps the objects that have proxies although nobody calls them.
pub(crate) async fn keep_referenced(door: Arc<PythonDoor>, interval: Duration) {
    loop {
        ganger_rt::sleep(interval).await;
        for (shared, _) in door.references.counted() {
            door.door.engine.keep(&shared.object);
        }
    }
}

fn gone(shared: &Shared) -> Raised {
    let ident = repr(&Value::from(shared.to_string()));
    Raised::Remote(format!("there is no such object any more\nKeyError: {ident}"))
}

fn repr(value: &Value) -> String {
    ganger_pickle::repr(value, SHOWN_BYTES_MAX, &Limits::default())
}
