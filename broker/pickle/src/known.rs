//! What is understood of Python's library without being looked up: slices, ranges, complex numbers,
//! and proxies of managers.
//!
//! Not a list of what may pass: that is [`crate::Limits::allowed`].

use core::fmt;

use bytes::Bytes;
use ganger_shared::limits::NAME_BYTES_MAX;
use ganger_shared::value::Integer;

use crate::graph::{Graph, How, Node, NodeId};

/// The module of proxies and tokens.
pub(crate) const MANAGERS: &str = "multiprocessing.managers";

/// Most methods of a proxy that is made to measure. A manager's own have about forty.
const EXPOSED_MAX: usize = 256;

/// An object that means something to a broker.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// `slice(start, stop, step)`; each is usually an int or `None`.
    Slice {
        /// The first index, or `None`.
        start: NodeId,
        /// Behind the last one, or `None`.
        stop: NodeId,
        /// From one to the next, or `None`.
        step: NodeId,
    },
    /// `range(start, stop, step)`.
    Range {
        /// The first number.
        start: Integer,
        /// Behind the last one.
        stop: Integer,
        /// From one to the next. Zero is possible in a pickle, and in Python an error.
        step: Integer,
    },
    /// A complex number.
    Complex {
        /// The real part.
        real: f64,
        /// The imaginary part.
        imaginary: f64,
    },
    /// A proxy of a manager's object.
    Proxy(Proxy),
    /// What a proxy knows of its object.
    Token(Token),
}

/// A proxy, as it is written by `RebuildProxy` of `multiprocessing.managers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where its class is imported from.
    pub module: String,
    /// Its class: `ListProxy`, `AutoProxy`.
    pub class: String,
    /// Its object.
    pub token: Token,
    /// The methods it has, if it is one that is made to measure.
    pub exposed: Option<Vec<String>>,
    /// The key with which its reader opens connections. It is written and not read: a key that
    /// comes with a value is somebody else's.
    pub authkey: Option<Bytes>,
}

/// Which object of which manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What its manager calls objects of the kind.
    pub typeid: String,
    /// Its manager.
    pub address: Address,
    /// What its manager calls it.
    pub ident: String,
}

/// Where a manager listens, as whoever wrote it called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// Of TCP.
        port: u16,
    },
    /// A socket in the file system, or a pipe.
    Path(String),
    /// A socket with an abstract name.
    Bytes(Bytes),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Path(path) => f.write_str(path),
            Self::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
        }
    }
}

/// Whether `module.name` is something that is understood here, or a proxy's own class in Python's library.
pub(crate) fn is_understood(module: &[u8], name: &[u8]) -> bool {
    const NAMES: [&str; 7] = ["slice", "range", "list", "set", "frozenset", "bytearray", "complex"];
    match module {
        b"builtins" => NAMES.iter().any(|known| known.as_bytes() == name),
        _ if module == MANAGERS.as_bytes() => {
            name == b"Token" || name == b"RebuildProxy" || name.ends_with(b"Proxy")
        }
        _ => false,
    }
}

/// The container that calling `maker` would make: what a set is before protocol 4, and a bytearray
/// before protocol 5.
pub(crate) fn container(nodes: &[Node], maker: NodeId, arguments: NodeId) -> Option<Node> {
    let Node::Global(maker) = &nodes[maker.index()] else { return None };
    let Node::Tuple(arguments) = &nodes[arguments.index()] else { return None };
    if maker.module != "builtins" {
        return None;
    }
    let argument = match arguments[..] {
        [] => None,
        [one] => Some(&nodes[one.index()]),
        _ => return None,
    };
    let items = || match argument {
        None => Some(Vec::new()),
        Some(Node::List(items) | Node::Tuple(items)) => Some(items.clone()),
        Some(_) => None,
    };
    match &maker.name[..] {
        b"list" => items().map(Node::List),
        b"set" => items().map(Node::Set),
        b"frozenset" => items().map(Node::FrozenSet),
        b"bytearray" => match argument {
            None => Some(Node::ByteArray(Bytes::new())),
            Some(Node::Bytes(bytes)) => Some(Node::ByteArray(bytes.clone())),
            Some(_) => None,
        },
        _ => None,
    }
}

impl Known {
    /// The numbers of a range, one after the other, if they fit 64 bits. They may be very many.
    pub fn numbers(&self) -> Option<impl Iterator<Item = i64> + use<>> {
        let Self::Range { start, stop, step } = self else { return None };
        let (start, stop, step) = (start.as_i64()?, stop.as_i64()?, step.as_i64()?);
        if step == 0 {
            return None;
        }
        let is_within = move |number: &i64| if step > 0 { *number < stop } else { *number > stop };
        let next = move |number: &i64| number.checked_add(step).filter(is_within);
        Some(core::iter::successors(Some(start).filter(is_within), next))
    }
}

