//! One value cut out of a graph, as opcodes that stand for themselves.
//!
//! Not a whole pickle: without the protocol before and the end behind it, so that many of them fit
//! into one; see [`crate::fragment`].
//!
//! What is written depends on what the value is and not on where it was cut from. A slot is used for
//! what is referred to more than once, in the order in which that comes; texts, byte strings, large
//! integers and classes that are equal count as one, and whatever else can be told apart in Python is
//! told apart here.

use std::collections::BTreeMap;

use ganger_shared::value::Integer;

use crate::PickleError;
use crate::encode::Code;
use crate::graph::{Graph, Node, NodeId, StepKind};
use crate::opcode::Op;

mod count;

/// Bytes of a text that are written again and not referred to, for that would take more.
const SHORT_BYTES: usize = 3;

/// What is the same in Python if it is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Atom<'g> {
    Text(&'g [u8]),
    Bytes(&'g [u8]),
    Int(&'g Integer),
    Global(&'g [u8], &'g [u8]),
}

/// How often something is referred to, and where it is remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    count: u32,
    slot: Option<u32>,
}

/// The same for a part of the graph.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The cut that this is about; it means nothing in a later one.
    cut: u32,
    /// Of what is the same if it is equal: which one it is, counted from one.
    atom: u32,
    used: Use,
    /// It is inside itself. Such a list is remembered before it has items, as each is that is
    /// referred to again; such a tuple may come again before it is made.
    is_in_circle: bool,
    /// How it was counted; see [`count`].
    index: u32,
    lowest: u32,
    is_open: bool,
}

/// Cuts values out of a graph, one after the other, with the same bookkeeping.
#[derive(Debug)]
pub(crate) struct Cutter<'g> {
    graph: &'g Graph,
    depth_max: usize,
    marks: Vec<Mark>,
    cut: u32,
}

/// One cut.
struct Cut<'c, 'g> {
    cutter: &'c mut Cutter<'g>,
    /// Which one each is. Looked up once for each part, since long ones take long to compare.
    atoms: BTreeMap<Atom<'g>, u32>,
    uses: Vec<Use>,
    code: Code,
    slots: u32,
    /// Bytes that may be written.
    bytes_max: usize,
}

/// A container or object that is being written.
struct Frame {
    id: NodeId,
    /// The next of its parts.
    next: usize,
    /// Of an object: which step is next.
    step: usize,
    /// Of an object: it is made, and what follows are its steps.
    is_made: bool,
    /// It comes again inside: if it is remembered there, what is written here is taken away.
    is_recursive: bool,
}

impl<'g> Cutter<'g> {
    pub(crate) const fn new(graph: &'g Graph, depth_max: usize) -> Self {
        Self { graph, depth_max, marks: Vec::new(), cut: 0 }
    }

    /// The opcodes of one value, at most `bytes_max` bytes of them.
    ///
    /// # Errors
    /// [`PickleError::TooDeep`] and [`PickleError::TooMuchWork`].
    pub(crate) fn cut(&mut self, root: NodeId, bytes_max: usize) -> Result<Vec<u8>, PickleError> {
        if self.marks.is_empty() || self.cut == u32::MAX {
            self.marks = vec![Mark::default(); self.graph.nodes.len()];
            self.cut = 0;
        }
        self.cut += 1;
        let (atoms, code) = (BTreeMap::new(), Code::default());
        let mut cut = Cut { cutter: self, atoms, uses: Vec::new(), code, slots: 0, bytes_max };
        cut.count(root)?;
        cut.write(root)?;
        Ok(cut.code.bytes)
    }

    fn mark(&mut self, id: NodeId) -> &mut Mark {
        let mark = &mut self.marks[id.index()];
        if mark.cut != self.cut {
            *mark = Mark { cut: self.cut, ..Mark::default() };
        }
        mark
    }
}

