//! What a pickle describes, as an arena: parts refer to each other by number.
//!
//! Not values: nothing is looked up or called, so an object is how it would be made. Dropping a graph
//! is dropping some vectors, however deep it is nested and whatever circles are in it.

use bytes::Bytes;
use ganger_shared::value::Integer;

use crate::opcode::Op;

/// A part of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// Everything that one pickle describes.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Invariant: whatever is referred to in here is in here.
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    /// Of the pickle, in bytes.
    pub(crate) size: usize,
}

/// One part. Texts and byte strings are slices of the pickle.
#[derive(Clone, Debug)]
pub enum Node {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int`.
    Int(Integer),
    /// A `float`.
    Float(f64),
    /// A `str`: UTF-8, with three bytes for half of a surrogate pair.
    Text(Bytes),
    /// `bytes`.
    Bytes(Bytes),
    /// A `bytearray`.
    ByteArray(Bytes),
    /// A `tuple`.
    Tuple(Vec<NodeId>),
    /// A `list`.
    List(Vec<NodeId>),
    /// A `dict`, in the order of insertion: a key, its value, the next key and so on.
    Dict(Vec<NodeId>),
    /// A `set`.
    Set(Vec<NodeId>),
    /// A `frozenset`.
    FrozenSet(Vec<NodeId>),
    /// A class or a function.
    Global(Box<Global>),
    /// An object: how it would be made.
    Made(Box<Made>),
}

/// There are as many as a pickle has bytes, at worst.
const _: () = assert!(size_of::<Node>() <= 40);

/// What a class or a function is called.
#[derive(Clone, Debug)]
pub struct Global {
    /// Where it is imported from.
    pub module: Bytes,
    /// What it is called there, perhaps with dots.
    pub name: Bytes,
}

/// How an object would be made, and what would be done to it then.
#[derive(Clone, Debug)]
pub struct Made {
    pub(crate) how: How,
    /// The class or function, the arguments, perhaps the keywords; then what the steps take.
    pub(crate) parts: Vec<NodeId>,
    pub(crate) steps: Vec<Step>,
}

/// How an object would be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By calling something.
    Reduce,
    /// By `__new__` of a class.
    NewObj,
    /// The same with keywords.
    NewObjEx,
}

/// What would be done to an object, to the parts from the end of the step before it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    /// Behind its last part.
    pub(crate) end: u32,
}

/// What would be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Its state is set.
    Build,
    /// Items are appended.
    Append,
    /// Items are set: keys with their values.
    SetItems,
    /// Items are added.
    AddItems,
    /// A function is called with it and a state: the two that follow.
    Apply,
}

impl NodeId {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const TRUE: Self = Self(1);
    pub(crate) const FALSE: Self = Self(2);
    pub(crate) const EMPTY_TUPLE: Self = Self(3);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl How {
    /// As many parts as it takes.
    pub(crate) const fn parts(self) -> usize {
        match self {
            Self::Reduce | Self::NewObj => 2,
            Self::NewObjEx => 3,
        }
    }

    pub(crate) const fn op(self) -> Op {
        match self {
            Self::Reduce => Op::Reduce,
            Self::NewObj => Op::NewObj,
            Self::NewObjEx => Op::NewObjEx,
        }
    }
}

impl StepKind {
    /// So many parts need no mark before them.
    pub(crate) const fn single(self) -> usize {
        match self {
            Self::Build | Self::Append => 1,
            Self::SetItems | Self::Apply => 2,
            Self::AddItems => 0,
        }
    }

    /// What stands behind the parts, of which there are just so many or more.
    pub(crate) const fn ops(self, is_single: bool) -> &'static [Op] {
        match (self, is_single) {
            (Self::Build, _) => &[Op::Build],
            (Self::Append, true) => &[Op::Append],
            (Self::Append, false) => &[Op::Appends],
            (Self::SetItems, true) => &[Op::SetItem],
            (Self::SetItems, false) => &[Op::SetItems],
            (Self::AddItems, _) => &[Op::AddItems],
            (Self::Apply, _) => &[Op::Tuple2, Op::Reduce, Op::Pop],
        }
    }
}

impl Made {
    /// How it would be made.
    #[must_use]
    pub const fn how(&self) -> How {
        self.how
    }

    /// The class or function that would make it.
    #[must_use]
    pub fn maker(&self) -> NodeId {
        self.parts[0]
    }

    /// The arguments: a tuple, or an object that stands for one.
    #[must_use]
    pub fn arguments(&self) -> NodeId {
        self.parts[1]
    }

    /// The keywords, of which only [`How::NewObjEx`] has any.
    #[must_use]
    pub fn keywords(&self) -> Option<NodeId> {
        (self.how == How::NewObjEx).then(|| self.parts[2])
    }

    /// What would be done to it then, in this order, and with what.
    pub fn steps(&self) -> impl Iterator<Item = (StepKind, &[NodeId])> + '_ {
        let mut start = self.how.parts();
        self.steps.iter().map(move |step| {
            let parts = &self.parts[start..step.end as usize];
            start = step.end as usize;
            (step.kind, parts)
        })
    }

    /// Whether a function is called with it when it is made.
    pub(crate) fn has_apply(&self) -> bool {
        self.steps.iter().any(|step| step.kind == StepKind::Apply)
    }

    /// Its state, if that is all that would be set.
    pub(crate) fn only_state(&self) -> Option<NodeId> {
        match self.steps[..] {
            [Step { kind: StepKind::Build, .. }] => self.parts.last().copied(),
            _ => None,
        }
    }
}

impl Graph {
    /// What the pickle is of.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        self.root
    }

    /// One part.
    ///
    /// # Panics
    /// For an id of another graph, perhaps.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// As many parts as there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none, which is never so.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What a part refers to.
    pub(crate) fn parts(&self, id: NodeId) -> &[NodeId] {
        match self.node(id) {
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::Float(_)
            | Node::Text(_)
            | Node::Bytes(_)
            | Node::ByteArray(_)
            | Node::Global(_) => &[],
            Node::Tuple(items)
            | Node::List(items)
            | Node::Dict(items)
            | Node::Set(items)
            | Node::FrozenSet(items) => items,
            Node::Made(made) => &made.parts,
        }
    }

    /// The text, if it is one without halves of surrogate pairs.
    #[must_use]
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Text(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub(crate) fn tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Whether it is the class or function `module.name`.
    pub(crate) fn is_global(&self, id: NodeId, of: &str, called: &str) -> bool {
        matches!(self.node(id), Node::Global(global)
            if global.module == of.as_bytes() && global.name == called.as_bytes())
    }
}

impl Node {
    /// The word for what it is in Python, for people.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Text(_) => "a str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "a bytearray",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Set(_) => "a set",
            Self::FrozenSet(_) => "a frozenset",
            Self::Global(_) => "a class or function",
            Self::Made(_) => "an object",
        }
    }
}
