//! Parts of a graph as values that every client understands, as far as they are such.
//!
//! Not what a request wants with them. A part that is a plain tree, as JSON would have it or nearly,
//! becomes that tree. Anything else becomes a fragment as a whole: objects, frozensets, bytearrays,
//! halves of surrogate pairs, lists that are in there twice, circles, and whatever a value may not
//! be (`ganger_shared::value`).

use std::collections::BTreeSet;

use ganger_shared::limits::DEPTH_MAX;
use ganger_shared::{Packed, Value};

use crate::cut::{self, Atom, Cutter};
use crate::fragment::FORMAT;
use crate::graph::{Graph, Node, NodeId};
use crate::known::{Known, Proxy, Token};
use crate::{Limits, PickleError};

/// Text and bytes of up to so many bytes count wherever they are described; longer ones that are
/// there again are taken for a way to make much out of little, as tuples are.
const SHORT_BYTES: usize = 64;

/// A tree may be so many times as large as what it was described by, and this on top.
const GROWTH: usize = 8;
const GROWTH_BYTES: usize = 4 << 10;

/// Takes values out of a graph, one after the other.
///
/// ```
/// use bytes::Bytes;
/// use ganger_pickle::{Limits, Values, read};
/// use ganger_shared::Value;
///
/// let limits = Limits::default();
/// // [1, 'a', None], and a set that nobody can change.
/// let plain = read(Bytes::from_static(b"\x80\x04](K\x01\x8c\x01aNe."), &limits)?;
/// let frozen = read(Bytes::from_static(b"\x80\x04(K\x01\x91."), &limits)?;
///
/// let value = Values::new(&plain, &limits).value(plain.root(), &mut |_| None)?;
/// assert_eq!(value, Value::List(vec![1.into(), "a".into(), Value::None]));
/// let value = Values::new(&frozen, &limits).value(frozen.root(), &mut |_| None)?;
/// assert!(matches!(value, Value::Opaque { format, .. } if format == "pickle"));
/// # Ok::<(), ganger_pickle::PickleError>(())
/// ```
#[derive(Debug)]
pub struct Values<'g> {
    graph: &'g Graph,
    cutter: Cutter<'g>,
    /// For each part the tree in which it was last seen.
    seen: Vec<u32>,
    tree: u32,
    /// What was written so far, about, and the most.
    work_bytes: usize,
    work_bytes_max: usize,
}

/// A container whose items are being taken.
struct Open {
    id: NodeId,
    next: usize,
    items: Vec<Value>,
    /// It was there before, and what is inside too.
    is_again: bool,
}

/// How large a tree is, and how large what it was described by. Long texts, byte strings and integers
/// that are equal count as one, as they do in a fragment: else a value could be a tree when it comes,
/// and a fragment when it comes back.
#[derive(Default)]
struct Growth<'g> {
    tree: usize,
    described: usize,
    /// The long ones so far.
    long: BTreeSet<Atom<'g>>,
}

impl<'g> Growth<'g> {
    /// Counts a part of the tree; nothing if that has become too large.
    fn count(&mut self, node: &'g Node, is_again: bool, is_inside_again: bool) -> Option<()> {
        let size = match node {
            Node::Text(bytes) | Node::Bytes(bytes) => bytes.len(),
            Node::Int(number) if number.as_i64().is_none() => number.to_bytes().len(),
            _ => 0,
        };
        let is_container = matches!(node, Node::Tuple(items) if !items.is_empty());
        let is_known = match cut::atom(node).filter(|_| size > SHORT_BYTES) {
            Some(atom) => !self.long.insert(atom),
            None => is_again && is_container,
        };
        self.tree += 1 + size;
        self.described += match (is_inside_again, is_known) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 1 + size,
        };
        (self.tree <= GROWTH * self.described + GROWTH_BYTES).then_some(())
    }
}

impl<'g> Values<'g> {
    /// Of this graph. Takes no memory yet.
    #[must_use]
    pub const fn new(graph: &'g Graph, limits: &Limits) -> Self {
        let cutter = Cutter::new(graph, limits.depth);
        let work_bytes_max = limits.work_bytes.saturating_add(graph.size.saturating_mul(8));
        Self { graph, cutter, seen: Vec::new(), tree: 0, work_bytes: 0, work_bytes_max }
    }