/// What the part is, if equal ones count as one.
pub(crate) fn atom(node: &Node) -> Option<Atom<'_>> {
    match node {
        Node::Text(text) if text.len() > SHORT_BYTES => Some(Atom::Text(text)),
        Node::Bytes(bytes) if bytes.len() > SHORT_BYTES => Some(Atom::Bytes(bytes)),
        Node::Int(number) if number.as_i64().is_none() => Some(Atom::Int(number)),
        Node::Global(global) => Some(Atom::Global(&global.module, &global.name)),
        _ => None,
    }
}

impl<'g> Cut<'_, 'g> {
    fn write(&mut self, root: NodeId) -> Result<(), PickleError> {
        let mut frames = Vec::new();
        self.enter(root, &mut frames);
        while let Some(mut frame) = frames.pop() {
            if let Some(part) = self.advance(&mut frame) {
                frames.push(frame);
                self.enter(part, &mut frames);
            }
            if self.code.bytes.len() > self.bytes_max {
                return Err(PickleError::TooMuchWork { max: self.bytes_max });
            }
            if frames.len() > self.cutter.depth_max {
                return Err(PickleError::TooDeep { max: self.cutter.depth_max });
            }
        }
        Ok(())
    }

    /// Remembers what was just written, if it is referred to again.
    fn remember(code: &mut Code, slots: &mut u32, used: &mut Use) {
        if used.count > 1 && used.slot.is_none() {
            code.op(Op::Memoize);
            used.slot = Some(*slots);
            *slots += 1;
        }
    }

    fn remember_part(&mut self, id: NodeId) {
        Self::remember(&mut self.code, &mut self.slots, &mut self.cutter.mark(id).used);
    }

    /// Writes a part, or what comes before its own parts; then there is a frame for them.
    fn enter(&mut self, id: NodeId, frames: &mut Vec<Frame>) {
        let node = self.cutter.graph.node(id);
        if let Some(atom) = atom(node) {
            let number = self.cutter.mark(id).atom;
            self.atom(atom, number);
            return;
        }
        if let Some(slot) = self.cutter.mark(id).used.slot {
            self.code.slot(slot);
            return;
        }
        let mut frame = Frame { id, next: 0, step: 0, is_made: false, is_recursive: false };
        match node {
            Node::None => self.code.op(Op::None),
            Node::Bool(bool) => self.code.bool(*bool),
            Node::Int(number) => self.code.int(number),
            Node::Float(float) => self.code.float(*float),
            Node::Text(text) => self.code.text(text),
            Node::Bytes(bytes) => self.code.blob(bytes),
            Node::Global(global) => self.look_up(Atom::Global(&global.module, &global.name)),
            Node::ByteArray(bytes) => {
                self.look_up(Atom::Global(b"builtins", b"bytearray"));
                self.code.blob(bytes);
                self.code.op(Op::Tuple1);
                self.code.op(Op::Reduce);
                self.remember_part(id);
            }
            Node::Tuple(items) if items.is_empty() => self.code.op(Op::EmptyTuple),
            Node::Tuple(_) | Node::FrozenSet(_) | Node::Made(_) => {
                frame.is_recursive = self.cutter.mark(id).is_in_circle;
                let has_mark = match node {
                    Node::Tuple(items) => items.len() > 3 || frame.is_recursive,
                    Node::FrozenSet(_) => true,
                    _ => false,
                };
                if has_mark {
                    self.code.op(Op::Mark);
                }
                frames.push(frame);
            }
            Node::List(items) => self.open(Op::EmptyList, items.len(), 1, frame, frames),
            Node::Dict(items) => self.open(Op::EmptyDict, items.len(), 2, frame, frames),
            Node::Set(items) => self.open(Op::EmptySet, items.len(), 0, frame, frames),
        }
    }

    /// Begins what is remembered before it has items; `single` of them need no mark.
    fn open(&mut self, op: Op, count: usize, single: usize, frame: Frame, frames: &mut Vec<Frame>) {
        self.code.op(op);
        self.remember_part(frame.id);
        if count > single {
            self.code.op(Op::Mark);
        }
        if count > 0 {
            frames.push(frame);
        }
    }

    /// Writes what was counted by itself, or is too short for that.
    fn look_up(&mut self, atom: Atom<'g>) {
        let number = self.atoms.get(&atom).copied().unwrap_or(0);
        self.atom(atom, number);
    }

    fn atom(&mut self, atom: Atom<'g>, number: u32) {
        let index = (number as usize).checked_sub(1);
        if let Some(slot) = index.and_then(|index| self.uses[index].slot) {
            self.code.slot(slot);
            return;
        }
        match atom {
            Atom::Text(text) => self.code.text(text),
            Atom::Bytes(bytes) => self.code.blob(bytes),
            Atom::Int(number) => self.code.int(number),
            Atom::Global(module, name) => {
                for text in [module, name] {
                    self.look_up(Atom::Text(text));
                }
                self.code.op(Op::StackGlobal);
            }
        }
        if let Some(used) = index.and_then(|index| self.uses.get_mut(index)) {
            Self::remember(&mut self.code, &mut self.slots, used);
        }
    }

    /// The next part of what is being written, or whatever ends it.
    fn advance(&mut self, frame: &mut Frame) -> Option<NodeId> {
        let node = self.cutter.graph.node(frame.id);
        if let Node::Made(_) = node {
            return self.advance_made(frame);
        }
        if frame.is_recursive
            && let Node::Tuple(_) | Node::FrozenSet(_) = node
            && let Some(slot) = self.cutter.mark(frame.id).used.slot
        {
            self.code.op(Op::PopMark);
            self.code.slot(slot);
            return None;
        }
        let items = self.cutter.graph.parts(frame.id);
        if let Some(item) = items.get(frame.next) {
            frame.next += 1;
            return Some(*item);
        }
        match node {
            Node::List(_) if items.len() == 1 => self.code.op(Op::Append),
            Node::List(_) => self.code.op(Op::Appends),
            Node::Dict(_) if items.len() == 2 => self.code.op(Op::SetItem),
            Node::Dict(_) => self.code.op(Op::SetItems),
            Node::Set(_) => self.code.op(Op::AddItems),
            Node::FrozenSet(_) => self.code.op(Op::FrozenSet),
            _ if frame.is_recursive => self.code.op(Op::Tuple),
            _ => self.code.tuple(items.len()),
        }
        if let Node::Tuple(_) | Node::FrozenSet(_) = node {
            self.remember_part(frame.id);
        }
        None
    }

    fn advance_made(&mut self, frame: &mut Frame) -> Option<NodeId> {
        let Node::Made(made) = self.cutter.graph.node(frame.id) else { return None };
        loop {
            if !frame.is_made {
                if frame.next < made.how.parts() {
                    break;
                }
                if let Some(slot) = self.cutter.mark(frame.id).used.slot {
                    // As one value, so that nothing looks like a call for its effect.
                    self.code.tuple(made.how.parts());
                    self.code.op(Op::Pop);
                    self.code.slot(slot);
                    return None;
                }
                self.code.op(made.how.op());
                self.remember_part(frame.id);
                frame.is_made = true;
            }
            let step = made.steps.get(frame.step)?;
            let start = frame
                .step
                .checked_sub(1)
                .map_or_else(|| made.how.parts(), |before| made.steps[before].end as usize);
            let (end, count) = (step.end as usize, step.end as usize - start);
            let single = step.kind.single();
            if frame.next == start && count > single {
                self.code.op(Op::Mark);
            }
            if step.kind == StepKind::Apply && frame.next == start + 1 {
                let slot = self.cutter.mark(frame.id).used.slot;
                self.code.slot(slot.unwrap_or(0));
            }
            if frame.next < end {
                break;
            }
            for op in step.kind.ops(count == single) {
                self.code.op(*op);
            }
            frame.step += 1;
        }
        frame.next += 1;
        made.parts.get(frame.next - 1).copied()
    }
}
