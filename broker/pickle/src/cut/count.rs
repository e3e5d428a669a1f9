//! How often each part of a value is referred to, and which parts are inside themselves.
//!
//! Not writing, and not a walk that calls itself. Circles are found as R. Tarjan does (Depth-first
//! search and linear graph algorithms, 1972): each part has its number in the order of the walk
//! (`index`), and the least number that can be come to from it (`lowest`). A part is open while it is
//! not known what it is in a circle with.

use super::{Atom, Cut, Mark, SHORT_BYTES, Use, atom};
use crate::PickleError;
use crate::graph::{Node, NodeId};

impl<'g> Cut<'_, 'g> {
    /// Counts all that the value refers to, in the order in which it is written then.
    pub(super) fn count(&mut self, root: NodeId) -> Result<(), PickleError> {
        let graph = self.cutter.graph;
        // Parts and which of theirs is next; and those of which it is not known what is with them.
        let (mut path, mut open) = (Vec::new(), Vec::new());
        let mut seen = 0;
        let mut part = Some(root);
        loop {
            if let Some(id) = part {
                if self.count_one(id, path.last().map(|(id, _)| *id)) {
                    let mark = self.cutter.mark(id);
                    (mark.index, mark.lowest, mark.is_open) = (seen, seen, true);
                    seen += 1;
                    open.push(id);
                    path.push((id, 0));
                }
                if path.len() > self.cutter.depth_max {
                    return Err(PickleError::TooDeep { max: self.cutter.depth_max });
                }
            } else if let Some((id, _)) = path.pop() {
                let around = path.last().map(|(id, _)| *id);
                self.leave(id, around, &mut open);
            }
            let Some((id, next)) = path.last_mut() else { return Ok(()) };
            part = graph.parts(*id).get(*next).copied();
            *next += 1;
        }
    }

    /// Counts a reference to a part from the one around it; whether it has parts that are to be
    /// counted.
    fn count_one(&mut self, id: NodeId, around: Option<NodeId>) -> bool {
        let node = self.cutter.graph.node(id);
        if let Some(atom) = atom(node) {
            let known = self.cutter.mark(id).atom;
            if known == 0 {
                self.cutter.mark(id).atom = self.count_atom(atom);
            } else {
                self.uses[known as usize - 1].count += 1;
            }
            return false;
        }
        let uses = match node {
            Node::Tuple(items) if items.is_empty() => return false,
            Node::ByteArray(_) => {
                let mark = self.cutter.mark(id);
                mark.used.count += 1;
                if mark.used.count == 1 {
                    self.count_atom(Atom::Global(b"builtins", b"bytearray"));
                }
                return false;
            }
            Node::Tuple(_) | Node::List(_) | Node::Dict(_) | Node::Set(_) | Node::FrozenSet(_) => 1,
            // What a function is called with as well.
            Node::Made(made) => 1 + u32::from(made.has_apply()),
            _ => return false,
        };
        let mark = self.cutter.mark(id);
        let is_first = mark.used.count == 0;
        mark.used.count += if is_first { uses } else { 1 };
        if mark.is_open
            && let Some(around) = around
        {
            let index = mark.index;
            mark.is_in_circle |= around == id;
            let around = self.cutter.mark(around);
            around.lowest = around.lowest.min(index);
        }
        is_first
    }

    /// All parts of a part are counted.
    fn leave(&mut self, id: NodeId, around: Option<NodeId>, open: &mut Vec<NodeId>) {
        let Mark { index, lowest, .. } = *self.cutter.mark(id);
        if let Some(around) = around {
            let around = self.cutter.mark(around);
            around.lowest = around.lowest.min(lowest);
        }
        if lowest < index {
            return;
        }
        let is_alone = open.last() == Some(&id);
        while let Some(part) = open.pop() {
            let mark = self.cutter.mark(part);
            mark.is_open = false;
            mark.is_in_circle |= !is_alone;
            if mark.is_in_circle {
                mark.used.count = mark.used.count.max(2);
            }
            if part == id {
                break;
            }
        }
    }

    /// Counts a reference to what is the same if it is equal, and says which one it is.
    fn count_atom(&mut self, atom: Atom<'g>) -> u32 {
        // There are no more of them than parts of the graph, twice, which have smaller numbers.
        let next = u32::try_from(self.uses.len() + 1).unwrap_or(u32::MAX);
        let number = *self.atoms.entry(atom).or_insert(next);
        if number == next {
            self.uses.push(Use::default());
        }
        let used = &mut self.uses[number as usize - 1];
        used.count += 1;
        if let (Atom::Global(module, name), 1) = (atom, used.count) {
            for text in [module, name].into_iter().filter(|text| text.len() > SHORT_BYTES) {
                self.count_atom(Atom::Text(text));
            }
        }
        number
    }
}