    /// One part as a value. `named` says what a proxy in a plain tree is, if anything but a fragment:
    /// usually a [`Value::Ref`].
    ///
    /// # Errors
    /// [`PickleError::TooDeep`] and [`PickleError::TooMuchWork`].
    pub fn value(
        &mut self,
        id: NodeId,
        named: &mut dyn FnMut(&Proxy) -> Option<Value>,
    ) -> Result<Value, PickleError> {
        match self.plain(id, named)? {
            // Whether keys are hashable and differ is seen when it is packed.
            Some((value, true)) if value.pack().is_ok() => Ok(value),
            Some((value, false)) => Ok(value),
            Some((_, true)) | None => self.opaque(id),
        }
    }

    /// The same, packed.
    ///
    /// # Errors
    /// As [`Values::value`].
    pub fn packed(
        &mut self,
        id: NodeId,
        named: &mut dyn FnMut(&Proxy) -> Option<Value>,
    ) -> Result<Packed, PickleError> {
        let packed = match self.plain(id, named)? {
            Some((value, _)) => value.pack().ok(),
            None => None,
        };
        match packed {
            Some(packed) => Ok(packed),
            None => Ok(self.opaque(id)?.pack().unwrap_or_default()),
        }
    }

    /// One part as a fragment, whatever it is.
    ///
    /// # Errors
    /// As [`Values::value`].
    pub fn fragment(&mut self, id: NodeId) -> Result<Vec<u8>, PickleError> {
        let left = self.work_bytes_max.saturating_sub(self.work_bytes);
        let most = (16 * self.graph.size.min(usize::MAX >> 5) + (64 << 10)).min(left);
        let code = self.cutter.cut(id, most)?;
        self.spend(code.len())?;
        Ok(code)
    }

    /// The items that a loop over it in Python has, if that can be told: those of a list, tuple, set
    /// or frozenset, and the keys of a dict.
    #[must_use]
    pub fn items(&self, id: NodeId) -> Option<Vec<NodeId>> {
        match self.graph.node(id) {
            Node::List(items) | Node::Tuple(items) | Node::Set(items) | Node::FrozenSet(items) => {
                Some(items.clone())
            }
            Node::Dict(entries) => Some(entries.iter().step_by(2).copied().collect()),
            _ => None,
        }
    }

