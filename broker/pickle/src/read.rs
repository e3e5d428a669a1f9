//! The machine that reads a pickle into a graph.
//!
//! Not Python's: where that one imports, calls or sets state, this one records what would be
//! imported, called or set. It does not call itself either, so nesting costs no stack.

use bytes::Bytes;
use ganger_shared::value::Integer;

use crate::graph::{Global, Graph, How, Made, Node, NodeId, Step, StepKind};
use crate::opcode::{Argument, Found, Op, Scanner};
use crate::{Limits, PickleError, known};

mod argument;

/// Slots that may be left out before one that is put, since Python counts them up.
const GAP_SLOTS: usize = 256;

/// Longest name of a module, and of what is in it, in bytes. Two bytes can refer to one again, which
/// is then looked at again.
const NAME_MAX: usize = 1 << 10;

/// What stands in a slot that was left out.
const EMPTY_SLOT: NodeId = NodeId(u32::MAX);

/// Reads what a pickle of protocol 3, 4 or 5 describes, which is all of `message`.
///
/// Takes memory for at most 160 bytes for each byte of it, and time in proportion to it.
///
/// # Errors
/// Each of [`PickleError`]'s up to [`PickleError::TooMany`], and [`PickleError::Forbidden`].
///
/// ```
/// use bytes::Bytes;
/// use ganger_pickle::{Limits, Node, read};
///
/// // pickle.dumps(os.system) names a function; it is neither imported nor called.
/// let message = Bytes::from_static(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.");
/// let graph = read(message, &Limits::default())?;
/// assert!(matches!(graph.node(graph.root()), Node::Global(global) if global.name == "system"));
/// # Ok::<(), ganger_pickle::PickleError>(())
/// ```
pub fn read(message: Bytes, limits: &Limits) -> Result<Graph, PickleError> {
    let mut machine = Machine::new(&message, limits)?;
    let mut scanner = Scanner::new(&message);
    if message.first() != Some(&Op::Proto.byte()) {
        return Err(PickleError::NoProtocol);
    }
    match scanner.next()?.argument {
        Argument::Number(3..=5) => {}
        Argument::Number(found) => return Err(PickleError::Protocol { found }),
        _ => return Err(PickleError::NoProtocol),
    }
    loop {
        let found = scanner.next()?;
        if found.op == Op::Stop {
            break;
        }
        machine.step(found)?;
    }
    match scanner.left() {
        0 => machine.finish(),
        extra => Err(PickleError::Trailing { at: scanner.at(), extra }),
    }
}

/// Reads the opcodes of one value, without the protocol before and the end behind them.
pub(crate) fn read_bare(code: &Bytes, limits: &Limits) -> Result<Graph, PickleError> {
    let mut machine = Machine::new(code, limits)?;
    let mut scanner = Scanner::new(code);
    while scanner.left() > 0 {
        machine.step(scanner.next()?)?;
    }
    machine.finish()
}

struct Machine<'a> {
    message: &'a Bytes,
    limits: &'a Limits,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: Vec<NodeId>,
    /// Slots with something in them.
    memo_used: usize,
    /// Items that may still be copied from one container to another. Each took a byte when it came
    /// to the first one, so there are no more of them unless they are copied again and again.
    copies_left: usize,
    /// The opcode at hand.
    op: Op,
    at: usize,
}

impl<'a> Machine<'a> {
    fn new(message: &'a Bytes, limits: &'a Limits) -> Result<Self, PickleError> {
        if message.len() > limits.size_bytes {
            return Err(PickleError::TooLong { size: message.len(), max: limits.size_bytes });
        }
        let mut nodes = Vec::with_capacity(4 + message.len().min(256) / 8);
        // In the order of the ids that NodeId has for them.
        nodes.extend([Node::None, Node::Bool(true), Node::Bool(false), Node::Tuple(Vec::new())]);
        Ok(Self {
            message,
            limits,
            nodes,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            memo_used: 0,
            copies_left: message.len(),
            op: Op::Proto,
            at: 0,
        })
    }

    fn finish(self) -> Result<Graph, PickleError> {
        match self.stack[..] {
            [root] if self.marks.is_empty() => {
                Ok(Graph { nodes: self.nodes, root, size: self.message.len() })
            }
            _ => Err(PickleError::NotOne { left: self.stack.len() + self.marks.len() }),
        }
    }

