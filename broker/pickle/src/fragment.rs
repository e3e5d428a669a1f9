//! Fragments: values that are opcodes, and how they come into a pickle.
//!
//! Not how they are cut out of one: [`crate::Values`] has them cut.
//!
//! A fragment is what `pickle.dumps(value, 4)` writes, without the protocol and the frame before and
//! the end behind it. It counts its own slots from zero: whatever is remembered is remembered by
//! MEMOIZE, which takes the next slot, and taken again by LONG_BINGET. To put it behind others is to
//! copy it and to add to each of these numbers how many slots there are already.

use bytes::Bytes;

use crate::graph::Graph;
use crate::opcode::{Argument, Found, Op, Scanner};
use crate::{Limits, PickleError, read, text};

/// The format of [`Value::Opaque`](ganger_shared::Value::Opaque) values whose bytes are fragments.
pub const FORMAT: &str = "pickle";

/// Reads what a fragment describes.
///
/// # Errors
/// As [`crate::read`].
pub fn read_fragment(code: &Bytes, limits: &Limits) -> Result<Graph, PickleError> {
    read::read_bare(code, limits)
}

/// Appends a fragment to a pickle in which `slots` are in use, and says how many are then.
///
/// It is checked, for anybody may have written it: what is appended leaves one value, takes only what
/// is its own, and names only what may be named. Nothing is appended if it is refused.
///
/// # Errors
/// As [`crate::read`].
pub(crate) fn append(
    code: &[u8],
    slots: u32,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<u32, PickleError> {
    let start = out.len();
    out.extend_from_slice(code);
    let checked = Check::new(code, limits).run(|at, slot| {
        let place = start + at..start + at + 4;
        out[place].copy_from_slice(&(slots.wrapping_add(slot)).to_le_bytes());
    });
    // Each takes a byte, and a pickle with four thousand million of them is not written.
    checked.map(|used| slots.wrapping_add(used)).inspect_err(|_| out.truncate(start))
}

/// What is known of a value while a fragment is checked.
#[derive(Clone, Debug)]
enum Kind {
    /// Nothing is done to it.
    Plain,
    Text(core::ops::Range<usize>),
    Tuple,
    List,
    Dict,
    Set,
    /// A class, a function or an object.
    Object,
}

struct Check<'a> {
    code: &'a [u8],
    limits: &'a Limits,
    stack: Vec<Kind>,
    marks: Vec<usize>,
    memo: Vec<Kind>,
    op: Op,
    at: usize,
}

impl<'a> Check<'a> {
    fn new(code: &'a [u8], limits: &'a Limits) -> Self {
        let (stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new());
        Self { code, limits, stack, marks, memo, op: Op::Stop, at: 0 }
    }

    /// How many slots it takes. Tells of each reference to one: where its number is, and the number.
    fn run(mut self, mut refers: impl FnMut(usize, u32)) -> Result<u32, PickleError> {
        if self.code.len() > self.limits.size_bytes {
            let (size, max) = (self.code.len(), self.limits.size_bytes);
            return Err(PickleError::TooLong { size, max });
        }
        let mut scanner = Scanner::new(self.code);
        while scanner.left() > 0 {
            let found = scanner.next()?;
            if let (Op::LongBinGet, &Argument::Number(slot)) = (found.op, &found.argument) {
                refers(found.at + 1, u32::try_from(slot).unwrap_or(u32::MAX));
            }
            self.step(found)?;
        }
        if self.stack.len() != 1 || !self.marks.is_empty() {
            return Err(PickleError::NotOne { left: self.stack.len() + self.marks.len() });
        }
        let max = self.limits.memo_slots;
        u32::try_from(self.memo.len()).map_err(|_| PickleError::TooMany { what: "memo slots", max })
    }