    /// Keys with their values, of a dict or of a list, tuple or set of pairs: what `dict.update`
    /// takes.
    #[must_use]
    pub fn entries(&self, id: NodeId) -> Option<Vec<(NodeId, NodeId)>> {
        if let Node::Dict(entries) = self.graph.node(id) {
            let (entries, _) = entries.as_chunks::<2>();
            return Some(entries.iter().map(|&[key, value]| (key, value)).collect());
        }
        let pair = |id: &NodeId| match self.graph.node(*id) {
            Node::Tuple(pair) | Node::List(pair) => match pair[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        };
        self.items(id)?.iter().map(pair).collect()
    }

    /// The tokens among the parts of a value, each once: who keeps the value keeps their objects.
    /// They are found in plain trees and in what becomes a fragment.
    ///
    /// # Errors
    /// [`PickleError::TooMuchWork`].
    pub fn tokens(&mut self, id: NodeId) -> Result<Vec<Token>, PickleError> {
        self.begin();
        let (mut waiting, mut found) = (vec![id], Vec::new());
        while let Some(id) = waiting.pop() {
            if self.is_again(id) {
                continue;
            }
            found.extend(self.graph.token(id));
            waiting.extend_from_slice(self.graph.parts(id));
            self.spend(self.graph.parts(id).len())?;
        }
        Ok(found)
    }

    fn opaque(&mut self, id: NodeId) -> Result<Value, PickleError> {
        let bytes = self.fragment(id)?.into();
        Ok(Value::Opaque { format: FORMAT.to_owned(), bytes })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), PickleError> {
        let max = self.work_bytes_max;
        // What little there is to say of each counts too.
        self.work_bytes = self.work_bytes.saturating_add(bytes).saturating_add(1);
        if self.work_bytes > max { Err(PickleError::TooMuchWork { max }) } else { Ok(()) }
    }

    /// Nothing was seen yet.
    fn begin(&mut self) {
        if self.seen.is_empty() || self.tree == u32::MAX {
            self.seen = vec![0; self.graph.nodes.len()];
            self.tree = 0;
        }
        self.tree += 1;
    }

    /// Whether a part was seen before, as it is then.
    fn is_again(&mut self, id: NodeId) -> bool {
        core::mem::replace(&mut self.seen[id.index()], self.tree) == self.tree
    }

    /// The tree, and whether there are keys in it that were not looked at; nothing if it is none.
    fn plain(
        &mut self,
        root: NodeId,
        named: &mut dyn FnMut(&Proxy) -> Option<Value>,
    ) -> Result<Option<(Value, bool)>, PickleError> {
        self.begin();
        let mut growth = Growth::default();
        let tree = self.grow(root, named, &mut growth);
        self.spend(growth.tree)?;
        Ok(tree)
    }

    fn grow(
        &mut self,
        root: NodeId,
        named: &mut dyn FnMut(&Proxy) -> Option<Value>,
        growth: &mut Growth<'g>,
    ) -> Option<(Value, bool)> {
        let mut open: Vec<Open> = Vec::new();
        let (mut id, mut has_keys) = (root, false);
        loop {
            let is_again = self.is_again(id);
            let is_inside_again = open.last().is_some_and(|around| around.is_again);
            growth.count(self.graph.node(id), is_again, is_inside_again)?;
            if let Some(leaf) = self.look_at(id, is_again, named)? {
                match open.last_mut() {
                    Some(around) => around.items.push(leaf),
                    None => return Some((leaf, false)),
                }
            } else {
                has_keys |= matches!(self.graph.node(id), Node::Dict(_) | Node::Set(_));
                let items = Vec::with_capacity(self.graph.parts(id).len());
                open.push(Open { id, next: 0, items, is_again });
                if open.len() > DEPTH_MAX {
                    return None;
                }
            }
            // What is whole goes to what is around it, until there is one with an item to come.
            loop {
                let around = open.last_mut()?;
                if let Some(next) = self.graph.parts(around.id).get(around.next) {
                    around.next += 1;
                    id = *next;
                    break;
                }
                let whole = open.pop().map(|open| self.close(open))?;
                match open.last_mut() {
                    Some(around) => around.items.push(whole),
                    None => return Some((whole, has_keys)),
                }
            }
        }
    }

    /// What has no items, `Some(None)` for what has, and nothing for what is in no tree.
    fn look_at(
        &self,
        id: NodeId,
        is_again: bool,
        named: &mut dyn FnMut(&Proxy) -> Option<Value>,
    ) -> Option<Option<Value>> {
        let node = self.graph.node(id);
        Some(match node {
            Node::None => Some(Value::None),
            Node::Bool(bool) => Some(Value::Bool(*bool)),
            Node::Int(number) => Some(Value::Int(number.clone())),
            Node::Float(float) => Some(Value::Float(*float)),
            Node::Text(_) => Some(Value::from(self.graph.text(id)?)),
            Node::Bytes(bytes) => Some(Value::Bytes(bytes.clone())),
            // A string cannot be told from an equal one in Python, nor a tuple; a list can.
            Node::List(_) | Node::Dict(_) | Node::Set(_) if is_again => return None,
            Node::Tuple(_) | Node::List(_) | Node::Dict(_) | Node::Set(_) => None,
            Node::Made(_) => match self.graph.known(id) {
                Some(Known::Proxy(proxy)) => Some(named(&proxy)?),
                _ => return None,
            },
            Node::ByteArray(_) | Node::FrozenSet(_) | Node::Global(_) => return None,
        })
    }

    fn close(&self, open: Open) -> Value {
        let items = open.items;
        match self.graph.node(open.id) {
            Node::List(_) => Value::List(items),
            Node::Set(_) => Value::Set(items),
            Node::Dict(_) => {
                let mut entries = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    entries.push((key, value));
                }
                Value::Map(entries)
            }
            _ => Value::Tuple(items),
        }
    }
}
