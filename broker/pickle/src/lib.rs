//! Python's pickles, read and written without looking up or calling anything.
//!
//! Not a socket, not the handshake, and not what requests mean: bytes come in, bytes go out.
//!
//! A client of Python's `multiprocessing` managers sends pickles and wants pickles back. A broker that
//! unpickled them would do whatever they say. This one reads what a pickle *describes*: a [`Graph`]
//! in which calling a function is a part like any other, never done by anybody here. Of that,
//!
//! * a plain tree becomes a [`Value`](ganger_shared::Value), which clients of every language
//!   understand ([`Values`]);
//! * anything else becomes, as a whole, a fragment: opcodes that mean the same wherever they stand
//!   ([`fragment`]);
//! * slices, ranges, complex numbers and proxies are recognised by name ([`known`]).
//!
//! An answer ([`write`](mod@write)) has values and fragments in it at any depth. Python reads it and
//! gets what it once sent, shared lists and circles included; only what the value was part of is gone.
//!
//! | | |
//! | --- | --- |
//! | read | protocols 3, 4 and 5: Python from 3.0 on |
//! | refused, by name | protocols 0 to 2 as a whole; PERSID, BINPERSID, EXT1, EXT2, EXT4, INST, OBJ, NEXT_BUFFER, READONLY_BUFFER |
//! | written | protocol 4, without frames: Python from 3.4 on |
//! | bounds | [`Limits`]: size, depth, memo slots, parts, work; perhaps which classes may be named |
//!
//! Nothing here calls itself on the way down, so no pickle can use up the stack, and no input makes
//! it panic. Two values have the same fragment if they are the same to Python, with two exceptions:
//! a set is written in the order in which it came, and objects can tell Python that they are equal
//! though they were made differently.

mod cut;
mod encode;
mod error;
pub mod fragment;
pub mod graph;
pub mod known;
mod limits;
mod opcode;
mod read;
mod repr;
mod request;
mod text;
mod value;
pub mod write;

pub use error::PickleError;
pub use graph::{Graph, Node, NodeId};
pub use known::{Address, Known, Proxy, Token};
pub use limits::Limits;
pub use read::read;
pub use repr::repr;
pub use request::Request;
pub use value::Values;
