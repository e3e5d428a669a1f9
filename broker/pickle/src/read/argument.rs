//! What stands behind an opcode, as a value or a number.
//!
//! Not what the opcode does with it.

use bytes::Bytes;

use super::Machine;
use crate::graph::{Node, NodeId};
use crate::opcode::{Argument, Op};
use crate::{PickleError, text};

impl Machine<'_> {
    pub(super) const fn bad(&self) -> PickleError {
        PickleError::BadArgument { opcode: self.op.name(), at: self.at }
    }

    pub(super) fn bytes(&self, argument: Argument) -> Result<Bytes, PickleError> {
        match argument {
            Argument::Bytes(range) => Ok(self.message.slice(range)),
            _ => Err(self.bad()),
        }
    }

    pub(super) fn text(&self, bytes: Bytes) -> Result<Bytes, PickleError> {
        let at = bytes.as_ptr().addr().wrapping_sub(self.message.as_ptr().addr());
        if text::is_text(&bytes) { Ok(bytes) } else { Err(PickleError::NotText { at }) }
    }

    pub(super) fn slot(&self, argument: Argument) -> Result<u64, PickleError> {
        let slot = match argument {
            Argument::Number(number) => u64::try_from(number).ok(),
            Argument::Bytes(line) => {
                str::from_utf8(&self.message[line]).ok().and_then(|line| line.parse().ok())
            }
            _ => None,
        };
        slot.ok_or_else(|| self.bad())
    }

    /// Numbers and texts as protocol 0 writes them.
    pub(super) fn line(&mut self, argument: Argument) -> Result<(), PickleError> {
        let bytes = self.bytes(argument)?;
        if self.op == Op::Unicode {
            let text = text::unescaped(&bytes).ok_or_else(|| self.bad())?;
            return self.push(Node::Text(text.into()));
        }
        match (self.op, &bytes[..]) {
            (Op::Int, b"00") => self.stack.push(NodeId::FALSE),
            (Op::Int, b"01") => self.stack.push(NodeId::TRUE),
            _ => {
                let line = str::from_utf8(&bytes).map_err(|_| self.bad())?;
                let node = if self.op == Op::Float {
                    line.parse().map(Node::Float).map_err(|_| self.bad())?
                } else {
                    let digits = line.strip_suffix('L').unwrap_or(line);
                    digits.parse().map(Node::Int).map_err(|_| self.bad())?
                };
                self.push(node)?;
            }
        }
        Ok(())
    }

    /// A byte string of Python 2, which Python 3 reads as a text if it is ASCII.
    pub(super) fn ascii(&mut self, argument: Argument) -> Result<(), PickleError> {
        let bytes = self.bytes(argument)?;
        if self.op == Op::String {
            let text = text::unquoted(&bytes).ok_or_else(|| self.bad())?;
            return self.push(Node::Text(text.into()));
        }
        if !bytes.is_ascii() {
            return Err(self.bad());
        }
        self.push(Node::Text(bytes))
    }
}