    fn step(&mut self, found: Found) -> Result<(), PickleError> {
        (self.op, self.at) = (found.op, found.at);
        match self.op {
            Op::None | Op::NewTrue | Op::NewFalse => self.stack.push(Kind::Plain),
            Op::BinInt | Op::BinInt1 | Op::BinInt2 | Op::Long1 | Op::Long4 | Op::BinFloat => {
                self.stack.push(Kind::Plain);
            }
            Op::ShortBinBytes | Op::BinBytes | Op::BinBytes8 => self.stack.push(Kind::Plain),
            Op::ShortBinUnicode | Op::BinUnicode | Op::BinUnicode8 => {
                let Argument::Bytes(range) = found.argument else { return Err(self.misplaced()) };
                if !text::is_text(&self.code[range.clone()]) {
                    return Err(PickleError::NotText { at: range.start });
                }
                self.stack.push(Kind::Text(range));
            }
            Op::EmptyTuple => self.stack.push(Kind::Tuple),
            Op::EmptyList => self.stack.push(Kind::List),
            Op::EmptyDict => self.stack.push(Kind::Dict),
            Op::EmptySet => self.stack.push(Kind::Set),
            Op::Tuple1 => self.replace(1, Kind::Tuple)?,
            Op::Tuple2 => self.replace(2, Kind::Tuple)?,
            Op::Tuple3 => self.replace(3, Kind::Tuple)?,
            Op::Tuple => {
                self.above_mark()?;
                self.stack.push(Kind::Tuple);
            }
            Op::FrozenSet => {
                self.above_mark()?;
                self.stack.push(Kind::Plain);
            }
            Op::Append => self.extend(1)?,
            Op::SetItem => self.extend(2)?,
            Op::Build => self.extend(1)?,
            Op::Appends | Op::AddItems | Op::SetItems => {
                let count = self.above_mark()?;
                if self.op == Op::SetItems && !count.is_multiple_of(2) {
                    return Err(self.no_value());
                }
                self.extend(0)?;
            }
            Op::StackGlobal => self.global()?,
            Op::Reduce | Op::NewObj => self.make(2)?,
            Op::NewObjEx => self.make(3)?,
            Op::Mark => self.marks.push(self.stack.len()),
            Op::Pop => self.need(1).map(|start| self.stack.truncate(start))?,
            Op::PopMark => drop(self.above_mark()?),
            Op::Memoize => {
                let start = self.need(1)?;
                if self.memo.len() >= self.limits.memo_slots {
                    let max = self.limits.memo_slots;
                    return Err(PickleError::TooMany { what: "memo slots", max });
                }
                self.memo.push(self.stack[start].clone());
            }
            Op::LongBinGet => {
                let Argument::Number(number) = found.argument else {
                    return Err(self.misplaced());
                };
                let kind = usize::try_from(number).ok().and_then(|slot| self.memo.get(slot));
                let slot = number.cast_unsigned();
                let kind = kind.ok_or(PickleError::EmptySlot { slot, at: self.at })?;
                self.stack.push(kind.clone());
            }
            // All that fragments have no need of.
            _ => return Err(self.misplaced()),
        }
        Ok(())
    }

    const fn misplaced(&self) -> PickleError {
        PickleError::Misplaced { opcode: self.op.name(), at: self.at }
    }

    const fn no_value(&self) -> PickleError {
        PickleError::NoValue { opcode: self.op.name(), at: self.at }
    }

    /// Where the last `count` values begin.
    fn need(&self, count: usize) -> Result<usize, PickleError> {
        let fence = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= fence);
        start.ok_or_else(|| self.no_value())
    }

    /// Takes what lies above the mark, and says how much.
    fn above_mark(&mut self) -> Result<usize, PickleError> {
        let no_mark = PickleError::NoMark { opcode: self.op.name(), at: self.at };
        let start = self.marks.pop().ok_or(no_mark)?;
        let count = self.stack.len() - start;
        self.stack.truncate(start);
        Ok(count)
    }

    fn replace(&mut self, count: usize, kind: Kind) -> Result<(), PickleError> {
        let start = self.need(count)?;
        self.stack.truncate(start);
        self.stack.push(kind);
        Ok(())
    }

    fn mismatch(&self, kind: &Kind) -> PickleError {
        let found = match kind {
            Kind::Plain => "a plain value",
            Kind::Text(_) => "a str",
            Kind::Tuple => "a tuple",
            Kind::List => "a list",
            Kind::Dict => "a dict",
            Kind::Set => "a set",
            Kind::Object => "an object",
        };
        PickleError::Mismatch { opcode: self.op.name(), at: self.at, found }
    }

    /// Puts the last `count` values into the one below.
    fn extend(&mut self, count: usize) -> Result<(), PickleError> {
        let start = self.need(count + 1)?;
        self.stack.truncate(start + 1);
        match (self.op, &self.stack[start]) {
            (_, Kind::Object)
            | (Op::Append | Op::Appends, Kind::List)
            | (Op::SetItem | Op::SetItems, Kind::Dict)
            | (Op::AddItems, Kind::Set) => Ok(()),
            (_, other) => Err(self.mismatch(other)),
        }
    }

    fn make(&mut self, count: usize) -> Result<(), PickleError> {
        let start = self.need(count)?;
        match (&self.stack[start], &self.stack[start + 1]) {
            (Kind::Object, Kind::Tuple) => self.replace(count, Kind::Object),
            (Kind::Object, other) | (other, _) => Err(self.mismatch(other)),
        }
    }

    fn global(&mut self) -> Result<(), PickleError> {
        let start = self.need(2)?;
        match (&self.stack[start], &self.stack[start + 1]) {
            (Kind::Text(module), Kind::Text(name)) => {
                let (module, name) = (&self.code[module.clone()], &self.code[name.clone()]);
                self.limits.check(module, name)?;
                self.replace(2, Kind::Object)
            }
            (Kind::Text(_), other) | (other, _) => Err(self.mismatch(other)),
        }
    }
}