impl Graph {
    /// What the object means, if it is one of these.
    #[must_use]
    pub fn known(&self, id: NodeId) -> Option<Known> {
        let Node::Made(made) = self.node(id) else { return None };
        let arguments = self.tuple(made.arguments())?;
        match made.how() {
            How::NewObj => self.token(id).map(Known::Token),
            How::Reduce if made.steps().next().is_some() => None,
            How::Reduce => {
                let Node::Global(maker) = self.node(made.maker()) else { return None };
                match (&maker.module[..], &maker.name[..]) {
                    (b"builtins", name) => self.builtin(name, arguments),
                    (_, b"RebuildProxy") if maker.module == MANAGERS => {
                        self.proxy(arguments).map(Known::Proxy)
                    }
                    _ => None,
                }
            }
            How::NewObjEx => None,
        }
    }

    fn builtin(&self, name: &[u8], arguments: &[NodeId]) -> Option<Known> {
        let int = |id: NodeId| match self.node(id) {
            Node::Int(number) => Some(number.clone()),
            _ => None,
        };
        let float = |id: NodeId| match self.node(id) {
            Node::Float(float) => Some(*float),
            _ => None,
        };
        match (name, arguments) {
            (b"slice", &[start, stop, step]) => Some(Known::Slice { start, stop, step }),
            (b"range", &[start, stop, step]) => {
                Some(Known::Range { start: int(start)?, stop: int(stop)?, step: int(step)? })
            }
            (b"complex", &[real, imaginary]) => {
                Some(Known::Complex { real: float(real)?, imaginary: float(imaginary)? })
            }
            _ => None,
        }
    }

    /// From `(class, token, serializer, keywords)`.
    fn proxy(&self, arguments: &[NodeId]) -> Option<Proxy> {
        let &[class, token, _serializer, keywords] = arguments else { return None };
        let Node::Global(class) = self.node(class) else { return None };
        let name = |text: &Bytes| {
            str::from_utf8(text).ok().filter(|text| text.len() <= NAME_BYTES_MAX).map(str::to_owned)
        };
        let (module, class) = (name(&class.module)?, name(&class.name)?);
        let token = self.token(token)?;
        let Node::Dict(keywords) = self.node(keywords) else { return None };
        let (keywords, _) = keywords.as_chunks::<2>();
        let exposed = keywords.iter().find(|[key, _]| self.text(*key) == Some("exposed"));
        let exposed = match exposed {
            Some(&[_, names]) if !matches!(self.node(names), Node::None) => {
                Some(self.names(names)?)
            }
            _ => None,
        };
        Some(Proxy { module, class, token, exposed, authkey: None })
    }

    /// What a proxy knows of its object, if the part is that: made of its class and a state of
    /// `(typeid, address, ident)`.
    pub(crate) fn token(&self, id: NodeId) -> Option<Token> {
        let Node::Made(made) = self.node(id) else { return None };
        let is_token = made.how() == How::NewObj && self.is_global(made.maker(), MANAGERS, "Token");
        let state = made.only_state().filter(|_| is_token)?;
        let &[typeid, address, ident] = self.tuple(state)? else { return None };
        let address = match self.node(address) {
            Node::Text(_) => Address::Path(self.name(address)?),
            Node::Bytes(bytes) if bytes.len() <= NAME_BYTES_MAX => Address::Bytes(bytes.clone()),
            Node::Tuple(parts) => {
                let &[host, port] = &parts[..] else { return None };
                let Node::Int(port) = self.node(port) else { return None };
                let port = u16::try_from(port.as_i64()?).ok()?;
                Address::Tcp { host: self.name(host)?, port }
            }
            _ => return None,
        };
        Some(Token { typeid: self.name(typeid)?, address, ident: self.name(ident)? })
    }

    /// Of a tuple or list of names.
    fn names(&self, id: NodeId) -> Option<Vec<String>> {
        let (Node::Tuple(names) | Node::List(names)) = self.node(id) else { return None };
        if names.len() > EXPOSED_MAX {
            return None;
        }
        names.iter().map(|name| self.name(*name)).collect()
    }

    /// A text that is short enough for a name.
    fn name(&self, id: NodeId) -> Option<String> {
        self.text(id).filter(|name| name.len() <= NAME_BYTES_MAX).map(str::to_owned)
    }
}
