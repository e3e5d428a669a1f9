//! The pickle of a request, written as its message is read.
//!
//! Not answers, which `ganger_pickle` writes, nor anything but the plain types of XML-RPC.

use ganger_shared::limits::DEPTH_MAX;
use ganger_shared::value::Integer;

use super::{REQUEST_DEPTH, XmlError};

/// A pickle while it is written.
pub(super) struct Pickle {
    pub(super) out: Vec<u8>,
    pub(super) open: Vec<Container>,
}

/// A container that has begun and not ended.
pub(super) struct Container {
    pub(super) kind: Kind,
    /// Where its first item is.
    start: usize,
    /// Items, or keys, that have begun.
    pub(super) count: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Tuple,
    List,
    Dict,
}

impl Pickle {
    pub(super) fn new() -> Self {
        Self { out: b"\x80\x04".to_vec(), open: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.put(b".");
        self.out
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether the next container is one that a request has as a tuple: itself or its args.
    pub(super) fn is_tuple_next(&self) -> bool {
        match &self.open[..] {
            [] => true,
            [request] => request.count == 3,
            _ => false,
        }
    }

    /// Refuses an element that is not what a request has in this place.
    pub(super) fn check_place(&self, element: &'static str) -> Result<(), XmlError> {
        let expected = match &self.open[..] {
            [] if element != "array" => "an array",
            [request] if request.count == 3 && element != "array" => "an array of arguments",
            [request] if request.count == 4 && element != "struct" => "a struct of arguments",
            _ => return Ok(()),
        };
        Err(XmlError::NotARequest { found: element.to_owned(), expected })
    }

    /// Says that an item, or the value of a key, begins.
    pub(super) fn count_item(&mut self) -> Result<(), XmlError> {
        let depth = self.open.len();
        let Some(container) = self.open.last_mut() else { return Ok(()) };
        container.count += 1;
        if depth == 1 && container.count > 4 { Err(not_four("more than four")) } else { Ok(()) }
    }

    pub(super) fn begin(&mut self, kind: Kind) -> Result<(), XmlError> {
        if self.open.len() == DEPTH_MAX + REQUEST_DEPTH {
            return Err(XmlError::TooDeep);
        }
        self.put(match kind {
            Kind::Tuple => b"(",
            Kind::List => b"](",
            Kind::Dict => b"}(",
        });
        self.open.push(Container { kind, start: self.out.len(), count: 0 });
        Ok(())
    }

    /// Ends the innermost container. An empty one needs no mark.
    pub(super) fn end(&mut self) -> Result<(), XmlError> {
        let Some(Container { kind, start, count }) = self.open.pop() else { return Ok(()) };
        if self.open.is_empty() && count != 4 {
            return Err(not_four(&count.to_string()));
        }
        let is_empty = self.out.len() == start;
        if is_empty {
            self.out.pop();
        }
        match (kind, is_empty) {
            (Kind::Tuple, true) => self.put(b")"),
            (Kind::Tuple, false) => self.put(b"t"),
            (Kind::List, false) => self.put(b"e"),
            (Kind::Dict, false) => self.put(b"u"),
            (Kind::List | Kind::Dict, true) => {}
        }
        Ok(())
    }

    pub(super) fn int(&mut self, number: &Integer) {
        let Some(small) = number.as_i64() else {
            return self.sized([0x8a, 0x8b], &number.to_bytes());
        };
        if let Ok(byte) = u8::try_from(small) {
            self.put(&[b'K', byte]);
        } else if let Ok(number) = i32::try_from(small) {
            self.put(b"J");
            self.put(&number.to_le_bytes());
        } else {
            self.sized([0x8a, 0x8b], &small.to_le_bytes());
        }
    }

    pub(super) fn float(&mut self, number: f64) {
        self.put(b"G");
        self.put(&number.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.sized([0x8c, b'X'], text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.sized(*b"CB", bytes);
    }

    /// Bytes after their size: of one byte after the first opcode, or four after the second.
    fn sized(&mut self, [short, long]: [u8; 2], bytes: &[u8]) {
        if let Ok(size) = u8::try_from(bytes.len()) {
            self.put(&[short, size]);
        } else {
            let size = u32::try_from(bytes.len()).expect("they are a part of a message");
            self.put(&[long]);
            self.put(&size.to_le_bytes());
        }
        self.put(bytes);
    }
}

pub(super) fn not_four(count: &str) -> XmlError {
    let expected = "the four of ident, methodname, args and kwds";
    XmlError::NotARequest { found: format!("an array of {count}"), expected }
}