    fn step(&mut self, found: Found) -> Result<(), PickleError> {
        (self.op, self.at) = (found.op, found.at);
        let argument = found.argument;
        match self.op {
            Op::None => self.stack.push(NodeId::NONE),
            Op::NewTrue => self.stack.push(NodeId::TRUE),
            Op::NewFalse => self.stack.push(NodeId::FALSE),
            Op::EmptyTuple => self.stack.push(NodeId::EMPTY_TUPLE),
            Op::BinInt | Op::BinInt1 | Op::BinInt2 => {
                let Argument::Number(number) = argument else { return Err(self.bad()) };
                self.push(Node::Int(number.into()))?;
            }
            Op::Long1 | Op::Long4 => {
                let bytes = self.bytes(argument)?;
                self.push(Node::Int(Integer::from_bytes(&bytes)))?;
            }
            Op::BinFloat => {
                let Argument::Float(float) = argument else { return Err(self.bad()) };
                self.push(Node::Float(float))?;
            }
            Op::ShortBinUnicode | Op::BinUnicode | Op::BinUnicode8 => {
                let bytes = self.bytes(argument)?;
                let text = self.text(bytes)?;
                self.push(Node::Text(text))?;
            }
            Op::ShortBinBytes | Op::BinBytes | Op::BinBytes8 => {
                let bytes = self.bytes(argument)?;
                self.push(Node::Bytes(bytes))?;
            }
            Op::ByteArray8 => {
                let bytes = self.bytes(argument)?;
                self.push(Node::ByteArray(bytes))?;
            }
            Op::Int | Op::Long | Op::Float | Op::Unicode => self.line(argument)?,
            Op::String | Op::BinString | Op::ShortBinString => self.ascii(argument)?,
            Op::EmptyList => self.push(Node::List(Vec::new()))?,
            Op::EmptyDict => self.push(Node::Dict(Vec::new()))?,
            Op::EmptySet => self.push(Node::Set(Vec::new()))?,
            Op::Tuple1 => self.tuple(1)?,
            Op::Tuple2 => self.tuple(2)?,
            Op::Tuple3 => self.tuple(3)?,
            Op::Tuple => {
                let items = self.above_mark()?;
                self.push_tuple(items)?;
            }
            Op::List => {
                let items = self.above_mark()?;
                self.push(Node::List(items))?;
            }
            Op::Dict => {
                let items = self.above_mark()?;
                self.even(&items)?;
                self.push(Node::Dict(items))?;
            }
            Op::FrozenSet => {
                let items = self.above_mark()?;
                self.push(Node::FrozenSet(items))?;
            }
            Op::Append | Op::Appends => self.extend(StepKind::Append, 1)?,
            Op::SetItem | Op::SetItems => self.extend(StepKind::SetItems, 2)?,
            Op::AddItems => self.extend(StepKind::AddItems, 1)?,
            Op::Build => self.extend(StepKind::Build, 1)?,
            Op::Global => {
                let Argument::TwoLines(module, name) = argument else { return Err(self.bad()) };
                let module = self.text(self.message.slice(module))?;
                let name = self.text(self.message.slice(name))?;
                self.global(module, name)?;
            }
            Op::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.node(module), self.node(name)) {
                    (Node::Text(module), Node::Text(name)) => {
                        let (module, name) = (module.clone(), name.clone());
                        self.global(module, name)?;
                    }
                    (Node::Text(_), other) | (other, _) => return Err(self.mismatch(other)),
                }
            }
            Op::Reduce => self.make(How::Reduce)?,
            Op::NewObj => self.make(How::NewObj)?,
            Op::NewObjEx => self.make(How::NewObjEx)?,
            Op::Mark => self.marks.push(self.stack.len()),
            Op::Pop => self.discard()?,
            Op::PopMark => drop(self.above_mark()?),
            Op::Dup => self.stack.push(self.top()?),
            Op::Memoize => self.put(self.memo_used as u64)?,
            Op::Put | Op::BinPut | Op::LongBinPut => {
                let slot = self.slot(argument)?;
                self.put(slot)?;
            }
            Op::Get | Op::BinGet | Op::LongBinGet => {
                let slot = self.slot(argument)?;
                let known = usize::try_from(slot).ok().and_then(|slot| self.memo.get(slot));
                let known = known.copied().filter(|id| *id != EMPTY_SLOT);
                self.stack.push(known.ok_or(PickleError::EmptySlot { slot, at: self.at })?);
            }
            // Its size is that of what follows, which the message has in any case.
            Op::Frame => {}
            Op::Proto | Op::Stop => {
                return Err(PickleError::Misplaced { opcode: self.op.name(), at: self.at });
            }
            Op::PersId
            | Op::BinPersId
            | Op::Ext1
            | Op::Ext2
            | Op::Ext4
            | Op::Inst
            | Op::Obj
            | Op::NextBuffer
            | Op::ReadOnlyBuffer => {
                return Err(PickleError::Refused { opcode: self.op.name(), at: self.at });
            }
        }
        Ok(())
    }

    // The stack and the memo.

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    fn mismatch(&self, found: &Node) -> PickleError {
        PickleError::Mismatch { opcode: self.op.name(), at: self.at, found: found.kind() }
    }

    const fn no_value(&self) -> PickleError {
        PickleError::NoValue { opcode: self.op.name(), at: self.at }
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        let max = self.limits.nodes;
        let too_many = || PickleError::TooMany { what: "parts", max };
        if self.nodes.len() >= max {
            return Err(too_many());
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| too_many())?;
        self.nodes.push(node);
        self.stack.push(NodeId(id));
        Ok(())
    }

    /// Where the values begin that may be taken: behind the last mark.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<NodeId, PickleError> {
        self.stack[self.fence()..].last().copied().ok_or_else(|| self.no_value())
    }

    fn pop(&mut self) -> Result<NodeId, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The last `count` values.
    fn take(&mut self, count: usize) -> Result<Vec<NodeId>, PickleError> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.fence());
        Ok(self.stack.split_off(start.ok_or_else(|| self.no_value())?))
    }

    fn above_mark(&mut self) -> Result<Vec<NodeId>, PickleError> {
        let no_mark = PickleError::NoMark { opcode: self.op.name(), at: self.at };
        let start = self.marks.pop().ok_or(no_mark)?;
        Ok(self.stack.split_off(start))
    }

    fn even(&self, items: &[NodeId]) -> Result<(), PickleError> {
        if items.len().is_multiple_of(2) { Ok(()) } else { Err(self.no_value()) }
    }

    /// Takes a value or a mark away.
    fn discard(&mut self) -> Result<(), PickleError> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        let gone = self.pop()?;
        // What a function does to an object is wanted, what it returns is not: the sixth item of
        // what `__reduce__` returns.
        if let (Ok(object), Node::Made(made)) = (self.top(), self.node(gone))
            && let Node::Tuple(arguments) = self.node(made.arguments())
            && let [first, state] = arguments[..]
            && (made.how, made.steps.is_empty(), first) == (How::Reduce, true, object)
        {
            let parts = [made.maker(), state];
            if let Node::Made(object) = &mut self.nodes[object.index()] {
                object.step(StepKind::Apply, &parts);
            }
        }
        Ok(())
    }

    fn put(&mut self, slot: u64) -> Result<(), PickleError> {
        let id = self.top()?;
        let too_many = PickleError::TooMany { what: "memo slots", max: self.limits.memo_slots };
        let used = self.memo_used;
        let index = usize::try_from(slot).ok().filter(|index| *index <= used + GAP_SLOTS);
        let index = index.ok_or(PickleError::FarSlot { slot, at: self.at, used })?;
        if index >= self.limits.memo_slots {
            return Err(too_many);
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, EMPTY_SLOT);
        }
        let before = core::mem::replace(&mut self.memo[index], id);
        self.memo_used += usize::from(before == EMPTY_SLOT);
        Ok(())
    }

    // What is made of other values.

    fn tuple(&mut self, size: usize) -> Result<(), PickleError> {
        let items = self.take(size)?;
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<NodeId>) -> Result<(), PickleError> {
        if items.is_empty() {
            self.stack.push(NodeId::EMPTY_TUPLE);
            return Ok(());
        }
        self.push(Node::Tuple(items))
    }

    fn global(&mut self, module: Bytes, name: Bytes) -> Result<(), PickleError> {
        if module.len() > NAME_MAX || name.len() > NAME_MAX {
            return Err(self.bad());
        }
        self.limits.check(&module, &name)?;
        self.push(Node::Global(Box::new(Global { module, name })))
    }

    /// Puts into the value below what lies above the mark, or the last `count`.
    fn extend(&mut self, kind: StepKind, count: usize) -> Result<(), PickleError> {
        let items = match self.op {
            Op::Appends | Op::SetItems | Op::AddItems => self.above_mark()?,
            _ => self.take(count)?,
        };
        if kind == StepKind::SetItems {
            self.even(&items)?;
        }
        let target = self.top()?;
        match (kind, &mut self.nodes[target.index()]) {
            (StepKind::Append, Node::List(inside))
            | (StepKind::SetItems, Node::Dict(inside))
            | (StepKind::AddItems, Node::Set(inside)) => inside.extend_from_slice(&items),
            (_, Node::Made(made)) => made.step(kind, &items),
            _ => return Err(self.mismatch(self.node(target))),
        }
        Ok(())
    }

    fn make(&mut self, how: How) -> Result<(), PickleError> {
        let parts = self.take(how.parts())?;
        match self.node(parts[0]) {
            Node::Global(_) | Node::Made(_) => {}
            other => return Err(self.mismatch(other)),
        }
        match self.node(parts[1]) {
            Node::Tuple(_) => {}
            other => return Err(self.mismatch(other)),
        }
        if how == How::Reduce
            && let Some(node) = known::container(&self.nodes, parts[0], parts[1])
        {
            let copied = match &node {
                Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => items.len(),
                _ => 0,
            };
            let max = self.message.len();
            let left = self.copies_left.checked_sub(copied);
            self.copies_left = left.ok_or(PickleError::TooMany { what: "copied items", max })?;
            return self.push(node);
        }
        self.push(Node::Made(Box::new(Made { how, parts, steps: Vec::new() })))
    }
}

impl Made {
    /// Records what would be done, together with the same done before.
    fn step(&mut self, kind: StepKind, items: &[NodeId]) {
        self.parts.extend_from_slice(items);
        // A pickle has far fewer bytes than that.
        let end = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        match (kind, self.steps.last_mut()) {
            (StepKind::Append | StepKind::SetItems | StepKind::AddItems, Some(last))
                if last.kind == kind =>
            {
                last.end = end;
            }
            (StepKind::Append | StepKind::SetItems | StepKind::AddItems, _) if items.is_empty() => {
            }
            _ => self.steps.push(Step { kind, end }),
        }
    }
}
